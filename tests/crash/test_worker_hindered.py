"""Worker processes that are killed, frozen or told a wrong time, wherever they happen to be, until nothing is left to do.

The judge is the rail's own ledger: whatever happens to workers, each payment's money moves once.
"""

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from service.settings import environment_for_child
from tests.crash.rail import Clock, in_process_rail
from tests.crash.world import World, terms
from tests.database import Database
from tests.sandbox.conftest import RailProcess
from workflows.clock_and_ids import utc_now

SEED = 7
PAYMENTS = 60
KILLS = 6
FREEZES = 4
RAIL_TIMEOUT_SECONDS = 0.4
LEASE_SECONDS = 2
LIFE_SECONDS = (0.0, 1.0)  # of a worker, from its first claim
SETTLED_SECONDS_MAX = 600  # only bounds a hang
FAULTS = ("ok", "timeout_after_effect", "timeout_before_effect", "unavailable:2", "pending:1s", "garbage", "slow:300ms", "slow:3s")


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
    asked = await ask_for_everything(world, chance)
    environment = environment_of(database, rail)

    for _ in range(KILLS):
        await live_and_die(pool, environment, chance.uniform(*LIFE_SECONDS))
    await complete_some(world, asked)
    await work_to_the_end(pool, environment)

    await assert_moved_once(pool, world, rail, asked)


async def test_a_worker_frozen_again_and_again_beside_one_that_is_not(
    database: Database, pool: Any, world: World, rail: RailProcess
) -> None:
    """Stopped by the kernel for longer than its lease, wherever it happens to be: the other one takes its jobs over."""
    chance = random.Random(SEED)
    asked = await ask_for_everything(world, chance)
    environment = environment_of(database, rail)
    worker, other = await start(environment), None
    try:
        await claimed(pool, 0)
        for number in range(FREEZES):
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            worker.send_signal(signal.SIGSTOP)
            if other is None:
                other = await start(environment)
            if number == 0:
                await complete_some(world, asked)
            await asyncio.sleep(LEASE_SECONDS + 0.5)
            worker.send_signal(signal.SIGCONT)
        await settled(pool)
    finally:
        for each in (worker, other):
            if each is not None:
                each.send_signal(signal.SIGCONT)
                each.terminate()
                await each.wait()

    await assert_moved_once(pool, world, rail, asked)


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_worker_whose_clock_is_an_hour_off(database: Database, pool: Any, world: World, rail: RailProcess, hours: int) -> None:
    """Beside one whose clock is right. Neither takes what the other is at work on, and nothing is believed lost."""
    asked = await ask_for_everything(world, random.Random(SEED))
    environment = environment_of(database, rail)
    workers = [await start(environment), await start(environment, ("-c", _CLOCK_OFF.format(seconds=hours * 3600)))]
    try:
        await claimed(pool, 0)
        await complete_some(world, asked)
        await settled(pool)
    finally:
        for worker in workers:
            worker.terminate()
            await worker.wait()

    await assert_moved_once(pool, world, rail, asked)


# Every clock that a program can read, set wrong, before anything of ours is imported.
_CLOCK_OFF = """
import datetime, runpy, sys, time
right, told = datetime.datetime, time.time
class Off(right):
    @classmethod
    def now(cls, tz=None):
        return right.now(tz) + datetime.timedelta(seconds={seconds})
    @classmethod
    def utcnow(cls):
        return right.utcnow() + datetime.timedelta(seconds={seconds})
datetime.datetime = Off
time.time = lambda: told() + {seconds}
time.time_ns = lambda: int(time.time() * 1e9)
sys.argv = ["refundry", "worker"]
runpy.run_module("service", run_name="__main__")
"""


async def ask_for_everything(world: World, chance: random.Random) -> dict[UUID, tuple[str, int, bool]]:
    """Payments of every fault, each asked to be undone: by id their reference, amount, and whether they had settled."""
    asked = {}
    for number in range(PAYMENTS):
        reference, amount, fault = f"worker-{number}", chance.randint(1, 400_000), FAULTS[number % len(FAULTS)]
        completed = chance.random() < 0.5
        payment = await world.register(terms(reference, world.clock, amount, provider_references=[fault], completed=completed))
        await world.request(payment, "once")
        asked[payment] = reference, amount, completed
    return asked


async def complete_some(world: World, asked: dict[UUID, tuple[str, int, bool]]) -> None:
    """The wallet hears that every other pending payment has settled, whatever became of its void meanwhile."""
    for payment in [payment for payment, (_, _, completed) in asked.items() if not completed][::2]:
        await world.complete(payment, "settled")


def environment_of(database: Database, rail: RailProcess) -> dict[str, str]:
    return environment_for_child(
        {
            "database_url": database.app_url,
            "sandbox_url": rail.url,
            "rail_timeout_seconds": RAIL_TIMEOUT_SECONDS,
            "lease_seconds": LEASE_SECONDS,
            "enquiry_seconds": (1,),
            "worker_poll_seconds": 0.05,
            "worker_concurrency": 4,
        }
    )


async def work_to_the_end(pool: Any, environment: dict[str, str]) -> None:
    worker = await start(environment)
    try:
        await settled(pool)
    finally:
        worker.terminate()
        await worker.wait()


async def assert_moved_once(pool: Any, world: World, rail: RailProcess, asked: dict[UUID, tuple[str, int, bool]]) -> None:
    """The rail's own ledger holds one movement for each payment, and it is the one that our books tell of."""
    async with httpx.AsyncClient(trust_env=False) as http:
        moved = (await http.get(f"{rail.url}/sandbox/movements")).json()["data"]
    assert sorted((m["payment_reference"], m["amount"]) for m in moved) == sorted(told[:2] for told in asked.values()), "once each"
    kinds = {"refunded": "refund", "cancelled": "void"}
    states = {row["reference"]: row["state"] for row in await pool.fetch("select reference, state from payment")}
    assert {m["payment_reference"]: m["kind"] for m in moved} == {reference: kinds[state] for reference, state in states.items()}
    await world.check()


async def start(environment: dict[str, str], program: tuple[str, ...] = ("-P", "-m", "service", "worker")) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, *program, env=environment)


async def live_and_die(pool: Any, environment: dict[str, str], seconds: float) -> None:
    """A worker that lives so long after its first claim, and is then killed, whatever it is doing."""
    held = await claims(pool)
    worker = await start(environment)
    try:
        await claimed(pool, held)
        await asyncio.sleep(seconds)
    finally:
        worker.kill()
        await worker.wait()


async def claimed(pool: Any, held: int) -> None:
    """Wait until somebody takes a job beyond those that were held before."""
    deadline = time.monotonic() + SETTLED_SECONDS_MAX
    while await claims(pool) == held and time.monotonic() < deadline:
        await asyncio.sleep(0.02)


async def claims(pool: Any) -> int:
    count: int = await pool.fetchval("select coalesce(sum(attempt), 0) from job")
    return count


async def settled(pool: Any) -> None:
    deadline = time.monotonic() + SETTLED_SECONDS_MAX
    while await pool.fetchval("select count(*) from job"):
        assert time.monotonic() < deadline, await pool.fetch("select * from job")
        await asyncio.sleep(0.1)
