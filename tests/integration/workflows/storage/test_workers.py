"""Workers' signs of life, and what each says of its rails."""

from datetime import timedelta
from typing import Any

from tests.factories import HOUR, MINUTE, NOW
from workflows.clock_and_ids import new_id
from workflows.domain.rail_states import BreakerState, RailState
from workflows.storage.workers import beat, is_any_alive, rail_states

SECOND = timedelta(seconds=1)


async def test_a_sign_of_life_counts_for_its_age_and_one_in_the_future_no_longer(pool: Any) -> None:
    assert not await is_any_alive(pool, NOW, MINUTE)
    await beat(pool, new_id(), NOW, ())

    ages = (-2 * MINUTE, -MINUTE, 0 * MINUTE, MINUTE, MINUTE + SECOND)
    assert [await is_any_alive(pool, NOW + age, MINUTE) for age in ages] == [False, True, True, True, False]


async def test_without_a_moment_the_databases_own_counts(pool: Any) -> None:
    await beat(pool, new_id(), None, ())

    assert await is_any_alive(pool, None, MINUTE)
    await pool.execute("update worker set beat_at = clock_timestamp() - interval '2 minutes'")
    assert not await is_any_alive(pool, None, MINUTE)


async def test_a_worker_has_one_row_and_those_long_gone_have_none(pool: Any) -> None:
    worker, gone, late = new_id(), new_id(), new_id()
    await beat(pool, gone, NOW - HOUR - SECOND, ())
    await beat(pool, late, NOW - HOUR, ())
    await beat(pool, worker, NOW - SECOND, ())
    await beat(pool, worker, NOW, ())

    assert {row["id"] for row in await pool.fetch("select id from worker")} == {worker, late}
    assert await pool.fetchval("select beat_at from worker where id = $1", worker) == NOW


async def test_each_worker_tells_what_it_last_saw_of_its_rails(pool: Any) -> None:
    worker, late = new_id(), new_id()
    closed = RailState("sandbox", BreakerState.closed, NOW - HOUR)
    opened = RailState("sandbox", BreakerState.open, NOW)
    other = RailState("other", BreakerState.half_open, NOW - MINUTE)
    await beat(pool, late, NOW - MINUTE, [closed])
    await beat(pool, worker, NOW - SECOND, [closed])
    await beat(pool, worker, NOW, [opened, other])

    assert await rail_states(pool, NOW + SECOND) == []
    assert sorted(await rail_states(pool, NOW), key=lambda one: one.name) == [other, opened]
    assert sorted(await rail_states(pool, NOW - MINUTE), key=lambda one: (one.name, one.since)) == [other, closed, opened]
