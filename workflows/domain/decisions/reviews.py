"""Agents and supervisors: who takes a case, who approves it, and that it is three different persons.

Four eyes: whoever asked never approves, at any amount; whoever approved first never approves second; the second is a supervisor.
A person is its `sub`, whatever role its token names this time. The database holds the same in a CHECK.
"""

from msgspec.structs import replace

from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.clocks import arrive
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.response import answered
from workflows.domain.enums import (
    CANCELLATION_DECIDED_BY_US,
    CANCELLATION_OPEN,
    CANCELLATION_OURS,
    ActorRole,
    CancellationState,
    CancellationTrigger,
)
from workflows.domain.errors import Forbidden, InvalidState, SecondApproverRequired
from workflows.domain.machines import CANCELLATION, GuardFacts
from workflows.domain.model import Actor, Approval, Cancellation, DataValue, Snapshot
from workflows.domain.record_types import RecordType
from workflows.domain.times import rfc3339


def assign(
    snapshot: Snapshot,
    cancellation: Cancellation,
    *,
    to: str | None,
    context: Context,
    terms: PolicyContext | None = None,  # noqa: ARG001 -- every decision on a cancellation is called alike
) -> Change:
    """An agent takes the case, or hands it on to a colleague.

    While the decision is ours, only who may make it has the case, or nobody would look for it. Raises InvalidState; Forbidden for an
    agent where it is a supervisor's; SecondApproverRequired where the new assignee has had a part in it.
    """
    if cancellation.state not in CANCELLATION_OPEN:
        raise InvalidState(state=cancellation.state.value)
    builder = ChangeBuilder(snapshot, context)
    assigned_to = to or builder.context.actor.id
    if cancellation.state in CANCELLATION_OURS:
        if is_supervisors(cancellation) and context.actor.role is not ActorRole.supervisor:
            raise Forbidden
        if cancellation.state in CANCELLATION_DECIDED_BY_US and assigned_to in persons(cancellation):
            raise SecondApproverRequired
    row = builder.put_cancellation(answered(replace(cancellation, assigned_to=assigned_to), builder.context.now))
    builder.record_cancellation(RecordType.cancellation_assigned, row, {"to": assigned_to, "from": cancellation.assigned_to})
    return builder.build()


def approve(snapshot: Snapshot, cancellation: Cancellation, *, note: str | None, terms: PolicyContext, context: Context) -> Change:
    """A person of ours says yes: the first one, or the second. Raises InvalidState, SecondApproverRequired, Forbidden."""
    facts = GuardFacts(second_approval=cancellation.second_approval)
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.approve, facts)
    check_reviewer(cancellation, context.actor)
    if not may_approve(cancellation, context.actor):
        raise SecondApproverRequired
    builder = ChangeBuilder(snapshot, context)
    actor, position = builder.context.actor, len(cancellation.approvals)
    approval = Approval(by=actor.id, role=actor.role, at=builder.context.now)
    row = answered(replace(cancellation, approvals=(*cancellation.approvals, approval)), approval.at)
    data: dict[str, DataValue] = {"approval": position + 1}
    if note is not None:
        data |= builder.keep_text(row.id, "approval_note", {"by": actor.id, "at": rfc3339(approval.at), "note": note})
    arrive(builder, row, state, terms, said=RecordType.cancellation_approved, data=data)
    return builder.build()


def deny(snapshot: Snapshot, cancellation: Cancellation, *, reason_code: str, note: str, terms: PolicyContext, context: Context) -> Change:
    """A person of ours says no, with a reason. Anyone who reviews may, also who had approved before. Raises InvalidState, Forbidden."""
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.deny)
    check_reviewer(cancellation, context.actor)
    builder = ChangeBuilder(snapshot, context)
    data: dict[str, DataValue] = {"reason_code": reason_code}
    data |= builder.keep_text(cancellation.id, "denial", {"reason_code": reason_code, "note": note})
    row = answered(cancellation, builder.context.now)
    arrive(builder, row, state, terms, said=RecordType.cancellation_denied, data=data)
    return builder.build()


def may_approve(cancellation: Cancellation, actor: Actor) -> bool:
    """Whether this person may give the approval that is due."""
    if actor.id in persons(cancellation):
        return False
    return cancellation.state is not CancellationState.awaiting_second_approval or actor.role is ActorRole.supervisor


def may_assign(cancellation: Cancellation, actor: Actor) -> bool:
    """Whether this person may take the case, whoever has it."""
    if cancellation.state not in CANCELLATION_OURS:
        return cancellation.state in CANCELLATION_OPEN
    return may_review(cancellation, actor) and (cancellation.state not in CANCELLATION_DECIDED_BY_US or may_approve(cancellation, actor))


def is_supervisors(cancellation: Cancellation) -> bool:
    return cancellation.raised or cancellation.state is CancellationState.awaiting_second_approval


def may_take(cancellation: Cancellation, actor: Actor) -> bool:
    """Whether it is a case that nobody has, and that this person may decide."""
    return cancellation.state in CANCELLATION_OURS and cancellation.assigned_to is None and may_assign(cancellation, actor)


def persons(cancellation: Cancellation) -> frozenset[str]:
    """Who has had a hand in the decision so far: who asked, who approved, who decided for the merchant, who took his offer for the
    customer, and who said that the goods are back.
    """
    merchant, goods = cancellation.merchant, cancellation.goods
    others = {
        None if merchant is None else merchant.decided_by,
        None if merchant is None else merchant.taken_by,
        None if goods is None else goods.received_by,
    }
    return frozenset((cancellation.requested_by.id, *(one.by for one in cancellation.approvals), *(who for who in others if who)))


def check_reviewer(cancellation: Cancellation, actor: Actor) -> None:
    """A case whose deadline the agents let pass is a supervisor's. Raises Forbidden."""
    if not may_review(cancellation, actor):
        raise Forbidden


def may_review(cancellation: Cancellation, actor: Actor) -> bool:
    return not cancellation.raised or actor.role is ActorRole.supervisor
