"""How much work lies where, and how long the oldest of it: few rows, whatever the size of the tables, since each count ends at a limit."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from workflows.domain.enums import CANCELLATION_OPEN, LEG_ON_ITS_WAY

COUNT_MAX: Final = 10_000  # nothing is counted further
ANOMALIES_LOOKED_AT: Final = 5_000  # the newest; that one is open stands in no index, since it never changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`count` of what `name` says, at one rail (empty where there is none); `oldest_seconds` is None where there is nothing."""

    name: str
    rail: str
    kind: str
    count: int
    oldest_seconds: float | None


async def load_figures(connection: Any, now: datetime | None) -> list[Figure]:
    """One statement. `now`: None for the database's own time.

    `legs` on their way by state; `jobs_due` and `jobs_leased` by kind; `cases` by state; `cases_overdue`, `anomalies_open`.
    """
    return [
        Figure(name=name, rail=rail, kind=kind, count=count, oldest_seconds=None if age is None else max(0.0, float(age)))
        for name, rail, kind, count, age in await connection.fetch(FIGURES, now)
    ]


# The kinds and rails of the queue are found by leaps through its indexes: those of a rail that is no longer configured, too.
_LEAP = """
    (select kind, provider from job where leased_until is {null} order by kind, provider limit 1)
    union all
    select n.kind, n.provider from {name} q cross join lateral (
        select kind, provider from job where leased_until is {null} and (kind, provider) > (q.kind, q.provider)
         order by kind, provider limit 1) n
"""
_DUE_AT = "least(first_response_due_at, resolution_due_at, deadline_at)"

FIGURES: Final = f"""
with recursive moment as materialized (select coalesce($1::timestamptz, clock_timestamp()) as now),
waiting as ({_LEAP.format(null="null", name="waiting")}),
leased as ({_LEAP.format(null="not null", name="leased")}),
found as (
    select 'legs' as name, provider as rail, state::text as kind, count(*) as count, min(since) as since
      from (select provider, state, coalesce(first_sent_at, created_at) as since from leg
             where state = any ('{{{",".join(sorted(LEG_ON_ITS_WAY))}}}'::leg_state[]) limit {COUNT_MAX}) l
     group by provider, state
    union all
    select 'jobs_due', q.provider, q.kind::text, d.count, d.since
      from waiting q cross join moment m cross join lateral (
        select count(*) as count, min(run_at) as since from (
            select run_at from job where kind = q.kind and provider = q.provider and leased_until is null and run_at <= m.now
             order by run_at limit {COUNT_MAX}) j) d
    union all
    select 'jobs_leased', q.provider, q.kind::text, d.count, d.since
      from leased q cross join moment m cross join lateral (
        select count(*) as count, min(leased_until) filter (where leased_until <= m.now) as since from (
            select leased_until from job where kind = q.kind and provider = q.provider and leased_until is not null
             order by leased_until limit {COUNT_MAX}) j) d
    union all
    select 'cases', '', s.state::text, d.count, d.since
      from unnest('{{{",".join(sorted(CANCELLATION_OPEN))}}}'::cancellation_state[]) s(state) cross join lateral (
        select count(*) as count, min(created_at) as since from (
            select created_at from cancellation where state = s.state order by created_at limit {COUNT_MAX}) c) d
    union all
    select 'cases_overdue', '', '', count(*), min(due_at) from (
        select {_DUE_AT} as due_at from cancellation where {_DUE_AT} <= (select now from moment)
         order by {_DUE_AT} limit {COUNT_MAX}) c
    union all
    select 'anomalies_open', '', '', count(*), min(a.created_at)
      from (select scope_id, id, created_at from anomaly
             order by created_at desc nulls last, id desc nulls last limit {ANOMALIES_LOOKED_AT}) a
     where not exists (select from anomaly_step s where s.scope_id = a.scope_id and s.anomaly_id = a.id)
)
select name, rail, kind, count::integer, extract(epoch from m.now - since)::double precision as age from found cross join moment m
"""
