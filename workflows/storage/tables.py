"""Every table, constraint and index: the schema's only truth, with which the migrations are compared.

All rows of a payment carry its id first in their primary key, so that they lie on one shard. What must never happen is a named
constraint here; what must never happen twice is a unique index.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, Integer, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.domain.enums import (
    LEG_FINAL,
    AnomalyKind,
    JobKind,
    LegKind,
    LegState,
    OutcomeSource,
    Source,
)
from workflows.domain.money import AMOUNT_MAX
from workflows.storage.constraints import checked, listed, newest_first, one_of
from workflows.storage.payment_tables import CancellationRow, PaymentRow, Time

__all__ = [
    "APPEND_ONLY",
    "NEVER_DELETED",
    "AnomalyRow",
    "CancellationRow",
    "IdempotentResponseRow",
    "JobRow",
    "LegRow",
    "NotificationRow",
    "PaymentRow",
    "PersonalTextRow",
    "PolicyRow",
    "RecordRow",
    "RefundRow",
    "WorkerRow",
    "metadata",
]
APPEND_ONLY = ("record", "policy", "personal_text", "kept_reply", "anomaly")  # UPDATE is refused by a trigger
NEVER_DELETED = ("record", "policy", "payment", "cancellation", "refund", "leg", "anomaly")  # so are DELETE and TRUNCATE


class RefundRow(SQLModel, table=True):
    __tablename__ = "refund"
    __table_args__ = (
        ForeignKeyConstraint(
            ["payment_id", "cancellation_id"], ["cancellation.payment_id", "cancellation.id"], name="refund_of_a_cancellation"
        ),
        *checked(
            "refund",
            CheckConstraint(f"amount between 1 and {AMOUNT_MAX}", name="amount_in_range"),
            one_of("state", LegState),
        ),
        Index("refund_id", "id"),
        newest_first("refund_newest", "created_at", "id"),
        Index("one_refund_per_cancellation", "payment_id", "cancellation_id", unique=True),
        # The state's index, and that for those who follow along, make each change of a refund write to all seven (none is HOT): there
        # are three or four in its life.
        Index("refund_updated", "updated_at", "id"),
        Index("refund_state", "state", "created_at", "id"),
        Index("refund_merchant", "merchant_id", "created_at", "id"),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    cancellation_id: UUID
    version: int = Field(sa_type=Integer)
    state: str = Field(sa_type=Text)
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Time)
    updated_at: datetime = Field(sa_type=Time)
    merchant_id: str = Field(sa_type=Text)  # the payment's, copied


class LegRow(SQLModel, table=True):
    __tablename__ = "leg"
    __table_args__ = (
        ForeignKeyConstraint(
            ["payment_id", "cancellation_id"], ["cancellation.payment_id", "cancellation.id"], name="leg_of_a_cancellation"
        ),
        ForeignKeyConstraint(["payment_id", "refund_id"], ["refund.payment_id", "refund.id"], name="leg_of_a_refund"),
        *checked(
            "leg",
            CheckConstraint(f"amount between 1 and {AMOUNT_MAX}", name="amount_in_range"),
            CheckConstraint("(kind = 'refund') = (refund_id is not null)", name="refund_leg_has_a_refund"),
            CheckConstraint("attempts >= 0 and position >= 0", name="counts_positive"),
            # The key is made of the primary key, so that it can be neither chosen anew nor changed.
            CheckConstraint("rail_key = replace(payment_id::text || id::text, '-', '')", name="rail_key_for_ever"),
            one_of("kind", LegKind),
            one_of("source", Source),
            one_of("state", LegState),
            one_of("outcome_source", OutcomeSource, null=True),
        ),
        Index(
            "one_live_leg_per_source",
            "payment_id",
            "cancellation_id",
            "kind",
            "position",
            unique=True,
            postgresql_where=text(f"state not in ({listed(LEG_FINAL)})"),
        ),
        Index("one_successor_per_leg", "payment_id", "replaces", unique=True, postgresql_where=text("replaces is not null")),
        # Refunds by rail. Neither column changes, but one_live_leg_per_source knows the state: one entry for each change of a leg.
        # `nulls first`, in which order refunds themselves have no index: else all of them are merged with a rail's legs.
        Index("leg_provider", "provider", text("refund_id nulls first"), postgresql_where=text("refund_id is not null")),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    cancellation_id: UUID
    refund_id: UUID | None
    kind: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    position: int = Field(sa_type=Integer)
    provider: str = Field(sa_type=Text)
    provider_reference: str = Field(sa_type=Text)
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    rail_key: str = Field(sa_type=Text)
    outcome_source: str | None = Field(sa_type=Text)
    provider_refund_id: str | None = Field(sa_type=Text)
    rail_reference: str | None = Field(sa_type=Text)
    attempts: int = Field(sa_type=Integer)
    failure_code: str | None = Field(sa_type=Text)
    next_attempt_at: datetime | None = Field(sa_type=Time)
    sent_at: datetime | None = Field(sa_type=Time)
    replaces: UUID | None
    created_at: datetime = Field(sa_type=Time)
    updated_at: datetime = Field(sa_type=Time)


class RecordRow(SQLModel, table=True):
    """One entry of an audit trail. `body` is the exact text that was hashed; the other columns only help to find it."""

    __tablename__ = "record"
    __table_args__ = (
        ForeignKeyConstraint(["payment_id"], ["payment.id"], name="record_of_a_payment"),
        *checked(
            "record",
            CheckConstraint("payment_id is null or payment_id = chain_id", name="chain_is_the_payments"),
            CheckConstraint("sequence >= 1", name="sequence_from_one"),
            CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),
        ),
        Index("record_id", "id"),
        # The search, in the order of time. Records are only ever inserted, nearly in this order: one entry each, 4 µs and 130 bytes of
        # WAL as measured. A BRIN index would cost nothing, but gives no order: the last page before a time would read all that came
        # after.
        newest_first("record_newest", "occurred_at", "id"),
        Index("record_type", "type", "occurred_at", "id"),
        Index("record_merchant", "merchant_id", "occurred_at", "id", postgresql_where=text("merchant_id is not null")),
        Index("record_actor", "actor_id", "occurred_at", "id"),
    )

    chain_id: UUID = Field(primary_key=True)
    sequence: int = Field(primary_key=True, sa_type=Integer)
    id: UUID
    chain: str = Field(sa_type=Text)
    payment_id: UUID | None
    merchant_id: str | None = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    occurred_at: datetime = Field(sa_type=Time)
    actor_role: str = Field(sa_type=Text)
    actor_id: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    hash: bytes = Field(sa_type=LargeBinary)


class PersonalTextRow(SQLModel, table=True):
    """Free text, names and metadata, which may be erased; records hold a digest salted with `salt`."""

    __tablename__ = "personal_text"
    __table_args__ = (ForeignKeyConstraint(["payment_id"], ["payment.id"], name="personal_text_of_a_payment"),)

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    subject_id: UUID
    name: str = Field(sa_type=Text)
    value: Any = Field(sa_type=JSONB)
    salt: bytes = Field(sa_type=LargeBinary)


class IdempotentResponseRow(SQLModel, table=True):
    """The first answer under an idempotency key, kept for thirty days. `scope_id` is the payment's id, or a collection's."""

    __tablename__ = "kept_reply"
    __table_args__ = (
        # For the sweep. A BRIN index would cost less, but the ranges that it has never shrink: as soon as new replies lie where old ones
        # were swept away, all of them look old, and the sweep reads the whole table.
        Index("kept_reply_oldest", "created_at"),
        # Each day a thirtieth goes: vacuumed three times a day, without waiting much.
        {
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": "0.01",
                "autovacuum_vacuum_cost_limit": "2000",
                "autovacuum_vacuum_cost_delay": "2",
            }
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


class JobRow(SQLModel, table=True):
    """Work that is due. `attempt` is the fencing token: whoever claims it raises it, whoever finishes it must name it."""

    __tablename__ = "job"
    __table_args__ = (
        *checked("job", one_of("kind", JobKind)),
        Index("one_job_per_subject", "payment_id", "kind", "subject_id", unique=True),
        # By kind, since each lane of a worker claims its own: ten thousand deadlines stand in no refund's way. By rail, since a worker
        # claims no job of a rail that it does not have.
        Index("job_due", "kind", "provider", "run_at", postgresql_where=text("leased_until is null")),
        Index("job_leased", "kind", "provider", "leased_until", postgresql_where=text("leased_until is not null")),
        {"postgresql_with": {"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.01", "autovacuum_vacuum_threshold": "500"}},
    )

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    kind: str = Field(sa_type=Text)
    subject_id: UUID
    run_at: datetime = Field(sa_type=Time)
    attempt: int = Field(sa_type=Integer, default=0)
    leased_until: datetime | None = Field(sa_type=Time)
    provider: str = Field(sa_type=Text, sa_column_kwargs={"server_default": text("''")})  # empty where no rail is needed


class NotificationRow(SQLModel, table=True):
    """A rail's word as it came, stored before anybody acts on it; never dropped."""

    __tablename__ = "notification"
    __table_args__ = (
        Index("one_notification_per_rail_id", "payment_id", "provider", "rail_id", unique=True),
        Index("notification_received", "received_at", postgresql_using="brin"),
    )

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    provider: str = Field(sa_type=Text)
    rail_id: str = Field(sa_type=Text)
    body: bytes = Field(sa_type=LargeBinary)
    received_at: datetime = Field(sa_type=Time)
    handled_at: datetime | None = Field(sa_type=Time)
    verdict: str | None = Field(sa_type=Text)


