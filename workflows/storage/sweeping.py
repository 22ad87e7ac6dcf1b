"""Give a job to what waits for one and has none: legs on their way, and clocks that run.

Legs and clocks are written together with their jobs, so this finds something only where a row was lost or removed by hand.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from workflows.domain.enums import LEG_ON_ITS_WAY, JobKind
from workflows.domain.ports import RailSchedule

ROWS_MAX = 500  # of each kind in one sweep; the next one goes on
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


@dataclass(frozen=True, slots=True)
class JobsPutBack:
    legs: int
    clocks: int


async def put_back(connection: Any, now: datetime, *, rows_max: int = ROWS_MAX) -> JobsPutBack:
    """Write the jobs that are missing, at most so many of each kind."""
    row = await connection.fetchrow(SWEEP, now, rows_max)
    return JobsPutBack(row["legs"], row["clocks"])


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
