"""Strike a clock: do what is due of it now, and put its job off until the next time, or end it."""

from datetime import datetime

from workflows.domain.changes import Change
from workflows.domain.decisions.clocks import fire_deadline, next_deadline_at
from workflows.domain.errors import LeaseLost, Unavailable
from workflows.domain.model import Cancellation, Snapshot
from workflows.flows.execute_leg import Rails
from workflows.flows.legs import CONFLICTS_MAX, worker_context
from workflows.run import Runtime, pause
from workflows.storage.apply import Applied, Lost
from workflows.storage.jobs import Claim
from workflows.storage.snapshot import SnapshotQuery


async def fire_due_deadline(runtime: Runtime, _: Rails, claim: Claim) -> None:
    """What silence leads to, written together with the job's fate. Whoever answered first has stopped the clock, and nothing happens.

    Raises LeaseLost where another worker has the job now, Unavailable where others are always faster.
    """
    for attempt in range(CONFLICTS_MAX):
        snapshot = await runtime.store.load(SnapshotQuery(payment_id=claim.payment_id))
        cancellation = None if snapshot is None else _running(snapshot, claim)
        if snapshot is None or cancellation is None:
            await _finish(runtime, claim, None)
            return
        terms = await runtime.terms(snapshot.payment)
        change = fire_deadline(snapshot, cancellation, terms, worker_context(runtime, snapshot.payment))
        if change is None:
            await _finish(runtime, claim, next_deadline_at(cancellation))  # too early: this clock, or that of the machine, was put back
            return
        again = _again(change, claim)
        answer = await runtime.store.apply(change, fence=claim.done() if again is None else claim.again(again))
        if answer is Applied:
            return
        if answer is Lost:
            raise LeaseLost
        await pause(attempt)
    raise Unavailable


def _running(snapshot: Snapshot, claim: Claim) -> Cancellation | None:
    return next((one for one in snapshot.cancellations if one.clock is not None and one.clock.id == claim.subject_id), None)


def _again(change: Change, claim: Claim) -> datetime | None:
    """When this very clock is due next, if it still runs; a new one has a job of its own."""
    for row in change.cancellations:
        if row.clock is not None and row.clock.id == claim.subject_id:
            return next_deadline_at(row)
    return None


async def _finish(runtime: Runtime, claim: Claim, again: datetime | None) -> None:
    if not await runtime.store.finish_job(claim.done() if again is None else claim.again(again)):
        raise LeaseLost
