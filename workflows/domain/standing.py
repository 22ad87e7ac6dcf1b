"""How a cancellation stands, as a record tells it: what the records' types and other members do not say by themselves."""

from workflows.domain.model import Cancellation, DataValue
from workflows.domain.times import rfc3339


def standing(row: Cancellation) -> dict[str, DataValue]:
    """What is not told is null or false."""
    words: dict[str, DataValue] = {
        "state": row.state.value,
        "second_approval": row.second_approval,
        "raised": row.raised,
        "assigned_to": row.assigned_to,
        "on_deadline": None if row.on_deadline is None else row.on_deadline.value,
        "tier": row.tier,
    }
    moments = {
        "deadline_at": row.deadline_at,
        "first_response_due_at": row.first_response_due_at,
        "resolution_due_at": row.resolution_due_at,
        "first_responded_at": row.first_responded_at,
    }
    told = {name: word for name, word in words.items() if word}
    return told | {name: rfc3339(at) for name, at in moments.items() if at is not None}
