"""What a rail's word does to a leg, and from there to its refund, its cancellation and the payment."""

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from workflows.domain.canonical import INTEGER_MAX
from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions import recovery
from workflows.domain.decisions.attention import call_person, reopen
from workflows.domain.decisions.execution import (
    allocated,
    confirm,
    drop_unsent_voids,
    fulfil,
    may_still_arrive,
    moved,
    refresh_refund,
)
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.voids import after_void
from workflows.domain.decisions.words import Word, heard
from workflows.domain.enums import (
    CANCELLATION_UNFINISHED,
    LEG_FINAL,
    LEG_IN_FLIGHT,
    PAYMENT_FINAL,
    AnomalyKind,
    CancellationState,
    JobKind,
    LegKind,
    LegState,
    LegTrigger,
    PaymentState,
    PaymentTrigger,
    RailCall,
)
from workflows.domain.errors import InvalidState
from workflows.domain.legs import Leg, SuccessorRules
from workflows.domain.machines import LEG, PAYMENT, GuardFacts
from workflows.domain.model import Cancellation, DataValue, Snapshot
from workflows.domain.ports import Absent, Declined, Done, NeedsAction, Outcome, Pending, ProviderUnavailable, Returned, Settled, Unknown
from workflows.domain.record_types import RecordType

_SENT = LEG_IN_FLIGHT | {LegState.requires_action}
NOT_CANCELLED = "not_cancelled"
RETURNED = "returned"  # how the failure code of a leg begins whose money went out and came back


# A leg in one of these may be sent (again): the rail may never have heard of it. What it has accepted is never sent again by itself.
MAY_BE_SENT = frozenset({LegState.scheduled, LegState.submitted, LegState.unknown})


def submit(snapshot: Snapshot, leg: Leg, context: Context) -> Change:
    """The intent to send, written before the rail is called. Sending again under the same key is an attempt more."""
    builder = ChangeBuilder(snapshot, context)
    state = LEG.step(leg.state, LegTrigger.submit) if leg.state is LegState.scheduled else leg.state
    row = replace(leg, state=state, attempts=leg.attempts + 1, next_attempt_at=None, sent_at=builder.context.now)
    row = replace(row, first_sent_at=leg.first_sent_at or builder.context.now)
    builder.put_leg(row, silent=leg.state is not LegState.scheduled)
    refresh_refund(builder, row)
    return builder.build()


def postpone(snapshot: Snapshot, leg: Leg, context: Context) -> Change:
    """The rail did nothing, or is still at it; try or ask again later. `leg`: as it is then. No state changes, so no record."""
    builder = ChangeBuilder(snapshot, context)
    builder.put_leg(leg, silent=True)
    return builder.build()


def learn(snapshot: Snapshot, leg: Leg, word: Word, *, terms: PolicyContext, successors: SuccessorRules, context: Context) -> Change | None:
    """What a rail's word does to a leg, its refund, its cancellation and the payment. None: it says nothing new.

    A word that no transition allows is kept as an anomaly and changes no state. The snapshot must hold the payment's anomalies.
    """
    hearing = _Hearing(ChangeBuilder(snapshot, context), terms, successors, word.note)
    outcome = word.outcome
    if isinstance(outcome, Done) and (other := other_amount(leg, outcome)) is not None:
        return _contradicted(hearing, leg, AnomalyKind.amount_mismatch, *other)
    row = replace(heard(leg, word, context.now), outcome_source=word.source, next_attempt_at=None)
    if isinstance(outcome, Settled):
        return _settled(hearing, leg, replace(row, failure_code="payment_settled"))
    if (step := _read(outcome, row, word.next_attempt_at)) is None:
        return None
    row, trigger = step
    if word.call is RailCall.cancel and leg.state is LegState.requires_action and trigger is LegTrigger.require_action:
        return give_up_recovery(snapshot, row, terms=terms, context=context)
    if trigger is LegTrigger.mark_unknown and leg.state is not LegState.submitted:
        return None  # asked again, and again no answer: unknown before, unknown after
    return _step(hearing, leg, row, trigger)


