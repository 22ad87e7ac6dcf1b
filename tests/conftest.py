"""Fixtures for whoever needs a real database."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from tests.database import Cluster, Database
from tests.database import cluster as running_cluster

Pool = Any  # asyncpg ships no types
Connection = Any


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL for the whole run, started when the first test asks. For databases that outlive a test, see its methods."""
    with running_cluster() as started:
        yield started


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[Database]:
    """A migrated database of the test's own; commits are real."""
    async with cluster.clone() as cloned:
        yield cloned


@pytest.fixture
async def empty_database(cluster: Cluster) -> AsyncIterator[Database]:
    """A database without tables."""
    async with cluster.empty() as created:
        yield created


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """Connections as the service has them: as the application's role, without codecs."""
    async with asyncpg.create_pool(database.app_url, min_size=1, max_size=8, ssl=False) as created:
        yield created


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    """A connection as the owner of the tables."""
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    yield connection
    await connection.close()
