"""How an approved cancellation becomes legs to be moved.

What is executed follows the payment's state at execution: a void while it is pending, a refund once it has settled.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec.structs import replace

from workflows.domain import ids
from workflows.domain.changes import ChangeBuilder
from workflows.domain.decisions.response import without_clocks
from workflows.domain.enums import (
    CANCELLATION_OPEN,
    CANCELLATION_UNFINISHED,
    LEG_IN_FLIGHT,
    Allocation,
    CancellationState,
    CancellationTrigger,
    JobKind,
    LegKind,
    LegState,
    LegTrigger,
    PaymentState,
    PaymentTrigger,
    Source,
)
from workflows.domain.legs import Leg
from workflows.domain.machines import CANCELLATION, LEG, PAYMENT, GuardFacts
from workflows.domain.model import Cancellation, ItemQuantity, Payment, Refund, Snapshot
from workflows.domain.money import allocate
from workflows.domain.policies.policy import EffectiveTerms
from workflows.domain.ports import Order
from workflows.domain.record_types import RecordType

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
    """The state of a refund with these legs, of which none was replaced."""
    return min((leg.state for leg in legs), key=_WORST.index)


def may_still_arrive(leg: Leg) -> bool:
    """Whether it goes on by itself. One that waits for somebody does once a person has ordered what follows its end."""
    return leg.state in WAITING or leg.recovery is not None


def execute(builder: ChangeBuilder, cancellation: Cancellation, effective_terms: EffectiveTerms) -> None:
    """Schedule what an approved cancellation moves, by the terms of the rule that decided it. The payment must be cancel_requested."""
    payment = builder.payment
    if payment.origin_state is PaymentState.pending:
        for position, (funding, released) in enumerate(zip(payment.funding, payment.allocated, strict=True)):
            if released < funding.amount:  # what an earlier void released stays released
                _schedule(builder, cancellation, position=position, amount=funding.amount - released, refund=None)
        return
    start_refund(builder, cancellation, effective_terms.allocation, effective_terms.forfeit)


def end_with_payment(builder: ChangeBuilder, cancellation: Cancellation) -> None:
    """The payment failed, nothing had moved: what was not sent is dropped, what is under way ends by itself, the wish is fulfilled."""
    drop_unsent_voids(builder, cancellation, "payment_failed")
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.end_with_payment)
    builder.put_cancellation(without_clocks(replace(cancellation, state=state)))
    builder.set_payment(replace(builder.payment, amount_reserved=builder.payment.amount_reserved - cancellation.amount))
    builder.record_cancellation(RecordType.cancellation_completed, cancellation, {"because": "payment_failed"})


def release(builder: ChangeBuilder, cancellation: Cancellation) -> None:
    """A cancellation came to nothing: give back what it had reserved, and the payment its earlier state."""
    payment = builder.payment
    state = PAYMENT.step(payment.state, PaymentTrigger.keep, GuardFacts(origin=payment.origin_state))
    if others_unfinished(builder, cancellation):
        # Money of an earlier refund came back meanwhile, and still waits for a person.
        state = PAYMENT.step(state, PaymentTrigger.reopen_refund)
    builder.set_payment(
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


def others_unfinished(builder: ChangeBuilder, cancellation: Cancellation) -> bool:
    """Whether another cancellation of the payment has money on its way, or stuck."""
    return any(c.id != cancellation.id and c.state in CANCELLATION_UNFINISHED for c in builder.now.cancellations)


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


def split(payment: Payment, amount: int, effective_terms: EffectiveTerms) -> tuple[list[int], tuple[int, ...]]:
    """What of a refund of `amount` goes back to each funding source, and what of each is forfeited, in minor units."""
    return _split(payment, amount, effective_terms.allocation, effective_terms.forfeit)


def reopened_only(snapshot: Snapshot) -> bool:
    """Whether all that is unfinished of the payment is money that its rail returned, and something else is refundable: that may be asked
    for beside it.
    """
    unfinished = [c for c in snapshot.cancellations if c.state in CANCELLATION_OPEN]
    return bool(unfinished) and all(c.reopened for c in unfinished) and snapshot.payment.amount_refundable > 0


def state_asked_from(payment: Payment) -> PaymentState:
    """The state from which a cancellation is asked for: pending or completed, also beside money that its rail returned."""
    return PaymentState.completed if payment.state is PaymentState.refunding else payment.state


def with_request(snapshot: Snapshot) -> Payment:
    """The payment while a further cancellation is open. Raises InvalidState where none may be asked for."""
    payment = snapshot.payment
    state = PAYMENT.step(payment.state, PaymentTrigger.request_cancellation, GuardFacts(reopened_only=reopened_only(snapshot)))
    return replace(payment, state=state, origin_state=state_asked_from(payment))


def confirm(builder: ChangeBuilder, cancellation: Cancellation) -> None:
    """The payment's own step once a refund arrived; it goes on refunding while another cancellation of it is unfinished."""
    payment = builder.payment
    if payment.state is not PaymentState.refunding or others_unfinished(builder, cancellation):
        return
    state = PAYMENT.step(payment.state, PaymentTrigger.confirm_refund, GuardFacts(left=payment.amount_left))
    builder.set_payment(replace(payment, state=state))
    if state is PaymentState.refunded:
        builder.record_payment(RecordType.payment_refunded, {"cancellation_id": ids.public("can", cancellation.id)})


