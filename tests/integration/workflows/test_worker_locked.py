"""Payments that somebody holds locked, and connections that are all taken: they delay nothing but themselves."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service import wiring
from tests.database import Database
from tests.harness import ScriptedCore
from tests.integration.workflows.test_worker_lanes import asked_for, until, working
from workflows.clock_and_ids import new_id
from workflows.flows.rails import Rails
from workflows.storage.store import Store
from workflows.worker import Worker, WorkerConfig

LOCKED = 12
FREE = 12
POOL = 10
CONFIG = WorkerConfig(moves=16, poll=timedelta(milliseconds=20), beat=timedelta(milliseconds=50), patience=timedelta(milliseconds=100))


async def worker_of(core: ScriptedCore, database: Database, stack: AsyncExitStack) -> tuple[Worker, Any]:
    """A worker with connections as a worker has them, and those for its jobs."""
    pool = await stack.enter_async_context(wiring.database(database.app_url, size=POOL))
    side = await stack.enter_async_context(wiring.database(database.app_url, size=wiring.SIDE_CONNECTIONS))
    runtime = replace(core.runner.runtime, store=Store(pool, side))
    return Worker(runtime, Rails(providers={"sandbox": core.rail}), CONFIG), pool


async def refunded(core: ScriptedCore) -> int:
    count: int = await core.pool.fetchval("select count(*) from payment where state = 'refunded'")
    return count


@pytest.mark.slow
async def test_locked_payments_delay_only_themselves(core: ScriptedCore, database: Database, owner: asyncpg.Connection) -> None:
    """More of them than a worker has connections."""
    payments = await asked_for(core, LOCKED + FREE)
    core.clock.now += timedelta(seconds=2)

    async with AsyncExitStack() as stack:
        worker, _ = await worker_of(core, database, stack)
        async with working(worker):
            async with owner.transaction():
                await owner.execute("select 1 from payment where id = any ($1) for update", payments[:LOCKED])
                await until(lambda: _refunded(core, FREE))
                assert await core.store.has_living_worker(core.clock.now, timedelta(seconds=10))
            core.clock.now += timedelta(minutes=5)  # their leases are over
            await until(lambda: _refunded(core, LOCKED + FREE))


async def test_claims_and_signs_of_life_have_places_of_their_own(core: ScriptedCore, database: Database) -> None:
    """All connections for jobs are in use, and none comes back."""
    await asked_for(core, 1)
    core.clock.now += timedelta(seconds=2)

    async with AsyncExitStack() as stack:
        worker, pool = await worker_of(core, database, stack)
        for _ in range(POOL):
            await stack.enter_async_context(pool.acquire())
        async with asyncio.timeout(10):
            claims = await worker.claim(worker.lanes[0], 4)
            await worker.runtime.store.beat(worker.id, core.clock.now)
            alive = await worker.runtime.store.has_living_worker(core.clock.now, timedelta(seconds=10))
            await worker.put_jobs_back()

    assert (len(claims), alive) == (1, True)


async def test_a_worker_with_a_wrong_clock_leaves_the_signs_of_life_of_others_and_its_own_does_not_outlive_it(core: ScriptedCore) -> None:
    right = new_id()
    await core.store.beat(right, None)
    ahead = replace(core.runner.runtime, clock=lambda: core.clock.now + timedelta(hours=2), queue_clock=lambda: None)
    worker = Worker(ahead, Rails(providers={"sandbox": core.rail}), CONFIG)

    async with working(worker):
        await until(lambda: _beats(core, 2))

    assert await core.pool.fetchval("select count(*) from worker where id = $1", right) == 1
    assert await core.pool.fetchval("select max(beat_at) <= clock_timestamp() from worker")


async def test_a_worker_with_a_wrong_clock_takes_no_job_early(core: ScriptedCore) -> None:
    """What is due, and when a lease is over, is told by the database's clock alone."""
    await asked_for(core, 1)
    await core.pool.execute("update job set attempt = attempt + 1, leased_until = clock_timestamp()")
    await core.pool.execute("update job set run_at = clock_timestamp() + interval '1 hour', leased_until = null")
    ahead = await core.pool.fetchval("select clock_timestamp() + interval '2 hours'")
    runtime = replace(core.runner.runtime, clock=lambda: ahead, queue_clock=lambda: None)
    worker = Worker(runtime, Rails(providers={"sandbox": core.rail}), CONFIG)

    assert await worker.claim(worker.lanes[0], 1) == []


async def _beats(core: ScriptedCore, count: int) -> bool:
    found: int = await core.pool.fetchval("select count(*) from worker")
    return found == count


async def _refunded(core: ScriptedCore, count: int) -> bool:
    return await refunded(core) == count
