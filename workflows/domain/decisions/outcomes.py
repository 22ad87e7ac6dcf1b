"""What a rail's word does to a leg, and from there to its refund, its cancellation and the payment."""

from dataclasses import replace
from datetime import datetime

from workflows.domain import ids
from workflows.domain.canonical import INTEGER_MAX
from workflows.domain.changes import Change, Context, Draught
from workflows.domain.decisions.execution import (
    UNFINISHED,
    WAITING,
    after_void,
    allocated,
    confirm,
    drop_unsent_voids,
    fulfil,
    moved,
    refresh_refund,
    stuck,
)
from workflows.domain.errors import InvalidState
from workflows.domain.machines import CANCELLATION, LEG, PAYMENT, Facts
from workflows.domain.model import Cancellation, DataValue, Leg, Snapshot
from workflows.domain.ports import Absent, Declined, Done, NeedsAction, Outcome, Pending, Returned, Settled, Unavailable, Unknown
from workflows.domain.words import (
    LEG_IN_FLIGHT,
    CancellationState,
    CancellationTrigger,
    LegKind,
    LegState,
    LegTrigger,
    OutcomeSource,
    PaymentState,
    PaymentTrigger,
    RecordType,
)

_SENT = LEG_IN_FLIGHT | {LegState.requires_action}


def submit(snapshot: Snapshot, leg: Leg, context: Context) -> Change:
    """The intent to send, written before the rail is called. Sending again under the same key is an attempt more."""
    draught = Draught(snapshot, context)
    state = LEG.step(leg.state, LegTrigger.submit) if leg.state is LegState.scheduled else leg.state
    row = replace(leg, state=state, attempts=leg.attempts + 1, next_attempt_at=None, sent_at=context.now)
    draught.put_leg(row, silent=leg.state is not LegState.scheduled)
    refresh_refund(draught, row)
    return draught.build()


def postpone(snapshot: Snapshot, leg: Leg, *, next_attempt_at: datetime, context: Context) -> Change:
    """The rail did nothing, or is still at it; try or ask again later. No state changes, so no record."""
    draught = Draught(snapshot, context)
    draught.put_leg(replace(leg, next_attempt_at=next_attempt_at), silent=True)
    return draught.build()


def learn(
    snapshot: Snapshot,
    leg: Leg,
    outcome: Outcome,
    *,
    source: OutcomeSource,
    next_attempt_at: datetime | None,
    context: Context,
) -> Change | None:
    """What a rail's word does to a leg, its refund, its cancellation and the payment. None: it says nothing new.

    A word that no transition allows is kept as an anomaly and changes no state.
    """
    draught = Draught(snapshot, context)
    if isinstance(outcome, Done) and (outcome.amount, outcome.currency) != (leg.amount, leg.currency):
        # A record holds no integer that not every reader could, and a rail may say anything.
        rail_amount = outcome.amount if abs(outcome.amount) <= INTEGER_MAX else str(outcome.amount)
        return _contradicted(draught, leg, "amount_mismatch", {"rail_amount": rail_amount, "rail_currency": outcome.currency})
    row = replace(leg, outcome_source=source, next_attempt_at=None)
    if isinstance(outcome, Settled):
        return _settled(draught, leg, replace(row, failure_code="payment_settled"))
    if (step := _read(outcome, row, next_attempt_at)) is None:
        return None
    row, trigger = step
    if trigger is LegTrigger.lose and leg.state is not LegState.submitted:
        return None  # asked again, and again no answer: unknown before, unknown after
    return _step(draught, leg, row, trigger)


def _read(outcome: Outcome, row: Leg, next_attempt_at: datetime | None) -> tuple[Leg, LegTrigger] | None:
    """The step that a rail's word orders, with what it tells of the leg. None: the rail did nothing, or knows of nothing."""
    match outcome:
        case Done(provider_refund_id=refund_id, rail_reference=reference):
            refund_id, reference = refund_id or row.provider_refund_id, reference or row.rail_reference
            return replace(row, provider_refund_id=refund_id, rail_reference=reference, failure_code=None), LegTrigger.succeed
        case Declined(failure_code=code):
            return replace(row, failure_code=code), LegTrigger.fail
        case Returned(failure_code=code):
            return replace(row, failure_code=code), LegTrigger.give_back
        case Pending(provider_refund_id=refund_id):
            refund_id = refund_id or row.provider_refund_id
            return replace(row, provider_refund_id=refund_id, next_attempt_at=next_attempt_at), LegTrigger.process
        case NeedsAction(provider_refund_id=refund_id):
            refund_id = refund_id or row.provider_refund_id
            return replace(row, provider_refund_id=refund_id, next_attempt_at=next_attempt_at), LegTrigger.require_action
        case Unknown():
            return replace(row, next_attempt_at=next_attempt_at), LegTrigger.lose
        case Unavailable() | Absent() | Settled():
            return None


def _step(draught: Draught, leg: Leg, row: Leg, trigger: LegTrigger) -> Change | None:
    if trigger is LegTrigger.give_back and leg.state in _SENT:
        # It went out and came back before anybody told us that it had arrived: nothing arrived.
        row, trigger = replace(row, failure_code=row.failure_code or "returned"), LegTrigger.fail
    if trigger is LegTrigger.give_back and leg.kind is LegKind.void and leg.state is LegState.succeeded:
        return _anomaly(draught, leg, {"said": trigger.value})  # a void moved no money that could come back
    try:
        state = LEG.step(leg.state, trigger)
    except InvalidState:
        if _says_the_same(leg.state, trigger):
            return None
        return _anomaly(draught, leg, {"said": trigger.value})
    row = draught.put_leg(replace(row, state=state))
    _consequences(draught, row)
    return draught.build()


