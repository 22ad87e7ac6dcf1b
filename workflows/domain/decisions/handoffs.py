"""Hand-offs: the merchant's answer, the customer's word on an offer, and the way to an agent while the merchant is silent or said no."""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.clocks import arrive, needs_second_person
from workflows.domain.decisions.execution import cancelled_quantities, with_request
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import (
    PAYMENT_FINAL,
    ActorRole,
    CancellationState,
    CancellationTrigger,
    MerchantDecision,
    PaymentState,
)
from workflows.domain.errors import (
    AmountExceedsRefundable,
    CancellationOpen,
    Invalid,
    InvalidState,
    PartialNotSupported,
    PaymentDisputed,
    Refused,
)
from workflows.domain.faults import FaultCode
from workflows.domain.machines import CANCELLATION, GuardFacts
from workflows.domain.model import Cancellation, DataValue, MerchantAnswer, Payment, Snapshot
from workflows.domain.policies.verdicts import partial_limit_reached
from workflows.domain.record_types import RecordType
from workflows.domain.times import rfc3339

ESCALATION_MAX = timedelta(days=7)  # how long after the merchant's no the customer may turn to an agent
_MICROSECOND = timedelta(microseconds=1)
_TRIGGERS = {
    MerchantDecision.accept: CancellationTrigger.accept,
    MerchantDecision.accept_with_return: CancellationTrigger.accept_with_return,
    MerchantDecision.offer: CancellationTrigger.offer,
    MerchantDecision.decline: CancellationTrigger.decline,
}
_SAID = {
    MerchantDecision.accept: RecordType.cancellation_merchant_accepted,
    MerchantDecision.accept_with_return: RecordType.cancellation_merchant_accepted,
    MerchantDecision.offer: RecordType.cancellation_offered,
    MerchantDecision.decline: RecordType.cancellation_merchant_declined,
}


class Evidence(Struct, frozen=True):
    """A document that the merchant keeps: its name may be personal, its SHA-256 (hex) binds it to the record."""

    name: str
    sha256: str


class MerchantResponse(Struct, frozen=True, kw_only=True):
    """What the merchant says. `amount`, in minor units, belongs to an offer and to nothing else."""

    decision: MerchantDecision
    amount: int | None = None
    reason_code: str | None = None
    note: str | None = None
    evidence: tuple[Evidence, ...] = ()


def decide(snapshot: Snapshot, cancellation: Cancellation, answer: MerchantResponse, terms: PolicyContext, context: Context) -> Change:
    """The merchant answers a hand-off.

    Raises InvalidState, also for an offer where policy allows no further part; Invalid for an offer that is no less than what was
    asked for; PartialNotSupported for one on a payment that has not settled: a void gives all of it back.
    """
    facts = GuardFacts(second_approval=cancellation.second_approval, offers=cancellation.offers)
    state = CANCELLATION.step(cancellation.state, _TRIGGERS[answer.decision], facts)
    builder = ChangeBuilder(snapshot, context)
    now = builder.context.now
    row = replace(
        cancellation,
        merchant=MerchantAnswer(
            decision=answer.decision, reason_code=answer.reason_code, decided_at=now, decided_by=builder.context.actor.id
        ),
    )
    data: dict[str, DataValue] = {"decision": answer.decision.value, "reason_code": answer.reason_code}
    if answer.decision is MerchantDecision.offer:
        if builder.payment.origin_state is PaymentState.pending:
            raise PartialNotSupported
        row = _with_offer(row, answer.amount, now)
        if not may_offer(snapshot, cancellation, terms, now):
            raise InvalidState(state=cancellation.state.value)
        data |= {"offer_amount": row.offer_amount, "offer": row.offers}
    data |= _kept(builder, row, answer)
    arrive(builder, row, state, terms, said=_SAID[answer.decision], data=data)
    return builder.build()


def respond(snapshot: Snapshot, cancellation: Cancellation, *, accept: bool, terms: PolicyContext, context: Context) -> Change:
    """The customer takes the merchant's offer, or does not: then the merchant's clock goes on with the time that was left."""
    builder = ChangeBuilder(snapshot, context)
    if not accept:
        state = CANCELLATION.step(cancellation.state, CancellationTrigger.decline_offer)
        arrive(builder, cancellation, state, terms, said=RecordType.cancellation_offer_declined, data=_offer_data(cancellation))
        return builder.build()
    offered = cancellation.offer_amount
    if cancellation.state is not CancellationState.offered or offered is None:
        raise InvalidState(state=cancellation.state.value)
    # What is not asked for any more is refundable again; the pieces that were asked for stay settled by the agreement.
    payment = builder.payment
    builder.set_payment(replace(payment, amount_reserved=payment.amount_reserved - (cancellation.amount - offered)))
    merchant = cancellation.merchant and replace(cancellation.merchant, taken_by=builder.context.actor.id)
    row = replace(cancellation, amount=offered, partial=True, merchant=merchant, merchant_time_left_us=None, merchant_time_us=None)
    row = replace(row, second_approval=needs_second_person(row, terms, agent_decides=False))
    state = CANCELLATION.step(row.state, CancellationTrigger.accept_offer, GuardFacts(second_approval=row.second_approval))
    data = _offer_data(cancellation) | {"amount_before": cancellation.amount}
    arrive(builder, row, state, terms, said=RecordType.cancellation_offer_accepted, data=data)
    return builder.build()


