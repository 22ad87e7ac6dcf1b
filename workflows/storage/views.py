"""One unchanging view of the database, for those who read more of it than one statement can."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from workflows.storage.connections import Connections

ROLLBACK_SECONDS_MAX = 5.0
Source: TypeAlias = "asyncpg.Pool | Connections | asyncpg.Connection"


@asynccontextmanager
async def unchanging(source: Source) -> AsyncIterator[asyncpg.Connection]:
    """A connection inside a read-only transaction: everything is seen as it stood when it was first looked at."""
    if isinstance(source, asyncpg.Pool | Connections):
        async with source.acquire() as connection, unchanging(connection):
            yield connection
    else:
        transaction = source.transaction(isolation="repeatable_read", readonly=True)
        await transaction.start()
        try:
            yield source
        except BaseException:
            await _roll_back(transaction, source)
            raise
        await transaction.commit()


async def _roll_back(transaction: Any, connection: asyncpg.Connection) -> None:
    """Where PostgreSQL does not answer, the connection is ended: nothing was written, and its place is somebody else's.

    asyncpg first waits for the end of what was cancelled before, without a limit: for ever, where the line is dead.
    """
    if connection.is_closed():  # by whoever left a copy
        return
    try:
        async with asyncio.timeout(ROLLBACK_SECONDS_MAX):
            await transaction.rollback()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        connection.terminate()
