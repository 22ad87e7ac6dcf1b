"""The queue: claim what is due, under a lease."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from workflows.domain.words import JobKind
from workflows.storage.apply import Fence

# Two kinds of due: never taken or put off, and taken by a worker that has not come back in time.
_CLAIM = """
with ready as (
    select payment_id, id from job where leased_until is null and run_at <= $1
    order by run_at limit $3 for update skip locked
), expired as (
    select payment_id, id from job where leased_until is not null and leased_until <= $1
    order by leased_until limit $3 for update skip locked
), due as (
    select * from expired union all select * from ready limit $3
)
update job as j set attempt = j.attempt + 1, leased_until = $2
from due where j.payment_id = due.payment_id and j.id = due.id
returning j.payment_id, j.id, j.kind, j.subject_id, j.attempt, j.run_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job in this worker's hands until its lease ends. `attempt` counts claims, those that crashed too."""

    payment_id: UUID
    id: UUID
    kind: JobKind
    subject_id: UUID
    attempt: int

    def done(self) -> Fence:
        return Fence(payment_id=self.payment_id, id=self.id, attempt=self.attempt, run_at=None)

    def again(self, run_at: datetime) -> Fence:
        return Fence(payment_id=self.payment_id, id=self.id, attempt=self.attempt, run_at=run_at)

    def held(self) -> Fence:
        return Fence(payment_id=self.payment_id, id=self.id, attempt=self.attempt, run_at=None, leased=True)


async def claim(connection: Any, *, now: datetime, lease: timedelta, limit: int) -> list[Claim]:
    """At most `limit` jobs that are due, each leased until `now + lease`."""
    rows = await connection.fetch(_CLAIM, now, now + lease, limit)
    return [
        Claim(
            payment_id=row["payment_id"],
            id=row["id"],
            kind=JobKind(row["kind"]),
            subject_id=row["subject_id"],
            attempt=row["attempt"],
        )
        for row in rows
    ]