def other_amount(leg: Leg, done: Done) -> tuple[str, dict[str, DataValue]] | None:
    """What the rail says that it moved, and for the record, where it is not what the leg was to move."""
    if (done.amount, done.currency) == (leg.amount, leg.currency):
        return None
    # A record holds no integer that not every reader could, and a rail may say anything.
    rail_amount = done.amount if abs(done.amount) <= INTEGER_MAX else str(done.amount)
    return f"{done.amount} {done.currency}", {"rail_amount": rail_amount, "rail_currency": done.currency}


@dataclass(frozen=True, slots=True)
class _Hearing:
    """What a word is heard with."""

    builder: ChangeBuilder
    terms: PolicyContext
    successors: SuccessorRules
    note: str | None = None  # of whoever told the word


def give_up_recovery(snapshot: Snapshot, leg: Leg, *, terms: PolicyContext, context: Context) -> Change:
    """The rail did not cancel what waits for somebody, so nothing may follow it: a person must choose anew."""
    builder = ChangeBuilder(snapshot, context)
    row = builder.put_leg(replace(leg, recovery=None, failure_code=NOT_CANCELLED))
    cancellation = _cancellation_of(builder, row)
    if row.kind is LegKind.void:
        after_void(builder, cancellation, terms)
    else:
        _call_when_stuck(builder, cancellation, terms)
    return builder.build()


def refuse_word(snapshot: Snapshot, leg: Leg, kind: AnomalyKind, said: str, context: Context) -> Change | None:
    """Keep a word about this leg that nobody can act on: it cannot be read, or another rail than the leg's own said it."""
    return _anomaly(ChangeBuilder(snapshot, context), leg, kind, said)


def _read(outcome: Outcome, row: Leg, next_attempt_at: datetime | None) -> tuple[Leg, LegTrigger] | None:
    """The step that a rail's word orders, with what it tells of the leg. None: the rail did nothing, or knows of nothing."""
    match outcome:
        case Done(provider_refund_id=refund_id, rail_reference=reference):
            refund_id, reference = refund_id or row.provider_refund_id, reference or row.rail_reference
            return replace(row, provider_refund_id=refund_id, rail_reference=reference, failure_code=None), LegTrigger.succeed
        case Declined(failure_code=code):
            return replace(row, failure_code=code), LegTrigger.fail
        case Returned(failure_code=code):
            return replace(row, failure_code=code), LegTrigger.mark_returned
        case Pending(provider_refund_id=refund_id):
            refund_id = refund_id or row.provider_refund_id
            return replace(row, provider_refund_id=refund_id, next_attempt_at=next_attempt_at), LegTrigger.process
        case NeedsAction(provider_refund_id=refund_id):
            refund_id = refund_id or row.provider_refund_id
            return replace(row, provider_refund_id=refund_id, next_attempt_at=next_attempt_at), LegTrigger.require_action
        case Unknown():
            return replace(row, next_attempt_at=next_attempt_at), LegTrigger.mark_unknown
        case ProviderUnavailable() | Absent() | Settled():
            return None


def _word(trigger: LegTrigger) -> str:
    """What the rail said, as the records name it. They were written before the trigger had its present name."""
    return "give_back" if trigger is LegTrigger.mark_returned else trigger.value


