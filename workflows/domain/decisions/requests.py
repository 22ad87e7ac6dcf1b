"""The wish to undo a payment: what it would come to, asking for it, taking it back."""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.clocks import clock_data, needs_second_person, waiting
from workflows.domain.decisions.execution import cancelled_quantities, execute, release, state_asked_from, with_request
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.response import response_data, without_clocks
from workflows.domain.decisions.velocity import check_agent_limits, check_flood
from workflows.domain.enums import (
    ASKS_FOR_OTHERS,
    CANCELLATION_WAITING,
    ActorRole,
    Anchor,
    CancellationState,
    CancellationTrigger,
    Channel,
    PaymentState,
    Reason,
    Route,
)
from workflows.domain.errors import (
    AmountExceedsRefundable,
    CancellationOpen,
    ClientReferenceConflict,
    Forbidden,
    Invalid,
    InvalidState,
    NotFound,
    PartialNotSupported,
    PaymentDisputed,
    PolicyRefused,
    RefundableAmountChanged,
)
from workflows.domain.faults import FaultCode
from workflows.domain.machines import CANCELLATION
from workflows.domain.model import Actor, Cancellation, DataValue, ItemQuantity, Payment, Snapshot
from workflows.domain.money import line_amount
from workflows.domain.policies.facts import PolicyFacts, facts_data
from workflows.domain.policies.verdicts import Allowed, Denied, Verdict
from workflows.domain.record_types import RecordType
from workflows.domain.times import rfc3339

_OVER = frozenset({PaymentState.refunded, PaymentState.cancelled, PaymentState.failed})
_OURS = frozenset({Channel.system})


class OverrideRequest(Struct, frozen=True, kw_only=True):
    justification: str
    ticket: str


class CancellationRequest(Struct, frozen=True, kw_only=True):
    """What somebody wants undone. Neither amount nor items: all that is refundable."""

    actor: Actor
    reason: Reason | None  # None: somebody only asks what would happen
    amount: int | None = None
    items: tuple[ItemQuantity, ...] | None = None
    note: str | None = None
    client_reference: str | None = None
    expected_refundable: int | None = None
    verification: dict[str, str] | None = None
    override: OverrideRequest | None = None
    fingerprint: str = ""


class Assessment(Struct, frozen=True, kw_only=True):
    """What a wish comes to: how much, and policy's verdict upon these facts."""

    amount: int
    items: tuple[ItemQuantity, ...]
    facts: PolicyFacts
    verdict: Verdict


def actor_channel(role: ActorRole, channel: Channel | None) -> Channel:
    """The channel a request came by. An agent must name the one by which the customer spoke. Raises Invalid."""
    if role in {ActorRole.agent, ActorRole.supervisor} and channel in {None, Channel.app}:
        raise Invalid("/channel", FaultCode.customer_channel_required)
    if role is ActorRole.merchant and channel not in {None, Channel.merchant}:
        raise Invalid("/channel", FaultCode.merchant_channel_only)
    if channel in _OURS:
        raise Invalid("/channel", FaultCode.system_channel)
    return channel or (Channel.merchant if role is ActorRole.merchant else Channel.app)


def assess(snapshot: Snapshot, requested: CancellationRequest, terms: PolicyContext, now: datetime) -> Assessment:
    """Everything that decides about a wish, in the order in which the refusals are promised; no side effect.

    Raises InvalidState, CancellationOpen, PaymentDisputed, RefundableAmountChanged, PartialNotSupported, AmountExceedsRefundable,
    AgentLimitReached, TooManyRequests, Invalid. Policy's own no is a verdict, not an exception.
    """
    payment = snapshot.payment
    if payment.state in _OVER:
        raise InvalidState(state=payment.state.value)
    if (open_one := snapshot.open_cancellation) is not None:
        raise CancellationOpen(open_one.id)
    if payment.disputes_open:
        raise PaymentDisputed
    with_request(snapshot)
    refundable = payment.amount_refundable
    if requested.expected_refundable is not None and requested.expected_refundable != refundable:
        raise RefundableAmountChanged(refundable)
    amount, items = _wanted(payment, requested)
    if amount > refundable or (amount == 0 and not items):
        raise AmountExceedsRefundable(refundable)
    if payment.state is PaymentState.pending and amount < refundable:
        raise PartialNotSupported
    check_flood(snapshot)
    if requested.override is None:  # which a second person approves
        check_agent_limits(snapshot, requested.actor, amount, now)
    facts = policy_facts(snapshot, requested, amount, now)
    return Assessment(amount=amount, items=items, facts=facts, verdict=terms.verdict(facts, now))


