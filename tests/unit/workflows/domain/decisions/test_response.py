"""How soon ours answer: tiers, due times that stand while the step is another's, and what becomes of what is late."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, DAY, HOUR, MERCHANT, NOW, SUPERVISOR, WALLET
from workflows.domain.changes import Change
from workflows.domain.decisions import clocks, handoffs, requests, reviews
from workflows.domain.decisions.handoffs import MerchantResponse
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import ActorRole, CancellationState, Channel, MerchantDecision, Reason
from workflows.domain.model import Actor, Cancellation, Snapshot
from workflows.domain.times import rfc3339

MINUTE = timedelta(minutes=1)
WORKER = Actor(role=ActorRole.system, id="worker", channel=Channel.system)
TIERS: list[dict[str, Any]] = [
    {"name": "complex", "when": {"reason": "unauthorised"}, "first_response": "30 minutes", "resolution": "2 days", "investigation": True},
    {"name": "simple", "when": {"currency": "CNY", "amount_up_to": 500}, "routes": ["agent"], "first_response": "10 minutes"},
    {"name": "medium", "first_response": "20 minutes", "resolution": "3 hours"},
]


def terms(**members: Any) -> PolicyContext:
    return replace(make.TERMS, policy=make.policy(**{"response_tiers": TIERS, **members}))


TERMS = terms()


def asked(merchant: str = "agent", *, under: PolicyContext = TERMS, actor: Actor = WALLET, whole: int = 300, **wish: Any) -> Snapshot:
    snapshot = make.completed(merchant_id=merchant, amount=whole)
    return make.request(snapshot, make.requested(actor=actor, **wish), terms=under).after(snapshot)


def case(snapshot: Snapshot) -> Cancellation:
    return make.newest(snapshot)


def due(snapshot: Snapshot) -> tuple[object, object]:
    return case(snapshot).first_response_due_at, case(snapshot).resolution_due_at


def escalated(snapshot: Snapshot, after: timedelta, under: PolicyContext = TERMS) -> Snapshot:
    return handoffs.escalate(snapshot, case(snapshot), under, make.context(NOW + after)).after(snapshot)


def assigned(snapshot: Snapshot, after: timedelta) -> Snapshot:
    return reviews.assign(snapshot, case(snapshot), to=None, context=make.context(NOW + after, AGENT)).after(snapshot)


def data(change: Change) -> dict[str, Any]:
    found: dict[str, Any] = make.body(change.records[0])["data"]
    return found


@pytest.mark.parametrize(
    ("wish", "tier", "first", "resolution"),
    [
        ({"reason": Reason.unauthorised}, "complex", 30 * MINUTE, 2 * DAY),
        ({}, "simple", 10 * MINUTE, None),
        ({"amount": 501}, "medium", 20 * MINUTE, 3 * HOUR),
    ],
)
def test_the_first_tier_that_holds_says_how_soon(wish: dict[str, Any], tier: str, first: timedelta, resolution: timedelta | None) -> None:
    snapshot = asked(whole=1_000, **{"amount": 300, **wish})

    assert case(snapshot).tier == tier
    assert due(snapshot) == (NOW + first, None if resolution is None else NOW + resolution)


def test_it_is_on_record_with_the_request() -> None:
    snapshot = make.completed(merchant_id="agent", amount=300)

    told = data(make.request(snapshot, make.requested(reason=Reason.unauthorised), terms=TERMS))

    assert (told["tier"], told["first_response_due_at"]) == ("complex", rfc3339(NOW + 30 * MINUTE))


def test_a_policy_without_tiers_promises_nothing() -> None:
    snapshot = asked(under=terms(response_tiers=[]))

    assert (case(snapshot).tier, *due(snapshot)) == (None, None, None)


def test_nothing_is_due_from_ours_while_the_merchant_owes_the_answer() -> None:
    snapshot = asked("merchant")

    assert (case(snapshot).tier, *due(snapshot)) == (None, None, None)
    assert due(escalated(snapshot, 5 * HOUR)) == (NOW + 5 * HOUR + 20 * MINUTE, NOW + 8 * HOUR)


@pytest.mark.parametrize("actor", [AGENT, SUPERVISOR])
def test_whoever_takes_the_case_has_answered(actor: Actor) -> None:
    snapshot = asked()
    taken = reviews.assign(snapshot, case(snapshot), to="agent-9", context=make.context(NOW + MINUTE, actor)).after(snapshot)

    assert (case(taken).first_responded_at, case(taken).first_response_due_at) == (NOW + MINUTE, None)
    again = assigned(taken, 2 * MINUTE)
    assert case(again).first_responded_at == NOW + MINUTE, "the first answer is the first"


def test_a_decision_is_an_answer_too_and_ends_what_is_due() -> None:
    snapshot = asked(whole=1_000)
    denied = reviews.deny(
        snapshot, case(snapshot), reason_code="no", note="no", terms=TERMS, context=make.context(NOW + MINUTE, AGENT)
    ).after(snapshot)

    assert case(denied).first_responded_at == NOW + MINUTE
    assert due(denied) == (None, None)


def test_withdrawn_nothing_is_due() -> None:
    snapshot = asked()

    assert due(requests.withdraw(snapshot, case(snapshot), make.context()).after(snapshot)) == (None, None)


def test_between_two_persons_of_ours_the_time_runs_on() -> None:
    snapshot = asked(whole=20_000, reason=Reason.unauthorised)
    change = reviews.approve(snapshot, case(snapshot), note=None, terms=TERMS, context=make.context(NOW + HOUR, AGENT))
    after = change.after(snapshot)

    assert case(after).state is CancellationState.awaiting_second_approval
    assert due(after) == (None, NOW + 2 * DAY)


def test_what_is_not_decided_in_time_is_a_supervisors() -> None:
    snapshot = asked(whole=1_000)
    assert case(snapshot).deadline_at == NOW + 3 * HOUR, "earlier than the agents' own deadline"

    raised = clocks.fire_deadline(snapshot, case(snapshot), TERMS, make.context(NOW + 3 * HOUR, WORKER))

    assert raised is not None
    assert case(raised.after(snapshot)).raised


def test_a_case_that_was_looked_at_while_it_was_the_merchants_still_has_its_first_answer_ahead() -> None:
    snapshot = asked("merchant", whole=1_000)
    taken = assigned(snapshot, MINUTE)

    assert case(taken).first_responded_at is None
    assert due(escalated(taken, HOUR)) == (NOW + HOUR + 20 * MINUTE, NOW + 4 * HOUR)


def test_a_case_whose_second_approval_expired_after_its_resolution_was_due_is_the_agents_again() -> None:
    """They get their time once more; that it is late is seen from what was due."""
    under = terms(response_tiers=[{"name": "medium", "first_response": "20 minutes", "resolution": "3 hours"}])
    snapshot = asked(whole=20_000, amount=20_000, under=under)
    approved = reviews.approve(snapshot, case(snapshot), note=None, terms=under, context=make.context(NOW + MINUTE, AGENT)).after(snapshot)
    end = case(approved).deadline_at
    assert end is not None

    struck = clocks.strike_overdue(approved, under, make.context(end, WORKER))

    assert struck is not None
    again = struck.after(approved)
    assert (case(again).state, case(again).raised, case(again).resolution_due_at) == ("awaiting_agent", False, NOW + 3 * HOUR)
    assert clocks.strike_overdue(again, under, make.context(end, WORKER)) is None


def test_working_hours_count_only_where_the_policy_has_them() -> None:
    """NOW is a Sunday."""
    snapshot = asked(whole=1_000, under=terms(working_hours={"opens": "09:00", "closes": "11:00"}))
    monday, tuesday = (NOW.replace(day=day, hour=9, minute=0, second=0, microsecond=0) for day in (NOW.day + 1, NOW.day + 2))

    assert due(snapshot) == (monday + 20 * MINUTE, tuesday + HOUR)


def test_an_offer_and_its_decline_never_touch_what_is_due_from_ours() -> None:
    snapshot = asked("merchant", whole=1_000)
    offered = handoffs.decide(
        snapshot, case(snapshot), MerchantResponse(decision=MerchantDecision.offer, amount=1), TERMS, make.context(NOW + HOUR, MERCHANT)
    ).after(snapshot)

    assert due(offered) == (None, None)
