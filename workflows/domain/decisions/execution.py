"""How an approved cancellation becomes legs to be moved.

What is executed follows the payment's state at execution: a void while it is pending, a refund once it has settled.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from workflows.domain import ids
from workflows.domain.changes import Draught
from workflows.domain.machines import CANCELLATION, LEG, PAYMENT, Facts
from workflows.domain.model import Cancellation, DataValue, ItemQuantity, Leg, Payment, Refund
from workflows.domain.money import allocate
from workflows.domain.policy import Law
from workflows.domain.ports import Order
from workflows.domain.words import (
    LEG_IN_FLIGHT,
    Allocation,
    AnomalyKind,
    CancellationState,
    CancellationTrigger,
    JobKind,
    LegKind,
    LegState,
    LegTrigger,
    PaymentState,
    PaymentTrigger,
    RecordType,
    Source,
)

# A refund's state is its legs' worst; this is the order, worst first.
_WORST = (
    LegState.failed,
    LegState.returned,
    LegState.requires_action,
    LegState.unknown,
    LegState.held,
    LegState.scheduled,
    LegState.submitted,
    LegState.processing,
    LegState.succeeded,
)
UNFINISHED = frozenset({CancellationState.executing, CancellationState.needs_attention})
WAITING = LEG_IN_FLIGHT | {LegState.scheduled, LegState.held}


def order(payment: Payment, leg: Leg) -> Order:
    """What the rail is told; the same at every attempt."""
    return Order(
        rail_key=leg.rail_key,
        payment_reference=payment.reference,
        provider_reference=leg.provider_reference,
        amount=leg.amount,
        currency=leg.currency,
    )


def worst(legs: Iterable[Leg]) -> LegState:
    """The state of a refund with these legs; a leg that was replaced no longer counts."""
    legs = tuple(legs)
    replaced = {leg.replaces for leg in legs}
    return min((leg.state for leg in legs if leg.id not in replaced), key=_WORST.index)


def execute(draught: Draught, cancellation: Cancellation, law: Law) -> None:
    """Schedule what an approved cancellation moves, by the terms of the rule that decided it. The payment must be cancel_requested."""
    if draught.payment.origin_state is PaymentState.pending:
        for position, funding in enumerate(draught.payment.funding):
            _schedule(draught, cancellation, position=position, amount=funding.amount, refund=None)
        return
    start_refund(draught, cancellation, law.allocation, law.forfeit)


def settle_open_cancellation(draught: Draught) -> None:
    """The payment has just completed: a void that was not sent is dropped, and a refund takes its place unless one is under way."""
    cancellation = draught.now.open_cancellation
    if cancellation is None or cancellation.state not in UNFINISHED:
        return
    if draught.now.legs_of(cancellation.id, LegKind.void):
        drop_unsent_voids(draught, cancellation, "payment_settled")
        after_void(draught, cancellation)


def moot(draught: Draught, cancellation: Cancellation) -> None:
    """The payment failed, nothing had moved: what was not sent is dropped, what is under way ends by itself, the wish is fulfilled."""
    drop_unsent_voids(draught, cancellation, "payment_failed")
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.moot)
    draught.put_cancellation(replace(cancellation, state=state, clock=None, deadline_at=None, on_deadline=None, raised=False))
    draught.set_payment(replace(draught.payment, amount_reserved=draught.payment.amount_reserved - cancellation.amount))
    draught.record_cancellation(RecordType.cancellation_completed, cancellation, {"because": "payment_failed"})


def release(draught: Draught, cancellation: Cancellation) -> None:
    """A cancellation came to nothing: give back what it had reserved, and the payment its earlier state."""
    payment = draught.payment
    state = PAYMENT.step(payment.state, PaymentTrigger.keep, Facts(origin=payment.origin_state))
    if others_unfinished(draught, cancellation):
        # Money of an earlier refund came back meanwhile, and still waits for a person.
        state = PAYMENT.step(state, PaymentTrigger.reopen_refund)
    draught.set_payment(
        replace(
            payment,
            state=state,
            origin_state=None,
            amount_reserved=payment.amount_reserved - cancellation.amount,
            cancelled_quantities=cancelled_quantities(payment, cancellation.items, -1),
        )
    )


def cancelled_quantities(payment: Payment, items: Iterable[ItemQuantity], sign: Literal[1, -1]) -> tuple[int, ...]:
    """The payment's count of what was cancelled, line by line, with these items taken (1) or given back (-1)."""
    taken = {item.reference: item.quantity for item in items}
    return tuple(has + sign * taken.get(item.reference, 0) for item, has in zip(payment.items, payment.cancelled_quantities, strict=True))


def others_unfinished(draught: Draught, cancellation: Cancellation) -> bool:
    """Whether another cancellation of the payment has money on its way, or stuck."""
    return any(c.id != cancellation.id and c.state in UNFINISHED for c in draught.now.cancellations)


