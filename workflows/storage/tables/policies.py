"""Published policies."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.storage.tables.form import guarded
from workflows.storage.tables.types import (
    Time,
)


class PolicyRow(SQLModel, table=True):
    """A published policy; immutable. The one with the smallest `ordinal` also holds for all that is older than it."""

    __tablename__ = "policy"
    __table_args__ = (
        Index("policy_ordinal", "ordinal", unique=True),
        Index("policy_effective", "effective_from", "ordinal"),
        guarded("select insert", refused="update delete truncate"),
    )

    version: str = Field(primary_key=True, sa_type=Text)
    ordinal: int = Field(sa_type=Integer)
    effective_from: datetime = Field(sa_type=Time)
    document: dict[str, Any] = Field(sa_type=JSONB)
    published_at: datetime = Field(sa_type=Time)
    published_by: str = Field(sa_type=Text)
