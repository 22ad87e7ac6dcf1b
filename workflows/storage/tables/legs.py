"""Legs: each movement of money through a rail."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.domain.enums import (
    LEG_FINAL,
    LEG_ON_ITS_WAY,
)
from workflows.storage.tables.form import checked, guarded, listed
from workflows.storage.tables.types import (
    AMOUNT,
    COUNTER,
    LEG_KIND,
    LEG_STATE,
    OUTCOME_SOURCE,
    RECOVERY,
    SOURCE,
    Time,
)


class LegRow(SQLModel, table=True):
    __tablename__ = "leg"
    __table_args__ = (
        *checked(
            "leg",
            CheckConstraint("recovery is null or state = 'requires_action'", name="ordered_while_it_waits"),
            CheckConstraint("(kind = 'refund') = (refund_id is not null)", name="refund_leg_has_a_refund"),
        ),
        Index(
            "one_live_leg_per_source",
            "payment_id",
            "cancellation_id",
            "kind",
            "position",
            unique=True,
            postgresql_where=text(f"state <> all ({listed(LEG_FINAL, LEG_STATE)})"),
        ),
        Index("one_successor_per_leg", "payment_id", "replaces", unique=True, postgresql_where=text("replaces is not null")),
        # What the sweep looks at. The state is known to one_live_leg_per_source already, so a change of it costs one entry more.
        Index("leg_on_its_way", "payment_id", "id", postgresql_where=text(f"state = any ({listed(LEG_ON_ITS_WAY, LEG_STATE)})")),
        # Refunds by rail. Neither column changes, but one_live_leg_per_source knows the state: one entry for each change of a leg.
        # `nulls first`, in which order refunds themselves have no index: else all of them are merged with a rail's legs.
        Index("leg_provider", "provider", text("refund_id nulls first"), postgresql_where=text("refund_id is not null")),
        {
            **guarded(
                "select insert update",
                refused="delete truncate",
                once="payment_id id cancellation_id refund_id kind source position provider provider_reference amount "
                "currency replaces created_at",
            ),
            "postgresql_with": {"fillfactor": "80"},
        },
    )

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    cancellation_id: UUID
    refund_id: UUID | None
    kind: str = Field(sa_type=LEG_KIND)
    source: str = Field(sa_type=SOURCE)
    position: int = Field(sa_type=COUNTER)
    provider: str = Field(sa_type=Text)
    provider_reference: str = Field(sa_type=Text)
    amount: int = Field(sa_type=AMOUNT)
    currency: str = Field(sa_type=Text)
    state: str = Field(sa_type=LEG_STATE)
    outcome_source: str | None = Field(sa_type=OUTCOME_SOURCE)
    provider_refund_id: str | None = Field(sa_type=Text)
    rail_reference: str | None = Field(sa_type=Text)
    attempts: int = Field(sa_type=COUNTER)
    failure_code: str | None = Field(sa_type=Text)
    next_attempt_at: datetime | None = Field(sa_type=Time)
    sent_at: datetime | None = Field(sa_type=Time)
    replaces: UUID | None
    created_at: datetime = Field(sa_type=Time)
    updated_at: datetime = Field(sa_type=Time)
    first_sent_at: datetime | None = Field(sa_type=Time)
    recovery: str | None = Field(sa_type=RECOVERY)
    answers: list[Any] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'[]'")})
