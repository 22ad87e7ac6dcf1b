"""What a person does about a word of a rail that no transition allows: note it, adopt it, or give back what was taken."""

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain import ids
from workflows.domain.anomaly_steps import NOTE, next_step, note_value
from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.execution import allocated, cancelled_quantities, confirm, refresh_refund, start_refund
from workflows.domain.decisions.outcomes import ask_again_later, carry_up
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import (
    CANCELLATION_UNFINISHED,
    LEG_FINAL,
    ActorRole,
    Allocation,
    AnomalyAction,
    AnomalyKind,
    AnomalyState,
    CancellationState,
    LegKind,
    LegState,
    LegTrigger,
    OutcomeSource,
    PaymentTrigger,
    Reason,
    Route,
)
from workflows.domain.errors import InvalidState, SecondApproverRequired
from workflows.domain.legs import Leg, SuccessorRules
from workflows.domain.machines import LEG, PAYMENT
from workflows.domain.model import Actor, Anomaly, AnomalyStep, Approval, Cancellation, DataValue, Payment, Snapshot
from workflows.domain.record_types import RecordType

_ADOPTED = {LegKind.refund: AnomalyKind.paid_after_failure, LegKind.void: AnomalyKind.voided_late}


class Resolution(Struct, frozen=True, kw_only=True):
    """What a person decided about an anomaly, and why in their own words."""

    action: AnomalyAction
    note: str


def actions(snapshot: Snapshot | None, anomaly: Anomaly, actor: Actor) -> tuple[AnomalyAction, ...]:
    """The actions that are open to this person now. Whether the role may take them at all is asked elsewhere.

    The snapshot must hold the cancellation of the anomaly's leg and the payment's late captures; None where no payment is known.
    """
    if anomaly.state is AnomalyState.resolved:
        return ()
    found = [AnomalyAction.note]
    if snapshot is None:
        return tuple(found)
    if anomaly.state is AnomalyState.open and may_adopt(snapshot, anomaly):
        found.append(AnomalyAction.adopt)
    if may_refund(snapshot, anomaly) and _may_go_on(anomaly, actor):
        found.append(AnomalyAction.refund)
    return tuple(found)


def check(snapshot: Snapshot | None, anomaly: Anomaly, action: AnomalyAction, actor: Actor) -> None:
    """Raises SecondApproverRequired where only another person, a supervisor, may take this action; InvalidState where nobody may."""
    refunds = action is AnomalyAction.refund and snapshot is not None and may_refund(snapshot, anomaly)
    if refunds and not _may_go_on(anomaly, actor):
        raise SecondApproverRequired
    if action not in actions(snapshot, anomaly, actor):
        raise InvalidState(state=anomaly.state.value)


def resolve(
    snapshot: Snapshot, anomaly: Anomaly, resolution: Resolution, *, terms: PolicyContext, successors: SuccessorRules, context: Context
) -> Change:
    """What the person decided is done, or, for a refund that nobody has confirmed, proposed. Raises what `check` raises."""
    check(snapshot, anomaly, resolution.action, context.actor)
    builder = ChangeBuilder(snapshot, context)
    proposal = proposal_of(anomaly)
    match resolution.action:
        case AnomalyAction.note:
            _take(builder, anomaly, resolution)
        case AnomalyAction.adopt:
            leg = _leg_of(snapshot, anomaly)
            _take(builder, anomaly, resolution)
            _adopt(builder, leg, terms, successors)
        case AnomalyAction.refund if proposal is None:
            _take(builder, anomaly, resolution, closes=False)
        case AnomalyAction.refund:
            _take(builder, anomaly, resolution)
            _close_with(builder, anomaly)
            _refund_late_capture(builder, proposal, parts=_captured(snapshot))
    return builder.build()


def proposal_of(anomaly: Anomaly) -> AnomalyStep | None:
    """The refund that a first person proposed."""
    return next((step for step in anomaly.steps if not step.closes), None)


def step_data(anomaly: Anomaly, step: AnomalyStep) -> dict[str, DataValue]:
    """What the record of a step tells, beside its note's digest."""
    data: dict[str, DataValue] = {
        "anomaly_id": ids.public("ano", anomaly.id),
        "kind": anomaly.kind.value,
        "action": step.action.value,
    }
    return data if anomaly.leg_id is None else data | {"leg_id": ids.public("leg", anomaly.leg_id)}