class AnomalyRow(SQLModel, table=True):
    """A word that no transition allows. `scope_id` is the payment's id, or that of a rail's words that belong to no payment."""

    __tablename__ = "anomaly"
    __table_args__ = (
        ForeignKeyConstraint(["payment_id"], ["payment.id"], name="anomaly_of_a_payment"),
        *checked(
            "anomaly",
            CheckConstraint("payment_id is null or payment_id = scope_id", name="scope_is_the_payments"),
            one_of("kind", AnomalyKind),
        ),
        Index("one_anomaly_per_word", "scope_id", "word", unique=True),
    )

    scope_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    payment_id: UUID | None
    kind: str = Field(sa_type=Text)
    word: str = Field(sa_type=Text)
    provider: str | None = Field(sa_type=Text)
    leg_id: UUID | None
    data: dict[str, Any] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=Time)


class PolicyRow(SQLModel, table=True):
    """A published policy; immutable. The one with the smallest `ordinal` also holds for all that is older than it."""

    __tablename__ = "policy"
    __table_args__ = (
        Index("policy_ordinal", "ordinal", unique=True),
        Index("policy_effective", "effective_from", "ordinal"),
    )

    version: str = Field(primary_key=True, sa_type=Text)
    ordinal: int = Field(sa_type=Integer)
    effective_from: datetime = Field(sa_type=Time)
    document: dict[str, Any] = Field(sa_type=JSONB)
    published_at: datetime = Field(sa_type=Time)
    published_by: str = Field(sa_type=Text)


class WorkerRow(SQLModel, table=True):
    """A worker's sign of life, for /readyz."""

    __tablename__ = "worker"

    id: UUID = Field(primary_key=True)
    beat_at: datetime = Field(sa_type=Time)


metadata = SQLModel.metadata
