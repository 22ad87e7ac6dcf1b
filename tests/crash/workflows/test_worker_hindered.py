"""Worker processes that are killed, frozen or told a wrong time, wherever they happen to be, until nothing is left to do.

The judge is the rail's own ledger: whatever happens to workers, each payment's money moves once.
"""

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from service.settings import environment_for_child
from tests.crash.deciding import ACCEPT, settled_payment, take, wish
from tests.crash.mortal import MortalCore, terms
from tests.database import Database
from tests.factories import Clock
from tests.rail_in_process import in_process_rail
from tests.rails import RailProcess
from workflows.clock_and_ids import utc_now

SEED = 7
PAYMENTS = 60
KILLS = 6
FREEZES = 4
RAIL_TIMEOUT_SECONDS = 0.4
LEASE_SECONDS = 2
LIFE_SECONDS = (0.0, 1.0)  # of a worker, from its first claim
HAND_OFFS = 20
HAND_OFF_SECONDS = 3  # until the first of their deadlines
MERCHANT_HOURS = 48
TIMED_OUT = "cancellation.timed_out"
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
async def core(pool: Any, tmp_path: Path) -> AsyncIterator[MortalCore]:
    """Registers and asks; its own worker never works."""
    folder = tmp_path / "unused"
    folder.mkdir()
    async with in_process_rail(folder, Clock(utc_now())) as unused:
        yield MortalCore(pool, unused)


@pytest.mark.long
async def test_a_worker_killed_again_and_again(database: Database, pool: Any, core: MortalCore, rail: RailProcess) -> None:
    chance = random.Random(SEED)
    asked = await ask_for_everything(core, chance)
    environment = environment_of(database, rail)

    for _ in range(KILLS):
        await live_and_die(pool, environment, chance.uniform(*LIFE_SECONDS))
    await complete_some(core, asked)
    await work_to_the_end(pool, environment)

    await assert_moved_once(pool, core, rail, asked)


@pytest.mark.long
async def test_a_worker_frozen_again_and_again_beside_one_that_is_not(
    database: Database, pool: Any, core: MortalCore, rail: RailProcess
) -> None:
    """Stopped by the kernel for longer than its lease, wherever it happens to be: the other one takes its jobs over."""
    chance = random.Random(SEED)
    asked = await ask_for_everything(core, chance)
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
                await complete_some(core, asked)
            await asyncio.sleep(LEASE_SECONDS + 0.5)
            worker.send_signal(signal.SIGCONT)
        await settled(pool)
    finally:
        for each in (worker, other):
            if each is not None:
                each.send_signal(signal.SIGCONT)
                each.terminate()
                await each.wait()

    await assert_moved_once(pool, core, rail, asked)


@pytest.mark.long
@pytest.mark.parametrize("hours", [1, -1])
async def test_a_worker_whose_clock_is_an_hour_off(database: Database, pool: Any, core: MortalCore, rail: RailProcess, hours: int) -> None:
    """Beside one whose clock is right. Neither takes what the other is at work on, and nothing is believed lost."""
    asked = await ask_for_everything(core, random.Random(SEED))
    environment = environment_of(database, rail)
    workers = [await start(environment), await start(environment, ("-c", _CLOCK_OFF.format(seconds=hours * 3600)))]
    try:
        await claimed(pool, 0)
        await complete_some(core, asked)
        await settled(pool)
    finally:
        for worker in workers:
            worker.terminate()
            await worker.wait()

    await assert_moved_once(pool, core, rail, asked)


@pytest.mark.long
@pytest.mark.parametrize("hours", [(1,), (-1,), (1, -1)], ids=["ahead", "behind", "both"])
async def test_workers_whose_clocks_are_an_hour_off_strike_each_deadline_once_and_on_time(
    database: Database, pool: Any, core: MortalCore, rail: RailProcess, hours: tuple[int, ...]
) -> None:
    """They are started before the deadlines, and no other worker is there. The time is the database's."""
    environment = environment_of(database, rail)
    workers = [await start(environment, ("-c", _CLOCK_OFF.format(seconds=off * 3600))) for off in hours]
    try:
        await working(pool, len(workers))
        ends = await hand_off(pool, core)
        await assert_struck_on_time(pool, ends)
    finally:
        for worker in workers:
            worker.terminate()
            await worker.wait()

    await core.check(book=False)


@pytest.mark.long
async def test_deadlines_that_pass_while_everything_is_stopped_are_struck_afterwards(
    database: Database, pool: Any, core: MortalCore, rail: RailProcess
) -> None:
    """By two workers, once each. A merchant who answers before they have come is told what silence has led to."""
    ends = await hand_off(pool, core)
    while await pool.fetchval("select clock_timestamp() < $1", max(ends.values())):
        await asyncio.sleep(0.1)
    quick = next(iter(ends))
    core.clock.now = ends[quick]
    late = await take(core, quick, ACCEPT, "late")
    assert (late.status, late.headers) == (409, {"state": "awaiting_agent"})

    workers = [await start(environment_of(database, rail)) for _ in range(2)]
    try:
        await assert_struck_on_time(pool, ends)
        await working(pool, 2)
    finally:
        for worker in workers:
            worker.terminate()
            await worker.wait()

    struck = await pool.fetch("select payment_id, actor_id, count(*) from record where type = $1 group by 1, 2", TIMED_OUT)
    assert {row["payment_id"]: (row["actor_id"], row["count"]) for row in struck} == {
        payment: ("service" if payment == quick else "worker", 1) for payment in ends
    }
    assert await take(core, quick, ACCEPT, "late") == late
    await core.check(book=False)


