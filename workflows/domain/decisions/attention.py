"""When a person is called: what is approved cannot go on by itself, and somebody who works for us owes the next step."""

from datetime import datetime

from msgspec.structs import replace

from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.clocks import clock_data, waiting
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import CancellationState, CancellationTrigger, LegState
from workflows.domain.legs import Leg
from workflows.domain.machines import CANCELLATION
from workflows.domain.model import Cancellation, DataValue, Snapshot
from workflows.domain.ports import RailSchedule
from workflows.domain.record_types import RecordType


def call_person(builder: ChangeBuilder, cancellation: Cancellation, terms: PolicyContext, *, because: str | None = None) -> Cancellation:
    """What was under way is stuck."""
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.stuck)
    data: dict[str, DataValue] = {} if because is None else {"because": because}
    return _attend(builder, replace(cancellation, state=state), terms, RecordType.cancellation_needs_attention, data)


def reopen(builder: ChangeBuilder, cancellation: Cancellation, terms: PolicyContext) -> Cancellation:
    """What was completed is not: its rail has returned the money."""
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.reopen)
    return _attend(builder, replace(cancellation, state=state, reopened=True), terms, RecordType.cancellation_reopened, {})


def _attend(
    builder: ChangeBuilder, cancellation: Cancellation, terms: PolicyContext, said: RecordType, data: dict[str, DataValue]
) -> Cancellation:
    """The cancellation `needs_attention`, with the agents' clock, and nobody's yet."""
    row = builder.put_cancellation(waiting(builder, replace(cancellation, assigned_to=None), terms))
    builder.record_cancellation(said, row, data | clock_data(row))
    return row


def patience_is_over(leg: Leg, schedule: RailSchedule, now: datetime) -> bool:
    """Whether nobody has known for too long what became of the leg. It goes on being asked after all the same."""
    match leg.state:
        case LegState.submitted | LegState.unknown:
            most = schedule.unknown_max
        case LegState.processing:
            most = schedule.processing_max
        case LegState.scheduled if leg.replaces is not None:  # it waits for a word about the one that it replaces
            most = schedule.unknown_max
        case _:
            return False
    return now - (leg.first_sent_at or leg.created_at) >= most


def give_to_person(snapshot: Snapshot, leg: Leg, *, schedule: RailSchedule, terms: PolicyContext, context: Context) -> Change | None:
    """A person is called for a leg (as it is to be written) that nobody has heard of for too long. None: not yet, or not again."""
    cancellation = snapshot.cancellation(leg.cancellation_id)
    if cancellation is None or cancellation.state is not CancellationState.executing or not patience_is_over(leg, schedule, context.now):
        return None
    builder = ChangeBuilder(snapshot, context)
    builder.put_leg(leg, silent=True)
    call_person(builder, cancellation, terms, because=f"outcome_{leg.state.value}")
    return builder.build()
