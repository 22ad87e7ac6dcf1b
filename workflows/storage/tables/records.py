"""Records: the entries of the audit trails."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, text
from sqlmodel import Field, SQLModel

from workflows.storage.tables.form import checked, guarded, newest_first
from workflows.storage.tables.types import (
    DIGEST,
    ORDINAL,
    Time,
)


class RecordRow(SQLModel, table=True):
    """One entry of an audit trail. `body` is the exact text that was hashed; the other columns only help to find it."""

    __tablename__ = "record"
    __table_args__ = (
        *checked(
            "record",
            CheckConstraint("payment_id is null or payment_id = chain_id", name="chain_is_the_payments"),
        ),
        Index("record_id", "id"),
        # The search, in the order of time. Records are only ever inserted, nearly in this order: one entry each, 4 µs and 130 bytes of
        # WAL as measured. A BRIN index would cost nothing, but gives no order: the last page before a time would read all that came
        # after.
        newest_first("record_newest", "occurred_at", "id"),
        Index("record_type", "type", "occurred_at", "id"),
        Index("record_merchant", "merchant_id", "occurred_at", "id", postgresql_where=text("merchant_id is not null")),
        Index("record_actor", "actor_id", "occurred_at", "id"),
        guarded("select insert", refused="update delete truncate"),
    )

    chain_id: UUID = Field(primary_key=True)
    sequence: int = Field(primary_key=True, sa_type=ORDINAL)
    id: UUID
    chain: str = Field(sa_type=Text)
    payment_id: UUID | None
    merchant_id: str | None = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    occurred_at: datetime = Field(sa_type=Time)
    actor_role: str = Field(sa_type=Text)
    actor_id: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    hash: bytes = Field(sa_type=DIGEST)
