"""Give a job to what waits for one and has none: legs on their way, clocks that run, and refunds that a rail may still send back.

Each is written together with its job, so this finds something only where a row was lost or removed by hand, or where whoever heard that a
refund had arrived did not know how its rail asks after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from workflows.domain.enums import LEG_ON_ITS_WAY, JobKind, LegKind, LegState
from workflows.domain.ports import RailSchedule

ROWS_MAX = 500  # of each kind in one sweep; the next one goes on
REFUNDS_MAX = 2_000  # that one sweep looks at, with or without a job
_SWEEPERS_LOCK = 0x6C6F_7374_6A6F  # one at a time; another goes away

# Due now: the flow of a leg asks the rail, the flow of a clock that has time left puts its job off to where it belongs.
SWEEP = f"""
with alone as materialized (select pg_try_advisory_xact_lock({_SWEEPERS_LOCK}) as alone),
legs as materialized (
    select payment_id, '{JobKind.move}'::job_kind as kind, id as subject_id, provider from leg l
     where state = any ('{{{",".join(sorted(LEG_ON_ITS_WAY))}}}'::leg_state[]) and (select alone from alone)
       and not exists (
           select from job j where j.payment_id = l.payment_id and j.kind = '{JobKind.move}' and j.subject_id = l.id)
     limit $2
), clocks as materialized (
    select payment_id, '{JobKind.deadline}'::job_kind as kind, clock_id as subject_id, '' as provider from cancellation c
     where deadline_at is not null and clock_id is not null and (select alone from alone)
       and not exists (
           select from job j where j.payment_id = c.payment_id and j.kind = '{JobKind.deadline}' and j.subject_id = c.clock_id)
     limit $2
), put_back as (
    insert into job (payment_id, id, kind, subject_id, run_at, attempt, provider)
    select payment_id, uuidv7(), kind, subject_id, $1, 0, provider from (select * from legs union all select * from clocks) as lost
    on conflict do nothing returning kind
)
select count(*) filter (where kind = '{JobKind.move}')::integer as legs,
       count(*) filter (where kind = '{JobKind.deadline}')::integer as clocks from put_back
"""


# Refunds in the order in which they changed last: each has changed since a leg of it arrived.
RECHECK_SWEEP = f"""
with rails as materialized (
    select * from unnest($2::text[], $3::interval[]) as r(provider, span)
), looked_at as materialized (
    select payment_id, id, refund_updated_at, refund_id from cancellation
     where refund_id is not null and (refund_updated_at, refund_id) > ($4::timestamptz, $5::uuid)
     order by refund_updated_at, refund_id limit $6
), put_back as (
    insert into job (payment_id, id, kind, subject_id, run_at, attempt, provider)
    select l.payment_id, uuidv7(), '{JobKind.recheck}', l.id, $1, 0, l.provider
      from looked_at c join leg l on l.payment_id = c.payment_id and l.cancellation_id = c.id join rails r on r.provider = l.provider
     where l.kind = '{LegKind.refund}' and l.state = '{LegState.succeeded}' and l.updated_at > $1::timestamptz - r.span
       and not exists (
           select from job j where j.payment_id = l.payment_id and j.kind = '{JobKind.recheck}' and j.subject_id = l.id)
    on conflict do nothing returning id
)
select (select count(*) from put_back)::integer, (select count(*) from looked_at)::integer, l.refund_updated_at, l.refund_id
  from (select 1) as one left join lateral (
       select refund_updated_at, refund_id from looked_at order by refund_updated_at desc, refund_id desc limit 1) l on true
"""


@dataclass(frozen=True, slots=True)
class JobsPutBack:
    legs: int
    clocks: int


async def put_back(connection: Any, now: datetime, *, rows_max: int = ROWS_MAX) -> JobsPutBack:
    """Write the jobs that are missing, at most so many of each kind."""
    row = await connection.fetchrow(SWEEP, now, rows_max)
    return JobsPutBack(row["legs"], row["clocks"])


@dataclass(frozen=True, slots=True)
class RecheckPlace:
    """How far a sweep of the refunds has come: when the last one that it saw had changed, and its id."""

    at: datetime
    refund_id: UUID


async def put_rechecks_back(
    connection: Any, spans: Mapping[str, timedelta], now: datetime, after: RecheckPlace | None, *, rows_max: int = REFUNDS_MAX
) -> tuple[int, RecheckPlace | None]:
    """Write the jobs that are missing among the next `rows_max` refunds after a place; how many, and the next place (None: the beginning).

    `spans`: by rail, for how long a refund is asked after. It is due now: its flow asks, and puts the job off to where it belongs.
    """
    oldest = RecheckPlace(now - max(spans.values()), UUID(int=0))
    start = oldest if after is None or after.at < oldest.at else after
    lists = list(spans), list(spans.values())
    put, seen, at, refund_id = await connection.fetchrow(RECHECK_SWEEP, now, *lists, start.at, start.refund_id, rows_max)
    return put, None if seen < rows_max else RecheckPlace(at, refund_id)


async def unheard(connection: Any, provider: str, schedule: RailSchedule, now: datetime) -> list[tuple[UUID, UUID]]:
    """The payment's and the leg's id of what one rail has owed a word for too long, where no person was called yet; at most a hundred."""
    rows = await connection.fetch(_UNHEARD, provider, now - schedule.unknown_max, now - schedule.processing_max)
    return [(row["payment_id"], row["id"]) for row in rows]


_UNHEARD = f"""
select l.payment_id, l.id from leg l
  join cancellation c on c.payment_id = l.payment_id and c.id = l.cancellation_id and c.state = 'executing'
 where l.state = any ('{{{",".join(sorted(LEG_ON_ITS_WAY))}}}'::leg_state[]) and l.provider = $1
   and (l.state in ('submitted', 'unknown', 'processing') or (l.state = 'scheduled' and l.replaces is not null))
   and coalesce(l.first_sent_at, l.created_at) <= case l.state when 'processing' then $3::timestamptz else $2::timestamptz end
 limit 100"""
