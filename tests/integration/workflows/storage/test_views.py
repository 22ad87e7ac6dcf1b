"""One unchanging view: what is committed meanwhile is not seen, and nothing can be written."""

from typing import Any

import asyncpg
import pytest

from tests.database import Database
from workflows.clock_and_ids import new_id
from workflows.storage.views import Source, unchanging

COUNT = "select count(*) from worker"


async def write(owner: Any) -> None:
    await owner.execute("insert into worker (id, beat_at) values ($1, now())", new_id())


async def assert_unchanging(source: Source, owner: Any) -> None:
    async with unchanging(source) as reading:
        before = await reading.fetchval(COUNT)
        await write(owner)
        assert await reading.fetchval(COUNT) == before
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await reading.execute("delete from worker")
    async with unchanging(source) as reading:
        assert await reading.fetchval(COUNT) == before + 1


async def test_it_is_one_for_connections_a_pool_and_a_connection(pool: Any, owner: Any, database: Database) -> None:
    await assert_unchanging(pool, owner)
    async with asyncpg.create_pool(database.app_url, ssl=False, min_size=1, max_size=1) as asyncpgs:
        await assert_unchanging(asyncpgs, owner)
    connection = await asyncpg.connect(database.app_url, ssl=False)
    try:
        await assert_unchanging(connection, owner)
    finally:
        await connection.close()


async def test_a_connection_comes_back_as_it_was(pool: Any, owner: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with unchanging(pool):
            raise ZeroDivisionError

    await pool.execute("delete from worker")  # by the same connection, which may write again
    await write(owner)
    assert await pool.fetchval(COUNT) == 1
