"""How a cancellation stands, as its record tells it: every member is told once it is set, and its times are in UTC."""

from msgspec.structs import replace

from tests.factories import NOW, asked, completed
from workflows.domain.enums import CancellationState, OnDeadline
from workflows.domain.standing import standing


def test_what_is_not_set_is_not_told() -> None:
    (row,) = asked(completed()).cancellations

    assert standing(row) == {"state": "executing"}


def test_all_that_is_set_is_told() -> None:
    (row,) = asked(completed()).cancellations
    row = replace(
        row,
        state=CancellationState.awaiting_agent,
        second_approval=True,
        raised=True,
        assigned_to="agent-1",
        on_deadline=OnDeadline.accept,
        tier="simple",
        deadline_at=NOW,
        first_response_due_at=NOW,
        resolution_due_at=NOW,
        first_responded_at=NOW,
    )

    moment = "2026-11-22T09:00:00.000000Z"
    assert standing(row) == {
        "state": "awaiting_agent",
        "second_approval": True,
        "raised": True,
        "assigned_to": "agent-1",
        "on_deadline": "accept",
        "tier": "simple",
        "deadline_at": moment,
        "first_response_due_at": moment,
        "resolution_due_at": moment,
        "first_responded_at": moment,
    }
