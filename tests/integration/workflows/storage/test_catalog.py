"""The schema that `refundry check` compares with is that of a database which was just migrated."""

from typing import Any

import pytest

from tests.database import Database
from tests.write_catalog import fresh_catalog
from workflows.storage.catalog import FILE, catalog_differences, catalog_text, wanted_catalog


async def test_the_file_holds_what_the_migrations_make(database: Database) -> None:
    fresh = await fresh_catalog(database.owner_url)

    assert catalog_text(fresh) == FILE.read_text(encoding="utf-8"), "run `make catalog`, and look at what changed"


async def test_what_an_extension_brings_along_is_its_own(owner: Any, database: Database) -> None:
    """Functions, types and a domain, all of them in `public`."""
    await owner.execute("create extension earthdistance cascade; create extension citext")

    assert list(catalog_differences(await fresh_catalog(database.app_url), wanted_catalog())) == []


@pytest.mark.parametrize(("unique", "found"), [("", []), ("unique", ["index mine"])])
async def test_an_index_of_ones_own_is_nobodys_harm_unless_it_refuses_rows(
    owner: Any, database: Database, unique: str, found: list[str]
) -> None:
    await owner.execute(f"create {unique} index mine on payment (reference, wallet_id)")

    lines = list(catalog_differences(await fresh_catalog(database.app_url), wanted_catalog()))

    assert [line.partition(" do=")[0] for line in lines] == found