def moved(payment: Payment, amount: int) -> Payment:
    """Reserved money that arrived; negative where it came back."""
    return replace(payment, amount_refunded=payment.amount_refunded + amount, amount_reserved=payment.amount_reserved - amount)


def shares(payment: Payment, amount: int, allocation: Allocation) -> list[int]:
    """What a refund of `amount` takes from each funding source, in the payment's order."""
    return allocate(
        amount,
        capacities=[funding.amount for funding in payment.funding],
        taken=payment.allocated,
        sources=[funding.source for funding in payment.funding],
        rule=allocation,
    )


def allocated(payment: Payment, position: int, amount: int) -> Payment:
    """What a leg takes from a funding source; negative where it gives it back."""
    taken = list(payment.allocated)
    taken[position] += amount
    return replace(payment, allocated=tuple(taken))


def split(payment: Payment, amount: int, law: Law) -> tuple[list[int], tuple[int, ...]]:
    """What of a refund of `amount` goes back to each funding source, and what of each is forfeited, in minor units."""
    return _split(payment, amount, law.allocation, law.forfeit)


def confirm(draught: Draught, cancellation: Cancellation) -> None:
    """The payment's own step once a refund arrived; it goes on refunding while another cancellation of it is unfinished."""
    payment = draught.payment
    if payment.state is not PaymentState.refunding or others_unfinished(draught, cancellation):
        return
    state = PAYMENT.step(payment.state, PaymentTrigger.confirm_refund, Facts(left=payment.amount_left))
    draught.set_payment(replace(payment, state=state))
    if state is PaymentState.refunded:
        draught.record_payment(RecordType.payment_refunded, {"cancellation_id": ids.public("can", cancellation.id)})


def fulfil(draught: Draught, cancellation: Cancellation) -> Cancellation:
    """All that was asked for is done, be it after a person was called."""
    if cancellation.state is CancellationState.needs_attention:
        cancellation = replace(cancellation, state=CANCELLATION.step(cancellation.state, CancellationTrigger.retry))
    row = draught.put_cancellation(replace(cancellation, state=CANCELLATION.step(cancellation.state, CancellationTrigger.done)))
    draught.record_cancellation(RecordType.cancellation_completed, row)
    return row


def stuck(draught: Draught, cancellation: Cancellation) -> None:
    row = replace(cancellation, state=CANCELLATION.step(cancellation.state, CancellationTrigger.stuck))
    draught.record_cancellation(RecordType.cancellation_needs_attention, draught.put_cancellation(row))


def after_void(draught: Draught, cancellation: Cancellation) -> None:
    """Once no void of the payment is under way: cancelled if all worked, refunded if it had settled, else a person's matter."""
    payment = draught.payment
    legs = draught.now.legs_of(cancellation.id, LegKind.void)
    if any(leg.state in WAITING for leg in legs):
        return
    if any(leg.state is LegState.requires_action for leg in legs):
        if cancellation.state is CancellationState.executing:
            stuck(draught, cancellation)
        return
    voided = [leg for leg in legs if leg.state is LegState.succeeded]
    if len(voided) == len(payment.funding):
        _confirm_void(draught, cancellation)
    elif payment.origin_state is PaymentState.completed:
        if cancellation.state is CancellationState.needs_attention:
            state = CANCELLATION.step(cancellation.state, CancellationTrigger.retry)
            cancellation = draught.put_cancellation(replace(cancellation, state=state))
        for leg in voided:
            # This source was released, not paid out: its part of the money is with the customer all the same.
            draught.set_payment(allocated(moved(draught.payment, leg.amount), leg.position, leg.amount))
        start_refund(draught, cancellation, Allocation.pro_rata, frozenset())  # a void gives every promotion back
    elif cancellation.state is CancellationState.executing:
        stuck(draught, cancellation)


def _confirm_void(draught: Draught, cancellation: Cancellation) -> None:
    payment = draught.payment
    contradicted = payment.origin_state is PaymentState.completed
    row = fulfil(draught, cancellation)
    state = PAYMENT.step(payment.state, PaymentTrigger.confirm_void)
    draught.set_payment(replace(payment, state=state, origin_state=None, amount_reserved=payment.amount_reserved - row.amount))
    data: dict[str, DataValue] = {"cancellation_id": ids.public("can", row.id)}
    draught.record_payment(RecordType.payment_voided, data)
    if contradicted:
        said = "voided_after_completed"
        draught.note_anomaly(AnomalyKind.voided_late, said, provider=None, leg=None, data=data | {"said": said})


