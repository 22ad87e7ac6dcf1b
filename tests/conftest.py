"""Fixtures for whoever needs a real database; the order of the tests, and which of them `make test-fast` leaves out."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from service import wiring
from tests.database import Cluster, Database
from tests.database import cluster as running_cluster

Pool = Any  # asyncpg ships no types
Connection = Any

# The same examples at every run, and however busy the machine: neither chance nor time decides a test.
settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# Begun first, so that no worker still has one of these to do when the other has ended.
LONGEST = (
    "tests/crash/test_up_killed.py",
    "tests/crash/test_steps.py",
    "tests/crash/test_decision_races.py",
    "tests/crash/test_recovery_steps.py",
    "tests/crash/test_exactly_once.py",
    "tests/crash/test_agent_races.py",
    "tests/crash/test_decision_steps.py",
    "tests/crash/test_frozen.py",
    "tests/crash/test_worker_hindered.py",
    "tests/crash/lifecycle/test_lifecycle.py",
    "tests/api/test_schema.py",
    "tests/test_up.py",
    "tests/test_embedded.py",
    "tests/storage/test_check.py",
)
# Kills, programs that are started, and what takes its time.
SLOW = (
    "tests/api/test_schema.py",
    "tests/crash/",
    "tests/storage/test_list_plans.py",
    "tests/storage/test_schema.py",
    "tests/terminal/test_demo.py::test_the_tour",
    "tests/test_embedded.py",
    "tests/test_migrate.py",
    "tests/test_settings.py::test_every_command_has_help",
    "tests/test_up.py",
)
SLOW_FIXTURES = frozenset({"shared_rail", "own_rail"})  # a rail in a process of its own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and put the longest files first."""
    for item in items:
        if item.nodeid.startswith(SLOW) or not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    places = {path: place for place, path in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONGEST)))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL for each worker, started when the first test asks. For databases that outlive a test, see its methods."""
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
    """Connections as the service has them."""
    async with wiring.database(database.app_url, size=8) as created:
        yield created


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    """A connection as the owner of the tables."""
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    yield connection
    await connection.close()