def is_repeated(snapshot: Snapshot, client_reference: str | None) -> bool:
    """Whether something was asked for under this client_reference before, the same or not."""
    return client_reference is not None and any(c.client_reference == client_reference for c in snapshot.cancellations)


def find_repeated(snapshot: Snapshot, requested: CancellationRequest) -> Cancellation | None:
    """The cancellation that was asked for before under the same client_reference. Raises ClientReferenceConflict."""
    if requested.client_reference is None:
        return None
    known = next((c for c in snapshot.cancellations if c.client_reference == requested.client_reference), None)
    if known is not None and known.fingerprint != requested.fingerprint:
        raise ClientReferenceConflict
    return known


def refusal_of(cancellation: Cancellation) -> PolicyRefused:
    """The answer that a refused request was given, and is given again."""
    if cancellation.refusal is None:
        raise ValueError("the cancellation was not refused")
    return PolicyRefused(
        refusal=cancellation.refusal,
        rule=cancellation.rule,
        policy_version=cancellation.policy_version,
        window=cancellation.window,
        next_steps=cancellation.refusal_next_steps,
        cancellation_id=cancellation.id,
    )


def request(snapshot: Snapshot, requested: CancellationRequest, terms: PolicyContext, context: Context) -> Change:
    """Ask for a cancellation. Policy's no is recorded too: the change then carries it as `refusal`.

    Raises what `assess` raises, Forbidden.
    """
    if requested.reason is None:
        raise ValueError("a request has a reason")
    if requested.override is not None and requested.actor.role is not ActorRole.supervisor:
        raise Forbidden
    assessment = assess(snapshot, requested, terms, context.now)
    verdict = assessment.verdict
    builder = ChangeBuilder(snapshot, context)
    if isinstance(verdict, Denied) and (requested.override is None or assessment.amount == 0):
        return _refuse(builder, requested, assessment, verdict)
    if not isinstance(verdict, Denied) and assessment.amount == 0:
        return _count(builder, requested, assessment, verdict.route)
    return _open(builder, requested, assessment, terms)


def withdraw(
    snapshot: Snapshot,
    cancellation: Cancellation,
    context: Context,
    terms: PolicyContext | None = None,  # noqa: ARG001 -- every decision on a cancellation is called alike
) -> Change:
    """The customer takes the wish back, as long as nothing is executed."""
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.withdraw)
    builder = ChangeBuilder(snapshot, context)
    row = builder.put_cancellation(without_clocks(replace(cancellation, state=state)))
    builder.record_cancellation(RecordType.cancellation_withdrawn, row)
    release(builder, row)
    return builder.build()


def must_find(snapshot: Snapshot, cancellation: Cancellation | None) -> Cancellation:
    if cancellation is None or cancellation.payment_id != snapshot.payment.id:
        raise NotFound
    return cancellation


def _wanted(payment: Payment, requested: CancellationRequest) -> tuple[int, tuple[ItemQuantity, ...]]:
    """The amount asked for, in minor units, and the items that it stands for."""
    if requested.items is None:
        return (payment.amount_refundable if requested.amount is None else requested.amount), ()
    positions = {item.reference: position for position, item in enumerate(payment.items)}
    amount = 0
    for index, wanted in enumerate(requested.items):
        position = positions.get(wanted.reference)
        if position is None:
            raise Invalid(f"/items/{index}/reference", FaultCode.unknown_item)
        line, taken = payment.items[position], payment.cancelled_quantities[position]
        after = taken + wanted.quantity
        if after > line.quantity:
            raise AmountExceedsRefundable(payment.amount_refundable)
        amount += line_amount(line.amount, line.quantity, after) - line_amount(line.amount, line.quantity, taken)
    return amount, requested.items


