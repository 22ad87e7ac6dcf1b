"""What is told of merchants, and their own terms."""

from datetime import datetime
from typing import Any

from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.storage.tables.form import guarded
from workflows.storage.tables.types import ORDINAL, Time


class MerchantRow(SQLModel, table=True):
    """A version of a merchant; immutable. The one with the greatest number is what is known now; payments are pinned to earlier ones."""

    __tablename__ = "merchant"
    __table_args__ = (guarded("select insert", refused="update delete truncate"),)

    merchant_id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(primary_key=True, sa_type=ORDINAL)
    name: str = Field(sa_type=Text)
    contact: dict[str, Any] = Field(sa_type=JSONB)
    webhook: str | None = Field(sa_type=Text)
    rules: list[Any] = Field(sa_type=JSONB)
    auto_accept_up_to: dict[str, int] = Field(sa_type=JSONB)
    changed_at: datetime = Field(sa_type=Time)
    changed_by: str = Field(sa_type=Text)
