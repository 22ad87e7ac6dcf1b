"""Lanes and breakers over a real database: what a worker claims of a rail that is away, and what others notice of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.harness import ScriptedCore
from tests.rails import ScriptedRail
from workflows.domain.enums import JobKind
from workflows.domain.ports import Order, Outcome, ProviderUnavailable
from workflows.domain.rail_states import BreakerState
from workflows.flows.circuit_breaker import BreakerConfig, CircuitBreaker
from workflows.flows.guarded_rail import GuardedProvider
from workflows.flows.rails import Rails
from workflows.storage.jobs import Claim
from workflows.worker import Lane, Worker, WorkerConfig

PAUSE_SECONDS = 0.3
PATIENCE_SECONDS = 10  # only bounds a hang


@dataclass
class SlowRail(ScriptedRail):
    """Answers when it is let, and says how many wait for it at once."""

    name: str = "slow"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0

    async def refund(self, order: Order) -> Outcome:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        return await super().refund(order)


@dataclass
class AwayRail(ScriptedRail):
    """Away until it is back; counts what it is asked."""

    back: bool = False
    asked: int = 0
    at_once: int = 0
    at_once_max: int = 0

    async def refund(self, order: Order) -> Outcome:
        return await self._told(order)

    async def find(self, order: Order) -> Outcome:
        return await self._told(order)

    async def _told(self, order: Order) -> Outcome:
        self.asked += 1
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        await asyncio.sleep(0.02)
        self.at_once -= 1
        return self._answer(order) if self.back else ProviderUnavailable()


async def asked_for(core: ScriptedCore, count: int, provider: str = "sandbox") -> list[UUID]:
    payments = [await core.pay(f"{provider}-{number}", provider=provider) for number in range(count)]
    for payment in payments:
        await core.ask(payment)
    return payments


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[None]:
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await running


async def until(look: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await look():
            await asyncio.sleep(0.01)


async def succeeded(core: ScriptedCore) -> int:
    count: int = await core.pool.fetchval("select count(*) from leg where state = 'succeeded'")
    return count


CONFIG = WorkerConfig(moves=4, poll=timedelta(milliseconds=20), patience=timedelta(milliseconds=100))


def guarded(core: ScriptedCore, rail: ScriptedRail, *, failures: int = 3) -> tuple[Worker, CircuitBreaker]:
    breaker = CircuitBreaker(BreakerConfig(failures=failures, pause_seconds=PAUSE_SECONDS))
    rails = Rails(providers={"sandbox": GuardedProvider(rail, breaker)}, breakers={"sandbox": breaker})
    return Worker(core.runner.runtime, rails, CONFIG), breaker


async def test_an_open_breaker_claims_nothing_and_costs_no_attempt(core: ScriptedCore) -> None:
    await asked_for(core, 12)
    core.clock.now += timedelta(seconds=2)
    rail = AwayRail()
    worker, breaker = guarded(core, rail)

    while breaker.state is BreakerState.closed:
        claims = await worker.claim(worker.lanes[0], 4)
        await asyncio.gather(*(worker.do(claim) for claim in claims))
    asked = rail.asked
    before = await core.pool.fetch("select id, attempt, run_at, leased_until from job order by id")

    assert await worker.drain() == 0
    assert (asked, rail.asked) == (4, 4), "four were on their way"
    assert await core.pool.fetch("select id, attempt, run_at, leased_until from job order by id") == before
    assert sum(row["attempt"] for row in before) == 4


@pytest.mark.slow
async def test_when_half_open_one_question_is_asked_and_then_all_go_on(core: ScriptedCore) -> None:
    await asked_for(core, 12)
    core.clock.now += timedelta(hours=1)
    rail = AwayRail()
    worker, breaker = guarded(core, rail)

    async with working(worker):
        await until(lambda: _is(breaker, BreakerState.open))
        await asyncio.sleep(0.1)
        rail.at_once_max = 0
        claims = await core.pool.fetchval("select sum(attempt) from job")
        asked = rail.asked
        await until(lambda: _more(rail, asked))
        assert (rail.asked - asked, rail.at_once_max) == (1, 1), "one question, and no order beside it"
        assert await core.pool.fetchval("select sum(attempt) from job") == claims
        rail.back = True
        await until(lambda: _is(breaker, BreakerState.closed))
        core.clock.now += timedelta(minutes=5)  # those that were tried before wait for their next enquiry
        await until(lambda: _all(core, 12))
    assert await core.pool.fetchval("select max(attempts) from leg") <= 3


@pytest.mark.slow
async def test_a_slow_rail_takes_no_place_from_another_nor_from_words_and_deadlines(core: ScriptedCore) -> None:
    await asked_for(core, 9, "slow")
    await asked_for(core, 9)
    core.clock.now += timedelta(seconds=2)
    slow = SlowRail()
    worker = Worker(core.runner.runtime, Rails(providers={"sandbox": core.rail, "slow": slow}), CONFIG)

    async with working(worker):
        await until(lambda: _waits(slow, CONFIG.moves))
        await until(lambda: _all(core, 9))
        assert slow.waiting == CONFIG.moves, "no more than its share"
        slow.gate.set()
        await until(lambda: _all(core, 18))


@pytest.mark.parametrize(
    ("fault", "told"), [(asyncpg.UndefinedTableError("job"), "claim_failed"), (ConnectionResetError(), "queue_unreachable")]
)
async def test_a_lane_that_can_claim_nothing_holds_up_no_other_and_goes_on(core: ScriptedCore, fault: Exception, told: str) -> None:
    await asked_for(core, 3)
    core.clock.now += timedelta(seconds=2)

    class Hindered(Worker):
        faults = 0

        async def claim(self, lane: Lane, room: int) -> list[Claim]:
            if lane.rail and self.faults < 2:  # then it is over
                self.faults += 1
                raise fault
            return await super().claim(lane, room)

    worker = Hindered(core.runner.runtime, Rails(providers={"sandbox": core.rail}), CONFIG)
    with capture_logs() as logs:
        async with working(worker):
            await until(lambda: _all(core, 3))

    assert [(one["event"], one["lane"]) for one in logs if one["event"] == told] == [(told, "rail sandbox"), (told, "rechecks sandbox")]


@pytest.mark.slow
async def test_a_worker_whose_places_are_all_taken_still_stops(core: ScriptedCore) -> None:
    await asked_for(core, 8)
    core.clock.now += timedelta(seconds=2)
    slow = SlowRail(name="sandbox")
    worker = Worker(core.runner.runtime, Rails(providers={"sandbox": slow}), CONFIG)

    async with working(worker):
        await until(lambda: _waits(slow, CONFIG.moves))
        started = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - started < 10


def test_each_rail_has_its_lane(core: ScriptedCore) -> None:
    worker = Worker(core.runner.runtime, Rails(providers={"b": core.rail, "a": core.rail}), WorkerConfig(moves=3))

    found = [(lane.name, lane.rail, lane.concurrency, [(queue.kind, queue.provider) for queue in lane.queues]) for lane in worker.lanes]
    assert found == [
        ("rail a", "a", 3, [(JobKind.move, "a")]),
        ("rail b", "b", 3, [(JobKind.move, "b")]),
        ("rechecks a", "a", 2, [(JobKind.recheck, "a")]),
        ("rechecks b", "b", 2, [(JobKind.recheck, "b")]),
        ("notifications", "", 8, [(JobKind.notification, "a"), (JobKind.notification, "b")]),
        ("deadlines", "", 8, [(JobKind.deadline, "")]),
    ]


async def test_a_heartbeat_says_how_the_rails_stand(core: ScriptedCore) -> None:
    worker, breaker = guarded(core, AwayRail(), failures=1)
    breaker.end(breaker.begin(), answered=False)

    async with working(worker):
        await until(lambda: core.store.rail_states(core.clock.now))
    [told] = await core.store.rail_states(core.clock.now)

    assert (told.name, told.state) == ("sandbox", BreakerState.open)
    assert core.clock.now - timedelta(seconds=5) < told.since <= core.clock.now
    assert await core.store.rail_states(core.clock.now + timedelta(seconds=1)) == [], "of workers that are alive"


async def _is(breaker: CircuitBreaker, state: BreakerState) -> bool:
    return breaker.state is state


async def _more(rail: AwayRail, asked: int) -> bool:
    return rail.asked > asked


async def _waits(rail: SlowRail, count: int) -> bool:
    return rail.waiting == count


async def _all(core: ScriptedCore, count: int) -> bool:
    return await succeeded(core) == count