def policy_facts(snapshot: Snapshot, requested: CancellationRequest, amount: int, now: datetime) -> PolicyFacts:
    """What policy may look at. A moment that a faster clock than ours told counts as now, one that only the merchant told as told then."""
    payment = snapshot.payment

    def happened(anchor: Anchor) -> datetime | None:
        at: datetime | None = getattr(payment, anchor.value)
        return None if at is None else min(max(at, payment.merchant_told_at.get(anchor.value, at)), now)

    return PolicyFacts(
        state=state_asked_from(payment),
        fulfilment=payment.fulfilment,
        category=payment.category,
        merchant_id=payment.merchant_id,
        currency=payment.currency,
        amount=amount,
        role=requested.actor.role,
        channel=requested.actor.channel,
        reason=requested.reason,
        sources=tuple(funding.source for funding in payment.funding),
        anchors={anchor: happened(anchor) for anchor in Anchor},
        partial=amount < payment.amount and payment.state is not PaymentState.pending,  # that is voided whole, or what is left of it
        partial_refunds=payment.partial_refunds,
        last_partial_at=payment.last_partial_at,
        taken=payment.amount - payment.amount_refundable,
        requests_last_day=snapshot.requests_last_day,
    )


def _refuse(builder: ChangeBuilder, requested: CancellationRequest, assessment: Assessment, denied: Denied) -> Change:
    row = _row(builder, requested, assessment, state=CancellationState.refused, route=None)
    row = builder.put_cancellation(replace(row, refusal=denied.refusal, refusal_next_steps=denied.next_steps))
    builder.record_cancellation(RecordType.cancellation_refused, row, _decision_data(builder, requested, row))
    return builder.build(refusal=refusal_of(row))


def _open(builder: ChangeBuilder, requested: CancellationRequest, assessment: Assessment, terms: PolicyContext) -> Change:
    verdict, payment = assessment.verdict, with_request(builder.now)  # asked before the request stands among what is unfinished
    route = Route.automatic if isinstance(verdict, Denied) else verdict.route
    row = _row(builder, requested, assessment, state=CancellationState.executing, route=route)
    if requested.override is None and requested.actor.role in ASKS_FOR_OTHERS:
        _check_verified(row, requested.verification, terms)
    row = replace(row, second_approval=needs_second_person(row, terms, agent_decides=route is Route.agent))
    row = replace(row, state=_first_state(route, row.second_approval))
    if row.state in CANCELLATION_WAITING:
        row = waiting(builder, row, terms)
    row = builder.put_cancellation(row)
    builder.set_payment(
        replace(
            payment,
            amount_reserved=payment.amount_reserved + row.amount,
            cancelled_quantities=cancelled_quantities(payment, row.items, 1),
        )
    )
    effective_terms = terms.effective_terms(row)
    data = _decision_data(builder, requested, row) | {
        "second_approval": row.second_approval,
        "allocation": effective_terms.allocation.value,
        **response_data(row),
    }
    if isinstance(verdict, Allowed) and verdict.accepted_by is not None:
        data["accepted_by"] = verdict.accepted_by
    if effective_terms.forfeit:
        data["forfeit"] = sorted(source.value for source in effective_terms.forfeit)
    builder.record_cancellation(RecordType.cancellation_requested, row, data)
    if row.override_ticket is not None and requested.override is not None:
        passed: dict[str, DataValue] = {"ticket": row.override_ticket, "allowed_by_policy": isinstance(verdict, Allowed)}
        passed |= builder.keep_text(row.id, "justification", requested.override.justification)
        builder.record_cancellation(RecordType.cancellation_overridden, row, passed)
    if (waits := _WAITS.get(row.state)) is not None:
        builder.record_cancellation(waits, row, clock_data(row))
    if row.state is CancellationState.executing:
        execute(builder, row, effective_terms)
    return builder.build()


