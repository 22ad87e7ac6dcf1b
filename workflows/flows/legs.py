"""A leg's step: what a worker or a rail's word makes of it, by the loop of all commands."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from workflows.commands import Decision, Runtime, Write, execute
from workflows.domain.changes import Change, Context
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import ActorRole, Channel
from workflows.domain.legs import Leg, SuccessorRules
from workflows.domain.model import Actor, Payment, Snapshot
from workflows.flows.rails import Rails
from workflows.storage.apply import Fence, NotificationMark
from workflows.storage.snapshot import SnapshotQuery

CONFLICTS_MAX = 20

Decide = Callable[[Snapshot, Leg, PolicyContext], Change | None]  # None: nothing is to change


_Found = tuple[Snapshot, Leg, PolicyContext] | None


@dataclass(frozen=True, slots=True)
class Decided:
    """The leg as it stands now with its payment, and what was written, if anything was."""

    snapshot: Snapshot
    leg: Leg
    change: Change | None


async def load_leg(runtime: Runtime, payment_id: UUID, leg_id: UUID) -> tuple[Snapshot, Leg] | None:
    """The leg with its payment; None where there is no such leg."""
    snapshot = await runtime.store.load(SnapshotQuery(payment_id=payment_id, leg_id=leg_id))
    leg = None if snapshot is None else snapshot.leg(leg_id)
    return None if snapshot is None or leg is None else (snapshot, leg)


async def change_leg(
    runtime: Runtime,
    key: tuple[UUID, UUID],
    *,
    decide: Decide,
    fence: Callable[[Leg], Fence] | None = None,
    mark: Callable[[Change], NotificationMark] | None = None,
    known: Snapshot | None = None,
) -> Decided | None:
    """Write what `decide` makes of the leg (`key`: its payment's and its id), together with the job's fate, which `fence` reads off the
    leg as it then is (None: it is done for no job), and with what became of the rail's word that led to it (`mark`).

    `known`: the snapshot as the step before left it; if it is no longer so, nothing is written, and it is loaded after all. None where
    there is no such leg. Raises LeaseLost where another worker has the job now, Unavailable where others are always faster.
    """
    left_over = known

    async def load() -> _Found:
        nonlocal left_over
        snapshot, left_over = left_over, None
        leg = None if snapshot is None else snapshot.leg(key[1])
        found = await load_leg(runtime, *key) if snapshot is None or leg is None else (snapshot, leg)
        return None if found is None else (*found, await runtime.terms(found[0].payment))

    def decided(found: _Found) -> Decision[Decided | None]:
        if found is None:
            return Decision(None)
        snapshot, leg, terms = found
        change = decide(snapshot, leg, terms)
        if change is None:
            return Decision(Decided(snapshot, leg, None))
        after = change.after(snapshot)
        now = after.leg(leg.id) or leg
        write = Write(change=change, fence=None if fence is None else fence(now), mark=None if mark is None else mark(change))
        return Decision(Decided(after, now, change), write)

    return await execute(runtime.store, load, decided, attempts=CONFLICTS_MAX)


def successor_rules(runtime: Runtime, rails: Rails) -> SuccessorRules:
    return SuccessorRules(runtime.default_provider, rails.successor_reference, rails.first_recheck)


def worker_context(runtime: Runtime, payment: Payment) -> Context:
    return runtime.context(Actor(role=ActorRole.system, id="worker", channel=Channel.system), None, payment.updated_at)


def rail_context(runtime: Runtime, provider: str, payment: Payment) -> Context:
    """What a rail's word leads to, the rail has done."""
    return runtime.context(Actor(role=ActorRole.provider, id=provider, channel=Channel.system), None, payment.updated_at)
