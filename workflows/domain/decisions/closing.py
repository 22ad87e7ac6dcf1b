"""A person gives up what did not arrive."""

from msgspec.structs import replace

from workflows.domain import ids
from workflows.domain.changes import ChangeBuilder
from workflows.domain.decisions.execution import allocated, cancelled_quantities, drop_unsent, others_unfinished, refresh_refund, release
from workflows.domain.decisions.response import without_clocks
from workflows.domain.enums import CancellationTrigger, LegKind, LegState, PaymentState, PaymentTrigger
from workflows.domain.legs import Leg
from workflows.domain.machines import CANCELLATION, PAYMENT, GuardFacts
from workflows.domain.model import Cancellation, DataValue, Refund
from workflows.domain.record_types import RecordType

CLOSED = "closed"  # the failure code of a leg that was never sent


def close_unpaid(builder: ChangeBuilder, cancellation: Cancellation, data: dict[str, DataValue]) -> None:
    """The cancellation `failed`: what arrived stays so, what did not is no longer reserved. No outcome of it may be open."""
    builder.record_cancellation(RecordType.cancellation_closed, cancellation, data)
    drop_unsent_legs(builder, cancellation)
    failed = CANCELLATION.step(cancellation.state, CancellationTrigger.close)
    row = builder.put_cancellation(without_clocks(replace(cancellation, state=failed)))
    row = _close_void(builder, row) if row.refund is None else _close_refund(builder, row, row.refund)
    builder.record_cancellation(RecordType.cancellation_failed, row)
    if builder.payment.state is PaymentState.refunded:
        builder.record_payment(RecordType.payment_refunded, {"cancellation_id": ids.public("can", row.id)})


def drop_unsent_legs(builder: ChangeBuilder, cancellation: Cancellation) -> None:
    """What waits to be sent is not sent any more."""
    for leg in builder.now.legs:
        if leg.cancellation_id == cancellation.id and leg.state in {LegState.scheduled, LegState.held}:
            refresh_refund(builder, drop_unsent(builder, leg, CLOSED))


def _close_void(builder: ChangeBuilder, cancellation: Cancellation) -> Cancellation:
    """The payment is as it was, less what was released already: that can be neither captured nor released again."""
    release(builder, cancellation)
    for leg in builder.now.legs_of(cancellation.id, LegKind.void):
        if leg.state is LegState.succeeded:
            payment = replace(builder.payment, amount_refunded=builder.payment.amount_refunded + leg.amount)
            builder.set_payment(allocated(payment, leg.position, leg.amount))
    return cancellation


def _close_refund(builder: ChangeBuilder, cancellation: Cancellation, refund: Refund) -> Cancellation:
    unpaid = [leg for leg in builder.now.current_legs(cancellation.id, LegKind.refund) if leg.state is not LegState.succeeded]
    for leg in unpaid:
        builder.set_payment(allocated(builder.payment, leg.position, -leg.amount))
    amount = _sum(unpaid)
    payment = replace(builder.payment, amount_reserved=builder.payment.amount_reserved - amount)
    released = builder.now.legs_of(cancellation.id, LegKind.void)
    if amount == refund.amount and not any(leg.state is LegState.succeeded for leg in released):
        # Nothing of it came true: what it took of the items, and of promotions that do not go back, is given back too.
        payment = replace(payment, cancelled_quantities=cancelled_quantities(payment, cancellation.items, -1))
        for position, lost in enumerate(cancellation.forfeited):
            payment = allocated(replace(payment, amount_forfeited=payment.amount_forfeited - lost), position, -lost)
        cancellation = builder.put_cancellation(replace(cancellation, forfeited=()))
    if payment.state is PaymentState.refunding and not others_unfinished(builder, cancellation):
        state = PAYMENT.step(payment.state, PaymentTrigger.abandon_refund, GuardFacts(left=payment.amount_left))
        payment = replace(payment, state=state)
    builder.set_payment(payment)
    return cancellation


def _sum(legs: list[Leg]) -> int:
    return sum(leg.amount for leg in legs)
