"""Before anything is started: each database that has an address is reached, or why not is raised."""

import asyncpg
import pytest

from service.database_start import require_reachable
from tests.database import Database

NOWHERE = "postgresql://u:p@127.0.0.1:1/d"


async def test_each_address_is_tried_and_those_that_are_not_set_are_passed_over(database: Database) -> None:
    await require_reachable("")
    await require_reachable(database.app_url, "")

    for urls in ((NOWHERE,), (database.app_url, NOWHERE)):
        with pytest.raises(OSError, match=r"127\.0\.0\.1"):
            await require_reachable(*urls)


async def test_a_wrong_password_and_a_database_that_is_not_there_are_told_apart(database: Database) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await require_reachable(database.app_url.replace("@", "x@"))
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await require_reachable(database.app_url.replace(f"/{database.name}", "/absent"))
