"""The queue: claim what is due, under a lease."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from workflows.domain.words import JobKind
from workflows.storage.apply import Fence

# Two ways of being due: never taken or put off, and taken by a worker that has not come back in time. A worker whose clock is not the
# database's, by more than it says, gets nothing: its deadlines would strike early, and its leases last for ever.
_CLAIM = """
with agreed as (
    select 1 where $5::interval is null or clock_timestamp() between $1::timestamptz - $5::interval and $1::timestamptz + $5::interval
), kinds as (
    select unnest($4::text[]) as kind
), ready as (
    select j.payment_id, j.id from kinds cross join lateral (
        select payment_id, id, run_at from job where kind = kinds.kind and leased_until is null and run_at <= $1
        order by run_at limit $3 for update skip locked) j
    where exists (select from agreed) order by j.run_at
), expired as (
    select j.payment_id, j.id from kinds cross join lateral (
        select payment_id, id, leased_until from job where kind = kinds.kind and leased_until is not null and leased_until <= $1
        order by leased_until limit $3 for update skip locked) j
    where exists (select from agreed) order by j.leased_until
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


async def claim(
    connection: Any, *, now: datetime, lease: timedelta, limit: int, kinds: Iterable[JobKind] = JobKind, skew_max: timedelta | None = None
) -> list[Claim]:
    """At most `limit` jobs of these kinds that are due, each leased until `now + lease`.

    None where `now` and the database's own clock differ by more than `skew_max` (None: whatever they say).
    """
    rows = await connection.fetch(_CLAIM, now, now + lease, limit, [kind.value for kind in kinds], skew_max)
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
