"""One clock for all machines: set by the database's, run on by the monotonic clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.factories import HOUR, NOW
from workflows.storage.clock import ASKED_TIMES, DatabaseClock


async def test_the_databases_clock_needs_no_time_of_day_of_ours(pool: Any) -> None:
    ticks = [1_000.0]
    clock = DatabaseClock(pool, monotonic=lambda: ticks[0])
    with pytest.raises(RuntimeError):
        clock()
    before: datetime = await pool.fetchval("select clock_timestamp()")
    await clock.set_again()
    after: datetime = await pool.fetchval("select clock_timestamp()")

    first = clock()
    assert before <= first <= after
    assert first.utcoffset() == timedelta(0)
    ticks[0] += 60
    assert clock() == first + timedelta(minutes=1)


class Told:
    """A database whose clock tells these moments."""

    def __init__(self, *moments: datetime) -> None:
        self._moments = iter(moments)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["Told"]:
        yield self

    async def fetchval(self, _: str) -> datetime:
        return next(self._moments)


async def test_the_answer_with_the_shortest_way_counts_and_was_told_halfway() -> None:
    ways = (10.0, 2.0, 6.0)  # seconds there and back
    ticks = [at for start, way in zip((100, 200, 300), ways, strict=True) for at in (float(start), start + way)]
    wrong = NOW - HOUR
    clock = DatabaseClock(Told(wrong, NOW, wrong), monotonic=iter([*ticks, 201.0, 211.0]).__next__)
    assert len(ways) == ASKED_TIMES

    await clock.set_again()

    assert clock() == NOW
    assert clock() == NOW + timedelta(seconds=10)


async def test_it_follows_the_database_back_too() -> None:
    clock = DatabaseClock(Told(*[NOW] * ASKED_TIMES, *[NOW - HOUR] * ASKED_TIMES), monotonic=lambda: 5.0)

    await clock.set_again()
    assert clock() == NOW
    await clock.set_again()
    assert clock() == NOW - HOUR
