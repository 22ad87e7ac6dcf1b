"""Connections to PostgreSQL: as many as are needed at once, the last used first.

asyncpg's own pool costs some 100 µs a statement (a holder, a proxy, a reset). Here a connection is taken off a stack and put back, which
costs a quarter of that; nothing has to be reset, since nothing is ever set on one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from workflows.domain.errors import Overloaded

Connect = Callable[[], Awaitable[Any]]  # an asyncpg connection
END_SECONDS_MAX = 5.0
_FULL_RETRY_SECONDS = 10


class Connections:
    """At most `size` connections, each used by one at a time. What waits for one is served in its order; where nobody `waits`, Overloaded
    is raised instead.

    A statement that PostgreSQL refuses leaves its connection as it was. After anything else (a time-out, a cancelled task, a broken
    connection, a fault within PostgreSQL or of its knowledge of our types) the connection is ended, and the next statement gets another.
    Its place is free once PostgreSQL has been told to cancel what may still be running: there are never more than `size` on the server.
    """

    def __init__(self, connect: Connect, size: int, *, waits: bool = True) -> None:
        self._connect = connect
        self._size = size
        self._waits = waits
        self._free = asyncio.Semaphore(size)
        self._idle: list[Any] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self.disk_full_at: float | None = None  # by the event loop's clock: when PostgreSQL last had no space for something

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection for more than one statement."""
        connection = await self._take()
        try:
            yield connection
        except BaseException as fault:
            self._after(fault, connection)
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
        connection = await self._take()
        try:
            result = await getattr(connection, method)(query, *arguments)
        except BaseException as fault:
            self._after(fault, connection)
            raise
        self._give_back(connection)
        return result

    async def close(self) -> None:
        """Wait for those in use, then end all. Whoever asks for one afterwards gets an InterfaceError."""
        self._closed = True
        for _ in range(self._size):
            await self._free.acquire()
        while self._idle:
            await self._idle.pop().close()
        for _ in range(self._size):
            self._free.release()

    def terminate(self) -> None:
        """End those that nobody uses, at once, and the others as soon as they are given back."""
        self._closed = True
        while self._idle:
            self._idle.pop().terminate()

    async def _take(self) -> Any:
        if not self._waits and self._free.locked():
            raise Overloaded(_FULL_RETRY_SECONDS)
        await self._free.acquire()
        try:
            if self._closed:
                raise asyncpg.InterfaceError("these connections are closed")
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    return connection
            return await self._connect()
        except BaseException:
            self._free.release()
            raise

    def _after(self, fault: BaseException, connection: Any) -> None:
        if isinstance(fault, asyncpg.DiskFullError):
            self.disk_full_at = asyncio.get_running_loop().time()
        self._end_or_keep(fault, connection)

    def _end_or_keep(self, fault: BaseException, connection: Any) -> None:
        """PostgreSQL's own answer leaves the connection as it was, but for XX000: then its ids of our types may be gone for good."""
        if isinstance(fault, asyncpg.PostgresError) and not isinstance(fault, asyncpg.InternalServerError):
            self._give_back(connection)
        else:
            self._end_soon(connection)

    def _give_back(self, connection: Any) -> None:
        if connection.is_closed():  # and knows nothing of transactions any more
            self._free.release()
        elif connection.is_in_transaction() or self._closed:
            self._end_soon(connection)
        else:
            self._idle.append(connection)
            self._free.release()

    def _end_soon(self, connection: Any) -> None:
        """In a task of its own, since whoever used it is being cancelled."""
        ending = asyncio.ensure_future(self._end(connection))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _end(self, connection: Any) -> None:
        try:
            # Waits until PostgreSQL was asked to cancel what is still running; `terminate` alone would leave it running there.
            await connection.close(timeout=END_SECONDS_MAX)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            connection.terminate()
        finally:
            self._free.release()