def escalate(snapshot: Snapshot, cancellation: Cancellation, terms: PolicyContext, context: Context) -> Change:
    """The customer turns to an agent: while the merchant is silent, or within seven days of his no.

    After the no the amount is reserved anew, where it is still there. Raises InvalidState, CancellationOpen, PaymentDisputed,
    AmountExceedsRefundable.
    """
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.escalate)
    builder = ChangeBuilder(snapshot, context)
    row = cancellation
    if row.state is CancellationState.declined:
        if not may_escalate(row, builder.context.now):
            raise InvalidState(state=row.state.value)
        _reserve_anew(builder, row)
        row = replace(row, declined_by=None)
    data: dict[str, DataValue] = {"to": ActorRole.agent.value, "because": row.state.value}
    arrive(builder, row, state, terms, said=RecordType.cancellation_escalated, data=data)
    return builder.build()


def may_escalate(cancellation: Cancellation, now: datetime) -> bool:
    """Whether a declined cancellation may still go to an agent: it was the merchant who said no, at most seven days ago."""
    until = escalate_until(cancellation)
    return until is not None and now < until


def escalate_until(cancellation: Cancellation) -> datetime | None:
    """The first moment at which the merchant's no stands for good; None where it was not his."""
    if cancellation.declined_by is not ActorRole.merchant or cancellation.merchant is None:
        return None
    return cancellation.merchant.decided_at + ESCALATION_MAX


def may_reserve(snapshot: Snapshot, cancellation: Cancellation) -> bool:
    """Whether what a declined cancellation asked for could be reserved again now."""
    try:
        _check_reservable(snapshot, cancellation)
    except Refused:
        return False
    return True


def may_offer(snapshot: Snapshot, cancellation: Cancellation, terms: PolicyContext, now: datetime) -> bool:
    """Whether there is anything less to offer, and the payment may be refunded in parts (again)."""
    payment = snapshot.payment
    reached = partial_limit_reached(
        terms.effective_terms(cancellation).limits,
        payment.partial_refunds,
        payment.last_partial_at,
        now,
        zone=terms.policy.zone,
        calendar=terms.calendar,
    )
    return payment.origin_state is not PaymentState.pending and cancellation.amount > 1 and not reached


def _with_offer(row: Cancellation, amount: int | None, now: datetime) -> Cancellation:
    """The offer, and how much time the merchant has left in case it comes to nothing."""
    if amount is None or not 0 < amount < row.amount:
        raise Invalid("/amount", FaultCode.offer_not_lower)
    end, started = row.deadline_at or now, row.clock.started_at if row.clock else now
    return replace(
        row,
        offers=row.offers + 1,
        offer_amount=amount,
        merchant_time_left_us=max(timedelta(0), end - now) // _MICROSECOND,
        merchant_time_us=(end - started) // _MICROSECOND,
    )


def _offer_data(cancellation: Cancellation) -> dict[str, DataValue]:
    return {"offer_amount": cancellation.offer_amount, "offer": cancellation.offers}


def _kept(builder: ChangeBuilder, row: Cancellation, answer: MerchantResponse) -> dict[str, DataValue]:
    data: dict[str, DataValue] = {}
    at = rfc3339(builder.context.now)  # which of his answers they belong to
    if answer.note is not None:
        data |= builder.keep_text(row.id, "merchant_note", {"at": at, "note": answer.note})
    if answer.evidence:
        data["evidence"] = [one.sha256 for one in answer.evidence]
        files = [{"name": one.name, "sha256": one.sha256} for one in answer.evidence]
        data |= builder.keep_text(row.id, "evidence", {"at": at, "files": files})
    return data


def _check_reservable(snapshot: Snapshot, row: Cancellation) -> None:
    """What a request would have to pass too: one open cancellation, no dispute, and enough left."""
    payment = snapshot.payment
    if payment.state in PAYMENT_FINAL | {PaymentState.refunded}:
        raise InvalidState(state=payment.state.value)
    if (open_one := snapshot.open_cancellation) is not None:
        raise CancellationOpen(open_one.id)
    if payment.disputes_open:
        raise PaymentDisputed
    with_request(snapshot)
    whole_only = payment.state is PaymentState.pending and row.amount < payment.amount_refundable
    if row.amount > payment.amount_refundable or whole_only or not _pieces_left(payment, row):
        raise AmountExceedsRefundable(payment.amount_refundable)


def _reserve_anew(builder: ChangeBuilder, row: Cancellation) -> None:
    _check_reservable(builder.now, row)
    payment = builder.payment
    builder.set_payment(
        replace(
            with_request(builder.now),
            amount_reserved=payment.amount_reserved + row.amount,
            cancelled_quantities=cancelled_quantities(payment, row.items, 1),
        )
    )


def _pieces_left(payment: Payment, row: Cancellation) -> bool:
    taken = cancelled_quantities(payment, row.items, 1)
    return all(has <= item.quantity for has, item in zip(taken, payment.items, strict=True))
