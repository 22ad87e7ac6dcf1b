"""Load, decide, apply for one leg, on behalf of a job."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from workflows.domain.changes import Change, Context
from workflows.domain.enums import ActorRole, Channel
from workflows.domain.errors import LeaseLost, Unavailable
from workflows.domain.model import Actor, Leg, Payment, Snapshot
from workflows.run import Runtime, pause
from workflows.storage.apply import Applied, Fence, Lost, NotificationMark
from workflows.storage.snapshot import SnapshotQuery

CONFLICTS_MAX = 20

Decide = Callable[[Snapshot, Leg], Change | None]  # None: nothing is to change


@dataclass(frozen=True, slots=True)
class Decided:
    """The leg as it stands now, and what was written, if anything was."""

    leg: Leg
    change: Change | None


async def load_leg(runtime: Runtime, payment_id: UUID, leg_id: UUID) -> tuple[Snapshot, Leg] | None:
    """The leg with its payment; None where there is no such leg."""
    snapshot = await runtime.store.load(SnapshotQuery(payment_id=payment_id, leg_id=leg_id))
    leg = None if snapshot is None else snapshot.leg(leg_id)
    return None if snapshot is None or leg is None else (snapshot, leg)


async def change_leg(
    runtime: Runtime,
    payment_id: UUID,
    leg_id: UUID,
    *,
    decide: Decide,
    fence: Callable[[Leg], Fence],
    mark: Callable[[Change], NotificationMark] | None = None,
) -> Decided | None:
    """Write what `decide` makes of the leg, together with the job's fate, which `fence` reads off the leg as it then is, and with what
    became of the rail's word that led to it (`mark`).

    None where there is no such leg. Raises LeaseLost where another worker has the job now, Unavailable where others are always faster.
    """
    for attempt in range(CONFLICTS_MAX):
        found = await load_leg(runtime, payment_id, leg_id)
        if found is None:
            return None
        snapshot, leg = found
        change = decide(snapshot, leg)
        if change is None:
            return Decided(leg, None)
        after = next((row for row in change.legs if row.id == leg_id), leg)
        answer = await runtime.store.apply(change, fence=fence(after), mark=None if mark is None else mark(change))
        if answer is Applied:
            return Decided(after, change)
        if answer is Lost:
            raise LeaseLost
        await pause(attempt)
    raise Unavailable


def worker_context(runtime: Runtime, payment: Payment) -> Context:
    return runtime.context(Actor(role=ActorRole.system, id="worker", channel=Channel.system), None, payment)


def rail_context(runtime: Runtime, provider: str, payment: Payment) -> Context:
    """What a rail's word leads to, the rail has done."""
    return runtime.context(Actor(role=ActorRole.provider, id=provider, channel=Channel.system), None, payment)
