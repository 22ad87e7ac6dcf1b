"""Carry one leg on: write the intent, call its rail, write the outcome.

A crash anywhere between leaves a row that says exactly what is known. Whoever comes next asks the rail first, and sends again only
where the rail knows of nothing, under the same rail key.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import assert_never

from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes
from workflows.domain.decisions.execution import order
from workflows.domain.model import Leg, Snapshot
from workflows.domain.ports import Absent, Declined, Outcome, Provider, Settled, Unknown
from workflows.domain.ports import Unavailable as RailUnavailable
from workflows.domain.words import LegKind, LegState, OutcomeSource, PaymentState
from workflows.flows.legs import change_leg, load_leg, rail_context, worker_context
from workflows.run import Runtime
from workflows.storage.apply import Fence
from workflows.storage.jobs import Claim

_ASKED = frozenset({LegState.submitted, LegState.processing, LegState.unknown, LegState.requires_action})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rails:
    """The rails, and how patiently to ask them."""

    providers: Mapping[str, Provider]
    enquiries: Sequence[timedelta] = field(default=(timedelta(minutes=1),))  # the last one repeats
    on_the_way: timedelta = timedelta(minutes=1)  # how long a call that was given up may still reach its rail

    def wait(self, attempt: int) -> timedelta:
        """How long until the next enquiry, a fifth more or less, so that a rail that was away is not asked by all at once."""
        base = self.enquiries[min(max(attempt, 1), len(self.enquiries)) - 1]
        return base * (0.8 + secrets.randbelow(401) / 1000)


class _Overtaken(Exception):
    """Between loading and sending somebody else changed what there is to do."""


async def move(runtime: Runtime, rails: Rails, claim: Claim) -> None:
    """Do what is due for a leg, and end or put off its job. Raises LeaseLost where another worker has it now."""
    found = await load_leg(runtime, claim.payment_id, claim.subject_id)
    if found is None or found[1].state not in _ASKED | {LegState.scheduled}:
        await runtime.store.finish_job(claim.done())
        return
    snapshot, leg = found
    provider = rails.providers.get(leg.provider)
    if provider is None:
        # A rail that this worker was not given: nothing is lost, another one may have it.
        await runtime.store.finish_job(claim.again(runtime.clock() + rails.enquiries[-1]))
        return
    try:
        outcome, source = await _call(runtime, rails, snapshot, leg, claim)
    except _Overtaken:
        await runtime.store.finish_job(claim.again(runtime.clock()))  # what is due now is another thing: look again
        return
    await _learn(runtime, rails, claim, outcome, source)


async def _call(runtime: Runtime, rails: Rails, snapshot: Snapshot, leg: Leg, claim: Claim) -> tuple[Outcome, OutcomeSource]:
    provider, told = rails.providers[leg.provider], order(snapshot.payment, leg)
    if leg.state in _ASKED:
        outcome = await provider.find(told)
        if not isinstance(outcome, Absent):
            return outcome, OutcomeSource.query
        if leg.kind is LegKind.void and snapshot.payment.origin_state is not PaymentState.pending:
            return _nothing_to_void(snapshot, may_arrive=runtime.clock() < (leg.sent_at or leg.created_at) + rails.on_the_way)
    await _intend(runtime, claim)
    match leg.kind:
        case LegKind.refund:
            return await provider.refund(told), OutcomeSource.reply
        case LegKind.void:
            return await provider.void(told), OutcomeSource.reply
        case _:
            assert_never(leg.kind)


def _nothing_to_void(snapshot: Snapshot, *, may_arrive: bool) -> tuple[Outcome, OutcomeSource]:
    """The rail knows of no void, and the payment has settled or failed meanwhile: it is not sent again.

    A refund is never sent twice, since its key stays the same; but here a refund would follow a void that may still be on its way.
    """
    if may_arrive:
        return Unknown("on_the_way"), OutcomeSource.query
    if snapshot.payment.state is PaymentState.failed:
        return Declined("payment_failed"), OutcomeSource.query  # nothing was captured
    return Settled(), OutcomeSource.query


async def _intend(runtime: Runtime, claim: Claim) -> None:
    """Write that the leg is being sent. Raises _Overtaken where it is no longer to be sent."""

    def decide(snapshot: Snapshot, leg: Leg) -> Change:
        overtaken = leg.kind is LegKind.void and snapshot.payment.origin_state is not PaymentState.pending
        if overtaken or leg.state not in _ASKED | {LegState.scheduled}:
            raise _Overtaken
        return outcomes.submit(snapshot, leg, worker_context(runtime))

    await change_leg(runtime, claim.payment_id, claim.subject_id, decide, lambda _: claim.held())


async def _learn(runtime: Runtime, rails: Rails, claim: Claim, outcome: Outcome, source: OutcomeSource) -> None:
    next_at = runtime.clock() + rails.wait(claim.attempt)
    if isinstance(outcome, RailUnavailable) and outcome.retry_after_seconds is not None:
        next_at = max(next_at, runtime.clock() + timedelta(seconds=outcome.retry_after_seconds))

    def decide(snapshot: Snapshot, leg: Leg) -> Change | None:
        context = rail_context(runtime, leg.provider)
        change = outcomes.learn(snapshot, leg, outcome, source=source, next_attempt_at=next_at, context=context)
        if change is None and leg.state in _ASKED and leg.next_attempt_at != next_at:
            change = outcomes.postpone(snapshot, leg, next_attempt_at=next_at, context=context)
        return change

    def fate(leg: Leg) -> Fence:
        return claim.again(next_at) if leg.state in _ASKED else claim.done()

    decided = await change_leg(runtime, claim.payment_id, claim.subject_id, decide, fate)
    if decided is not None and decided.change is None:
        await runtime.store.finish_job(fate(decided.leg))
