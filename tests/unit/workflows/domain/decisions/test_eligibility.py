"""Eligibility: what a request would come to, for one reason or the best of all, and what of the money would not go back."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from service.calendars import calendar
from service.shipped_policies import default_policy
from tests import factories as make
from tests.factories import BOTH, DAY, HOUR, NOW
from workflows.domain.decisions.eligibility import Outlook, ReasonOutcome, foresee, refundable_until
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import Category, Fulfilment, Reason, Refusal, Route, Source
from workflows.domain.errors import CancellationOpen, Invalid, InvalidState, PolicyRefused
from workflows.domain.model import Snapshot
from workflows.domain.policies.verdicts import Allowed, Denied

MICROSECOND = timedelta(microseconds=1)
SHIPPED_POLICY = PolicyContext(policy=default_policy(), calendar=calendar("CN"))


def outlook(snapshot: Snapshot, terms: PolicyContext = SHIPPED_POLICY, **members: object) -> Outlook:
    return foresee(snapshot, make.requested(**{"reason": None, **members}), terms, NOW)


def decided(one: Outlook) -> tuple[Route | Refusal, str | None]:
    assert one.assessment is not None
    verdict = one.assessment.verdict
    return (verdict.route if isinstance(verdict, Allowed) else verdict.refusal), verdict.rule


def arrived(**members: object) -> Snapshot:
    return make.completed(
        **{
            "authorised_at": NOW - 3 * DAY,
            "completed_at": NOW - 2 * DAY,
            "fulfilment": Fulfilment.delivered,
            "delivered_at": NOW - HOUR,
            **members,
        }
    )


def test_a_damaged_digital_article_is_told_what_its_request_would_be() -> None:
    digital = arrived(category=Category.digital)

    assert decided(outlook(digital, reason=Reason.damaged)) == (Route.merchant, "faulty-or-missing")
    assert decided(outlook(digital, reason=Reason.changed_mind)) == (Refusal.category_excluded, "seven-day-return")


def test_without_a_reason_the_best_of_all_is_told_and_where_they_differ() -> None:
    found = outlook(arrived(category=Category.digital))

    assert decided(found) == (Route.merchant, "faulty-or-missing")
    assert found.by_reason == (
        ReasonOutcome(reasons=(Reason.not_received, Reason.not_as_described, Reason.damaged), route=Route.merchant, refusal=None),
        ReasonOutcome(
            reasons=(Reason.duplicate, Reason.wrong_amount, Reason.unauthorised, Reason.technical), route=Route.agent, refusal=None
        ),
        ReasonOutcome(reasons=(Reason.changed_mind, Reason.merchant_request, Reason.other), route=None, refusal=Refusal.category_excluded),
    )


def test_where_all_reasons_lead_to_the_same_nothing_is_told_apart() -> None:
    assert outlook(make.pending(), make.TERMS).by_reason == ()
    assert outlook(arrived(), reason=Reason.damaged).by_reason == ()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_told_what_its_request_comes_to(reason: Reason) -> None:
    for snapshot in (arrived(), arrived(category=Category.digital), arrived(category=Category.transfer), make.pending(), make.completed()):
        told = outlook(snapshot, reason=reason)
        asked = make.request(snapshot, make.requested(reason=reason), terms=SHIPPED_POLICY)
        verdict = told.assessment.verdict if told.assessment else None

        [row] = asked.cancellations
        assert verdict is not None
        assert (row.rule, row.window, row.route) == (verdict.rule, verdict.window, verdict.route if isinstance(verdict, Allowed) else None)
        assert isinstance(asked.refusal, PolicyRefused) is isinstance(verdict, Denied)


def test_it_says_no_where_the_day_s_requests_are_used_up() -> None:
    rule = {"name": "five", "when": {}, "route": "automatic"}
    terms = replace(make.TERMS, policy=make.policy(rules=[rule], limits={"requests_per_day": 5}))
    used = replace(make.completed(), requests_last_day=5)

    assert decided(outlook(used, terms)) == (Refusal.limit_reached, "five")
    assert decided(outlook(replace(used, requests_last_day=4), terms)) == (Route.automatic, "five")


def test_a_payment_that_allows_no_request_says_so_once() -> None:
    open_one, over = make.asked(make.completed(merchant_id="merchant")), make.refunded(make.completed())

    assert isinstance(outlook(open_one).refused, CancellationOpen)
    assert isinstance(outlook(over).refused, InvalidState)
    assert outlook(over).assessment is None


def test_a_line_that_is_not_there_is_a_fault_of_the_request() -> None:
    with pytest.raises(Invalid):
        outlook(make.completed(items=make.LINES), items=make.pieces(nothing=1))


def test_lines_come_to_what_they_cost() -> None:
    found = outlook(make.completed(items=make.LINES), make.TERMS, items=make.pieces(a=1, b=2))

    assert found.assessment is not None
    assert (found.assessment.amount, found.allocation) == (233, ((Source.balance, 233),))


def test_what_is_forfeited_is_told_beside_what_goes_back() -> None:
    rule = {"name": "forfeiting", "when": {"state": "completed"}, "route": "automatic", "forfeit": ["coupon"]}
    terms = replace(make.TERMS, policy=make.policy(rules=[rule]))

    found = outlook(make.completed(funding=BOTH), terms, amount=150)

    assert (found.allocation, found.forfeited) == (((Source.balance, 100),), ((Source.coupon, 50),))


def test_a_void_releases_every_source_and_forfeits_none() -> None:
    rule = {"name": "void", "when": {}, "route": "void", "forfeit": ["coupon"]}
    terms = replace(make.TERMS, policy=make.policy(rules=[rule]))

    found = outlook(make.pending(funding=BOTH), terms)

    assert (found.is_void, found.allocation, found.forfeited) == (True, ((Source.coupon, 100), (Source.balance, 200)), ())


def test_of_refusals_the_one_that_leaves_most_hope_is_told() -> None:
    rules = [
        {"name": "over", "when": {"reason": ["other"]}, "window": {"anchor": "completed_at", "length": "1 minute"}, "route": "agent"},
        {
            "name": "ahead",
            "when": {"reason": ["damaged"]},
            "window": {"anchor": "shipped_at", "length": "1 day", "requires_anchor": True},
            "route": "agent",
        },
    ]
    terms = replace(make.TERMS, policy=make.policy(rules=rules))

    found = outlook(make.completed(), terms)

    assert decided(found) == (Refusal.window_not_open, "ahead")
    assert [one.refusal for one in found.by_reason] == [Refusal.window_not_open, Refusal.window_closed, Refusal.no_rule]


def test_a_second_person_is_told_where_one_would_be_needed() -> None:
    snapshot = make.completed(amount=20_000)

    assert outlook(snapshot, make.TERMS, actor=make.AGENT).second_approval
    assert not outlook(snapshot, make.TERMS).second_approval


def rules(*entries: dict[str, object]) -> PolicyContext:
    named = [{"name": f"r{position}", "route": "agent", **entry} for position, entry in enumerate(entries)]
    return replace(make.TERMS, policy=make.policy(rules=named))


def within(days: int, **when: object) -> dict[str, object]:
    return {"when": when, "window": {"anchor": "completed_at", "length": f"{days} days"}}


COMPLETED_AT = make.completed().payment.completed_at or NOW


@pytest.mark.parametrize(
    ("terms", "days"),
    [
        (rules(within(3), within(9), within(5)), 9),
        (rules(within(3), within(9, role="merchant"), within(9, channel="hotline")), 3),  # not the customer's own
        (rules(within(3), within(9, reason="unauthorised")), 9),  # any reason that he may name
        (rules(within(3), within(9, amount_up_to=10, currency="CNY")), 9),  # any part that he may name
        (rules(within(3), within(9, amount=[7])), 9),
        (rules(within(3), within(9, amount_above=300, currency="CNY")), 3),
        (rules(within(3), within(9, category="digital")), 3),
        (rules(within(3), {"when": {}}), 3),  # a rule without an end tells no date
        (rules({"when": {}}), None),
        (rules({"when": {}, "window": {"anchor": "delivered_at", "length": "7 days"}}), None),
        (rules({"when": {}, "window": {"anchor": "delivered_at", "length": "7 days", "requires_anchor": True}}, within(2)), 2),
        (rules({"when": {}, "window": {"anchor": "completed_at", "length": "1 minute"}}), None),
        (rules(), None),
    ],
)
def test_refundable_until_is_the_latest_end_of_a_window_of_the_customers(terms: PolicyContext, days: int | None) -> None:
    expected = None if days is None else COMPLETED_AT + days * DAY

    assert refundable_until(make.completed(), terms, NOW) == expected


def test_after_it_every_reason_is_refused_and_until_then_one_is_not() -> None:
    for snapshot in (arrived(), arrived(category=Category.digital), arrived(category=Category.transfer), make.completed(), make.pending()):
        until = refundable_until(snapshot, SHIPPED_POLICY, NOW)
        assert until is not None
        before, after = (foresee(snapshot, make.requested(reason=None), SHIPPED_POLICY, at) for at in (until - MICROSECOND, until))

        assert before.assessment is not None
        assert after.assessment is not None
        assert isinstance(before.assessment.verdict, Allowed)
        assert isinstance(after.assessment.verdict, Denied)


def test_nothing_left_has_no_end_and_an_open_cancellation_does_not_move_it() -> None:
    settled = make.with_payment(make.completed(merchant_id="brief"), completed_at=NOW - make.MINUTE)
    until = refundable_until(settled, make.TERMS, NOW)

    assert until == NOW + 29 * make.MINUTE
    assert refundable_until(make.refunded(settled), make.TERMS, NOW) is None
    assert refundable_until(make.asked(settled, make.requested(amount=100)), make.TERMS, NOW) == until
    assert refundable_until(make.asked(settled), make.TERMS, NOW) is None
    assert refundable_until(make.with_payment(settled, disputes_open=1), make.TERMS, NOW) == until


def test_a_spent_limit_of_parts_leaves_nothing_to_ask_for() -> None:
    terms = replace(make.TERMS, policy=make.policy(rules=[{"name": "r", "route": "agent", **within(9)}], limits={"partial_refunds_max": 1}))
    snapshot = make.with_payment(make.completed(), amount_refunded=100, partial_refunds=1)

    assert refundable_until(snapshot, terms, NOW) is None
    assert refundable_until(make.with_payment(snapshot, partial_refunds=0), terms, NOW) is not None
