"""What may be done to a cancellation now, and by whom: the state's triggers, less those that a guard or a person's own part forbids."""

from datetime import datetime

from workflows.domain.decisions.handoffs import may_escalate, may_offer, may_reserve
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.recorded import may_record
from workflows.domain.decisions.recovery import may_follow, may_recover, stuck_legs
from workflows.domain.decisions.reviews import may_approve, may_assign, may_review
from workflows.domain.enums import CancellationState, CancellationTrigger, Recovery
from workflows.domain.machines import CANCELLATION, GuardFacts
from workflows.domain.model import Actor, Cancellation, Snapshot

ASSIGN, RECORD_OUTCOME = "assign", "record_outcome"  # they move no state of a cancellation by themselves, so no machine knows them


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
    if may_record(snapshot, cancellation, actor):
        found.append(RECORD_OUTCOME)
    return tuple(found)


def _open_to(snapshot: Snapshot, cancellation: Cancellation, trigger: CancellationTrigger, actor: Actor, now: datetime) -> bool:
    match trigger:
        case CancellationTrigger.approve:
            return may_review(cancellation, actor) and may_approve(cancellation, actor)
        case CancellationTrigger.deny:
            return may_review(cancellation, actor)
        case CancellationTrigger.retry | CancellationTrigger.redirect | CancellationTrigger.close:
            return may_review(cancellation, actor) and _may_recover(snapshot, cancellation, Recovery(trigger.value), actor)
        case CancellationTrigger.escalate if cancellation.state is CancellationState.declined:
            return may_escalate(cancellation, now) and may_reserve(snapshot, cancellation)
        case _:
            return True


def _may_recover(snapshot: Snapshot, cancellation: Cancellation, how: Recovery, actor: Actor) -> bool:
    if not may_recover(snapshot, cancellation, how):
        return False
    return may_follow(cancellation, stuck_legs(snapshot, cancellation), actor)