def _step(hearing: _Hearing, leg: Leg, row: Leg, trigger: LegTrigger) -> Change | None:
    builder = hearing.builder
    if trigger is LegTrigger.mark_returned and leg.kind is LegKind.void:
        # A void moves no money that could come back: the word settles nothing.
        return _contradicted(hearing, leg, AnomalyKind.contradiction, _word(trigger))
    if trigger is LegTrigger.mark_returned and leg.state in _SENT:
        # It went out and came back before anybody told us that it had arrived: nothing arrived.
        code = RETURNED if row.failure_code is None else f"{RETURNED}_{row.failure_code}"
        row, trigger = replace(row, failure_code=code), LegTrigger.fail
    elif trigger is LegTrigger.fail and leg.kind is LegKind.refund and leg.state is LegState.succeeded:
        trigger = LegTrigger.mark_returned  # a rail that says `failed` of what it had confirmed has returned it
    if trigger is LegTrigger.succeed and may_be_released_after_all(builder.now, leg):
        trigger = LegTrigger.adopt
    if trigger is LegTrigger.succeed and leg.state is LegState.failed and not came_back(leg):
        return _anomaly(builder, leg, _paid_kind(builder.now, leg), _word(trigger))
    if leg.state is LegState.failed and trigger in {LegTrigger.fail, LegTrigger.mark_returned} and _was_paid_after_all(builder.now, leg):
        return _anomaly(builder, leg, AnomalyKind.contradiction, _word(trigger))  # and now it says that it was not, or came back
    try:
        state = LEG.step(leg.state, trigger)
    except InvalidState:
        if _says_the_same(leg.state, trigger) or (trigger is LegTrigger.succeed and came_back(leg)):
            return None
        return _anomaly(builder, leg, AnomalyKind.contradiction, _word(trigger))
    data = None if hearing.note is None else builder.keep_text(row.cancellation_id, "outcome_note", hearing.note)
    row = builder.put_leg(replace(row, state=state, recovery=None if leg.state is not state else leg.recovery), data)
    if state is LegState.succeeded:
        _note_paid_twice(builder, row)
        ask_again_later(builder, row, hearing.successors)
    if state is LegState.failed and leg.recovery is not None:
        recovery.go_on(builder, row, leg.recovery, hearing.successors)
    carry_up(builder, row, hearing.terms)
    return builder.build()


def ask_again_later(builder: ChangeBuilder, leg: Leg, successors: SuccessorRules) -> None:
    """Of a refund that has just arrived: a bank may send money back for weeks, and the rail's word of that may get lost."""
    at = successors.first_recheck(leg.provider, builder.context.now)
    if leg.kind is LegKind.refund and at is not None:
        builder.enqueue(JobKind.recheck, leg.id, at, provider=leg.provider)


def may_be_released_after_all(snapshot: Snapshot, leg: Leg) -> bool:
    """Whether a void that had failed may still count as released: no money moves by it, and nothing of the payment was taken meanwhile."""
    cancellation = snapshot.cancellation(leg.cancellation_id)
    waits = cancellation is not None and cancellation.state in CANCELLATION_UNFINISHED
    unsettled = snapshot.payment.origin_state is PaymentState.pending
    replaced = any(each.replaces == leg.id and each.state not in LEG_FINAL for each in snapshot.legs)
    return leg.kind is LegKind.void and leg.state is LegState.failed and waits and unsettled and not replaced


def came_back(leg: Leg) -> bool:
    """Whether the rail said of a failed leg that the money went out and came back: that it went out is then no news."""
    return leg.state is LegState.failed and leg.failure_code is not None and leg.failure_code.startswith(RETURNED)


def _was_paid_after_all(snapshot: Snapshot, leg: Leg) -> bool:
    paid = {AnomalyKind.paid_after_failure, AnomalyKind.paid_twice}
    return any(anomaly.leg_id == leg.id and anomaly.kind in paid for anomaly in snapshot.anomalies)


def _paid_kind(snapshot: Snapshot, leg: Leg) -> AnomalyKind:
    """A leg that had failed was paid after all: once, or beside a successor that was paid too."""
    if leg.kind is LegKind.void:
        return AnomalyKind.voided_late
    replaced: Leg | None = leg
    while replaced is not None:
        replaced = next((each for each in snapshot.legs if each.replaces == replaced.id), None)
        if replaced is not None and replaced.state is LegState.succeeded:
            return AnomalyKind.paid_twice
    return AnomalyKind.paid_after_failure


