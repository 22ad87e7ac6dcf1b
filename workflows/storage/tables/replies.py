"""Replies that are kept for callers who ask again."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, Integer, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.storage.tables.form import guarded
from workflows.storage.tables.types import (
    Time,
)


class IdempotentResponseRow(SQLModel, table=True):
    """The first answer under an idempotency key, kept for thirty days. `scope_id` is the payment's id, or a collection's."""

    __tablename__ = "kept_reply"
    __table_args__ = (
        # For the sweep. A BRIN index would cost less, but the ranges that it has never shrink: as soon as new replies lie where old ones
        # were swept away, all of them look old, and the sweep reads the whole table.
        Index("kept_reply_oldest", "created_at"),
        # Each day a thirtieth goes: vacuumed three times a day, without waiting much.
        {
            **guarded("select insert delete", refused="update truncate"),
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": "0.01",
                "autovacuum_vacuum_cost_limit": "2000",
                "autovacuum_vacuum_cost_delay": "2",
            },
        },
    )

    scope_id: UUID = Field(primary_key=True)
    caller: str = Field(primary_key=True, sa_type=Text)
    key: str = Field(primary_key=True, sa_type=Text)
    fingerprint: str = Field(sa_type=Text)
    status: int = Field(sa_type=Integer)
    body: bytes = Field(sa_type=LargeBinary)
    headers: dict[str, str] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=Time)
