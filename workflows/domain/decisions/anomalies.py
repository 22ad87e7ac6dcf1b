"""What a person does about a word of a rail that no transition allows."""

from msgspec.structs import replace

from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.execution import start_refund
from workflows.domain.enums import (
    ActorRole,
    Allocation,
    AnomalyKind,
    CancellationState,
    PaymentTrigger,
    Reason,
    RecordType,
    Route,
)
from workflows.domain.errors import InvalidState, SecondApproverRequired
from workflows.domain.machines import PAYMENT
from workflows.domain.model import Approval, Cancellation, Snapshot


def refund_late_capture(snapshot: Snapshot, *, approval: Approval, context: Context) -> Change:
    """Give back money that a rail took on a payment that was already cancelled or failed: what was taken, to where it came from.

    A rail's own word names one source, and only that one is paid back: another may have been released. The wallet's word names all.

    The context's actor asks, `approval` is the second person's, who must be a supervisor. The snapshot must hold the payment's anomalies.
    Raises InvalidState where no such capture is known or the payment is not over, SecondApproverRequired.
    """
    payment = snapshot.payment
    PAYMENT.step(payment.state, PaymentTrigger.refund_late_capture)
    parts = _captured(snapshot)
    if not any(parts):
        raise InvalidState(state=payment.state.value)
    if approval.by == context.actor.id or approval.role is not ActorRole.supervisor:
        raise SecondApproverRequired
    builder = ChangeBuilder(snapshot, context)
    row = builder.put_cancellation(_row(builder, approval, sum(parts)))
    reserved = payment.amount_reserved + row.amount
    # It was captured after all, at a moment that nobody told.
    completed_at = payment.completed_at or max(builder.context.now, payment.authorised_at)
    builder.set_payment(replace(payment, amount_reserved=reserved, completed_at=completed_at))
    builder.record_cancellation(RecordType.cancellation_requested, row, {"because": AnomalyKind.captured_late.value})
    builder.record_cancellation(RecordType.cancellation_approved, row, {"approval": 1, "by": approval.by, "role": approval.role.value})
    start_refund(builder, row, Allocation.pro_rata, frozenset(), PaymentTrigger.refund_late_capture, parts=parts)
    return builder.build()


def _captured(snapshot: Snapshot) -> list[int]:
    """What was taken from each funding source after all, in minor units."""
    late = [anomaly for anomaly in snapshot.anomalies if anomaly.kind is AnomalyKind.captured_late]
    everywhere = any(anomaly.leg_id is None for anomaly in late)
    named = {anomaly.data["position"] for anomaly in late if anomaly.leg_id is not None}
    return [source.amount if everywhere or at in named else 0 for at, source in enumerate(snapshot.payment.funding)]


def _row(builder: ChangeBuilder, approval: Approval, amount: int) -> Cancellation:
    payment, context = builder.payment, builder.context
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
        channel=context.actor.channel,
        requested_by=context.actor,
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
        approvals=(approval,),
        reopened=False,
        created_at=context.now,
        updated_at=context.now,
    )
