"""Payments that somebody holds locked, and connections that are all taken: they delay nothing but themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service import wiring
from tests.database import Database
from tests.storage.test_lanes import asked_for, until, working
from tests.storage.world import World, world
from workflows.clock_and_ids import new_id
from workflows.flows.rails import Rails
from workflows.storage.store import Store
from workflows.worker import Worker, WorkerConfig

LOCKED = 12
FREE = 12
POOL = 10
CONFIG = WorkerConfig(moves=16, poll=timedelta(milliseconds=20), beat=timedelta(milliseconds=50), patience=timedelta(milliseconds=100))


@pytest.fixture
async def made(database: Database) -> AsyncIterator[World]:
    async with world(database.app_url) as one:
        yield one


async def worker_of(made: World, database: Database, stack: AsyncExitStack) -> tuple[Worker, Any]:
    """A worker with connections as a worker has them, and those for its jobs."""
    pool = await stack.enter_async_context(wiring.database(database.app_url, size=POOL))
    side = await stack.enter_async_context(wiring.database(database.app_url, size=wiring.SIDE_CONNECTIONS))
    runtime = replace(made.runner.runtime, store=Store(pool, side))
    return Worker(runtime, Rails(providers={"sandbox": made.rail}), CONFIG), pool


async def refunded(made: World) -> int:
    count: int = await made.pool.fetchval("select count(*) from payment where state = 'refunded'")
    return count


async def test_locked_payments_delay_only_themselves(made: World, database: Database, owner: asyncpg.Connection) -> None:
    """More of them than a worker has connections."""
    payments = await asked_for(made, LOCKED + FREE)
    made.now += timedelta(seconds=2)

    async with AsyncExitStack() as stack:
        worker, _ = await worker_of(made, database, stack)
        async with working(worker):
            async with owner.transaction():
                await owner.execute("select 1 from payment where id = any ($1) for update", payments[:LOCKED])
                await until(lambda: _refunded(made, FREE))
                assert await made.store.has_living_worker(made.now, timedelta(seconds=10))
            made.now += timedelta(minutes=5)  # their leases are over
            await until(lambda: _refunded(made, LOCKED + FREE))


async def test_claims_and_signs_of_life_have_places_of_their_own(made: World, database: Database) -> None:
    """All connections for jobs are in use, and none comes back."""
    await asked_for(made, 1)
    made.now += timedelta(seconds=2)

    async with AsyncExitStack() as stack:
        worker, pool = await worker_of(made, database, stack)
        for _ in range(POOL):
            await stack.enter_async_context(pool.acquire())
        async with asyncio.timeout(10):
            claims = await worker.claim(worker.lanes[0], 4)
            await worker.runtime.store.beat(worker.id, made.now)
            alive = await worker.runtime.store.has_living_worker(made.now, timedelta(seconds=10))
            await worker.put_jobs_back()

    assert (len(claims), alive) == (1, True)


async def test_a_worker_with_a_wrong_clock_leaves_the_signs_of_life_of_others_and_its_own_does_not_outlive_it(made: World) -> None:
    right = new_id()
    await made.store.beat(right, None)
    ahead = replace(made.runner.runtime, clock=lambda: made.now + timedelta(hours=2), queue_clock=lambda: None)
    worker = Worker(ahead, Rails(providers={"sandbox": made.rail}), CONFIG)

    async with working(worker):
        await until(lambda: _beats(made, 2))

    assert await made.pool.fetchval("select count(*) from worker where id = $1", right) == 1
    assert await made.pool.fetchval("select max(beat_at) <= clock_timestamp() from worker")


async def _beats(made: World, count: int) -> bool:
    found: int = await made.pool.fetchval("select count(*) from worker")
    return found == count


async def _refunded(made: World, count: int) -> bool:
    return await refunded(made) == count