def _note_paid_twice(builder: ChangeBuilder, leg: Leg) -> None:
    """The successor of a leg that was paid after all has arrived too."""
    for before in recovery.predecessors(builder.now, leg):
        if _was_paid_after_all(builder.now, before):
            said = _word(LegTrigger.succeed)
            builder.note_anomaly(AnomalyKind.paid_twice, said, provider=before.provider, leg=before, data={"said": said})


def _says_the_same(state: LegState, trigger: LegTrigger) -> bool:
    """A word that was heard before, or that a later one has overtaken."""
    heard = {
        LegTrigger.succeed: {LegState.succeeded, LegState.returned},
        LegTrigger.fail: {LegState.failed, LegState.returned},
        LegTrigger.process: {LegState.processing, LegState.succeeded, LegState.failed, LegState.returned, LegState.requires_action},
        LegTrigger.require_action: {LegState.requires_action, LegState.succeeded, LegState.failed, LegState.returned},
        LegTrigger.mark_returned: {LegState.returned, LegState.failed},
    }
    return state in heard.get(trigger, set())


def _contradicted(hearing: _Hearing, leg: Leg, kind: AnomalyKind, said: str, data: dict[str, DataValue] | None = None) -> Change | None:
    """The rail speaks of something else than what was sent. That is no success and no failure: both are on record, once, and a
    person has to look.
    """
    builder, row = hearing.builder, leg
    if leg.recovery is not None:
        # It did not cancel what it was to cancel, so nothing may follow that: a person must choose anew.
        row = builder.put_leg(replace(leg, failure_code=kind.value, recovery=None))
        carry_up(builder, row, hearing.terms)
    elif leg.state is LegState.requires_action and leg.failure_code != kind.value:
        row = builder.put_leg(replace(leg, failure_code=kind.value), silent=True)
    elif leg.state is not LegState.requires_action and LEG.may(leg.state, LegTrigger.require_action):
        state = LEG.step(leg.state, LegTrigger.require_action)
        row = builder.put_leg(replace(leg, state=state, failure_code=kind.value, next_attempt_at=None))
        carry_up(builder, row, hearing.terms)
    noted = builder.note_anomaly(kind, said, provider=leg.provider, leg=row, data={"said": said, **(data or {})})
    return builder.build() if noted or row is not leg else None


def _anomaly(builder: ChangeBuilder, leg: Leg, kind: AnomalyKind, said: str) -> Change | None:
    """Nothing changes but that the word is kept. None where it was kept before."""
    return builder.build() if builder.note_anomaly(kind, said, provider=leg.provider, leg=leg, data={"said": said}) else None


def carry_up(builder: ChangeBuilder, leg: Leg, terms: PolicyContext) -> None:
    """Carry a leg's new state up: to the sums, the refund, the cancellation, the payment.

    What a leg took of its source stays taken while it failed or came back: it is reserved for that refund until a person ends it.
    """
    cancellation = _cancellation_of(builder, leg)
    if leg.kind is LegKind.void:
        if cancellation.state in CANCELLATION_UNFINISHED:
            after_void(builder, cancellation, terms)
        return
    if cancellation.state is CancellationState.failed:
        _after_close(builder, cancellation, leg)
        return
    if leg.state is LegState.succeeded:
        builder.set_payment(moved(builder.payment, leg.amount))
    elif leg.state is LegState.returned:
        builder.set_payment(moved(builder.payment, -leg.amount))
    refresh_refund(builder, leg)
    if leg.state is LegState.returned:
        _reopen(builder, cancellation, terms)
    elif all(each.state is LegState.succeeded for each in builder.now.current_legs(cancellation.id, LegKind.refund)):
        confirm(builder, fulfil(builder, cancellation))
    else:
        _call_when_stuck(builder, cancellation, terms)


