"""Carry one leg on: write the intent, call its rail, write the outcome.

A crash anywhere between leaves a row that says exactly what is known. Whoever comes next asks the rail first, and sends again only
where the rail knows of nothing, under the same rail key. That a rail knows of nothing proves nothing: a request may still be on its way,
from a worker that was frozen, say. So a void is sent again under its own key until the rail gives a definite word, whatever the payment
becomes meanwhile; only that word lets a refund start.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import assert_never

from workflows.commands import Runtime
from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes
from workflows.domain.decisions.execution import order
from workflows.domain.decisions.outcomes import MAY_BE_SENT
from workflows.domain.enums import LegKind, LegState, OutcomeSource
from workflows.domain.model import Leg, Snapshot
from workflows.domain.ports import Absent, Outcome, Provider
from workflows.domain.ports import ProviderUnavailable as RailUnavailable
from workflows.flows.legs import change_leg, load_leg, rail_context, worker_context
from workflows.storage.apply import Fence
from workflows.storage.jobs import Claim

_ASKED = frozenset({LegState.submitted, LegState.processing, LegState.unknown, LegState.requires_action})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rails:
    """The rails, and how patiently to ask them."""

    providers: Mapping[str, Provider]
    enquiries: Sequence[timedelta] = field(default=(timedelta(minutes=1),))  # the last one repeats
    call_seconds_max: float = 0.0  # no call to a rail lasts longer; a worker whose lease has less left does not begin one

    def wait(self, attempt: int) -> timedelta:
        """How long until the next enquiry, a fifth more or less, so that a rail that was away is not asked by all at once."""
        base = self.enquiries[min(max(attempt, 1), len(self.enquiries)) - 1]
        return base * (0.8 + secrets.randbelow(401) / 1000)


@dataclass(frozen=True, slots=True)
class _Called:
    """What the rail said, how it came to say so, and the payment as this step left it."""

    outcome: Outcome
    source: OutcomeSource
    snapshot: Snapshot


class _Overtaken(Exception):
    """Between loading and sending somebody else changed what there is to do, or the time to do it in has gone."""


async def execute_leg(runtime: Runtime, rails: Rails, claim: Claim) -> None:
    """Do what is due for a leg, and end or put off its job. Raises LeaseLost where another worker has it now.

    The snapshot is loaded once: each step goes on from what the one before left, and is written only if that is still so.
    """
    found = await load_leg(runtime, claim.payment_id, claim.subject_id)
    if found is None or found[1].state not in _ASKED | {LegState.scheduled}:
        await runtime.store.finish_job(claim.done())
        return
    try:
        called = await _call(runtime, rails, *found, claim)
    except _Overtaken:
        await runtime.store.finish_job(claim.again(runtime.clock()))  # what is due now is another thing: look again
        return
    await _learn(runtime, rails, claim, called)


async def _call(runtime: Runtime, rails: Rails, snapshot: Snapshot, leg: Leg, claim: Claim) -> _Called:
    provider, told = rails.providers[leg.provider], order(snapshot.payment, leg)
    if leg.state in _ASKED:
        outcome = await provider.find(told)
        if not isinstance(outcome, Absent) or leg.state not in MAY_BE_SENT:
            return _Called(outcome, OutcomeSource.query, snapshot)
    snapshot = await _intend(runtime, claim, snapshot)
    # A process may have been frozen since it took the job: its lease is then another's, and so is the call.
    if claim.expires - runtime.monotonic() <= rails.call_seconds_max:
        raise _Overtaken
    match leg.kind:
        case LegKind.refund:
            return _Called(await provider.refund(told), OutcomeSource.reply, snapshot)
        case LegKind.void:
            return _Called(await provider.void(told), OutcomeSource.reply, snapshot)
        case _:
            assert_never(leg.kind)


async def _intend(runtime: Runtime, claim: Claim, known: Snapshot) -> Snapshot:
    """Write that the leg is being sent. Raises _Overtaken where it is no longer to be sent."""

    def decide(snapshot: Snapshot, leg: Leg) -> Change:
        if leg.state not in MAY_BE_SENT:
            raise _Overtaken
        return outcomes.submit(snapshot, leg, worker_context(runtime, snapshot.payment))

    key = (claim.payment_id, claim.subject_id)
    decided = await change_leg(runtime, key, decide=decide, fence=lambda _: claim.held(), known=known)
    if decided is None:
        raise _Overtaken
    return decided.snapshot


async def _learn(runtime: Runtime, rails: Rails, claim: Claim, called: _Called) -> None:
    outcome, source = called.outcome, called.source
    next_at = runtime.clock() + rails.wait(claim.attempt)
    if isinstance(outcome, RailUnavailable) and outcome.retry_after_seconds is not None:
        next_at = max(next_at, runtime.clock() + timedelta(seconds=outcome.retry_after_seconds))

    def decide(snapshot: Snapshot, leg: Leg) -> Change | None:
        context = rail_context(runtime, leg.provider, snapshot.payment)
        change = outcomes.learn(snapshot, leg, outcome, source=source, next_attempt_at=next_at, context=context)
        if change is None and leg.state in _ASKED and leg.next_attempt_at != next_at:
            change = outcomes.postpone(snapshot, leg, next_attempt_at=next_at, context=context)
        return change

    def fate(leg: Leg) -> Fence:
        return claim.again(next_at) if leg.state in _ASKED else claim.done()

    key = (claim.payment_id, claim.subject_id)
    decided = await change_leg(runtime, key, decide=decide, fence=fate, known=called.snapshot)
    if decided is not None and decided.change is None:
        await runtime.store.finish_job(fate(decided.leg))
