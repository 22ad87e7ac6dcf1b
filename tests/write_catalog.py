"""Writes workflows/storage/catalog.json anew, from a database that was just migrated: `make catalog`."""

import asyncio

import asyncpg

from tests.database import cluster
from workflows.storage.catalog import FILE, Catalog, catalog_text, read_catalog
from workflows.storage.views import unchanging


async def fresh_catalog(url: str) -> Catalog:
    connection = await asyncpg.connect(url, ssl=False)
    try:
        async with unchanging(connection) as reading:
            return await read_catalog(reading)
    finally:
        await connection.close()


def main() -> None:
    with cluster() as started:
        catalog = asyncio.run(fresh_catalog(started.server.owner_url("template_migrated")))
    FILE.write_text(catalog_text(catalog), encoding="utf-8")


if __name__ == "__main__":
    main()