def step_type(step: AnomalyStep) -> RecordType:
    return RecordType.anomaly_resolved if step.closes else RecordType.anomaly_refund_proposed


def may_adopt(snapshot: Snapshot, anomaly: Anomaly) -> bool:
    """Whether the leg may count as paid, or as released: it still failed, nothing else paid its share or may still, and the payment has
    room for it.
    """
    leg = None if anomaly.leg_id is None else snapshot.leg(anomaly.leg_id)
    cancellation = None if leg is None else snapshot.cancellation(leg.cancellation_id)
    if leg is None or cancellation is None or anomaly.kind is not _ADOPTED[leg.kind] or not LEG.may(leg.state, LegTrigger.adopt):
        return False
    others = [each for each in snapshot.legs_of(leg.cancellation_id, leg.kind) if each.position == leg.position and each.id != leg.id]
    if any(each.state not in LEG_FINAL for each in others):
        return False
    if leg.kind is LegKind.void:  # once a refund has taken its place, that pays the source, and the release settles nothing
        return cancellation.state in CANCELLATION_UNFINISHED and cancellation.refund is None
    return cancellation.state in CANCELLATION_UNFINISHED or (cancellation.state is CancellationState.failed and _has_room(snapshot, leg))


def may_refund(snapshot: Snapshot, anomaly: Anomaly) -> bool:
    """Whether what was captured late can go back: the payment is over, and something was taken that nobody has given back."""
    late = anomaly.kind is AnomalyKind.captured_late and anomaly.state is not AnomalyState.resolved
    return late and PAYMENT.may(snapshot.payment.state, PaymentTrigger.refund_late_capture) and any(_captured(snapshot))


def _may_go_on(anomaly: Anomaly, actor: Actor) -> bool:
    """Whether this person may propose the refund or, where it is proposed, confirm it."""
    proposal = proposal_of(anomaly)
    return proposal is None or (proposal.by != actor.id and actor.role is ActorRole.supervisor)


def _has_room(snapshot: Snapshot, leg: Leg) -> bool:
    """A closed refund gave its share back: it has to be there still, of the payment and of the source."""
    payment = snapshot.payment
    free = payment.funding[leg.position].amount - payment.allocated[leg.position]
    cancellation = snapshot.cancellation(leg.cancellation_id)
    taken = () if cancellation is None else _with_items(snapshot, cancellation, leg).cancelled_quantities
    if any(has > item.quantity for has, item in zip(taken, payment.items, strict=False)):
        return False
    return min(payment.amount_refundable, free) >= leg.amount and PAYMENT.may(payment.state, PaymentTrigger.reopen_refund)


def _leg_of(snapshot: Snapshot, anomaly: Anomaly) -> Leg:
    leg = None if anomaly.leg_id is None else snapshot.leg(anomaly.leg_id)
    if leg is None:
        raise LookupError("an anomaly's leg was not loaded")
    return leg


def _take(builder: ChangeBuilder, anomaly: Anomaly, resolution: Resolution, *, closes: bool = True) -> None:
    """The step, its record, and its note where it can be erased."""
    step = next_step(anomaly, resolution.action, builder.context.actor, builder.context.now, closes=closes)
    builder.put_anomaly_step(step)
    said = builder.keep_text(anomaly.id, NOTE, note_value(step, resolution.note))
    builder.record_payment(step_type(step), step_data(anomaly, step) | said, amount=_amount(builder, anomaly))


def _amount(builder: ChangeBuilder, anomaly: Anomaly) -> int | None:
    leg = None if anomaly.leg_id is None else builder.now.leg(anomaly.leg_id)
    return None if leg is None else leg.amount


def _adopt(builder: ChangeBuilder, leg: Leg, terms: PolicyContext, successors: SuccessorRules) -> None:
    state = LEG.step(leg.state, LegTrigger.adopt)
    row = replace(leg, state=state, outcome_source=OutcomeSource.person, failure_code=None, next_attempt_at=None)
    row = builder.put_leg(row)
    ask_again_later(builder, row, successors)
    cancellation = builder.now.cancellation(leg.cancellation_id)
    if cancellation is not None and cancellation.state is CancellationState.failed:
        _take_from_the_rest(builder, cancellation, row)
    else:
        carry_up(builder, row, terms)


