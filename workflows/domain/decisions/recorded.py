"""What a person of ours read in a rail's own books, where its interface gives no word, or one that contradicts itself."""

from uuid import UUID

from msgspec import Struct

from workflows.domain.changes import Change, Context
from workflows.domain.decisions.outcomes import learn
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.reviews import persons
from workflows.domain.decisions.words import Word
from workflows.domain.enums import LEG_IN_FLIGHT, CancellationState, LegState, RailCall
from workflows.domain.errors import Invalid, InvalidState, SecondApproverRequired
from workflows.domain.faults import FaultCode
from workflows.domain.legs import TOLD_BY_PERSON, Leg, SuccessorRules
from workflows.domain.model import Actor, Cancellation, Snapshot
from workflows.domain.ports import Declined, Done


class ToldOutcome(Struct, frozen=True, kw_only=True):
    leg_id: UUID
    succeeded: bool
    note: str
    provider_refund_id: str | None = None
    rail_reference: str | None = None


def record_outcome(
    snapshot: Snapshot,
    cancellation: Cancellation,
    *,
    told: ToldOutcome,
    successors: SuccessorRules,
    terms: PolicyContext,
    context: Context,
) -> Change:
    """The leg succeeded or failed, as its rail's books say. Raises Invalid, InvalidState, SecondApproverRequired."""
    leg = snapshot.leg(told.leg_id)
    if leg is None or leg.cancellation_id != cancellation.id:
        raise Invalid("/leg_id", FaultCode.unknown_leg)
    if cancellation.state is not CancellationState.needs_attention or leg.state not in LEG_IN_FLIGHT | {LegState.requires_action}:
        raise InvalidState(state=cancellation.state.value)
    if not told.succeeded and not _may_have_failed(leg):
        raise InvalidState(state=cancellation.state.value)
    if context.actor.id in persons(cancellation):
        raise SecondApproverRequired
    outcome = Done(leg.amount, leg.currency, told.provider_refund_id, told.rail_reference) if told.succeeded else Declined(TOLD_BY_PERSON)
    word = Word(outcome=outcome, call=RailCall.person, by=context.actor.id, note=told.note)
    change = learn(snapshot, leg, word, terms=terms, successors=successors, context=context)
    if change is None:
        raise InvalidState(state=cancellation.state.value)
    return change


def _may_have_failed(leg: Leg) -> bool:
    """What waits for somebody is cancelled at its rail by whatever is ordered for it; only where that came to nothing does a word help."""
    return leg.state is not LegState.requires_action or leg.failure_code is not None


def may_record(snapshot: Snapshot, cancellation: Cancellation, actor: Actor) -> bool:
    """Whether there is a part of it whose outcome this person may record."""
    waits = LEG_IN_FLIGHT | {LegState.requires_action}
    legs = [leg for leg in snapshot.legs if leg.cancellation_id == cancellation.id]
    stuck = cancellation.state is CancellationState.needs_attention and actor.id not in persons(cancellation)
    return stuck and any(leg.state in waits for leg in legs)
