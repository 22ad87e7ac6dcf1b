"""Fixtures of tests that need a real database or a rail in a process of its own, and what hypothesis may do in all of them."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:  # imported where they are asked for, since unit tests need none of it, and it takes as long as many of them
    from tests.database import Cluster, Database
    from tests.rails import Caller, RailProcess, Receiver

Pool = Any  # asyncpg ships no types
Connection = Any

# The same examples at every run, and however busy the machine: neither chance nor time decides a test.
settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("suite"), max_examples=15)
settings.load_profile("suite")

gc.disable()  # until all is imported: what is imported stays, and to look through it again and again takes a fifth of the time


def pytest_sessionstart(session: pytest.Session) -> None:
    if session.config.pluginmanager.has_plugin("dsession"):  # it gives out the tests to workers, and imports none
        gc.enable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest is begun first, so that no worker still has one of these to do when the others have ended."""
    items.sort(key=lambda item: not (item.get_closest_marker("long") or item.get_closest_marker("slow") or "/crash/" in item.nodeid))


@pytest.fixture(scope="session")
def cluster() -> "Iterator[Cluster]":
    """One PostgreSQL for each worker, started when the first test asks. For databases that outlive a test, see its methods."""
    from tests.database import cluster as running_cluster

    with running_cluster() as started:
        yield started


@pytest.fixture
async def database(cluster: "Cluster") -> "AsyncIterator[Database]":
    """A migrated database of the test's own; commits are real."""
    async with cluster.clone() as cloned:
        yield cloned


@pytest.fixture
async def empty_database(cluster: "Cluster") -> "AsyncIterator[Database]":
    """A database without tables."""
    async with cluster.empty() as created:
        yield created


@pytest.fixture
async def pool(database: "Database") -> AsyncIterator[Pool]:
    """Connections as the service has them."""
    from service import wiring

    async with wiring.database(database.app_url, size=8) as created:
        yield created


@pytest.fixture
async def owner(database: "Database") -> AsyncIterator[Connection]:
    """A connection as the owner of the tables."""
    import asyncpg

    connection = await asyncpg.connect(database.owner_url, ssl=False)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def receiver() -> "AsyncIterator[Receiver]":
    from tests.rails import Receiver

    kept = Receiver()
    server = await asyncio.start_server(kept.serve, "127.0.0.1", 0)
    kept.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/notifications"
    yield kept
    server.close()


@pytest.fixture(scope="session")
async def shared_rail(receiver: "Receiver", tmp_path_factory: pytest.TempPathFactory) -> "AsyncIterator[RailProcess]":
    from tests.rails import RailProcess

    rail = RailProcess(tmp_path_factory.mktemp("rail"), receiver.url)
    await rail.start()
    yield rail
    await rail.stop()


@pytest.fixture
async def own_rail(receiver: "Receiver", tmp_path: Path) -> "AsyncIterator[RailProcess]":
    """A rail that a test may kill."""
    from tests.rails import RailProcess

    rail = RailProcess(tmp_path, receiver.url)
    await rail.start()
    yield rail
    await rail.stop()


@pytest.fixture(scope="session")
async def caller(shared_rail: "RailProcess") -> "AsyncIterator[Caller]":
    from tests.rails import rail_caller

    async with rail_caller(shared_rail) as made:
        yield made


@pytest.fixture
async def own_caller(own_rail: "RailProcess") -> "AsyncIterator[Caller]":
    from tests.rails import rail_caller

    async with rail_caller(own_rail) as made:
        yield made


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
