"""Why nothing can be started on a database: it is not reached, or its schema cannot be brought to this version."""

import asyncpg

CONNECT_SECONDS_MAX = 10


class SchemaUnusable(Exception):
    """The schema cannot be brought to this version; the text says why, and what to do."""


async def require_reachable(*urls: str) -> None:
    """Connect to each of these databases that has an address, once. Raises what asyncpg raises, OSError, TimeoutError."""
    for url in filter(None, urls):
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS_MAX)
        await connection.close()
