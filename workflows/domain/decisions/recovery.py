"""What a person does about a refund or a void that is stuck: retry it, redirect it to the wallet's balance, or close it.

A leg that failed or was returned is never sent again: a successor takes its place, with a rail key of its own. So nothing is done while
an outcome is open, and what waits for somebody at its rail is first cancelled there. Until then the order is kept with the leg
(`Leg.recovery`), and `go_on` carries it out once the rail has confirmed.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from workflows.domain import ids
from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.closing import close_unpaid, drop_unsent_legs
from workflows.domain.decisions.execution import succeed
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.response import without_clocks
from workflows.domain.decisions.reviews import check_reviewer
from workflows.domain.enums import (
    LEG_FINAL,
    LEG_IN_FLIGHT,
    AnomalyKind,
    AnomalyState,
    CancellationState,
    CancellationTrigger,
    LegKind,
    LegState,
    PaymentState,
    RailCall,
    Recovery,
    Source,
)
from workflows.domain.errors import InvalidState, SecondApproverRequired
from workflows.domain.legs import TOLD_BY_PERSON, Leg, SuccessorRules
from workflows.domain.machines import CANCELLATION
from workflows.domain.model import Actor, Cancellation, DataValue, Snapshot
from workflows.domain.money import PROMOTIONS
from workflows.domain.record_types import RecordType

_PAID = frozenset({AnomalyKind.paid_after_failure, AnomalyKind.amount_mismatch, AnomalyKind.voided_late})
_OPEN = LEG_IN_FLIGHT | {LegState.requires_action}
STUCK = LEG_FINAL | {LegState.requires_action}


def retry(
    snapshot: Snapshot,
    cancellation: Cancellation,
    *,
    successors: SuccessorRules,
    context: Context,
    note: str | None = None,
    terms: PolicyContext | None = None,  # noqa: ARG001 -- every decision on a cancellation is called alike
) -> Change:
    """Each part that is stuck once more, to where it was to go. Raises InvalidState, Forbidden, SecondApproverRequired."""
    return _follow(snapshot, cancellation, Recovery.retry, successors, data_of=_note(note), context=context)


def redirect(
    snapshot: Snapshot,
    cancellation: Cancellation,
    *,
    successors: SuccessorRules,
    context: Context,
    note: str | None = None,
    terms: PolicyContext | None = None,  # noqa: ARG001 -- every decision on a cancellation is called alike
) -> Change:
    """Each part that is stuck to the balance of the customer's wallet, who has agreed to it. Raises what `retry` raises."""
    return _follow(snapshot, cancellation, Recovery.redirect, successors, data_of=_note(note), context=context)


def close(
    snapshot: Snapshot,
    cancellation: Cancellation,
    *,
    context: Context,
    note: str | None = None,
    terms: PolicyContext | None = None,  # noqa: ARG001 -- every decision on a cancellation is called alike
) -> Change:
    """Give up what did not arrive: `failed`. What arrived, or was released, stays so; the rest is refundable again.

    What waits for somebody at its rail is cancelled there first. Raises what `retry` raises.
    """
    CANCELLATION.step(cancellation.state, CancellationTrigger.close)
    if not may_recover(snapshot, cancellation, Recovery.close):
        raise InvalidState(state=cancellation.state.value)
    check_reviewer(cancellation, context.actor)
    if not may_follow(cancellation, stuck_legs(snapshot, cancellation), context.actor):
        raise SecondApproverRequired
    builder = ChangeBuilder(snapshot, context)
    data = _note(note)(builder, cancellation)
    waiting = [leg for leg in stuck_legs(snapshot, cancellation) if leg.state is LegState.requires_action]
    if not waiting:
        close_unpaid(builder, cancellation, data)
        return builder.build()
    for leg in waiting:
        _order(builder, leg, Recovery.close, data)
    drop_unsent_legs(builder, cancellation)  # or one might be under way by the time that the rail has cancelled
    return builder.build()


def may_recover(snapshot: Snapshot, cancellation: Cancellation, how: Recovery) -> bool:
    """Whether nothing of it may still arrive by itself, so that a person may choose."""
    legs = [leg for leg in snapshot.legs if leg.cancellation_id == cancellation.id]
    if cancellation.state is not CancellationState.needs_attention:
        return False
    if any(leg.state in LEG_IN_FLIGHT or leg.recovery is not None for leg in legs):
        return False
    stuck = stuck_legs(snapshot, cancellation)
    if how is Recovery.redirect and not any(may_be_redirected(leg) for leg in stuck):
        return False
    return (how is Recovery.close or bool(stuck)) and not any(is_said_to_be_paid(snapshot, leg) for leg in stuck)


def may_be_redirected(leg: Leg) -> bool:
    """Money that is paid back, that is. A void moves none, and a promotion goes back in kind."""
    return leg.kind is LegKind.refund and leg.source not in PROMOTIONS


def may_follow(cancellation: Cancellation, legs: Sequence[Leg], actor: Actor) -> bool:
    """Whether this person may order what follows: not whoever said himself that the rail's books have the leg as failed."""
    told = {answer.by for leg in legs for answer in leg.answers if answer.call is RailCall.person}
    return actor.id not in told and cancellation.state is CancellationState.needs_attention


