"""What may be done to a cancellation now, and by whom: the state's triggers, less those that a guard or a person's own part forbids."""

from datetime import datetime

from workflows.domain.decisions.handoffs import may_escalate, may_offer, may_reserve
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.reviews import may_approve, may_assign, may_review
from workflows.domain.enums import CancellationState, CancellationTrigger
from workflows.domain.machines import CANCELLATION, GuardFacts
from workflows.domain.model import Actor, Cancellation, Snapshot

ASSIGN = "assign"  # moves no state, so no machine knows it


def actions(snapshot: Snapshot, cancellation: Cancellation, terms: PolicyContext, actor: Actor, now: datetime) -> tuple[str, ...]:
    """The steps that are open to this person, in the table's order. Whether the role may take them at all is asked elsewhere."""
    facts = GuardFacts(second_approval=cancellation.second_approval, offers=cancellation.offers, intact=True)
    found = [
        trigger.value
        for trigger in CANCELLATION.actions_from(cancellation.state)
        if CANCELLATION.may(cancellation.state, trigger, facts)
        and (trigger is not CancellationTrigger.offer or may_offer(snapshot, cancellation, terms, now))
        and _open_to(snapshot, cancellation, trigger, actor, now)
    ]
    if may_assign(cancellation, actor):
        found.append(ASSIGN)
    return tuple(found)


def _open_to(snapshot: Snapshot, cancellation: Cancellation, trigger: CancellationTrigger, actor: Actor, now: datetime) -> bool:
    match trigger:
        case CancellationTrigger.approve:
            return may_review(cancellation, actor) and may_approve(cancellation, actor)
        case CancellationTrigger.deny:
            return may_review(cancellation, actor)
        case CancellationTrigger.escalate if cancellation.state is CancellationState.declined:
            return may_escalate(cancellation, now) and may_reserve(snapshot, cancellation)
        case _:
            return True
