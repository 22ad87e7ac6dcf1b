"""One unchanging view: what is committed meanwhile is not seen, nothing can be written, and it is left in a bounded time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import pytest

from tests.database import Cluster, Database
from workflows.clock_and_ids import new_id
from workflows.storage import views
from workflows.storage.connections import Connections
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


class Line:
    """A line to PostgreSQL that may go dead: what either side says is then lost, and nobody is told."""

    def __init__(self) -> None:
        self.dead = False
        self.port = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(65_536):
            if not self.dead:
                writer.write(said)
        writer.close()


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    line = Line()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(line.carry(reader, to_there), line.carry(there, writer), return_exceptions=True)

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    yield line
    server.close()


async def test_who_leaves_while_the_database_says_nothing_ends_the_connection(
    database: Database, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "ROLLBACK_SECONDS_MAX", 0.2)
    async with line_to(cluster.server.port) as line, asyncio.timeout(60):  # only bounds a hang
        connection = await asyncpg.connect(database.app_url, host="127.0.0.1", port=line.port, ssl=False)

        async def leave() -> None:
            async with unchanging(connection):
                line.dead = True
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await leave()

    assert connection.is_closed()


async def test_a_connection_that_postgresql_has_ended_gives_its_place_back(database: Database) -> None:
    connections = Connections(partial(asyncpg.connect, database.app_url, ssl=False), 1)

    async def read_on() -> None:
        async with unchanging(connections) as reading:
            await reading.execute("select pg_terminate_backend(pg_backend_pid()); select pg_sleep(60)")

    async with asyncio.timeout(60):  # only bounds a hang
        with pytest.raises(asyncpg.PostgresError):
            await read_on()
        assert await connections.fetchval("select 1") == 1
        await connections.close()
