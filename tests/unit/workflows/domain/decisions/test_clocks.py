"""Deadlines: when a clock strikes, and what silence leads to."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, DAY, HOUR, MERCHANT, NOW, SUPERVISOR, TERMS
from workflows.domain.changes import Change
from workflows.domain.decisions import clocks, handoffs, requests, returns, reviews
from workflows.domain.decisions.handoffs import MerchantResponse
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import ActorRole, Channel, MerchantDecision, ReturnCondition
from workflows.domain.model import Actor, Snapshot

CLOCKWORK = Actor(role=ActorRole.system, id="worker", channel=Channel.system)
MICROSECOND = timedelta(microseconds=1)


def terms(**deadlines: Any) -> PolicyContext:
    return replace(TERMS, policy=make.policy(deadlines=deadlines))


def asked(merchant: str = "merchant", actor: Actor = make.WALLET, *, under: PolicyContext = TERMS, amount: int = 300) -> Snapshot:
    snapshot = make.completed(merchant_id=merchant, amount=amount)
    return make.request(snapshot, make.requested(actor=actor), terms=under).after(snapshot)


def fire_deadline(snapshot: Snapshot, now: datetime, under: PolicyContext = TERMS) -> Change | None:
    return clocks.fire_deadline(snapshot, make.newest(snapshot), under, make.context(now, CLOCKWORK))


def struck(snapshot: Snapshot, now: datetime, under: PolicyContext = TERMS) -> Change:
    change = fire_deadline(snapshot, now, under)
    assert change is not None
    return change


def data(change: Change) -> dict[str, Any]:
    found: dict[str, Any] = make.body(change.records[0])["data"]
    return found


def test_before_its_time_nothing_happens() -> None:
    assert fire_deadline(asked(), NOW + 24 * HOUR - MICROSECOND) is None


def test_a_clock_that_was_stopped_never_strikes() -> None:
    snapshot = asked()
    withdrawn = requests.withdraw(snapshot, make.newest(snapshot), make.context()).after(snapshot)

    assert clocks.next_deadline_at(make.newest(withdrawn)) is None
    assert fire_deadline(withdrawn, NOW + 365 * DAY) is None


@pytest.mark.parametrize(
    ("then", "state", "payment"),
    [
        ("accept", "executing", ("refunding", 0, 300, (300,))),
        ("agent", "awaiting_agent", ("cancel_requested", 0, 300, (0,))),
        ("decline", "declined", ("completed", 0, 0, (0,))),
    ],
)
def test_a_silent_merchant_is_answered_for_by_policy(then: str, state: str, payment: object) -> None:
    under = terms(merchant={"length": "48 hours", "then": then})
    snapshot = asked(under=under)

    change = struck(snapshot, NOW + 48 * HOUR, under)

    (row,) = change.cancellations
    assert (row.state, make.sums(change.payment)) == (state, payment)
    assert row.declined_by == ("system" if then == "decline" else None)
    told = next(make.body(record)["data"] for record in change.records if record.type == "cancellation.timed_out")
    assert (told["clock"], told["then"]) == ("awaiting_merchant", then)
    assert (row.clock is not None) is (state == "awaiting_agent")


def test_silence_that_accepts_does_not_make_two_persons_one() -> None:
    under = terms(merchant={"length": "48 hours", "then": "accept"})

    change = struck(asked(actor=AGENT, under=under, amount=20_000), NOW + 48 * HOUR, under)

    assert (change.cancellations[0].state, change.legs) == ("awaiting_second_approval", ())


def test_a_deadlines_no_is_not_the_merchants_and_is_not_escalated() -> None:
    under = terms(merchant={"length": "48 hours", "then": "decline"})
    snapshot = asked(under=under)
    snapshot = struck(snapshot, NOW + 48 * HOUR, under).after(snapshot)

    assert not handoffs.may_escalate(make.newest(snapshot), NOW + 48 * HOUR)


def test_a_merchant_is_reminded_at_half_and_at_nine_tenths_of_the_time() -> None:
    snapshot = asked()
    before = make.newest(snapshot)

    first = struck(snapshot, NOW + 24 * HOUR)
    assert make.types(first) == ["cancellation.reminded"]
    assert (data(first)["whom"], data(first)["passed"]) == ("merchant", "1/2")
    assert first.cancellations[0].version == before.version  # nobody's If-Match fails for a reminder
    assert clocks.next_deadline_at(first.cancellations[0]) == NOW + 43 * HOUR + timedelta(minutes=12)

    second = struck(first.after(snapshot), NOW + 44 * HOUR)
    assert data(second)["passed"] == "9/10"
    assert clocks.next_deadline_at(second.cancellations[0]) == NOW + 48 * HOUR


def test_a_reminder_that_comes_too_late_is_left_out_and_the_deadline_never() -> None:
    snapshot = asked()

    late = struck(snapshot, NOW + 47 * HOUR)
    assert data(late)["passed"] == "9/10"
    assert fire_deadline(late.after(snapshot), NOW + 47 * HOUR) is None
    assert struck(snapshot, NOW + 30 * DAY).cancellations[0].state == "awaiting_agent"


def test_an_offer_that_nobody_answers_goes_to_an_agent() -> None:
    snapshot = asked()
    offer = MerchantResponse(decision=MerchantDecision.offer, amount=100)
    snapshot = handoffs.decide(snapshot, make.newest(snapshot), offer, TERMS, make.context(NOW, MERCHANT)).after(snapshot)
    assert fire_deadline(snapshot, NOW + 72 * HOUR - MICROSECOND) is None

    change = struck(snapshot, NOW + 72 * HOUR)

    assert (change.cancellations[0].state, change.cancellations[0].amount) == ("awaiting_agent", 300)
    assert change.payment.amount_reserved == 300


def test_goods_that_are_not_sent_in_time_end_the_request() -> None:
    change = struck(asked("return"), NOW + 15 * DAY)

    assert (change.cancellations[0].state, change.cancellations[0].declined_by) == ("declined", "system")
    assert make.sums(change.payment) == ("completed", 0, 0, (0,))


@pytest.mark.parametrize(("actor", "amount", "state"), [(make.WALLET, 300, "executing"), (AGENT, 20_000, "awaiting_second_approval")])
def test_goods_that_the_merchant_does_not_inspect_in_time_are_paid(actor: Actor, amount: int, state: str) -> None:
    snapshot = asked("return", actor, amount=amount)
    row = make.newest(snapshot)
    sent = returns.ship(snapshot, row, carrier="sf", tracking_number="1", terms=TERMS, context=make.context(NOW + DAY)).after(snapshot)
    assert make.types(fire_deadline(sent, NOW + 8 * DAY - MICROSECOND)) == ["cancellation.reminded"]

    assert struck(sent, NOW + 8 * DAY).cancellations[0].state == state


def test_an_agents_deadline_raises_the_case_and_decides_nothing() -> None:
    snapshot = asked("agent")
    row = make.newest(snapshot)
    assert row.deadline_at is not None
    taken = reviews.assign(snapshot, row, to=None, context=make.context(NOW, AGENT)).after(snapshot)

    change = struck(taken, row.deadline_at)

    (raised,) = change.cancellations
    assert (raised.state, raised.raised, raised.assigned_to, raised.clock) == ("awaiting_agent", True, None, None)
    assert raised.deadline_at == row.deadline_at  # what was missed stays to be seen
    assert change.payment.amount_reserved == 300
    assert make.types(change) == ["cancellation.timed_out", "cancellation.escalated"]
    assert fire_deadline(change.after(taken), NOW + 365 * DAY) is None


def test_a_second_approval_that_does_not_come_begins_anew_with_the_agents() -> None:
    snapshot = asked("agent", amount=20_000)
    snapshot = reviews.approve(snapshot, make.newest(snapshot), note=None, terms=TERMS, context=make.context(NOW, AGENT)).after(snapshot)

    change = struck(snapshot, NOW + DAY)

    (row,) = change.cancellations
    assert (row.state, row.approvals, row.second_approval) == ("awaiting_agent", (), True)
    again = change.after(snapshot)
    approved = reviews.approve(again, row, note=None, terms=TERMS, context=make.context(NOW + DAY, SUPERVISOR))
    assert approved.cancellations[0].state == "awaiting_second_approval"


def test_each_clock_has_an_id_of_its_own_and_one_job() -> None:
    snapshot = asked("return")
    first = make.newest(snapshot)
    received = ReturnCondition.damaged
    context = make.context(NOW + DAY, MERCHANT)

    change = returns.receive(snapshot, first, condition=received, note=None, terms=TERMS, context=context)

    (row,) = change.cancellations
    assert row.clock is not None
    assert first.clock is not None
    assert row.clock.id != first.clock.id
    assert [(job.kind, job.subject_id, job.run_at) for job in change.jobs] == [("deadline", row.clock.id, row.deadline_at)]