def _says_the_same(state: LegState, trigger: LegTrigger) -> bool:
    """A word that was heard before, or that a later one has overtaken."""
    heard = {
        LegTrigger.succeed: {LegState.succeeded, LegState.returned},
        LegTrigger.fail: {LegState.failed},
        LegTrigger.process: {LegState.processing, LegState.succeeded, LegState.failed, LegState.returned, LegState.requires_action},
        LegTrigger.require_action: {LegState.requires_action, LegState.succeeded, LegState.failed, LegState.returned},
        LegTrigger.give_back: {LegState.returned, LegState.failed},
    }
    return state in heard.get(trigger, set())


def _contradicted(draught: Draught, leg: Leg, why: str, data: dict[str, DataValue]) -> Change | None:
    """The rail speaks of something else than what was sent. That is no success and no failure: both are on record, once, and a
    person has to look.
    """
    if leg.state is LegState.requires_action:
        if leg.failure_code == why:
            return None
        draught.put_leg(replace(leg, failure_code=why), silent=True)
    elif LEG.may(leg.state, LegTrigger.require_action):
        row = replace(leg, state=LEG.step(leg.state, LegTrigger.require_action), failure_code=why, next_attempt_at=None)
        _consequences(draught, draught.put_leg(row))
    return _anomaly(draught, leg, {"said": why} | data)


def _anomaly(draught: Draught, leg: Leg, data: dict[str, DataValue]) -> Change:
    base: dict[str, DataValue] = {
        "cancellation_id": ids.public("can", leg.cancellation_id),
        "leg_id": ids.public("leg", leg.id),
        "rail_key": leg.rail_key,
        "leg_state": leg.state.value,
    }
    draught.record_payment(RecordType.payment_anomaly, base | data, amount=leg.amount)
    return draught.build()


def _consequences(draught: Draught, leg: Leg) -> None:
    """Carry a leg's new state up: to the sums, the refund, the cancellation, the payment."""
    cancellation = draught.now.cancellation(leg.cancellation_id)
    if cancellation is None:
        raise LookupError("a leg without its cancellation was loaded")
    if leg.kind is LegKind.void:
        if cancellation.state in UNFINISHED:
            after_void(draught, cancellation)
        elif leg.state is LegState.succeeded:
            draught.record_payment(RecordType.payment_anomaly, {"said": "voided", "leg_id": ids.public("leg", leg.id)}, amount=leg.amount)
        return
    payment = draught.payment
    match leg.state:
        case LegState.succeeded:
            draught.set_payment(moved(payment, leg.amount))
        case LegState.failed:
            draught.set_payment(allocated(payment, leg.position, -leg.amount))
        case LegState.returned:
            draught.set_payment(moved(allocated(payment, leg.position, -leg.amount), -leg.amount))
        case _:
            pass
    refresh_refund(draught, leg)
    _after_refund(draught, cancellation, leg)


def _after_refund(draught: Draught, cancellation: Cancellation, leg: Leg) -> None:
    """Complete the cancellation when every leg arrived, call for a person when none is left that may still arrive."""
    legs = draught.now.legs_of(cancellation.id, LegKind.refund)
    replaced = {each.replaces for each in legs}
    live = [each for each in legs if each.id not in replaced]
    if leg.state is LegState.returned:
        _reopen(draught, cancellation)
    elif all(each.state is LegState.succeeded for each in live):
        confirm(draught, fulfil(draught, cancellation))
    elif cancellation.state is CancellationState.executing and not any(each.state in WAITING for each in live):
        stuck(draught, cancellation)


def _reopen(draught: Draught, cancellation: Cancellation) -> None:
    """The rail returned money that it had confirmed: a person has to find another way."""
    payment = draught.payment
    draught.set_payment(replace(payment, state=PAYMENT.step(payment.state, PaymentTrigger.reopen_refund)))
    if cancellation.state is CancellationState.completed:
        state = CANCELLATION.step(cancellation.state, CancellationTrigger.reopen)
        row = draught.put_cancellation(replace(cancellation, state=state, reopened=True))
        draught.record_cancellation(RecordType.cancellation_reopened, row)


def _settled(draught: Draught, leg: Leg, row: Leg) -> Change | None:
    """A void found that the payment had been captured: the payment is completed, and what was not voided is refunded."""
    if leg.kind is not LegKind.void or leg.state not in _SENT:
        return None if leg.state is LegState.failed else _contradicted(draught, leg, "settled", {})
    payment, now = draught.payment, draught.context.now
    if payment.state is PaymentState.cancel_requested and payment.origin_state is PaymentState.pending:
        PAYMENT.step(payment.state, PaymentTrigger.complete, Facts(origin=payment.origin_state))
        completed_at = max(now, payment.authorised_at)
        draught.set_payment(replace(payment, origin_state=PaymentState.completed, completed_at=completed_at))
        draught.record_payment(RecordType.payment_completed, {"because": "rail_had_captured"})
        if (cancellation := draught.now.cancellation(leg.cancellation_id)) is not None:
            drop_unsent_voids(draught, cancellation, "payment_settled")
    row = draught.put_leg(replace(row, state=LEG.step(leg.state, LegTrigger.fail)))
    _consequences(draught, row)
    if payment.state is PaymentState.failed:
        said: dict[str, DataValue] = {"said": "captured_after_failed", "leg_id": ids.public("leg", leg.id)}
        draught.record_payment(RecordType.payment_anomaly, said, amount=leg.amount)
    return draught.build()
