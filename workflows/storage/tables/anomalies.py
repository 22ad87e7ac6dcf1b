"""Words that no transition allows."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.storage.tables.form import checked, guarded
from workflows.storage.tables.types import (
    ANOMALY_KIND,
    Time,
)


class AnomalyRow(SQLModel, table=True):
    """A word that no transition allows. `scope_id` is the payment's id, or that of a rail's words that belong to no payment."""

    __tablename__ = "anomaly"
    __table_args__ = (
        # The one foreign key: beside changes, a rail's word is written down by another statement (see decision 0018).
        ForeignKeyConstraint(["payment_id"], ["payment.id"], name="anomaly_of_a_payment"),
        *checked(
            "anomaly",
            CheckConstraint("payment_id is null or payment_id = scope_id", name="scope_is_the_payments"),
        ),
        Index("one_anomaly_per_word", "scope_id", "word", unique=True),
        guarded("select insert", refused="update delete truncate"),
    )

    scope_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    payment_id: UUID | None
    kind: str = Field(sa_type=ANOMALY_KIND)
    word: str = Field(sa_type=Text)
    provider: str | None = Field(sa_type=Text)
    leg_id: UUID | None
    data: dict[str, Any] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=Time)