def fulfil(builder: ChangeBuilder, cancellation: Cancellation) -> Cancellation:
    """All that was asked for is done, be it after a person was called."""
    if cancellation.state is CancellationState.needs_attention:
        cancellation = replace(cancellation, state=CANCELLATION.step(cancellation.state, CancellationTrigger.retry))
    done = CANCELLATION.step(cancellation.state, CancellationTrigger.done)
    row = builder.put_cancellation(without_clocks(replace(cancellation, state=done)))
    builder.record_cancellation(RecordType.cancellation_completed, row)
    return row


def start_refund(
    builder: ChangeBuilder,
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
    payment, context = builder.payment, builder.context
    voided = sum(leg.amount for leg in builder.now.legs_of(cancellation.id, LegKind.void) if leg.state is LegState.succeeded)
    amount = cancellation.amount - voided
    partial = cancellation.amount < payment.amount
    state = PAYMENT.step(payment.state, trigger)
    builder.set_payment(
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
        cancellation = _forfeit(builder, cancellation, forfeited)
    if not any(parts):
        confirm(builder, fulfil(builder, cancellation))  # all of it was a promotion that does not go back: there is nothing to move
        return
    _schedule_refund(builder, cancellation, parts)


def _schedule_refund(builder: ChangeBuilder, cancellation: Cancellation, parts: list[int]) -> None:
    """The refund, and a leg for each funding source that has a share, in minor units."""
    payment, context = builder.payment, builder.context
    refund = builder.put_refund(
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
            builder.set_payment(allocated(builder.payment, position, share))
            _schedule(builder, cancellation, position=position, amount=share, refund=refund)


def _split(payment: Payment, amount: int, allocation: Allocation, forfeit: frozenset[Source]) -> tuple[list[int], tuple[int, ...]]:
    parts = shares(payment, amount, allocation)
    lost = tuple(part if funding.source in forfeit else 0 for funding, part in zip(payment.funding, parts, strict=True))
    return [part - less for part, less in zip(parts, lost, strict=True)], lost


def _forfeit(builder: ChangeBuilder, cancellation: Cancellation, forfeited: tuple[int, ...]) -> Cancellation:
    """Promotions that policy does not give back: their share is settled without any movement."""
    for position, amount in enumerate(forfeited):
        if amount:
            source = builder.payment.funding[position].source
            builder.set_payment(allocated(builder.payment, position, amount))
            builder.record_cancellation(RecordType.refund_forfeited, cancellation, {"source": source.value, "amount_forfeited": amount})
    payment, lost = builder.payment, sum(forfeited)
    builder.set_payment(replace(payment, amount_reserved=payment.amount_reserved - lost, amount_forfeited=payment.amount_forfeited + lost))
    return builder.put_cancellation(replace(cancellation, forfeited=forfeited))


def _schedule(builder: ChangeBuilder, cancellation: Cancellation, *, position: int, amount: int, refund: Refund | None) -> None:
    payment, context = builder.payment, builder.context
    funding = payment.funding[position]
    leg_id = context.new_id()
    builder.put_leg(
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
    builder.enqueue(JobKind.move, leg_id, context.now, provider=funding.provider)


def succeed(builder: ChangeBuilder, leg: Leg, *, source: Source, provider: str, provider_reference: str) -> Leg:
    """The leg that takes the place of one that failed or was returned: the same part of the same source, under a key of its own."""
    context = builder.context
    row = replace(
        leg,
        id=context.new_id(),
        source=source,
        provider=provider,
        provider_reference=provider_reference,
        state=LegState.scheduled,
        outcome_source=None,
        provider_refund_id=None,
        rail_reference=None,
        attempts=0,
        failure_code=None,
        next_attempt_at=context.now,
        sent_at=None,
        first_sent_at=None,
        recovery=None,
        answers=(),
        replaces=leg.id,
        created_at=context.now,
    )
    builder.put_leg(row)
    builder.enqueue(JobKind.move, row.id, context.now, provider=provider)
    refresh_refund(builder, row)
    return row


def drop_unsent_voids(builder: ChangeBuilder, cancellation: Cancellation, why: str) -> None:
    for leg in builder.now.legs_of(cancellation.id, LegKind.void):
        if leg.state in {LegState.scheduled, LegState.held}:
            drop_unsent(builder, leg, why)


def drop_unsent(builder: ChangeBuilder, leg: Leg, why: str) -> Leg:
    """A leg that was never sent, and will not be."""
    return builder.put_leg(replace(leg, state=LEG.step(leg.state, LegTrigger.fail), failure_code=why, next_attempt_at=None))


def refresh_refund(builder: ChangeBuilder, leg: Leg) -> None:
    """Keep the refund's own state equal to its legs' worst."""
    refund = next((r for r in builder.now.refunds if r.id == leg.refund_id), None)
    if refund is None:
        return
    state = worst(builder.now.current_legs(leg.cancellation_id, LegKind.refund))
    if state is not refund.state:
        builder.put_refund(replace(refund, state=state))