def stuck_legs(snapshot: Snapshot, cancellation: Cancellation) -> tuple[Leg, ...]:
    """What does not go on by itself: the refund's, else the void's."""
    kind = LegKind.void if cancellation.refund is None else LegKind.refund
    return tuple(leg for leg in snapshot.current_legs(cancellation.id, kind) if leg.state in STUCK)


def go_on(builder: ChangeBuilder, leg: Leg, how: Recovery, successors: SuccessorRules) -> None:
    """The rail has cancelled the leg, which has failed now: carry out what was ordered."""
    cancellation = builder.now.cancellation(leg.cancellation_id)
    if cancellation is None:
        raise LookupError("a leg without its cancellation was loaded")
    if how is not Recovery.close:
        if leg.kind is LegKind.refund or builder.payment.origin_state is PaymentState.pending:
            _send_successor(builder, leg, how, successors)
        return  # a void that a capture has overtaken: its refund follows
    others = builder.now.legs_of(cancellation.id, leg.kind)
    if cancellation.state is CancellationState.needs_attention and not any(each.state in _OPEN for each in others):
        close_unpaid(builder, cancellation, {})  # else what its rail did not cancel may still arrive: a person chooses anew


def predecessors(snapshot: Snapshot, leg: Leg) -> tuple[Leg, ...]:
    """The legs that this one takes the place of and that were sent, the last one first.

    Among them is the void of the same source that only a person has called failed: its rail may carry it out after all, also where the
    payment settled meanwhile and a refund followed by itself.
    """
    found: list[Leg] = []
    before = snapshot.leg(leg.replaces) if leg.replaces else None
    while before is not None:
        if before.attempts:
            found.append(before)
        before = snapshot.leg(before.replaces) if before.replaces else None
    if leg.kind is LegKind.refund:
        voids = (each for each in snapshot.legs if each.kind is LegKind.void and each.position == leg.position and each.attempts)
        found += [each for each in voids if each.state is LegState.failed and each.failure_code == TOLD_BY_PERSON]
    return tuple(found)


def _follow(
    snapshot: Snapshot,
    cancellation: Cancellation,
    how: Recovery,
    successors: SuccessorRules,
    *,
    data_of: "_Data",
    context: Context,
) -> Change:
    state = CANCELLATION.step(cancellation.state, CancellationTrigger(how.value))
    if not may_recover(snapshot, cancellation, how):
        raise InvalidState(state=cancellation.state.value)
    check_reviewer(cancellation, context.actor)
    stuck = stuck_legs(snapshot, cancellation)
    if not may_follow(cancellation, stuck, context.actor):
        raise SecondApproverRequired
    builder = ChangeBuilder(snapshot, context)
    row = builder.put_cancellation(without_clocks(replace(cancellation, state=state)))
    data: dict[str, DataValue] = {"legs": [ids.public("leg", leg.id) for leg in stuck], **data_of(builder, row)}
    if how is Recovery.redirect:
        data |= {"destination": Source.balance.value, "consent": True, "channel": context.actor.channel.value}
    builder.record_cancellation(_RECORD[how, stuck[0].kind], row, data)
    for leg in stuck:
        if leg.state is LegState.requires_action:
            _order(builder, leg, how, {})
        else:
            _send_successor(builder, leg, how, successors)
    return builder.build()


_RECORD = {
    (Recovery.retry, LegKind.refund): RecordType.refund_retried,
    (Recovery.retry, LegKind.void): RecordType.void_retried,
    (Recovery.redirect, LegKind.refund): RecordType.refund_redirected,
}
_Data = Callable[[ChangeBuilder, Cancellation], dict[str, DataValue]]


def _note(note: str | None) -> _Data:
    def kept(builder: ChangeBuilder, cancellation: Cancellation) -> dict[str, DataValue]:
        return {} if note is None else builder.keep_text(cancellation.id, "recovery_note", note)

    return kept


def _order(builder: ChangeBuilder, leg: Leg, how: Recovery, data: dict[str, DataValue]) -> None:
    """Its rail is to cancel it now; what follows is done when it has."""
    builder.put_leg(replace(leg, recovery=how, next_attempt_at=builder.context.now), {"ordered": how.value, **data})
    builder.hasten(leg.id)


def _send_successor(builder: ChangeBuilder, leg: Leg, how: Recovery, successors: SuccessorRules) -> None:
    source, provider, reference = leg.source, leg.provider, leg.provider_reference
    if how is Recovery.redirect and may_be_redirected(leg):
        balance = next((each for each in builder.payment.funding if each.source is Source.balance), None)
        source = Source.balance
        provider = successors.balance_provider if balance is None else balance.provider
        reference = builder.payment.wallet_id if balance is None else balance.provider_reference
    succeed(builder, leg, source=source, provider=provider, provider_reference=successors.reference(provider, reference))


def is_said_to_be_paid(snapshot: Snapshot, leg: Leg) -> bool:
    """Whether a rail says that it paid what had failed, and nobody has looked into that yet: another payment would be the second.

    That word may be about the leg, or about any that it took the place of.
    """
    paid = {anomaly.leg_id for anomaly in snapshot.anomalies if anomaly.kind in _PAID and anomaly.state is not AnomalyState.resolved}
    one: Leg | None = leg if leg.state in LEG_FINAL else None  # what waits is cancelled at its rail first, which tells
    while one is not None and one.id not in paid:
        one = snapshot.leg(one.replaces) if one.replaces else None
    return one is not None
