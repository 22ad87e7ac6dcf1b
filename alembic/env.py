"""Runs the migrations, each in a transaction of its own, one migrator at a time.

The database's address, the owner's, comes from `config.attributes["url"]` or from `alembic -x url=…`; libpq's form as asyncpg
reads it. With `--sql` nothing is connected to.
"""

import asyncio
from functools import partial

import asyncpg
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from alembic import context
from workflows.storage.tables import metadata

_LOCK = 0x7265_6675_6E64_7279  # "refundry"
_LOCK_SECONDS_MAX = 300
_LOCK_POLL_SECONDS = 0.1


def _url() -> str:
    url = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True).get("url")
    if not isinstance(url, str) or not url:
        raise CommandError('The database\'s address is missing: use `refundry migrate`, or give `alembic -x url="postgresql://…"`.')
    scheme, _, rest = url.partition("://")
    return f"{scheme.removesuffix('+asyncpg')}://{rest}"


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def _lock(connection: AsyncConnection) -> None:
    """Wait until no other migrator is at work. The lock goes with the connection.

    Asking again and again, since a statement that waits keeps a snapshot, for which a CREATE INDEX CONCURRENTLY would wait in turn.
    """
    try:
        async with asyncio.timeout(_LOCK_SECONDS_MAX):
            while not await connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": _LOCK}):
                await connection.rollback()
                await asyncio.sleep(_LOCK_POLL_SECONDS)
    except TimeoutError as error:
        raise CommandError(f"Another migrator has been at work for {_LOCK_SECONDS_MAX} seconds.") from error
    await connection.commit()  # or the migrations would run inside this transaction, and alembic would not commit them


async def _online(url: str) -> None:
    # asyncpg itself reads the address: several hosts, sslmode and the rest mean what they mean to the service's own pool.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=partial(asyncpg.connect, url), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await _lock(connection)
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(_online(_url()))
