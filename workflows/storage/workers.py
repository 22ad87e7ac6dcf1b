"""The workers' signs of life, and what each says of its rails."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from workflows.domain.rail_states import BreakerState, RailState

_KEPT_FOR = timedelta(hours=1)
_BEAT = """
insert into worker (id, beat_at, rails) values ($1, coalesce($2::timestamptz, clock_timestamp()), $3::jsonb)
on conflict (id) do update set beat_at = excluded.beat_at, rails = excluded.rails
"""
_SWEEP = "delete from worker where beat_at < coalesce($1::timestamptz, clock_timestamp()) - $2::interval"
_ALIVE = """
with moment as (select coalesce($1::timestamptz, clock_timestamp()) as now)
select exists (select from worker, moment where beat_at between now - $2::interval and now + $2::interval)
"""


class _Told(msgspec.Struct):
    state: BreakerState
    since: datetime


async def beat(connection: Any, worker_id: UUID, now: datetime | None, rails: Iterable[RailState]) -> None:
    """Write the sign of life; those of workers long gone are swept away with it. `now`: None for the database's own time."""
    told = {each.name: _Told(each.state, each.since) for each in rails}
    await connection.execute(_BEAT, worker_id, now, msgspec.json.encode(told).decode())
    await connection.execute(_SWEEP, now, _KEPT_FOR)


async def is_any_alive(connection: Any, now: datetime | None, age_max: timedelta) -> bool:
    """Whether a worker gave a sign of life within `age_max`; one in the future is none. `now`: None for the database's own time."""
    return bool(await connection.fetchval(_ALIVE, now, age_max))


async def rail_states(connection: Any, since: datetime) -> list[RailState]:
    """What each worker says that has given a sign of life since then."""
    rows = await connection.fetch("select rails from worker where beat_at >= $1", since)
    told = [msgspec.json.decode(row["rails"], type=dict[str, _Told]) for row in rows]
    return [RailState(name, each.state, each.since) for rails in told for name, each in rails.items()]
