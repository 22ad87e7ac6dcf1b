"""When a person is called: once, with the agents' clock, by the patience that the rail is given."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, DAY, HOUR, MINUTE, NOW
from workflows.domain.changes import ChangeBuilder
from workflows.domain.decisions import attention, clocks, outcomes, permitted, recovery
from workflows.domain.enums import CancellationState, LegState, RailCall
from workflows.domain.errors import InvalidState
from workflows.domain.legs import Leg
from workflows.domain.model import Snapshot
from workflows.domain.ports import Declined, Pending, RailSchedule, Returned, Unknown

SCHEDULE = RailSchedule(enquiries=(MINUTE,), sends_again=True, unknown_max=HOUR, processing_max=2 * DAY)
TIERS = [{"name": "urgent", "first_response": "2 hours", "resolution": "8 hours"}]
TIERED = replace(make.TERMS, policy=make.policy(response_tiers=TIERS))


def sent(*words: object) -> Snapshot:
    snapshot = make.sent(make.asked(make.completed()))
    for word in words:
        snapshot = make.told(snapshot, snapshot.legs[0], word)  # type: ignore[arg-type]  # any outcome
    return snapshot


def called(snapshot: Snapshot, after: timedelta, leg: Leg | None = None) -> object:
    leg = leg or snapshot.legs[-1]
    context = make.context(NOW + after, make.RAIL)
    return attention.give_to_person(snapshot, leg, schedule=SCHEDULE, terms=make.TERMS, context=context)


PATIENCE = [
    (LegState.submitted, HOUR),
    (LegState.unknown, HOUR),
    (LegState.processing, 2 * DAY),
]


@pytest.mark.parametrize(("state", "most"), PATIENCE)
def test_the_patience_counts_from_the_first_time_that_it_was_sent(state: LegState, most: timedelta) -> None:
    snapshot = sent()
    leg = replace(snapshot.legs[0], state=state, sent_at=NOW + DAY)

    assert called(snapshot, most - MINUTE, leg) is None
    assert called(snapshot, most, leg) is not None
    later = replace(leg, first_sent_at=NOW + MINUTE)
    assert called(snapshot, most, later) is None


def test_sending_it_again_does_not_begin_anew() -> None:
    snapshot = sent(Unknown("timeout"))
    snapshot = outcomes.submit(snapshot, snapshot.legs[0], make.context(NOW + HOUR)).after(snapshot)

    leg = snapshot.legs[0]
    assert (leg.state, leg.attempts, leg.first_sent_at, leg.sent_at) == ("unknown", 2, NOW, NOW + HOUR)
    assert called(snapshot, HOUR) is not None


def test_nobody_is_called_for_what_goes_on_or_is_over() -> None:
    snapshot = sent()
    for state in (LegState.scheduled, LegState.held, LegState.requires_action, LegState.succeeded, LegState.failed, LegState.returned):
        assert called(snapshot, 300 * DAY, replace(snapshot.legs[0], state=state)) is None


def test_a_successor_that_waits_for_a_word_about_the_first_is_waited_for_as_long() -> None:
    snapshot = sent(Declined("no"))
    row, context = make.newest(snapshot), make.context(actor=AGENT)
    snapshot = recovery.retry(snapshot, row, successors=make.SUCCESSORS, context=context).after(snapshot)

    assert called(snapshot, HOUR - MINUTE) is None
    assert called(snapshot, HOUR) is not None


def test_a_person_is_called_once_with_the_agents_clock_and_nobody_has_the_case() -> None:
    snapshot = sent(Unknown("timeout"))
    snapshot = make.with_cancellation(snapshot, snapshot.cancellations[0], assigned_to="agent-7")
    leg = snapshot.legs[0].with_answer(NOW, RailCall.ask, "unknown:timeout")
    change = attention.give_to_person(snapshot, leg, schedule=SCHEDULE, terms=make.TERMS, context=make.context(NOW + HOUR, make.RAIL))

    assert change is not None
    assert make.types(change) == ["cancellation.needs_attention"]
    data = make.body(change.records[0])["data"]
    assert (data["because"], data["then"]) == ("outcome_unknown", "agent")
    (row,) = change.cancellations
    assert (row.state, row.assigned_to, row.raised, row.on_deadline) == ("needs_attention", None, False, "agent")
    assert row.clock is not None
    assert row.deadline_at is not None
    assert [(job.kind, job.subject_id, job.run_at) for job in change.jobs] == [("deadline", row.clock.id, row.deadline_at)]
    assert change.legs == (replace(leg, updated_at=NOW + HOUR),), "what was heard is kept"
    assert make.sums(change.payment) == make.sums(snapshot.payment)
    after = change.after(snapshot)
    assert called(after, 300 * DAY) is None
    assert after.legs[0].state == "unknown", "it is asked after all the same"


def test_what_arrives_after_a_person_was_called_completes_it_and_stops_the_clock() -> None:
    snapshot = sent(Pending())
    change = attention.give_to_person(
        snapshot, snapshot.legs[0], schedule=SCHEDULE, terms=make.TERMS, context=make.context(NOW + 2 * DAY, make.RAIL)
    )
    assert change is not None
    snapshot = change.after(snapshot)
    snapshot = make.told(snapshot, snapshot.legs[0], make.done(snapshot.legs[0]))

    row = make.newest(snapshot)
    assert (row.state, row.clock, row.deadline_at) == ("completed", None, None)
    assert snapshot.payment.state == "refunded"


def test_the_tier_says_how_soon_and_the_agents_clock_ends_with_it() -> None:
    snapshot = make.sent(make.request(make.completed(), terms=TIERED).after(make.completed()))
    builder = ChangeBuilder(snapshot, make.context())
    row = attention.call_person(builder, snapshot.cancellations[0], TIERED)

    assert row.tier == "urgent"
    assert row.first_response_due_at is not None
    assert row.deadline_at == row.resolution_due_at
    data = make.body(builder.build().records[0])["data"]
    assert (data["tier"], "because" in data) == ("urgent", False)


def test_what_comes_back_after_it_was_completed_calls_a_person_too() -> None:
    snapshot = make.refunded(make.completed())
    snapshot = make.with_cancellation(snapshot, snapshot.cancellations[0], assigned_to="agent-7")
    change = make.learn(snapshot, snapshot.legs[0], Returned())

    assert change is not None
    assert make.types(change) == ["refund.returned", "cancellation.reopened"]
    row = change.cancellations[-1]
    assert (row.state, row.reopened, row.assigned_to, row.clock is None) == ("needs_attention", True, None, False)
    assert [job.kind for job in change.jobs] == ["deadline"]


def test_a_deadline_that_passes_raises_it_to_a_supervisor_and_that_once() -> None:
    snapshot = sent(Declined("no"))
    row = make.with_cancellation(snapshot, snapshot.cancellations[0], assigned_to="agent-7").cancellations[0]
    assert row.deadline_at is not None
    change = clocks.fire_deadline(snapshot, row, make.TERMS, make.context(row.deadline_at, make.RAIL))

    assert change is not None
    assert make.types(change) == ["cancellation.timed_out", "cancellation.escalated"]
    (raised,) = change.cancellations
    assert (raised.state, raised.raised, raised.clock, raised.assigned_to) == ("needs_attention", True, None, None)
    assert raised.deadline_at == row.deadline_at, "the deadline that was missed stays to be seen"
    after = change.after(snapshot)
    assert clocks.fire_deadline(after, raised, make.TERMS, make.context(row.deadline_at + DAY, make.RAIL)) is None
    assert set(permitted.actions(after, raised, make.TERMS, AGENT, NOW)).isdisjoint({"retry", "redirect", "close", "assign"})
    assert {"retry", "redirect", "close", "assign"} <= set(permitted.actions(after, raised, make.TERMS, make.SUPERVISOR, NOW))


def test_nothing_else_than_what_is_executed_becomes_stuck() -> None:
    snapshot = sent()
    for state in CancellationState:
        if state is CancellationState.executing:
            continue
        other = make.with_cancellation(snapshot, snapshot.cancellations[0], state=state)
        assert called(other, 300 * DAY) is None
        with pytest.raises(InvalidState):
            attention.call_person(ChangeBuilder(other, make.context()), other.cancellations[0], make.TERMS)
