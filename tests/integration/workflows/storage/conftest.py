"""A hundred thousand payments that are made once for all tests of one worker, and the service's own connection."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.database import Cluster, Database
from tests.integration.workflows.storage import crowd

Connection = Any  # asyncpg ships no types


@pytest.fixture(scope="session")
async def crowd_template(cluster: Cluster) -> AsyncIterator[str]:
    """The name of a database with the crowd, to be cloned; nobody may be connected to it."""
    async with cluster.clone() as made:
        connected = await asyncpg.connect(made.owner_url, ssl=False)
        try:
            await crowd.fill(connected)
        finally:
            await connected.close()
        yield made.name


@pytest.fixture(scope="module")
async def crowded(cluster: Cluster, crowd_template: str) -> AsyncIterator[Connection]:
    """The crowd, for tests that leave it as it is."""
    async with cluster.clone(crowd_template) as made:
        connected = await asyncpg.connect(made.owner_url, ssl=False)
        try:
            yield connected
        finally:
            await connected.close()


@pytest.fixture(scope="module")
async def application(shared: Database) -> AsyncIterator[Connection]:
    """A connection as the service has it, to the database that a module's tests share."""
    connected = await asyncpg.connect(shared.app_url, ssl=False)
    yield connected
    await connected.close()


@pytest.fixture
async def busy_team(crowded: Connection) -> AsyncIterator[None]:
    """Thousands of cases that nobody has, some of them raised or for a second person, and some agents who asked for much."""
    change = crowded.transaction()
    await change.start()
    await crowded.execute(
        "update cancellation set assigned_to = null, raised = uuid_extract_timestamp(id) > $1 and deadline_at < $2,"
        " clock_id = case when uuid_extract_timestamp(id) > $1 and deadline_at < $2 then null else clock_id end,"
        " clock_started_at = case when uuid_extract_timestamp(id) > $1 and deadline_at < $2 then null else clock_started_at end"
        " where state = 'awaiting_agent'",
        crowd.START,
        crowd.NOW,
    )
    await crowded.execute(
        "update cancellation set requester_role = 'agent', requester_id = 'agent-' || abs(hashtext(id::text)) % 20"
        " where abs(hashtext(payment_id::text)) % 4 = 0"
    )
    await crowded.execute("analyze cancellation")
    yield
    await change.rollback()
