"""Words that no transition allows, and what people did about them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, ForeignKeyConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.storage.tables.form import checked, guarded, newest_first
from workflows.storage.tables.types import (
    ACTOR_ROLE,
    ANOMALY_ACTION,
    ANOMALY_KIND,
    ORDINAL,
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
        # The list, newest first, and one anomaly by its id. Those of a payment are found by the primary key.
        Index("anomaly_id", "id"),
        newest_first("anomaly_newest", "created_at", "id"),
        Index("anomaly_kind", "kind", "created_at", "id"),
        Index("anomaly_provider", "provider", "created_at", "id", postgresql_where=text("provider is not null")),
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


class AnomalyStepRow(SQLModel, table=True):
    """What a person did about an anomaly, counted from one. It is resolved once a step closes it; its notes are personal texts."""

    __tablename__ = "anomaly_step"
    __table_args__ = (
        ForeignKeyConstraint(["scope_id", "anomaly_id"], ["anomaly.scope_id", "anomaly.id"], name="step_of_an_anomaly"),
        *checked(
            "anomaly_step",
            CheckConstraint("closes or (action = 'refund' and number < 2)", name="proposal_is_a_refund"),
            CheckConstraint("number <= 2", name="at_most_two"),
        ),
        # That none is proposed twice, the primary key holds: a proposal is a first step.
        Index("anomaly_step_proposal", "scope_id", "anomaly_id", postgresql_where=text("not closes")),
        Index("one_resolution_per_anomaly", "scope_id", "anomaly_id", unique=True, postgresql_where=text("closes")),
        guarded("select insert", refused="update delete truncate"),
    )

    scope_id: UUID = Field(primary_key=True)
    anomaly_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=ORDINAL)
    action: str = Field(sa_type=ANOMALY_ACTION)
    by: str = Field(sa_type=Text)
    role: str = Field(sa_type=ACTOR_ROLE)
    at: datetime = Field(sa_type=Time)
    closes: bool = Field(sa_type=Boolean)
