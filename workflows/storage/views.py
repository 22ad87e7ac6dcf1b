"""One unchanging view of the database, for those who read more of it than one statement can."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

from workflows.storage.connections import Connections

Source: TypeAlias = "asyncpg.Pool | Connections | asyncpg.Connection"


@asynccontextmanager
async def unchanging(source: Source) -> AsyncIterator[asyncpg.Connection]:
    """A connection inside a read-only transaction: everything is seen as it stood when it was first looked at."""
    if isinstance(source, asyncpg.Pool | Connections):
        async with source.acquire() as connection, unchanging(connection):
            yield connection
    else:
        async with source.transaction(isolation="repeatable_read", readonly=True):
            yield source
