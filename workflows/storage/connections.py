"""Connections to PostgreSQL: as many as are needed at once, the last used first.

asyncpg's own pool costs some 100 µs a statement (a holder, a proxy, a reset). Here a connection is taken off a stack and put back, which
costs a quarter of that; nothing has to be reset, since nothing is ever set on one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

Connect = Callable[[], Awaitable[Any]]  # an asyncpg connection


class Connections:
    """At most `size` connections, each used by one at a time. What waits for one is served in its order.

    A statement that PostgreSQL refuses leaves its connection as it was. After anything else (a time-out, a cancelled task, a broken
    connection) nobody knows what is still on its way: the connection is ended, and the next statement gets another.
    """

    def __init__(self, connect: Connect, size: int) -> None:
        self._connect = connect
        self._size = size
        self._free = asyncio.Semaphore(size)
        self._idle: list[Any] = []

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection for more than one statement."""
        async with self._free:
            connection = await self._take()
            try:
                yield connection
            except asyncpg.PostgresError:
                self._give_back(connection)
                raise
            except BaseException:
                connection.terminate()
                raise
            self._give_back(connection)

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        return await self._one("fetchrow", query, arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        return await self._one("fetchval", query, arguments)

    async def fetch(self, query: str, *arguments: Any) -> Any:
        return await self._one("fetch", query, arguments)

    async def execute(self, query: str, *arguments: Any) -> Any:
        return await self._one("execute", query, arguments)

    async def _one(self, method: str, query: str, arguments: tuple[Any, ...]) -> Any:
        """As `acquire`, without the cost of a context manager for each statement."""
        async with self._free:
            connection = await self._take()
            try:
                result = await getattr(connection, method)(query, *arguments)
            except asyncpg.PostgresError:
                self._give_back(connection)
                raise
            except BaseException:
                connection.terminate()
                raise
            self._give_back(connection)
            return result

    async def close(self) -> None:
        """Wait for those in use, then end all."""
        for _ in range(self._size):
            await self._free.acquire()
        while self._idle:
            await self._idle.pop().close()

    def terminate(self) -> None:
        """End those that nobody uses, at once."""
        while self._idle:
            self._idle.pop().terminate()

    async def _take(self) -> Any:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    def _give_back(self, connection: Any) -> None:
        if connection.is_closed():
            return
        if connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)
