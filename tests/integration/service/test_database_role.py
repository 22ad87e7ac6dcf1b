"""The role that the service runs as: made once, under any name, and with no more rights than the application's."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.database_role import prepare_role
from tests.database import Database
from workflows.storage.app_role import APP_ROLE

ROLE = 'we"ird rôle; --'
FIRST, SECOND = "p'w\"\\d%I$1", "second"


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """Roles are the whole server's: gone afterwards."""
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    yield connection
    for statement in ("drop owned by %I", "drop role %I"):
        await connection.execute(await connection.fetchval("select format($1::text, $2::text)", statement, ROLE))
    await connection.close()


async def connects(database: Database, password: str) -> bool:
    try:
        connection = await asyncpg.connect(database.owner_url, user=ROLE, password=password, ssl=False)
    except asyncpg.InvalidPasswordError:
        return False
    await connection.close()
    return True


async def test_a_role_of_any_name_is_a_member_of_the_applications_and_has_nothing_of_its_own(
    database: Database, owner: asyncpg.Connection
) -> None:
    await prepare_role(owner, ROLE, FIRST)

    rights = await owner.fetchrow("select rolsuper, rolcreatedb, rolcreaterole, rolcanlogin from pg_roles where rolname = $1", ROLE)
    assert tuple(rights) == (False, False, False, True)
    assert await owner.fetchval("select pg_has_role($1, $2, 'member')", ROLE, APP_ROLE)
    connection = await asyncpg.connect(database.owner_url, user=ROLE, password=FIRST, ssl=False)
    assert await connection.fetchval("select count(*) from payment") == 0
    for forbidden in ("create table own (x int)", "create temporary table own (x int)", "alter table payment add column x int"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(forbidden)
    await connection.close()


async def test_a_password_is_changed_only_where_that_is_asked_for(database: Database, owner: asyncpg.Connection) -> None:
    await prepare_role(owner, ROLE, FIRST)
    await prepare_role(owner, ROLE, SECOND)
    kept = [await connects(database, password) for password in (FIRST, SECOND)]
    await prepare_role(owner, ROLE, SECOND, renew_password=True)

    assert kept == [True, False]
    assert [await connects(database, password) for password in (FIRST, SECOND)] == [False, True]


async def test_two_who_prepare_it_at_once_both_succeed(database: Database, owner: asyncpg.Connection) -> None:
    other = await asyncpg.connect(database.owner_url, ssl=False)

    await asyncio.gather(prepare_role(owner, ROLE, FIRST), prepare_role(other, ROLE, FIRST))

    assert await connects(database, FIRST)
    await other.close()
