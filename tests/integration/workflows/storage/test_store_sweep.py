"""Kept replies go after thirty days, as fast as they came, and no sweeper stands in another's way."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.database import Database
from workflows.storage.store import Store

pytestmark = pytest.mark.slow

Pool = Any  # asyncpg ships no types
Connection = Any

NOW = datetime(2026, 11, 2, tzinfo=UTC)
EDGE = NOW - timedelta(days=30)


async def keep(owner: Connection, count: int, *, newest: datetime) -> None:
    """Replies a millisecond apart, in another order than they lie in."""
    await owner.execute(
        "insert into kept_reply select gen_random_uuid(), 'c', 'k' || n, 'f', 200, '{}'::bytea, '{}',"
        " $2::timestamptz - (n * 7919 % $1) * interval '1 millisecond' from generate_series(0, $1 - 1) n",
        count,
        newest,
    )
    await owner.execute("analyze kept_reply")


async def left(owner: Connection) -> int:
    return int(await owner.fetchval("select count(*) from kept_reply"))


async def test_a_hundred_thousand_old_replies_go_in_one_pass_and_newer_ones_stay(owner: Connection, pool: Pool) -> None:
    await keep(owner, 100_000, newest=EDGE - timedelta(microseconds=1))
    await keep(owner, 3, newest=EDGE + timedelta(milliseconds=2))

    swept = await Store(pool).sweep_replies(NOW, share=timedelta(minutes=5))

    assert swept == 100_000
    assert await owner.fetchval("select min(created_at) from kept_reply") == EDGE
    assert await left(owner) == 3


async def test_replies_of_one_moment_go_together(owner: Connection, pool: Pool) -> None:
    await keep(owner, 5_000, newest=EDGE - timedelta(days=1))
    await owner.execute("create temp table same as select * from kept_reply")
    await owner.execute("delete from kept_reply")
    await owner.execute("update same set created_at = $1", EDGE - timedelta(days=1))
    await owner.execute("insert into kept_reply select * from same")

    assert await Store(pool).sweep_replies(NOW) == 5_000
    assert await left(owner) == 0


async def test_a_pass_ends_with_its_share_of_time(owner: Connection, pool: Pool) -> None:
    await keep(owner, 5_000, newest=EDGE - timedelta(days=1))

    assert await Store(pool).sweep_replies(NOW, share=timedelta(0)) == 2_000
    assert await left(owner) == 3_000


async def test_a_sweeper_goes_away_where_another_is_at_work(owner: Connection, pool: Pool, database: Database) -> None:
    await keep(owner, 5_000, newest=EDGE - timedelta(days=1))
    other = await asyncpg.connect(database.app_url, ssl=False)
    try:
        async with other.transaction():
            began = await Store(other).sweep_replies(NOW, share=timedelta(0))
            met = await asyncio.wait_for(Store(pool).sweep_replies(NOW), 30)  # would wait for the other's rows for ever
    finally:
        await other.close()

    assert (began, met) == (2_000, 0)
    assert await Store(pool).sweep_replies(NOW) == 3_000


async def test_many_sweepers_at_once_take_all_and_nothing_twice(owner: Connection, pool: Pool) -> None:
    await keep(owner, 20_000, newest=EDGE - timedelta(days=1))

    swept = await asyncio.gather(*(Store(pool).sweep_replies(NOW) for _ in range(4)))

    assert sum(swept) + await Store(pool).sweep_replies(NOW) == 20_000
    assert await left(owner) == 0


async def test_the_replies_are_found_by_their_age(owner: Connection) -> None:
    """However little of the table is old."""
    await keep(owner, 50_000, newest=NOW)

    plan = await owner.fetch(
        "explain select ctid from kept_reply where created_at >= $1 and created_at < $2 order by created_at limit 9", EDGE, EDGE
    )

    assert "kept_reply_oldest" in str(plan)
