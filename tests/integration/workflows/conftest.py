"""The core over a database of a test's own, and a database in which everything has happened that the core knows."""

from collections.abc import AsyncIterator

import pytest

from tests.database import Cluster, Database
from tests.harness import ScriptedCore, scripted_core
from tests.integration.workflows.populated import populate


@pytest.fixture
async def core(database: Database) -> AsyncIterator[ScriptedCore]:
    async with scripted_core(database.app_url) as one:
        yield one


@pytest.fixture(scope="session")
async def populated(cluster: Cluster) -> AsyncIterator[Database]:
    """A database from which others are copied; nobody is connected to it."""
    async with cluster.clone() as made:
        async with scripted_core(made.app_url) as core:
            await populate(core)
        yield made


@pytest.fixture
async def copy(cluster: Cluster, populated: Database) -> AsyncIterator[Database]:
    async with cluster.clone(populated.name) as made:
        yield made
