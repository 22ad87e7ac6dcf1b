"""Carry one leg on: write the intent, call its rail, write the outcome.

A crash anywhere between leaves a row that says exactly what is known. Whoever comes next asks the rail first, and sends again only
where the rail knows of nothing, under the same rail key.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import assert_never

from workflows.domain.changes import Change, Context
from workflows.domain.decisions import outcomes
from workflows.domain.decisions.execution import order
from workflows.domain.errors import LeaseLost, Unavailable
from workflows.domain.model import Actor, Leg, Snapshot
from workflows.domain.ports import Absent, Declined, Outcome, Provider, Settled
from workflows.domain.ports import Unavailable as RailUnavailable
from workflows.domain.words import ActorRole, Channel, LegKind, LegState, OutcomeSource, PaymentState
from workflows.run import Runtime
from workflows.storage.apply import Applied, Fence, Lost
from workflows.storage.jobs import Claim
from workflows.storage.snapshot import Wanted

CONFLICTS_MAX = 20
_ASKED = frozenset({LegState.submitted, LegState.processing, LegState.unknown, LegState.requires_action})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rails:
    """The rails, and how patiently to ask them."""

    providers: Mapping[str, Provider]
    enquiries: Sequence[timedelta] = field(default=(timedelta(minutes=1),))  # the last one repeats

    def wait(self, attempt: int) -> timedelta:
        """How long until the next enquiry, a fifth more or less, so that a rail that was away is not asked by all at once."""
        base = self.enquiries[min(max(attempt, 1), len(self.enquiries)) - 1]
        return base * (0.8 + secrets.randbelow(401) / 1000)


async def move(runtime: Runtime, rails: Rails, claim: Claim) -> None:
    """Do what is due for a leg, and end or put off its job. Raises LeaseLost where another worker has it now."""
    snapshot = await _load(runtime, claim)
    leg = None if snapshot is None else snapshot.leg(claim.subject_id)
    if snapshot is None or leg is None or leg.state not in _ASKED | {LegState.scheduled}:
        await runtime.store.finish_job(claim.done())
        return
    provider = rails.providers.get(leg.provider)
    if provider is None:
        # A rail that this worker was not given: nothing is lost, another one may have it.
        await runtime.store.finish_job(claim.again(runtime.clock() + rails.enquiries[-1]))
        return
    outcome, source = await _call(runtime, provider, snapshot, leg, claim)
    await _learn(runtime, rails, claim, outcome, source)


async def _call(runtime: Runtime, provider: Provider, snapshot: Snapshot, leg: Leg, claim: Claim) -> tuple[Outcome, OutcomeSource]:
    told = order(snapshot.payment, leg)
    if leg.state in _ASKED:
        outcome = await provider.find(told)
        if not isinstance(outcome, Absent):
            return outcome, OutcomeSource.query
        if leg.kind is LegKind.void and snapshot.payment.origin_state is not PaymentState.pending:
            if snapshot.payment.state is PaymentState.failed:
                return Declined("payment_failed"), OutcomeSource.query  # nothing was captured, and nothing is left to void
            # The rail never had the void, and the payment has settled meanwhile: nothing is left to void.
            return Settled(), OutcomeSource.query
    await _intend(runtime, claim)
    match leg.kind:
        case LegKind.refund:
            return await provider.refund(told), OutcomeSource.reply
        case LegKind.void:
            return await provider.void(told), OutcomeSource.reply
        case _:
            assert_never(leg.kind)


async def _intend(runtime: Runtime, claim: Claim) -> None:
    """Write that the leg is being sent. If it is no longer to be sent, give the job back."""

    def decide(snapshot: Snapshot, leg: Leg, context: Context) -> Change | None:
        if leg.state not in _ASKED | {LegState.scheduled}:
            raise LeaseLost
        return outcomes.submit(snapshot, leg, context)

    await _change(runtime, claim, decide, context=lambda _: worker_context(runtime), fate=lambda _: claim.held())


async def _learn(runtime: Runtime, rails: Rails, claim: Claim, outcome: Outcome, source: OutcomeSource) -> None:
    next_at = runtime.clock() + rails.wait(claim.attempt)
    if isinstance(outcome, RailUnavailable) and outcome.retry_after_seconds is not None:
        next_at = max(next_at, runtime.clock() + timedelta(seconds=outcome.retry_after_seconds))

    def decide(snapshot: Snapshot, leg: Leg, context: Context) -> Change | None:
        change = outcomes.learn(snapshot, leg, outcome, source=source, next_attempt_at=next_at, context=context)
        if change is None and leg.state in _ASKED and leg.next_attempt_at != next_at:
            change = outcomes.postpone(snapshot, leg, next_attempt_at=next_at, context=context)
        return change

    def fate(leg: Leg) -> Fence:
        return claim.again(next_at) if leg.state in _ASKED else claim.done()

    await _change(runtime, claim, decide, context=lambda leg: rail_context(runtime, leg.provider), fate=fate)


async def _change(
    runtime: Runtime,
    claim: Claim,
    decide: Callable[[Snapshot, Leg, Context], Change | None],
    *,
    context: Callable[[Leg], Context],
    fate: Callable[[Leg], Fence],
) -> None:
    """Load, decide, apply for a leg, together with what becomes of the job. Raises LeaseLost, Unavailable."""
    for _ in range(CONFLICTS_MAX):
        snapshot = await _load(runtime, claim)
        leg = None if snapshot is None else snapshot.leg(claim.subject_id)
        if snapshot is None or leg is None:
            raise LeaseLost
        change = decide(snapshot, leg, context(leg))
        if change is None:
            await runtime.store.finish_job(fate(leg))
            return
        after = next((row for row in change.legs if row.id == leg.id), leg)
        answer = await runtime.store.apply(change, fence=fate(after))
        if answer is Applied:
            return
        if answer is Lost:
            raise LeaseLost
    raise Unavailable


async def _load(runtime: Runtime, claim: Claim) -> Snapshot | None:
    return await runtime.store.load(Wanted(payment_id=claim.payment_id, leg_id=claim.subject_id))


def worker_context(runtime: Runtime) -> Context:
    return runtime.context(Actor(role=ActorRole.system, id="worker", channel=Channel.system), None)


def rail_context(runtime: Runtime, provider: str) -> Context:
    """What a rail's word leads to, the rail has done."""
    return runtime.context(Actor(role=ActorRole.provider, id=provider, channel=Channel.system), None)
