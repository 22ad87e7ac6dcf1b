"""The queue: claim what is due, under a lease."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from workflows.domain.enums import JobKind
from workflows.storage.apply import Fence

# Two ways of being due: never taken or put off, and taken by a worker that has not come back in time. The time is the database's,
# whatever the clocks of the workers say; a test may give its own.
_CLAIM = """
with moment as (
    select coalesce($1::timestamptz, clock_timestamp()) as now
), queues as (
    select * from unnest($4::job_kind[], $5::text[]) as q(kind, provider)
), ready as (
    select j.payment_id, j.id from queues q cross join moment m cross join lateral (
        select payment_id, id, run_at from job
         where kind = q.kind and provider = q.provider and leased_until is null and run_at <= m.now
        order by run_at limit $3 for update skip locked) j
    order by j.run_at
), expired as (
    select j.payment_id, j.id from queues q cross join moment m cross join lateral (
        select payment_id, id, leased_until from job
         where kind = q.kind and provider = q.provider and leased_until is not null and leased_until <= m.now
        order by leased_until limit $3 for update skip locked) j
    order by j.leased_until
), due as (
    select * from expired union all select * from ready limit $3
)
update job as j set attempt = j.attempt + 1, leased_until = m.now + $2::interval
from due, moment m where j.payment_id = due.payment_id and j.id = due.id
returning j.payment_id, j.id, j.kind, j.subject_id, j.attempt, j.run_at
"""


@dataclass(frozen=True, slots=True)
class Queue:
    """The jobs of one kind that one rail is needed for; `provider` is empty for those that need none."""

    kind: JobKind
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job in this worker's hands until its lease ends. `attempt` counts claims, those that crashed too."""

    payment_id: UUID
    id: UUID
    kind: JobKind
    subject_id: UUID
    attempt: int
    expires: float  # when the lease ends at the earliest, in seconds of this process's monotonic clock

    def done(self) -> Fence:
        return Fence(payment_id=self.payment_id, id=self.id, attempt=self.attempt, run_at=None)

    def again(self, run_at: datetime) -> Fence:
        return Fence(payment_id=self.payment_id, id=self.id, attempt=self.attempt, run_at=run_at)

    def held(self) -> Fence:
        return Fence(payment_id=self.payment_id, id=self.id, attempt=self.attempt, run_at=None, leased=True)


async def claim(
    connection: Any, queues: Iterable[Queue], *, now: datetime | None, monotonic: float, lease: timedelta, limit: int
) -> list[Claim]:
    """At most `limit` jobs of these queues that are due, each leased for so long.

    `now`: None for the database's own time. `monotonic`: this process's monotonic clock, read before the call, in seconds: the database
    starts the lease later than that, never earlier.
    """
    wanted = list(queues)
    expires = monotonic + lease.total_seconds()
    rows = await connection.fetch(_CLAIM, now, lease, limit, [queue.kind.value for queue in wanted], [queue.provider for queue in wanted])
    return [
        Claim(
            payment_id=row["payment_id"],
            id=row["id"],
            kind=JobKind(row["kind"]),
            subject_id=row["subject_id"],
            attempt=row["attempt"],
            expires=expires,
        )
        for row in rows
    ]