def start_refund(
    draught: Draught,
    cancellation: Cancellation,
    allocation: Allocation,
    forfeit: frozenset[Source],
    trigger: PaymentTrigger = PaymentTrigger.start_refund,
    *,
    parts: list[int] | None = None,
) -> None:
    """A refund of what the cancellation has reserved, less what was voided already: a leg for each source that has a share.

    `parts`: each source's share, in minor units, where it does not follow from `allocation`.
    """
    payment, context = draught.payment, draught.context
    voided = sum(leg.amount for leg in draught.now.legs_of(cancellation.id, LegKind.void) if leg.state is LegState.succeeded)
    amount = cancellation.amount - voided
    partial = cancellation.amount < payment.amount
    state = PAYMENT.step(payment.state, trigger)
    draught.set_payment(
        replace(
            payment,
            state=state,
            origin_state=None,
            partial_refunds=payment.partial_refunds + partial,
            last_partial_at=context.now if partial else payment.last_partial_at,
        )
    )
    given, forfeited = _split(payment, amount, allocation, forfeit)
    parts = given if parts is None else parts
    if any(forfeited):
        cancellation = _forfeit(draught, cancellation, forfeited)
    if not any(parts):
        confirm(draught, fulfil(draught, cancellation))  # all of it was a promotion that does not go back: there is nothing to move
        return
    _schedule_refund(draught, cancellation, parts)


def _schedule_refund(draught: Draught, cancellation: Cancellation, parts: list[int]) -> None:
    """The refund, and a leg for each funding source that has a share, in minor units."""
    payment, context = draught.payment, draught.context
    refund = draught.put_refund(
        Refund(
            id=context.new_id(),
            payment_id=payment.id,
            cancellation_id=cancellation.id,
            version=1,
            state=LegState.scheduled,
            amount=sum(parts),
            currency=payment.currency,
            created_at=context.now,
            updated_at=context.now,
        )
    )
    for position, share in enumerate(parts):
        if share:
            draught.set_payment(allocated(draught.payment, position, share))
            _schedule(draught, cancellation, position=position, amount=share, refund=refund)


def _split(payment: Payment, amount: int, allocation: Allocation, forfeit: frozenset[Source]) -> tuple[list[int], tuple[int, ...]]:
    parts = shares(payment, amount, allocation)
    lost = tuple(part if funding.source in forfeit else 0 for funding, part in zip(payment.funding, parts, strict=True))
    return [part - less for part, less in zip(parts, lost, strict=True)], lost


def _forfeit(draught: Draught, cancellation: Cancellation, forfeited: tuple[int, ...]) -> Cancellation:
    """Promotions that policy does not give back: their share is settled without any movement."""
    for position, amount in enumerate(forfeited):
        if amount:
            source = draught.payment.funding[position].source
            draught.set_payment(allocated(draught.payment, position, amount))
            draught.record_cancellation(RecordType.refund_forfeited, cancellation, {"source": source.value, "amount_forfeited": amount})
    payment, lost = draught.payment, sum(forfeited)
    draught.set_payment(replace(payment, amount_reserved=payment.amount_reserved - lost, amount_forfeited=payment.amount_forfeited + lost))
    return draught.put_cancellation(replace(cancellation, forfeited=forfeited))


def _schedule(draught: Draught, cancellation: Cancellation, *, position: int, amount: int, refund: Refund | None) -> None:
    payment, context = draught.payment, draught.context
    funding = payment.funding[position]
    leg_id = context.new_id()
    draught.put_leg(
        Leg(
            id=leg_id,
            payment_id=payment.id,
            cancellation_id=cancellation.id,
            refund_id=refund.id if refund else None,
            kind=LegKind.refund if refund else LegKind.void,
            source=funding.source,
            position=position,
            provider=funding.provider,
            provider_reference=funding.provider_reference,
            amount=amount,
            currency=payment.currency,
            state=LegState.scheduled,
            rail_key=ids.rail_key(payment.id, leg_id),
            outcome_source=None,
            provider_refund_id=None,
            rail_reference=None,
            attempts=0,
            failure_code=None,
            next_attempt_at=context.now,
            replaces=None,
            created_at=context.now,
            updated_at=context.now,
        )
    )
    draught.enqueue(JobKind.move, leg_id, context.now, provider=funding.provider)


def drop_unsent_voids(draught: Draught, cancellation: Cancellation, why: str) -> None:
    for leg in draught.now.legs_of(cancellation.id, LegKind.void):
        if leg.state in {LegState.scheduled, LegState.held}:
            state = LEG.step(leg.state, LegTrigger.fail)
            draught.put_leg(replace(leg, state=state, failure_code=why, next_attempt_at=None))


def refresh_refund(draught: Draught, leg: Leg) -> None:
    """Keep the refund's own state equal to its legs' worst."""
    refund = next((r for r in draught.now.refunds if r.id == leg.refund_id), None)
    if refund is None:
        return
    state = worst(draught.now.legs_of(leg.cancellation_id, LegKind.refund))
    if state is not refund.state:
        draught.put_refund(replace(refund, state=state))
