"""Rails' words as they came: stored first, acted on afterwards."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

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
