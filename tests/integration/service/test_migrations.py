"""`refundry migrate`: to head, and with a role that may use the tables but not change them."""

import subprocess
import sys

import asyncpg
import pytest

from service import migrations
from service.settings import environment_for_child
from tests.database import Database

pytestmark = pytest.mark.slow


def migrate(owner_url: str, app_url: str) -> subprocess.CompletedProcess[str]:
    environment = environment_for_child({"database_url": app_url, "database_owner_url": owner_url})
    return subprocess.run([sys.executable, "-P", "-m", "service", "migrate"], capture_output=True, text=True, check=False, env=environment)


async def test_an_empty_database_comes_to_head_and_a_second_time_changes_nothing(empty_database: Database) -> None:
    connection = await asyncpg.connect(empty_database.owner_url, ssl=False)
    before = await migrations.at_head(connection)

    first = migrate(empty_database.owner_url, empty_database.app_url)
    second = migrate(empty_database.owner_url, empty_database.app_url)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert not before
    assert await migrations.at_head(connection)
    await connection.close()


async def test_the_services_role_reads_and_writes_but_does_not_own(empty_database: Database) -> None:
    done = migrate(empty_database.owner_url, empty_database.app_url)
    connection = await asyncpg.connect(empty_database.app_url, ssl=False)

    assert done.returncode == 0, done.stderr
    assert await connection.fetchval("select count(*) from payment") == 0
    for forbidden in ("alter table payment add column x int", "create table own (x int)", "create temporary table own (x int)"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(forbidden)
    await connection.close()


async def test_an_older_schema_is_not_at_head(database: Database) -> None:
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    assert await migrations.at_head(connection)

    await connection.execute("update alembic_version set version_num = 'older'")

    assert not await migrations.at_head(connection)
    await connection.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("update alembic_version set version_num = '9999'", "Can't locate revision identified by '9999'"),
        ("update alembic_version set version_num = '0024'", "A migration of the database's schema failed"),
    ],
)
async def test_a_schema_that_does_not_fit_is_told_without_a_traceback(database: Database, spoil: str, said: str) -> None:
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    await connection.execute(spoil)
    await connection.close()

    done = migrate(database.owner_url, database.app_url)

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, "one sentence"


def test_no_server_says_so_without_a_traceback() -> None:
    nowhere = "postgresql://u:hunter2@127.0.0.1:1/d"

    done = migrate(nowhere, nowhere)

    assert done.returncode == 1
    assert "The database cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr
