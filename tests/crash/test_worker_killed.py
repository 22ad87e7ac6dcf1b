"""A worker process that is killed again and again, wherever it happens to be, until nothing is left to do."""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.settings import environment_for_child
from tests.crash.rail import Clock, in_process_rail
from tests.crash.world import World, terms
from tests.database import Database
from tests.sandbox.conftest import RailProcess
from workflows.chance import utc_now

SEED = 7
PAYMENTS = 60
KILLS = 6
LIFE_SECONDS = (0.0, 1.0)  # of a worker, from its first claim
SETTLED_SECONDS_MAX = 600  # only bounds a hang
FAULTS = ("ok", "timeout_after_effect", "timeout_before_effect", "unavailable:2", "pending:1s", "garbage", "slow:300ms")


@pytest.fixture
async def rail(tmp_path: Path) -> AsyncIterator[RailProcess]:
    """A rail in a process of its own; it outlives the workers and tells nothing unasked."""
    process = RailProcess(tmp_path)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def world(pool: Any, tmp_path: Path) -> AsyncIterator[World]:
    """Registers and asks; its own worker never works."""
    folder = tmp_path / "unused"
    folder.mkdir()
    async with in_process_rail(folder, Clock(utc_now())) as unused:
        yield World(pool, unused)


async def test_a_worker_killed_again_and_again(database: Database, pool: Any, world: World, rail: RailProcess) -> None:
    chance = random.Random(SEED)
    amounts: dict[str, int] = {}
    for number in range(PAYMENTS):
        amounts[f"worker-{number}"] = amount = chance.randint(1, 400_000)
        told, completed = [chance.choice(FAULTS)], chance.random() < 0.7
        await world.request(
            await world.register(terms(f"worker-{number}", world.clock, amount, provider_references=told, completed=completed)), "once"
        )
    environment = environment_for_child(
        {
            "database_url": database.app_url,
            "sandbox_url": rail.url,
            "rail_timeout_seconds": 0.4,
            "lease_seconds": 2,
            "enquiry_seconds": (1,),
            "worker_poll_seconds": 0.05,
            "worker_concurrency": 4,
        }
    )

    for _ in range(KILLS):
        await live_and_die(pool, environment, chance.uniform(*LIFE_SECONDS))
    worker = await start(environment)
    try:
        await settled(pool)
    finally:
        worker.terminate()
        await worker.wait()

    states = Counter({row["state"]: row["count"] for row in await pool.fetch("select state, count(*) from payment group by state")})
    assert set(states) == {"refunded", "cancelled"}
    assert states.total() == PAYMENTS
    async with httpx.AsyncClient(trust_env=False) as http:
        moved = (await http.get(f"{rail.url}/sandbox/movements")).json()["data"]
    assert sorted((m["payment_reference"], m["amount"]) for m in moved) == sorted(amounts.items()), "once each"
    assert Counter(m["kind"] for m in moved) == {"refund": states["refunded"], "void": states["cancelled"]}
    await world.check()


async def start(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-P", "-m", "service", "worker", env=environment)


async def live_and_die(pool: Any, environment: dict[str, str], seconds: float) -> None:
    """A worker that lives so long after its first claim, and is then killed, whatever it is doing."""
    held = await claims(pool)
    worker = await start(environment)
    try:
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        while await claims(pool) == held and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await asyncio.sleep(seconds)
    finally:
        worker.kill()
        await worker.wait()


async def claims(pool: Any) -> int:
    count: int = await pool.fetchval("select coalesce(sum(attempt), 0) from job")
    return count


async def settled(pool: Any) -> None:
    deadline = time.monotonic() + SETTLED_SECONDS_MAX
    while await pool.fetchval("select count(*) from job"):
        assert time.monotonic() < deadline, await pool.fetch("select * from job")
        await asyncio.sleep(0.1)