def _take_from_the_rest(builder: ChangeBuilder, cancellation: Cancellation, leg: Leg) -> None:
    """The refund was closed and its share given back: it is taken again, of what nobody has asked for since."""
    payment = allocated(_with_items(builder.now, cancellation, leg), leg.position, leg.amount)
    state = PAYMENT.step(payment.state, PaymentTrigger.reopen_refund)
    builder.set_payment(replace(payment, state=state, amount_refunded=payment.amount_refunded + leg.amount))
    refresh_refund(builder, leg)
    confirm(builder, cancellation)


def _with_items(snapshot: Snapshot, cancellation: Cancellation, leg: Leg) -> Payment:
    """The payment with the items taken again that the close gave back, since nothing of the refund had arrived then."""
    arrived = [each for each in snapshot.legs_of(cancellation.id, leg.kind) if each.state is LegState.succeeded and each.id != leg.id]
    if arrived:
        return snapshot.payment
    return replace(snapshot.payment, cancelled_quantities=cancelled_quantities(snapshot.payment, cancellation.items, 1))


def _close_with(builder: ChangeBuilder, anomaly: Anomaly) -> None:
    """The other late captures of the payment, which the same refund pays back."""
    for other in builder.now.anomalies:
        if other.kind is AnomalyKind.captured_late and other.state is not AnomalyState.resolved:
            step = next_step(other, AnomalyAction.refund, builder.context.actor, builder.context.now, closes=True)
            builder.put_anomaly_step(step)
            together = {"resolved_with": ids.public("ano", anomaly.id)}
            builder.record_payment(step_type(step), step_data(other, step) | together, amount=_amount(builder, other))


def _refund_late_capture(builder: ChangeBuilder, proposal: AnomalyStep, *, parts: list[int]) -> None:
    """Give back money that a rail took on a payment that was already cancelled or failed: what was taken, to where it came from.

    A rail's own word names one source, and only that one is paid back: another may have been released. The wallet's word names all.
    Who proposed it asks for it, and the context's actor approves.
    """
    row = builder.put_cancellation(_row(builder, proposal, sum(parts)))
    payment = builder.payment
    reserved = payment.amount_reserved + row.amount
    # It was captured after all, at a moment that nobody told.
    completed_at = payment.completed_at or max(builder.context.now, payment.authorised_at)
    builder.set_payment(replace(payment, amount_reserved=reserved, completed_at=completed_at))
    asked = {"because": AnomalyKind.captured_late.value, "by": proposal.by, "role": proposal.role.value}
    builder.record_cancellation(RecordType.cancellation_requested, row, asked)
    builder.record_cancellation(RecordType.cancellation_approved, row, {"approval": 1})
    start_refund(builder, row, Allocation.pro_rata, frozenset(), PaymentTrigger.refund_late_capture, parts=parts)


def _captured(snapshot: Snapshot) -> list[int]:
    """What was taken from each funding source after all and not seen to yet, in minor units; not what an earlier void released."""
    late = [
        anomaly
        for anomaly in snapshot.anomalies
        if anomaly.kind is AnomalyKind.captured_late and anomaly.state is not AnomalyState.resolved
    ]
    everywhere = any(anomaly.leg_id is None for anomaly in late)
    named = {anomaly.data["position"] for anomaly in late if anomaly.leg_id is not None}
    payment = snapshot.payment
    taken = [source.amount - gone for source, gone in zip(payment.funding, payment.allocated, strict=True)]
    return [amount if everywhere or at in named else 0 for at, amount in enumerate(taken)]


def _row(builder: ChangeBuilder, proposal: AnomalyStep, amount: int) -> Cancellation:
    payment, context = builder.payment, builder.context
    actor = context.actor
    return Cancellation(
        id=context.new_id(),
        payment_id=payment.id,
        version=1,
        state=CancellationState.executing,
        route=Route.agent,
        reason=Reason.technical,
        amount=amount,
        currency=payment.currency,
        items=(),
        partial=amount < payment.amount,
        channel=actor.channel,
        requested_by=Actor(role=proposal.role, id=proposal.by, channel=actor.channel),
        client_reference=None,
        fingerprint="",
        rule=None,
        policy_version=payment.policy_version,
        window=None,
        facts={},
        refusal=None,
        refusal_next_steps=(),
        deadline_at=None,
        on_deadline=None,
        second_approval=True,
        override_ticket=None,
        assigned_to=None,
        approvals=(Approval(by=actor.id, role=actor.role, at=context.now),),
        reopened=False,
        created_at=context.now,
        updated_at=context.now,
    )