def _count(builder: ChangeBuilder, requested: CancellationRequest, assessment: Assessment, route: Route) -> Change:
    """Pieces worth nothing (gifts, or three for one cent) are cancelled at once, whoever would decide about money: none moves."""
    if requested.override is not None:
        raise Invalid("/override", FaultCode.nothing_to_override)
    row = builder.put_cancellation(_row(builder, requested, assessment, state=CancellationState.completed, route=route))
    payment = builder.payment
    builder.set_payment(replace(payment, cancelled_quantities=cancelled_quantities(payment, row.items, 1)))
    builder.record_cancellation(RecordType.cancellation_requested, row, _decision_data(builder, requested, row))
    builder.record_cancellation(RecordType.cancellation_completed, row)
    return builder.build()


def _check_verified(row: Cancellation, told: dict[str, str] | None, terms: PolicyContext) -> None:
    """Where policy wants it, whoever speaks for a customer says how he made sure that it is the customer."""
    wanted = terms.effective_terms(row).verification
    if row.channel not in wanted.channels:
        return
    if told is None:
        raise Invalid("/verification", FaultCode.verification_required)
    if wanted.methods and told["method"] not in wanted.methods:
        raise Invalid("/verification/method", FaultCode.unknown_value, allowed=tuple(sorted(wanted.methods)))


_WAITS = {
    CancellationState.awaiting_merchant: RecordType.cancellation_handed_off,
    CancellationState.awaiting_return: RecordType.cancellation_return_awaited,
    CancellationState.awaiting_second_approval: RecordType.cancellation_second_approval_awaited,
}


def _first_state(route: Route, second_approval: bool) -> CancellationState:
    """Where a request starts: who must decide comes first, the second person after him."""
    match route:
        case Route.merchant:
            return CancellationState.awaiting_merchant
        case Route.return_:
            return CancellationState.awaiting_return
        case Route.agent:
            return CancellationState.awaiting_agent
        case Route.void | Route.automatic:
            return CancellationState.awaiting_second_approval if second_approval else CancellationState.executing


def _row(
    builder: ChangeBuilder, requested: CancellationRequest, assessment: Assessment, *, state: CancellationState, route: Route | None
) -> Cancellation:
    payment, context, verdict = builder.payment, builder.context, assessment.verdict
    if requested.reason is None:
        raise ValueError("a request has a reason")
    return Cancellation(
        id=context.new_id(),
        payment_id=payment.id,
        version=1,
        state=state,
        route=route,
        reason=requested.reason,
        amount=assessment.amount,
        currency=payment.currency,
        items=assessment.items,
        partial=assessment.facts.partial,
        channel=requested.actor.channel,
        requested_by=requested.actor,
        client_reference=requested.client_reference,
        fingerprint=requested.fingerprint,
        rule=verdict.rule,
        policy_version=verdict.policy_version,
        window=verdict.window,
        facts=facts_data(assessment.facts),
        refusal=None,
        refusal_next_steps=(),
        deadline_at=None,
        on_deadline=None,
        second_approval=False,
        override_ticket=requested.override.ticket if requested.override else None,
        assigned_to=None,
        approvals=(),
        reopened=False,
        created_at=context.now,
        updated_at=context.now,
    )


def _decision_data(builder: ChangeBuilder, requested: CancellationRequest, row: Cancellation) -> dict[str, DataValue]:
    """What the record says of a request: the wish, the rule that decided, its window, and a digest of every free text."""
    data: dict[str, DataValue] = {
        "reason": row.reason.value,
        "rule": row.rule,
        "policy_version": row.policy_version,
        "route": row.route.value if row.route else None,
        "window": window_data(row),
        "facts": row.facts,
    }
    if row.refusal is not None:
        data["refusal"] = row.refusal.value
    if row.items:
        data["items"] = [{"reference": item.reference, "quantity": item.quantity} for item in row.items]
    if row.client_reference is not None:
        data["client_reference"] = row.client_reference
    if requested.note is not None:
        data |= builder.keep_text(row.id, "note", requested.note)
    if requested.verification is not None:
        data["verification_method"] = requested.verification["method"]
        data |= builder.keep_text(row.id, "verification_reference", requested.verification["reference"])
    return data


def window_data(row: Cancellation) -> dict[str, DataValue] | None:
    window = row.window
    if window is None:
        return None
    return {
        "anchor": window.anchor.value if window.anchor else None,
        "opens_at": rfc3339(window.opens_at) if window.opens_at else None,
        "closes_at": rfc3339(window.closes_at) if window.closes_at else None,
    }
