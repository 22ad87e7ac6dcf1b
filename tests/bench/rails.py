"""One worker and its rails: refunds per second by concurrency, beside a rail that hangs, and through an outage.

The rail is a double in this process that answers in log-normal time, as a bank does: 120 ms on average, one call in a hundred in more than
380 ms. So what is measured is the worker with its database, and nothing of a network.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg
import structlog
import uvloop

from service import wiring
from tests.bench import stage as stages
from tests.bench import stock
from tests.bench.figures import Figures, quantile
from tests.bench.plan import RAIL_CONCURRENCY, Plan, Reporter
from workflows.domain.enums import Role
from workflows.domain.ports import Absent, Done, Order, Outcome, ProviderNotification, ProviderUnavailable, RailSchedule
from workflows.flows.circuit_breaker import BreakerConfig, CircuitBreaker
from workflows.flows.guarded_rail import GuardedProvider
from workflows.flows.rails import Rails
from workflows.worker import Worker, WorkerConfig

_MEDIAN_SECONDS, _SIGMA = 0.1023, 0.564  # of the logarithm: the mean is 120 ms, the 99th percentile 380 ms
_HANGS_SECONDS = 30.0
_REFUSES_SECONDS = 0.002
_SLOW = "slow"
_BESIDE = RAIL_CONCURRENCY[1]
_SCHEDULE = RailSchedule(
    enquiries=(timedelta(seconds=30),), sends_again=True, unknown_max=timedelta(hours=1), processing_max=timedelta(days=3)
)

Advance = Callable[[int], None]


@dataclass
class _Double:
    """A rail that answers after `seconds()`, or turns everything away while it is not there."""

    seconds: Callable[[], float]
    name: str = "sandbox"
    schedule: RailSchedule = _SCHEDULE
    there: bool = True
    done: int = 0
    calls: Counter[str] = field(default_factory=Counter)

    async def refund(self, order: Order) -> Outcome:
        self.calls[order.rail_key] += 1
        if not self.there:
            await asyncio.sleep(_REFUSES_SECONDS)
            return ProviderUnavailable()
        await asyncio.sleep(self.seconds())
        self.done += 1
        return Done(order.amount, order.currency)

    async def void(self, order: Order) -> Outcome:
        return await self.refund(order)

    async def find(self, order: Order) -> Outcome:
        self.calls[order.rail_key] += 1
        await asyncio.sleep(_REFUSES_SECONDS)
        return Absent() if self.there else ProviderUnavailable()

    async def cancel(self, order: Order) -> Outcome:
        return await self.find(order)

    def successor_reference(self, provider_reference: str) -> str:
        return provider_reference

    def read(self, body: bytes) -> ProviderNotification | None:  # noqa: ARG002 -- it tells nothing unasked
        return None


def measure(plan: Plan, figures: Figures, reporter: Reporter) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # the worker's log is not what is asked for
    with (
        reporter.part("One worker and its rails", len(RAIL_CONCURRENCY) + 3) as advance,
        stages.stage(plan.directory / "rails") as running,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        figures.add_all("rails", runner.run(_measured(running, plan, advance)))


async def _measured(running: stages.Stage, plan: Plan, advance: Advance) -> dict[str, float]:
    enough = int(sum((*RAIL_CONCURRENCY, 2 * _BESIDE)) * (plan.rail_seconds + 2) / 0.12) + 2_000
    await _fill(running, "quick-original", "sandbox", 1, enough)
    found: dict[str, float] = {}
    async with wiring.database(running.server.app_url(), size=10) as pool, wiring.database_clock(pool) as clock:
        runtime = wiring.runtime(pool, clock=clock)

        def worker(concurrency: int, *doubles: _Double, guarded: bool = True) -> Worker:
            breakers = {each.name: CircuitBreaker(BreakerConfig()) for each in doubles} if guarded else {}
            providers = {each.name: GuardedProvider(each, breakers[each.name]) if guarded else each for each in doubles}
            return Worker(runtime, Rails(providers=providers, breakers=breakers), _config(concurrency))

        for concurrency in RAIL_CONCURRENCY:
            quick = _quick(plan.seed)
            found[f"{concurrency}.per_second"] = await _rate(worker(concurrency, quick), quick, plan.rail_seconds)
            advance(1)
        await _fill(running, "slow-original", _SLOW, enough + 1, 2 * _BESIDE)
        quick, slow = _quick(plan.seed), _Double(lambda: _HANGS_SECONDS, name=_SLOW)
        found["beside.per_second"] = await _rate(worker(_BESIDE, quick, slow), quick, plan.rail_seconds)
        found["beside.hanging"] = len(slow.calls)
        advance(1)
        for way, guarded in (("guarded", True), ("unguarded", False)):
            quick = _quick(plan.seed)
            spent = await _outage(worker(_BESIDE, quick, guarded=guarded), quick, plan.outage_seconds)
            found.update({f"{way}.{name}": value for name, value in spent.items()})
            advance(1)
    return found


def _config(concurrency: int) -> WorkerConfig:
    return WorkerConfig(moves=concurrency, patience=timedelta(seconds=0.5), lease=timedelta(seconds=120))


def _quick(seed: int) -> _Double:
    chance = random.Random(seed)
    return _Double(lambda: _MEDIAN_SECONDS * chance.lognormvariate(0, _SIGMA))


async def _rate(worker: Worker, rail: _Double, seconds: float) -> float:
    """Refunds a second, once it is under way."""
    loop = asyncio.get_running_loop()
    async with _working(worker):
        await asyncio.sleep(1)
        before, began = rail.done, loop.time()
        await asyncio.sleep(seconds)
        return (rail.done - before) / (loop.time() - began)


async def _outage(worker: Worker, rail: _Double, seconds: float) -> dict[str, float]:
    """What an outage costs: attempts, and the time until refunds are made again."""
    loop = asyncio.get_running_loop()
    async with _working(worker):
        await asyncio.sleep(1)
        rail.calls.clear()
        rail.there = False
        await asyncio.sleep(seconds)
        calls = dict(rail.calls)
        done, back, rail.there = rail.done, loop.time(), True
        await _until(lambda: rail.done > done)
        return {
            "calls": sum(calls.values()),
            "legs": len(calls),
            "per_leg_max": quantile([float(count) for count in calls.values()], 1),
            "resumed_s": loop.time() - back,
        }


@asynccontextmanager
async def _working(worker: Worker) -> AsyncIterator[None]:
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running


async def _until(look: Callable[[], bool]) -> None:
    while not look():
        await asyncio.sleep(0.01)


async def _fill(running: stages.Stage, reference: str, provider: str, first: int, count: int) -> None:
    """Refunds of this rail that are due now."""
    made = running.register(reference)
    await asyncio.to_thread(stages.cancel, running.url, running.token(Role.wallet), made)
    connection = await asyncpg.connect(running.server.owner_url(), ssl=False)
    try:
        async with connection.transaction():
            await connection.execute("set local session_replication_role = replica")
            for table in ("leg", "job"):
                await connection.execute(f"update {table} set provider = $2 where payment_id = $1", made, provider)  # noqa: S608 -- our own names
    finally:
        await connection.close()
    await stock.fill(running.server.owner_url(), stock.Original(made, reference), first, count)
    await stock.settle(running.server.owner_url())
