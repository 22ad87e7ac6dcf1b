"""Free text about persons, which may be erased."""

from typing import Any
from uuid import UUID

from sqlalchemy import LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.storage.tables.form import guarded


class PersonalTextRow(SQLModel, table=True):
    """Free text, names and metadata, which may be erased; records hold a digest salted with `salt`."""

    __tablename__ = "personal_text"
    __table_args__ = guarded("select insert delete", refused="update truncate")  # erasure deletes

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    subject_id: UUID
    name: str = Field(sa_type=Text)
    value: Any = Field(sa_type=JSONB)
    salt: bytes = Field(sa_type=LargeBinary)
