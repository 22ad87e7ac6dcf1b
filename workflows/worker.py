"""The worker: claim, flow, finish; again and again, on any number of machines."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from workflows.commands import TRANSIENT, Runtime
from workflows.domain.enums import JobKind
from workflows.domain.errors import LeaseLost, Unavailable
from workflows.domain.rail_states import BreakerState
from workflows.flows.call_persons import call_persons
from workflows.flows.execute_leg import execute_leg
from workflows.flows.fire_deadline import fire_due_deadline
from workflows.flows.notified import handle_notification
from workflows.flows.rails import Rails
from workflows.flows.recheck_leg import recheck_leg
from workflows.storage.jobs import Claim, Queue
from workflows.storage.sweeping import RecheckPlace

log = structlog.get_logger("worker")

Flow = Callable[[Runtime, Rails, Claim], Awaitable[None]]
FLOWS: dict[JobKind, Flow] = {
    JobKind.move: execute_leg,
    JobKind.notification: handle_notification,
    JobKind.deadline: fire_due_deadline,
    JobKind.recheck: recheck_leg,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Jobs that stand in nobody's way but their own: each lane claims and works by itself."""

    name: str
    queues: tuple[Queue, ...]
    concurrency: int
    rail: str = ""  # that its jobs call; empty where they call none
    probes: bool = True  # asks a rail that was away whether it is back; one lane of each rail does


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How much at once, and how often to look."""

    moves: int = 32  # at once for each rail
    rechecks: int = 2  # at once for each rail, beside its moves
    notifications: int = 8
    deadlines: int = 8
    lease: timedelta = timedelta(seconds=60)
    poll: timedelta = timedelta(milliseconds=200)
    beat: timedelta = timedelta(seconds=2)
    sweep: timedelta = timedelta(minutes=1)
    patience: timedelta = timedelta(seconds=10)  # for the jobs in hand, when told to stop


def lanes(rails: Iterable[str], config: WorkerConfig) -> tuple[Lane, ...]:
    """One for each rail's moves, so that a slow rail takes no place from another, and one for its rechecks, so that they hold up no refund;
    one for the rails' words; one for deadlines.

    Words and deadlines wait for nobody, and stand in no queue behind what waits for a rail.
    """
    named = sorted(rails)
    return (
        *(Lane(name=f"rail {name}", queues=(Queue(JobKind.move, name),), concurrency=config.moves, rail=name) for name in named),
        *(
            Lane(name=f"rechecks {name}", queues=(Queue(JobKind.recheck, name),), concurrency=config.rechecks, rail=name, probes=False)
            for name in named
        ),
        Lane(
            name="notifications",
            queues=tuple(Queue(JobKind.notification, name) for name in named),
            concurrency=config.notifications,
        ),
        Lane(name="deadlines", queues=(Queue(JobKind.deadline),), concurrency=config.deadlines),
    )


def _nobody_counts() -> None:
    """Where nobody counts lost leases."""


class Worker:
    def __init__(self, runtime: Runtime, rails: Rails, config: WorkerConfig, on_lease_lost: Callable[[], None] = _nobody_counts) -> None:
        self.runtime = runtime
        self.rails = rails
        self.config = config
        self._on_lease_lost = on_lease_lost
        self.id: UUID = runtime.new_id()
        self.lanes = lanes(rails.providers, config)
        self._queues = [_Queue(self, lane) for lane in self.lanes]
        self._stopping = asyncio.Event()
        self._rechecks_seen: RecheckPlace | None = None

    def stop(self) -> None:
        """Claim nothing more; `run` returns once the jobs in hand are done, or given back by their leases."""
        self._stopping.set()
        for queue in self._queues:
            queue.look_up()

    async def run(self) -> None:
        side = [asyncio.create_task(work()) for work in (self._beat, self._sweep, self._put_jobs_back, self._call_persons)]
        log.info("worker_started", worker=str(self.id))
        try:
            async with asyncio.TaskGroup() as group:
                for queue in self._queues:
                    group.create_task(queue.serve(self._stopping))
        finally:
            for task in side:
                task.cancel()
            tasks = {task for queue in self._queues for task in queue.tasks}
            if tasks:
                await asyncio.wait(tasks, timeout=self.config.patience.total_seconds())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*side, *tasks, return_exceptions=True)
            log.info("worker_stopped", worker=str(self.id))

    async def drain(self) -> int:
        """Do all that is due now, and return how many jobs that were; for tests and tools."""
        done = 0
        while claims := [claim for lane in self.lanes for claim in await self.claim(lane, lane.concurrency)]:
            await asyncio.gather(*(self.do(claim) for claim in claims))
            done += len(claims)
        return done

    async def claim(self, lane: Lane, room: int) -> list[Claim]:
        """Jobs of this lane, no more than its rail's breaker lets through: while that is open none is claimed, and no attempt is spent."""
        if self.rails.state(lane.rail) is BreakerState.half_open:
            if not lane.probes:
                return []
            await self.rails.probe(lane.rail)
        room = self.rails.room(lane.rail, room)
        if room <= 0 or not lane.queues:
            return []
        runtime = self.runtime
        return await runtime.store.claim(
            lane.queues, now=runtime.queue_clock(), monotonic=runtime.monotonic(), lease=self.config.lease, limit=room
        )

    async def do(self, claim: Claim) -> None:
        """One job. Whatever goes wrong, the lease ends by itself, and the job is taken up again."""
        try:
            await FLOWS[claim.kind](self.runtime, self.rails, claim)
        except LeaseLost:
            self._on_lease_lost()
            log.info("lease_lost", job=str(claim.id), attempt=claim.attempt)
        except (Unavailable, *TRANSIENT) as why:
            log.warning("job_interrupted", job=str(claim.id), attempt=claim.attempt, why=type(why).__name__)
        except Exception:
            log.exception("job_failed", job=str(claim.id), kind=claim.kind, attempt=claim.attempt)

    async def _beat(self) -> None:
        await self._every(self.config.beat, self._write_beat)

    async def _write_beat(self) -> None:
        await self.runtime.store.beat(self.id, self.runtime.queue_clock(), self.rails.states(self.runtime.clock()))

    async def _sweep(self) -> None:
        share = self.config.sweep / 2
        await self._every(self.config.sweep, lambda: self.runtime.store.sweep_replies(self.runtime.clock(), share=share))

    async def _put_jobs_back(self) -> None:
        await self._every(self.config.sweep, self.put_jobs_back)

    async def put_jobs_back(self) -> None:
        """Legs on their way, running clocks and the next of the refunds that may come back get the jobs that they should have. There is
        nothing to do unless something went wrong.
        """
        now, store, rechecks = self.runtime.clock(), self.runtime.store, 0
        put = await store.put_jobs_back(now)
        if spans := self.rails.recheck_spans():
            rechecks, self._rechecks_seen = await store.put_rechecks_back(spans, now, self._rechecks_seen)
        if put.legs or put.clocks or rechecks:
            log.warning("jobs_put_back", legs=put.legs, clocks=put.clocks, rechecks=rechecks)

    async def _call_persons(self) -> None:
        await self._every(self.config.sweep, lambda: call_persons(self.runtime, self.rails))

    async def _every(self, interval: timedelta, do: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await do()
            except TRANSIENT as why:
                log.warning("housekeeping_interrupted", why=type(why).__name__)
            except Exception:  # a fault of ours must not silence the sign of life for good
                log.exception("housekeeping_failed")
            await asyncio.sleep(interval.total_seconds())


class _Queue:
    """One lane being worked on: it never holds more than its share, and waits for no other."""

    def __init__(self, worker: Worker, lane: Lane) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._worker = worker
        self._lane = lane
        self._freed = asyncio.Event()

    async def serve(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            if not await self._claim():
                await self._rest(stopping)

    def look_up(self) -> None:
        """End a rest that waits for a free place."""
        self._freed.set()

    async def _claim(self) -> bool:
        """Take what there is room for. True where there may be more at once."""
        room = self._lane.concurrency - len(self.tasks)
        if room <= 0:
            return False
        try:
            claims = await self._worker.claim(self._lane, room)
        except TRANSIENT as why:
            log.warning("queue_unreachable", lane=self._lane.name, why=type(why).__name__)
            return False
        except Exception:  # one lane's fault, such as a schema that is not migrated yet, must not end the others
            log.exception("claim_failed", lane=self._lane.name)
            return False
        for claim in claims:
            task = asyncio.create_task(self._worker.do(claim))
            self.tasks.add(task)
            task.add_done_callback(self._free)
        return len(claims) == room

    def _free(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._freed.set()

    async def _rest(self, stopping: asyncio.Event) -> None:
        """Until a place is free, or it is time to look again."""
        self._freed.clear()
        if len(self.tasks) >= self._lane.concurrency:
            await self._freed.wait()
            return
        try:
            async with asyncio.timeout(self._worker.config.poll.total_seconds()):
                await stopping.wait()
        except TimeoutError:
            return
