"""The worker: claim, flow, finish; again and again, on any number of machines."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from workflows.domain.errors import LeaseLost, Unavailable
from workflows.domain.words import JobKind
from workflows.flows.move import Rails, move
from workflows.flows.notified import handle_notification
from workflows.run import TRANSIENT, Runtime
from workflows.storage.jobs import Claim

log = structlog.get_logger("worker")

Flow = Callable[[Runtime, Rails, Claim], Awaitable[None]]
FLOWS: dict[JobKind, Flow] = {JobKind.move: move, JobKind.notification: handle_notification}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much at once, and how often to look."""

    concurrency: int = 32
    lease: timedelta = timedelta(seconds=60)
    poll: timedelta = timedelta(milliseconds=200)
    beat: timedelta = timedelta(seconds=2)
    sweep: timedelta = timedelta(minutes=1)
    patience: timedelta = timedelta(seconds=10)  # for the jobs in hand, when told to stop


class Worker:
    def __init__(self, runtime: Runtime, rails: Rails, pace: Pace) -> None:
        self.runtime = runtime
        self.rails = rails
        self.pace = pace
        self.id: UUID = runtime.new_id()
        self._tasks: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Claim nothing more; `run` returns once the jobs in hand are done, or given back by their leases."""
        self._stopping.set()

    async def run(self) -> None:
        side = [asyncio.create_task(self._beat()), asyncio.create_task(self._sweep())]
        log.info("worker_started", worker=str(self.id))
        try:
            while not self._stopping.is_set():
                if not await self._claim():
                    await self._rest()
        finally:
            for task in side:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self.pace.patience.total_seconds())
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*side, *self._tasks, return_exceptions=True)
            log.info("worker_stopped", worker=str(self.id))

    async def drain(self) -> int:
        """Do all that is due now, and return how many jobs that were; for tests and tools."""
        done = 0
        while claims := await self.runtime.store.claim(now=self.runtime.clock(), lease=self.pace.lease, limit=self.pace.concurrency):
            await asyncio.gather(*(self._do(claim) for claim in claims))
            done += len(claims)
        return done

    async def _claim(self) -> bool:
        """Take what there is room for. True where there may be more at once."""
        room = self.pace.concurrency - len(self._tasks)
        if room <= 0:
            return False
        try:
            claims = await self.runtime.store.claim(now=self.runtime.clock(), lease=self.pace.lease, limit=room)
        except TRANSIENT as why:
            log.warning("queue_unreachable", why=type(why).__name__)
            return False
        for claim in claims:
            task = asyncio.create_task(self._do(claim))
            self._tasks.add(task)
            task.add_done_callback(self._free)
        return len(claims) == room

    def _free(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._freed.set()

    async def _rest(self) -> None:
        """Until a place is free, or it is time to look again."""
        self._freed.clear()
        if len(self._tasks) >= self.pace.concurrency:
            await self._freed.wait()
            return
        try:
            async with asyncio.timeout(self.pace.poll.total_seconds()):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _do(self, claim: Claim) -> None:
        """One job. Whatever goes wrong, the lease ends by itself, and the job is taken up again."""
        try:
            await FLOWS[claim.kind](self.runtime, self.rails, claim)
        except LeaseLost:
            log.info("lease_lost", job=str(claim.id), attempt=claim.attempt)
        except (Unavailable, *TRANSIENT) as why:
            log.warning("job_interrupted", job=str(claim.id), attempt=claim.attempt, why=type(why).__name__)
        except Exception:
            log.exception("job_failed", job=str(claim.id), kind=claim.kind, attempt=claim.attempt)

    async def _beat(self) -> None:
        await self._every(self.pace.beat, lambda: self.runtime.store.beat(self.id, self.runtime.clock()))

    async def _sweep(self) -> None:
        await self._every(self.pace.sweep, lambda: self.runtime.store.sweep_replies(self.runtime.clock()))

    async def _every(self, interval: timedelta, do: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await do()
            except TRANSIENT as why:
                log.warning("housekeeping_interrupted", why=type(why).__name__)
            except Exception:  # a fault of ours must not silence the sign of life for good
                log.exception("housekeeping_failed")
            await asyncio.sleep(interval.total_seconds())
