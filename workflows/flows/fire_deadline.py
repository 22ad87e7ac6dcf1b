"""Strike a clock: do what is due of it now, and put its job off until the next time, or end it."""

from datetime import datetime

from workflows.commands import Decision, Runtime, Write, execute, given
from workflows.domain.changes import Change
from workflows.domain.decisions.clocks import fire_deadline, next_deadline_at
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.model import Cancellation, Snapshot
from workflows.flows.legs import CONFLICTS_MAX, worker_context
from workflows.flows.rails import Rails
from workflows.storage.apply import Fence
from workflows.storage.jobs import Claim
from workflows.storage.snapshot import SnapshotQuery


async def fire_due_deadline(runtime: Runtime, _: Rails, claim: Claim) -> None:
    """What silence leads to, written together with the job's fate. Whoever answered first has stopped the clock, and nothing happens.

    Raises LeaseLost where another worker has the job now, Unavailable where others are always faster.
    """

    async def load() -> tuple[Snapshot, PolicyContext | None] | None:
        snapshot = await runtime.store.load(SnapshotQuery(payment_id=claim.payment_id))
        return None if snapshot is None else (snapshot, await runtime.find_terms(snapshot.payment))

    def decide(loaded: tuple[Snapshot, PolicyContext | None] | None) -> Decision[None]:
        running = None if loaded is None else _running(loaded[0], claim)
        if loaded is None or running is None:
            return Decision(None, Write(fence=claim.done()))
        snapshot, terms = loaded
        change = fire_deadline(snapshot, running, given(terms), worker_context(runtime, snapshot.payment))
        # None: too early. This clock, or that of the machine, was put back.
        again = next_deadline_at(running) if change is None else _again(change, claim)
        return Decision(None, Write(change=change, fence=_fate(claim, again)))

    await execute(runtime.store, load, decide, attempts=CONFLICTS_MAX)


def _running(snapshot: Snapshot, claim: Claim) -> Cancellation | None:
    return next((one for one in snapshot.cancellations if one.clock is not None and one.clock.id == claim.subject_id), None)


def _again(change: Change, claim: Claim) -> datetime | None:
    """When this very clock is due next, if it still runs; a new one has a job of its own."""
    for row in change.cancellations:
        if row.clock is not None and row.clock.id == claim.subject_id:
            return next_deadline_at(row)
    return None


def _fate(claim: Claim, again: datetime | None) -> Fence:
    return claim.done() if again is None else claim.again(again)
