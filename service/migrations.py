"""Brings a database's schema to the newest version, and says whether it is there."""

import asyncio
from functools import cache
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import asyncpg
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from alembic import command
from service.calendars import calendar
from service.database_role import prepare_role
from service.database_start import SchemaUnusable
from service.shipped_policies import default_policy
from workflows.clock_and_ids import new_id, utc_now
from workflows.storage.policies import publish_first

_SCRIPTS = Path(__file__).resolve().parent.parent / "alembic"


class Fetching(Protocol):
    """What is asked of an asyncpg connection or pool."""

    async def fetchval(self, query: str, /, *arguments: object) -> object: ...


def upgrade(owner_url: str, app_url: str | None = None) -> None:
    """Migrate to head, and give a new database its first policy.

    Where the service runs as another role than the owner, that role is prepared first.

    Synchronous, and needs a thread without a running loop: alembic's environment runs one of its own, and takes the lock that
    lets two migrators go one after the other. Raises SchemaUnusable, and what a database raises that is not reached.
    """
    application = urlsplit(app_url or owner_url)
    if application.username and application.username != urlsplit(owner_url).username:
        asyncio.run(_prepare(owner_url, unquote(application.username), unquote(application.password or "")))
    try:
        command.upgrade(_config(owner_url), "head")
    except CommandError as error:
        raise SchemaUnusable(
            f"The database's schema cannot be brought to version {head()}: {error}. Where a newer release has migrated it, run that one."
        ) from error
    except DBAPIError as error:
        raise SchemaUnusable(
            f"A migration of the database's schema failed, and those before it stand: {error.orig}. Mend that, then migrate again."
        ) from error
    asyncio.run(_publish(owner_url))


@cache
def head() -> str:
    """The revision that this program's code wants."""
    revision = ScriptDirectory.from_config(_config("")).get_current_head()
    if revision is None:
        raise LookupError(f"no migrations in {_SCRIPTS}")
    return revision


async def at_head(connection: Fetching) -> bool:
    """Whether the database has the schema that this code wants. The connection must reach PostgreSQL; its errors pass through."""
    if await connection.fetchval("select to_regclass('public.alembic_version')::text") is None:
        return False
    return await connection.fetchval("select version_num from public.alembic_version") == head()


async def _prepare(owner_url: str, role: str, password: str) -> None:
    connection = await asyncpg.connect(owner_url)
    try:
        await prepare_role(connection, role, password)
    finally:
        await connection.close()


async def _publish(owner_url: str) -> None:
    connection = await asyncpg.connect(owner_url)
    try:
        await publish_first(connection, default_policy(), now=utc_now(), new_id=new_id, library=calendar)
    finally:
        await connection.close()


def _config(owner_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = owner_url
    return config
