"""What becomes of a void: released at every source, overtaken by a capture, or stuck."""

from msgspec.structs import replace

from workflows.domain import ids
from workflows.domain.changes import ChangeBuilder
from workflows.domain.decisions.attention import call_person
from workflows.domain.decisions.execution import allocated, drop_unsent_voids, fulfil, may_still_arrive, moved, start_refund
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.response import without_clocks
from workflows.domain.enums import (
    CANCELLATION_UNFINISHED,
    Allocation,
    AnomalyKind,
    CancellationState,
    CancellationTrigger,
    LegKind,
    LegState,
    PaymentState,
    PaymentTrigger,
)
from workflows.domain.machines import CANCELLATION, PAYMENT
from workflows.domain.model import Cancellation, DataValue
from workflows.domain.record_types import RecordType


def settle_open_cancellation(builder: ChangeBuilder, terms: PolicyContext) -> None:
    """The payment has just completed: a void that was not sent is dropped, and a refund takes its place unless one is under way."""
    cancellation = builder.now.open_cancellation
    if cancellation is None or cancellation.state not in CANCELLATION_UNFINISHED:
        return
    if builder.now.legs_of(cancellation.id, LegKind.void):
        drop_unsent_voids(builder, cancellation, "payment_settled")
        after_void(builder, cancellation, terms)


def after_void(builder: ChangeBuilder, cancellation: Cancellation, terms: PolicyContext) -> None:
    """Once no void of the payment is under way: cancelled if all worked, refunded if it had settled, else a person's matter."""
    payment = builder.payment
    legs = builder.now.current_legs(cancellation.id, LegKind.void)
    if any(may_still_arrive(leg) for leg in legs):
        return
    if any(leg.state is LegState.requires_action for leg in legs):
        if cancellation.state is CancellationState.executing:
            call_person(builder, cancellation, terms)
        return
    voided = [leg for leg in legs if leg.state is LegState.succeeded]
    if len(voided) == len(legs):
        _confirm_void(builder, cancellation)
    elif payment.origin_state is PaymentState.completed:
        if cancellation.state is CancellationState.needs_attention:
            state = CANCELLATION.step(cancellation.state, CancellationTrigger.retry)
            cancellation = builder.put_cancellation(without_clocks(replace(cancellation, state=state)))
        for leg in voided:
            # This source was released, not paid out: its part of the money is with the customer all the same.
            builder.set_payment(allocated(moved(builder.payment, leg.amount), leg.position, leg.amount))
        start_refund(builder, cancellation, Allocation.pro_rata, frozenset())  # a void gives every promotion back
    elif cancellation.state is CancellationState.executing:
        call_person(builder, cancellation, terms)


def _confirm_void(builder: ChangeBuilder, cancellation: Cancellation) -> None:
    payment = builder.payment
    contradicted = payment.origin_state is PaymentState.completed
    row = fulfil(builder, cancellation)
    state = PAYMENT.step(payment.state, PaymentTrigger.confirm_void)
    builder.set_payment(replace(payment, state=state, origin_state=None, amount_reserved=payment.amount_reserved - row.amount))
    data: dict[str, DataValue] = {"cancellation_id": ids.public("can", row.id)}
    builder.record_payment(RecordType.payment_voided, data)
    if contradicted:
        said = "voided_after_completed"
        builder.note_anomaly(AnomalyKind.voided_late, said, provider=None, leg=None, data=data | {"said": said})
