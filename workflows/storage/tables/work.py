"""The work that is due, the rails' words that lead to it, and the workers."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Integer, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.storage.tables.form import guarded
from workflows.storage.tables.types import (
    JOB_KIND,
    Time,
)


class JobRow(SQLModel, table=True):
    """Work that is due. `attempt` is the fencing token: whoever claims it raises it, whoever finishes it must name it."""

    __tablename__ = "job"
    __table_args__ = (
        Index("one_job_per_subject", "payment_id", "kind", "subject_id", unique=True),
        # By kind, since each lane of a worker claims its own: ten thousand deadlines stand in no refund's way. By rail, since a worker
        # claims no job of a rail that it does not have.
        Index("job_due", "kind", "provider", "run_at", postgresql_where=text("leased_until is null")),
        Index("job_leased", "kind", "provider", "leased_until", postgresql_where=text("leased_until is not null")),
        {
            **guarded("select insert update delete", refused="truncate", once="payment_id id kind subject_id provider"),
            "postgresql_with": {"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.01", "autovacuum_vacuum_threshold": "500"},
        },
    )

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    kind: str = Field(sa_type=JOB_KIND)
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
        guarded("select insert update", once="payment_id id provider rail_id body received_at"),
    )

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    provider: str = Field(sa_type=Text)
    rail_id: str = Field(sa_type=Text)
    body: bytes = Field(sa_type=LargeBinary)
    received_at: datetime = Field(sa_type=Time)
    handled_at: datetime | None = Field(sa_type=Time)
    verdict: str | None = Field(sa_type=Text)


class WorkerRow(SQLModel, table=True):
    """A worker's sign of life, with what it says of its rails, for /readyz."""

    __tablename__ = "worker"
    __table_args__ = guarded("select insert update delete")

    id: UUID = Field(primary_key=True)
    beat_at: datetime = Field(sa_type=Time)
    rails: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'")})  # by name how its breaker stands