# Every clock that the service can read, set wrong before it starts. (The one place where it asks for the time of day is
# `workflows.clock_and_ids`; were `datetime.datetime` itself another class, no row of the database could be read.)
_CLOCK_OFF = """
import datetime, runpy, sys, time
import workflows.clock_and_ids
right, told = datetime.datetime, time.time
class Off(right):
    @classmethod
    def now(cls, tz=None):
        return right.now(tz) + datetime.timedelta(seconds={seconds})
    @classmethod
    def utcnow(cls):
        return right.utcnow() + datetime.timedelta(seconds={seconds})
workflows.clock_and_ids.datetime = Off
time.time = lambda: told() + {seconds}
time.time_ns = lambda: int(time.time() * 1e9)
sys.argv = ["refundry", "worker"]
runpy.run_module("service", run_name="__main__")
"""


async def hand_off(pool: Any, core: MortalCore) -> dict[UUID, datetime]:
    """Payments whose merchants were asked nearly two days ago: by id the deadline, a few seconds from now by the database's time."""
    now = await pool.fetchval("select clock_timestamp()")
    asked = []
    for number in range(HAND_OFFS):
        core.clock.now = now + timedelta(seconds=HAND_OFF_SECONDS + number / HAND_OFFS, hours=-MERCHANT_HOURS)
        asked.append(await core.register(settled_payment(f"hand-off-{number}", core.clock())))
        assert (await core.request(asked[-1], "ask", wish())).status == 200
    rows = await pool.fetch("select payment_id, deadline_at from cancellation where state = 'awaiting_merchant'")
    assert {row["payment_id"] for row in rows} == set(asked), "nothing is struck before its time"
    return {row["payment_id"]: row["deadline_at"] for row in rows}


async def assert_struck_on_time(pool: Any, ends: dict[UUID, datetime]) -> None:
    """Each deadline strikes, none before its time by the database's clock, and none twice."""
    bound, struck = time.monotonic() + SETTLED_SECONDS_MAX, 0
    while struck < len(ends):
        rows = await pool.fetch("select payment_id, occurred_at, clock_timestamp() as now from record where type = $1", TIMED_OUT)
        for row in rows:  # the time was read after the records were
            assert ends[row["payment_id"]] <= min(row["now"], row["occurred_at"]), "struck before its time"
        assert len({row["payment_id"] for row in rows}) == len(rows), "struck once"
        struck = len(rows)
        assert time.monotonic() < bound, await pool.fetch("select * from job")
        await asyncio.sleep(0.02)
    states = await pool.fetch("select distinct state from cancellation")
    assert [row["state"] for row in states] == ["awaiting_agent"]
    due = await pool.fetchval("select count(*) from job where run_at <= clock_timestamp() + interval '1 hour'")
    assert due == 0, "nothing more fires soon"


async def working(pool: Any, count: int) -> None:
    """Wait until so many workers have shown a sign of life."""
    bound = time.monotonic() + SETTLED_SECONDS_MAX
    while await pool.fetchval("select count(*) from worker") < count:
        assert time.monotonic() < bound
        await asyncio.sleep(0.05)


async def ask_for_everything(core: MortalCore, chance: random.Random) -> dict[UUID, tuple[str, int, bool]]:
    """Payments of every fault, each asked to be undone: by id their reference, amount, and whether they had settled."""
    asked = {}
    for number in range(PAYMENTS):
        reference, amount, fault = f"worker-{number}", chance.randint(1, 400_000), FAULTS[number % len(FAULTS)]
        completed = chance.random() < 0.5
        payment = await core.register(terms(reference, core.clock, amount, provider_references=[fault], completed=completed))
        await core.request(payment, "once")
        asked[payment] = reference, amount, completed
    return asked


async def complete_some(core: MortalCore, asked: dict[UUID, tuple[str, int, bool]]) -> None:
    """The wallet hears that every other pending payment has settled, whatever became of its void meanwhile."""
    for payment in [payment for payment, (_, _, completed) in asked.items() if not completed][::2]:
        await core.complete(payment, "settled")


def environment_of(database: Database, rail: RailProcess) -> dict[str, str]:
    return environment_for_child(
        {
            "database_url": database.app_url,
            "sandbox_url": rail.url,
            "rail_timeout_seconds": RAIL_TIMEOUT_SECONDS,
            "lease_seconds": LEASE_SECONDS,
            "enquiry_seconds": (1,),
            "breaker_pause_seconds": 0.5,
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


async def assert_moved_once(pool: Any, core: MortalCore, rail: RailProcess, asked: dict[UUID, tuple[str, int, bool]]) -> None:
    """The rail's own ledger holds one movement for each payment, and it is the one that our books tell of."""
    async with httpx.AsyncClient(trust_env=False) as http:
        moved = (await http.get(f"{rail.url}/sandbox/movements")).json()["data"]
    assert sorted((m["payment_reference"], m["amount"]) for m in moved) == sorted(told[:2] for told in asked.values()), "once each"
    kinds = {"refunded": "refund", "cancelled": "void"}
    states = {row["reference"]: row["state"] for row in await pool.fetch("select reference, state from payment")}
    assert {m["payment_reference"]: m["kind"] for m in moved} == {reference: kinds[state] for reference, state in states.items()}
    await core.check(book=False)


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
    while await pool.fetchval("select count(*) from job where kind <> 'recheck'"):  # those come in the days after
        assert time.monotonic() < deadline, await pool.fetch("select * from job")
        await asyncio.sleep(0.1)
