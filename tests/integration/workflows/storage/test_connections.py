"""Connections are shared by one at a time, come back whole, and are ended where nobody knows what they are at."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.database import Database
from workflows.storage.connections import Connections


class Counted:
    """Counts the connections that were made."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.made: list[asyncpg.Connection] = []

    async def __call__(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(self.url, ssl=False)
        self.made.append(connection)
        return connection


@pytest_asyncio.fixture
async def counted(database: Database) -> AsyncIterator[Counted]:
    made = Counted(database.app_url)
    yield made
    for connection in made.made:
        connection.terminate()


async def test_one_after_the_other_shares_one_connection(counted: Counted) -> None:
    connections = Connections(counted, 3)

    found = [await connections.fetchval("select $1::integer", number) for number in range(5)]

    assert (found, len(counted.made)) == ([0, 1, 2, 3, 4], 1)
    assert (await connections.fetchrow("select 1 as one"))["one"] == (await connections.fetch("select 1"))[0][0] == 1


async def test_no_more_than_its_size_and_everybody_is_served(counted: Counted) -> None:
    connections = Connections(counted, 2)

    found = await asyncio.gather(*(connections.fetchval("select $1::integer from pg_sleep(0.001)", number) for number in range(20)))

    assert (found, len(counted.made)) == (list(range(20)), 2)


async def test_a_refused_statement_leaves_its_connection(counted: Counted) -> None:
    connections = Connections(counted, 1)

    for _ in range(2):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connections.fetchval("select 1 / 0")
    async with connections.acquire() as connection:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.execute("select 1 / 0")

    assert (await connections.fetchval("select 1"), len(counted.made)) == (1, 1)


async def test_a_cancelled_statement_ends_in_postgresql_too_before_its_place_is_free(counted: Counted) -> None:
    connections = Connections(counted, 1)
    waiting = asyncio.create_task(connections.fetchval("select pg_sleep(60)"))
    while not await _sleeping(counted):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    # Nothing but the place of the one that was ended could serve this.
    assert await connections.fetchval("select count(*) from pg_stat_activity where query = 'select pg_sleep(60)'") == 0
    assert [connection.is_closed() for connection in counted.made] == [True, False]


async def test_statements_that_wait_for_a_lock_and_are_given_up_leave_no_backends(counted: Counted, owner: asyncpg.Connection) -> None:
    connections = Connections(counted, 2)
    async with owner.transaction():
        await owner.execute("lock table payment")
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await connections.fetchval("select count(*) from payment")
        while connections._ending:
            await asyncio.sleep(0)
        assert await owner.fetchval("select count(*) from pg_locks where not granted and database is not null") == 0

    assert await connections.fetchval("select count(*) from payment") == 0
    assert len([connection for connection in counted.made if not connection.is_closed()]) == 1


async def test_after_an_internal_error_another_connection_serves(counted: Counted, owner: asyncpg.Connection) -> None:
    """`cache lookup failed for type …`: what a prepared statement says for ever once its type was made anew."""
    connections = Connections(counted, 1)
    await owner.execute("create type made_anew as enum ('a'); grant usage on type made_anew to public")
    assert await connections.fetchval("select $1::made_anew", "a") == "a"
    await owner.execute("drop type made_anew; create type made_anew as enum ('a')")
    for _ in range(2):
        try:
            assert await connections.fetchval("select $1::made_anew", "a") == "a"
        except asyncpg.InternalServerError:
            continue

    assert await connections.fetchval("select $1::made_anew", "a") == "a"


async def test_a_connection_that_was_left_in_a_transaction_is_ended(counted: Counted) -> None:
    connections = Connections(counted, 1)
    async with connections.acquire() as connection:
        await connection.execute("begin")

    async with connections.acquire() as connection:
        assert not connection.is_in_transaction()
    assert len(counted.made) == 2


async def test_after_a_fault_of_the_callers_its_connection_is_ended(counted: Counted) -> None:
    connections = Connections(counted, 1)
    with pytest.raises(KeyError):
        async with connections.acquire():
            raise KeyError

    assert (await connections.fetchval("select 1"), counted.made[0].is_closed()) == (1, True)


async def test_a_connection_that_broke_while_nobody_used_it_is_passed_over(counted: Counted) -> None:
    connections = Connections(counted, 1)
    await connections.fetchval("select 1")
    await counted.made[0].close()

    assert (await connections.fetchval("select 2"), len(counted.made)) == (2, 2)


async def test_closing_waits_for_the_connection_in_use(counted: Counted) -> None:
    connections = Connections(counted, 2)
    async with connections.acquire() as connection:
        closing = asyncio.create_task(connections.close())
        await asyncio.sleep(0)
        assert await connection.fetchval("select 1") == 1
        assert not closing.done()
    await closing

    assert all(connection.is_closed() for connection in counted.made)


async def test_nobody_gets_a_connection_once_they_are_closed(counted: Counted) -> None:
    connections = Connections(counted, 1)
    await connections.fetchval("select 1")
    await connections.close()

    with pytest.raises(asyncpg.InterfaceError, match="closed"):
        await connections.fetchval("select 1")
    await connections.close()


async def test_a_connection_in_use_is_ended_when_it_comes_back_to_closed_ones(counted: Counted) -> None:
    connections = Connections(counted, 1)
    async with connections.acquire() as connection:
        connections.terminate()
        assert await connection.fetchval("select 1") == 1
    while connections._ending:
        await asyncio.sleep(0)

    assert connection.is_closed()


async def test_a_connection_that_cannot_be_made_leaves_its_place_free() -> None:
    async def refused() -> asyncpg.Connection:
        raise OSError("nobody is there")

    connections = Connections(refused, 1)
    for _ in range(3):
        with pytest.raises(OSError, match="nobody is there"):
            await connections.fetchval("select 1")


async def _sleeping(counted: Counted) -> bool:
    other = await asyncpg.connect(counted.url, ssl=False)
    try:
        return bool(await other.fetchval("select true from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'"))
    finally:
        await other.close()
