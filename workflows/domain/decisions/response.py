"""How soon those who work for us answer: a tier by policy, a first answer and a decision that are due.

The time begins when the step becomes ours: none of it passes while the merchant or the customer owes one. It decides nothing: what is
late rises to the top of the queue, and what is not decided in time becomes a supervisor's (the agents' clock ends then).
"""

from datetime import datetime

from msgspec.structs import replace

from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import CANCELLATION_OURS
from workflows.domain.model import Cancellation, DataValue
from workflows.domain.policies.facts import facts_from
from workflows.domain.policies.policy import ResponseTier
from workflows.domain.times import rfc3339
from workflows.domain.windows import Length, absolute, deadline
from workflows.domain.working_time import Schedule


def with_response(row: Cancellation, terms: PolicyContext, now: datetime) -> Cancellation:
    """The cancellation, which waits for somebody, with the time for our answer, which begins where the step becomes ours."""
    return row if row.state not in CANCELLATION_OURS or _runs(row) else _begins(row, terms, now)


def answered(row: Cancellation, now: datetime) -> Cancellation:
    """One of ours has taken the case, or decided: no first answer is due any more. A case that is not ours yet has no answer either."""
    if row.first_responded_at is not None or row.state not in CANCELLATION_OURS:
        return row
    return replace(row, first_responded_at=now, first_response_due_at=None)


def without_clocks(row: Cancellation) -> Cancellation:
    """The cancellation when nobody owes anything any more. The job of a clock finds none when its time comes."""
    return replace(
        row,
        clock=None,
        deadline_at=None,
        on_deadline=None,
        raised=False,
        first_response_due_at=None,
        resolution_due_at=None,
    )


def tier_of(row: Cancellation, terms: PolicyContext) -> ResponseTier | None:
    """By what the request was decided upon. None: the policy has no tier for it, or nobody asked (a late capture is given back)."""
    if not row.facts:
        return None
    facts = facts_from(row.facts)
    tiers = terms.policy.response_tiers
    return next((tier for tier in tiers if (not tier.routes or row.route in tier.routes) and tier.when.holds(facts)), None)


def needs_investigation(row: Cancellation, terms: PolicyContext) -> bool:
    return any(tier.name == row.tier and tier.investigation for tier in terms.policy.response_tiers)


def response_data(row: Cancellation) -> dict[str, DataValue]:
    """What a record says of the answer that is due."""
    due = {"first_response_due_at": row.first_response_due_at, "resolution_due_at": row.resolution_due_at}
    told: dict[str, DataValue] = {name: rfc3339(at) for name, at in due.items() if at is not None}
    return {"tier": row.tier, **told} if told else {}


def _runs(row: Cancellation) -> bool:
    return row.first_response_due_at is not None or row.resolution_due_at is not None


def _begins(row: Cancellation, terms: PolicyContext, now: datetime) -> Cancellation:
    tier = tier_of(row, terms)
    if tier is None:
        return row
    schedule = Schedule(hours=terms.policy.working_hours, zone=terms.policy.zone, calendar=terms.calendar)
    first = None if row.first_responded_at else _due(now, tier.first_response, schedule)
    resolution = None if tier.resolution is None else _due(now, tier.resolution, schedule)
    return replace(row, tier=tier.name, first_response_due_at=first, resolution_due_at=resolution)


def _due(now: datetime, length: Length, schedule: Schedule) -> datetime:
    """Seconds, minutes and hours are working time; days, business days and months are the calendar's."""
    span = absolute(length)
    return deadline(now, length, schedule.zone, schedule.calendar) if span is None else schedule.after(now, span)
