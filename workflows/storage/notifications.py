"""Rails' words as they came: stored first, acted on afterwards."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from workflows.domain.model import Anomaly
from workflows.storage.apply import Fence, NotificationMark
from workflows.storage.codec import anomaly_values
from workflows.storage.tables import AnomalyRow

# The job is made with the row or not at all; a word that came before makes neither.
_STORE = """
with stored as (
    insert into notification (payment_id, id, provider, rail_id, body, received_at)
    values ($1, $2, $3, $4, $5, $6) on conflict do nothing returning payment_id, id, provider
), queued as (
    insert into job (payment_id, id, kind, provider, subject_id, run_at, attempt)
    select payment_id, $7, 'notification', provider, id, $6, 0 from stored
)
select count(*) from stored
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNotification:
    provider: str
    rail_id: str
    body: bytes
    received_at: datetime
    handled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedNotification:
    """A rail's word, authentic and unread. `rail_id` is the rail's own name for it."""

    payment_id: UUID
    provider: str
    rail_id: str
    body: bytes
    received_at: datetime


async def store(connection: Any, incoming: ReceivedNotification, *, id: UUID, job_id: UUID) -> bool:
    """False where the same word came before: then there is nothing more to do."""
    new: int = await connection.fetchval(
        _STORE,
        incoming.payment_id,
        id,
        incoming.provider,
        incoming.rail_id,
        incoming.body,
        incoming.received_at,
        job_id,
    )
    return new > 0


async def load(connection: Any, payment_id: UUID, id: UUID) -> StoredNotification | None:
    row = await connection.fetchrow(
        "select provider, rail_id, body, received_at, handled_at from notification where payment_id = $1 and id = $2", payment_id, id
    )
    return None if row is None else StoredNotification(**row)


async def settle(connection: Any, mark: NotificationMark, fence: Fence, anomaly: Anomaly | None) -> bool:
    """Say what became of a word that changes nothing of a payment, keep it as an anomaly where it is one, and end its job.

    False where another worker has taken the job over: nothing was written.
    """
    job = (fence.payment_id, fence.id, fence.attempt)
    word = (mark.payment_id, mark.id, mark.at, mark.verdict)
    kept = () if anomaly is None else anomaly_values(anomaly)
    return await connection.fetchval(_SETTLE if anomaly is None else _SETTLE_ODD, *job, *word, *kept) is not None


_JOB = "payment_id = $1 and id = $2 and attempt = $3"
_SETTLE = f"""
with locked as materialized (
    select 1 from job where {_JOB} for update
), marked as (
    update notification set handled_at = $6, verdict = $7 from locked where payment_id = $4 and id = $5 and handled_at is null
)
delete from job using locked where {_JOB} returning 1"""
_ODD = AnomalyRow.metadata.tables["anomaly"].columns.keys()
_SETTLE_ODD = _SETTLE.replace(
    ")\ndelete",
    f"""), odd as (
    insert into anomaly ({", ".join(_ODD)}) select {", ".join(f"${n + 8}" for n in range(len(_ODD)))} from locked on conflict do nothing
)
delete""",
)
