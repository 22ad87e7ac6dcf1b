"""Carry one leg on: write the intent, call its rail, write the outcome.

A crash anywhere between leaves a row that says exactly what is known. Whoever comes next asks the rail first. It sends again, under the
same rail key, where the rail knows of nothing, and where it has answered nothing for the whole of its schedule. That a rail knows of
nothing proves nothing: a request may still be on its way, from a worker that was frozen, say. So a void is sent again under its own key
until the rail gives a definite word, whatever the payment becomes meanwhile; only that word lets a refund start.

A leg that takes the place of another is sent once the rail has been asked for the last time about the other one, and has not said that
it paid it. What waits for somebody is cancelled at its rail where a person has ordered what is to follow.

Where nobody knows for too long what became of a leg, a person is called; it is asked after all the same.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from msgspec.structs import replace

from workflows.commands import Runtime
from workflows.domain.changes import Change
from workflows.domain.decisions import attention, outcomes, recovery, successors
from workflows.domain.decisions.execution import order
from workflows.domain.decisions.outcomes import MAY_BE_SENT
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.words import Word, heard
from workflows.domain.enums import LegKind, LegState, RailCall
from workflows.domain.legs import Leg
from workflows.domain.model import Snapshot
from workflows.domain.ports import Absent, Outcome, Provider, RailSchedule, Unknown
from workflows.domain.ports import ProviderUnavailable as RailUnavailable
from workflows.flows.legs import change_leg, load_leg, rail_context, successor_rules, worker_context
from workflows.flows.rails import Rails
from workflows.storage.apply import Fence
from workflows.storage.jobs import Claim

RETRY_AFTER_MAX = timedelta(days=1)  # a rail that wants to be left alone for longer is asked then all the same

_ASKED = frozenset({LegState.submitted, LegState.processing, LegState.unknown, LegState.requires_action})


@dataclass(frozen=True, slots=True)
class _Called:
    """What the rail said, how it came to say so, and the payment as this step left it.

    `about`: the leg that this one takes the place of, where it was that which the rail was asked about.
    """

    outcome: Outcome
    call: RailCall
    snapshot: Snapshot
    about: Leg | None = None


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
    if leg.state is LegState.scheduled and (open_one := await _ask_of_predecessors(rails, snapshot, leg)) is not None:
        return open_one
    if leg.state is LegState.requires_action and leg.recovery is not None:
        return _Called(await provider.cancel(told), RailCall.cancel, snapshot)
    if leg.state in _ASKED:
        outcome = await provider.find(told)
        if not _may_send_after(outcome, leg, provider.schedule):
            return _Called(outcome, RailCall.ask, snapshot)
    snapshot = await _intend(runtime, claim, snapshot)
    # A process may have been frozen since it took the job: its lease is then another's, and so is the call.
    if claim.expires - runtime.monotonic() <= rails.call_seconds_max:
        raise _Overtaken
    return _Called(await _send(provider, snapshot, leg), RailCall.send, snapshot)


async def _ask_of_predecessors(rails: Rails, snapshot: Snapshot, leg: Leg) -> _Called | None:
    """The word about the leg that this one replaces, where it does not let this one be sent. Earlier ones were asked about then."""
    for before in recovery.predecessors(snapshot, leg)[:1]:
        provider = rails.providers.get(before.provider)
        outcome = Unknown("no_such_rail") if provider is None else await provider.find(order(snapshot.payment, before))
        if not successors.lets_send(before, outcome):
            return _Called(outcome, RailCall.ask, snapshot, before)
    return None


def _may_send_after(outcome: Outcome, leg: Leg, schedule: RailSchedule) -> bool:
    """Whether the order is sent (again) under its own key, now that its rail was asked."""
    if leg.state not in MAY_BE_SENT:
        return False
    if isinstance(outcome, Unknown):
        return schedule.sends_again and leg.unanswered(RailCall.ask) >= len(schedule.enquiries)
    return isinstance(outcome, Absent)


async def _send(provider: Provider, snapshot: Snapshot, leg: Leg) -> Outcome:
    told = order(snapshot.payment, leg)
    match leg.kind:
        case LegKind.refund:
            return await provider.refund(told)
        case LegKind.void:
            return await provider.void(told)
        case _:
            assert_never(leg.kind)


async def _intend(runtime: Runtime, claim: Claim, known: Snapshot) -> Snapshot:
    """Write that the leg is being sent. Raises _Overtaken where it is no longer to be sent."""

    def decide(snapshot: Snapshot, leg: Leg, _: PolicyContext) -> Change:
        if leg.state not in MAY_BE_SENT:
            raise _Overtaken
        return outcomes.submit(snapshot, leg, worker_context(runtime, snapshot.payment))

    key = (claim.payment_id, claim.subject_id)
    decided = await change_leg(runtime, key, decide=decide, fence=lambda _: claim.held(), known=known)
    if decided is None:
        raise _Overtaken
    return decided.snapshot


async def _learn(runtime: Runtime, rails: Rails, claim: Claim, called: _Called) -> None:
    next_at = runtime.clock() + _wait(rails, called, claim)
    word = Word(outcome=called.outcome, call=called.call, next_attempt_at=next_at)

    def decide(snapshot: Snapshot, leg: Leg, terms: PolicyContext) -> Change | None:
        context, schedule = rail_context(runtime, leg.provider, snapshot.payment), rails.providers[leg.provider].schedule
        if called.about is not None:
            change = successors.learn_of_predecessor(snapshot, leg, called.about, word, terms=terms, context=context)
        else:
            change = outcomes.learn(snapshot, leg, word, terms=terms, successors=successor_rules(runtime, rails), context=context)
        if change is not None or not _goes_on(leg):
            return change
        row = replace(heard(leg, word, context.now), next_attempt_at=next_at)
        if row.recovery is not None and row.unanswered(RailCall.cancel) > len(schedule.enquiries):
            return outcomes.give_up_recovery(snapshot, row, terms=terms, context=context)
        called_for = attention.give_to_person(snapshot, row, schedule=schedule, terms=terms, context=context)
        return outcomes.postpone(snapshot, row, context) if called_for is None else called_for

    def fate(leg: Leg) -> Fence:
        if leg.recovery is not None and called.call is not RailCall.cancel:
            return claim.again(runtime.clock())  # ordered while its rail was being asked: that is due now
        return claim.again(next_at) if _goes_on(leg) else claim.done()

    key = (claim.payment_id, claim.subject_id)
    decided = await change_leg(runtime, key, decide=decide, fence=fate, known=called.snapshot)
    if decided is not None and decided.change is None:
        await runtime.store.finish_job(fate(decided.leg))


def _goes_on(leg: Leg) -> bool:
    return leg.state in _ASKED or leg.state is LegState.scheduled


def _wait(rails: Rails, called: _Called, claim: Claim) -> timedelta:
    leg = called.snapshot.leg(claim.subject_id)
    provider = rails.providers[leg.provider] if leg is not None else next(iter(rails.providers.values()))
    wait = rails.wait(provider.schedule, claim.attempt)
    if isinstance(called.outcome, RailUnavailable) and called.outcome.retry_after_seconds is not None:
        wait = max(wait, min(timedelta(seconds=called.outcome.retry_after_seconds), RETRY_AFTER_MAX))
    return wait
