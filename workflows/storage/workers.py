"""The workers' signs of life, and what each says of its rails."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from workflows.domain.rail_states import BreakerState, RailState

_KEPT_FOR = timedelta(hours=1)
_BEAT = """
insert into worker (id, beat_at, rails) values ($1, $2, $3::jsonb)
on conflict (id) do update set beat_at = excluded.beat_at, rails = excluded.rails
"""


class _Told(msgspec.Struct):
    state: BreakerState
    since: datetime


async def beat(connection: Any, worker_id: UUID, now: datetime, rails: Iterable[RailState]) -> None:
    """Write the sign of life; those of workers long gone are swept away with it."""
    told = {each.name: _Told(each.state, each.since) for each in rails}
    await connection.execute(_BEAT, worker_id, now, msgspec.json.encode(told).decode())
    await connection.execute("delete from worker where beat_at < $1", now - _KEPT_FOR)


async def last_beat(connection: Any) -> datetime | None:
    at: datetime | None = await connection.fetchval("select max(beat_at) from worker")
    return at


async def rail_states(connection: Any, since: datetime) -> list[RailState]:
    """What each worker says that has given a sign of life since then."""
    rows = await connection.fetch("select rails from worker where beat_at >= $1", since)
    told = [msgspec.json.decode(row["rails"], type=dict[str, _Told]) for row in rows]
    return [RailState(name, each.state, each.since) for rails in told for name, each in rails.items()]