def _cancellation_of(builder: ChangeBuilder, leg: Leg) -> Cancellation:
    cancellation = builder.now.cancellation(leg.cancellation_id)
    if cancellation is None:
        raise LookupError("a leg without its cancellation was loaded")
    return cancellation


def _call_when_stuck(builder: ChangeBuilder, cancellation: Cancellation, terms: PolicyContext) -> None:
    """Call for a person when no leg is left that may still arrive."""
    legs = builder.now.current_legs(cancellation.id, LegKind.refund)
    if cancellation.state is CancellationState.executing and not any(may_still_arrive(each) for each in legs):
        call_person(builder, cancellation, terms)


def _after_close(builder: ChangeBuilder, cancellation: Cancellation, leg: Leg) -> None:
    """A word about a refund that a person has closed. Money that comes back is refundable again, since nothing keeps it reserved."""
    refresh_refund(builder, leg)
    if leg.state is not LegState.returned:
        return
    payment = builder.payment
    payment = allocated(replace(payment, amount_refunded=payment.amount_refunded - leg.amount), leg.position, -leg.amount)
    if payment.state is PaymentState.refunded:
        state = PAYMENT.step(payment.state, PaymentTrigger.reopen_refund)
        state = PAYMENT.step(state, PaymentTrigger.abandon_refund, GuardFacts(left=payment.amount_left))
        payment = replace(payment, state=state)
    builder.set_payment(payment)
    said = "returned_after_close"
    builder.note_anomaly(AnomalyKind.contradiction, said, provider=leg.provider, leg=leg, data={"said": said})
    builder.put_cancellation(cancellation)


def _reopen(builder: ChangeBuilder, cancellation: Cancellation, terms: PolicyContext) -> None:
    """The rail returned money that it had confirmed: a person has to find another way."""
    payment = builder.payment
    builder.set_payment(replace(payment, state=PAYMENT.step(payment.state, PaymentTrigger.reopen_refund)))
    if cancellation.state is CancellationState.completed:
        reopen(builder, cancellation, terms)
    else:
        _call_when_stuck(builder, cancellation, terms)


def _settled(hearing: _Hearing, leg: Leg, row: Leg) -> Change | None:
    """A void found that the payment had been captured: the payment is completed, and what was not voided is refunded."""
    builder, said = hearing.builder, "settled"
    payment = builder.payment
    if leg.kind is not LegKind.void:
        return _contradicted(hearing, leg, AnomalyKind.contradiction, said)
    if leg.state is LegState.failed and leg.failure_code == "payment_settled":
        return None
    if leg.state not in _SENT:
        late = payment.state in PAYMENT_FINAL
        return _anomaly(builder, leg, AnomalyKind.captured_late if late else AnomalyKind.contradiction, said)
    row = builder.put_leg(replace(row, state=LEG.step(leg.state, LegTrigger.fail), recovery=None))
    if payment.state is PaymentState.cancel_requested and payment.origin_state is PaymentState.pending:
        PAYMENT.step(payment.state, PaymentTrigger.complete, GuardFacts(origin=payment.origin_state))
        completed_at = max(builder.context.now, payment.authorised_at)
        builder.set_payment(replace(payment, origin_state=PaymentState.completed, completed_at=completed_at))
        builder.record_payment(RecordType.payment_completed, {"because": "rail_had_captured"})
        if (cancellation := builder.now.cancellation(leg.cancellation_id)) is not None:
            drop_unsent_voids(builder, cancellation, "payment_settled")
    if leg.recovery is not None:
        recovery.go_on(builder, row, leg.recovery, hearing.successors)
    carry_up(builder, row, hearing.terms)
    if payment.state is PaymentState.failed:
        builder.note_anomaly(AnomalyKind.captured_late, said, provider=leg.provider, leg=row, data={"said": said})
    return builder.build()
