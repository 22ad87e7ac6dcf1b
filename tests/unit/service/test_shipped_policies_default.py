"""The policy that ships: every rule at the very edges of its window, and what is said where none is open."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

import service
from service.calendars import calendar, calendar_exists
from workflows.domain.enums import (
    Allocation,
    Anchor,
    Category,
    Channel,
    Fulfilment,
    OnDeadline,
    PaymentState,
    Reason,
    Refusal,
    Role,
    Route,
    Source,
)
from workflows.domain.errors import Window
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.form import parse_policy
from workflows.domain.policies.verdicts import Allowed, Denied, Verdict, decide_route, needs_second_approval
from workflows.domain.windows import Length, Unit

POLICY = parse_policy(
    yaml.safe_load((Path(service.__file__).parent / "policies" / "default.yaml").read_text(encoding="utf-8")),
    calendar_exists=calendar_exists,
)
CN = calendar("CN")
MICROSECOND = timedelta(microseconds=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


AUTHORISED = at("2026-11-02T09:58:00+08:00")
COMPLETED = at("2026-11-02T10:00:00+08:00")
DELIVERED = at("2026-11-05T17:00:00+08:00")

PAID = PolicyFacts(
    state=PaymentState.completed,
    fulfilment=Fulfilment.none,
    category=Category.general,
    merchant_id="m-1",
    currency="CNY",
    amount=10_000,
    role=Role.wallet,
    channel=Channel.app,
    reason=Reason.changed_mind,
    sources=(Source.balance,),
    anchors={Anchor.authorised_at: AUTHORISED, Anchor.completed_at: COMPLETED, Anchor.delivered_at: None},
    partial=False,
)
PENDING = replace(PAID, state=PaymentState.pending, anchors={Anchor.authorised_at: AUTHORISED})
SHIPPED = replace(PAID, fulfilment=Fulfilment.shipped)
ARRIVED = replace(PAID, fulfilment=Fulfilment.delivered, anchors={Anchor.completed_at: COMPLETED, Anchor.delivered_at: DELIVERED})


def decide(facts: PolicyFacts, now: datetime) -> Verdict:
    return decide_route(POLICY, facts, now, CN)


def test_it_is_the_published_one_and_comes_back_equal() -> None:
    assert POLICY.version == "2026-11-a"
    assert POLICY.effective_from == at("2026-11-01T00:00Z")
    assert POLICY.zone.key == "Asia/Shanghai"
    assert POLICY.calendar.name == "CN"
    assert [rule.name for rule in POLICY.rules] == [
        "merchant-refund",
        "not-yet-settled",
        "not-my-payment",
        "second-thoughts",
        "billing-error",
        "sent-to-somebody",
        "ask-the-merchant",
        "faulty-or-missing",
        "seven-day-return",
        "agent-exception",
    ]
    assert parse_policy(policy_data(POLICY)) == POLICY


EDGES: list[tuple[str, Route, PolicyFacts, Anchor, datetime, str, str | None]] = [
    # rule, route, facts, anchor, opens_at, closes_at, the rule that takes over
    ("not-yet-settled", Route.void, PENDING, Anchor.authorised_at, AUTHORISED, "2026-11-09T09:58+08:00", None),
    ("second-thoughts", Route.automatic, PAID, Anchor.completed_at, COMPLETED, "2026-11-02T10:30+08:00", "ask-the-merchant"),
    ("ask-the-merchant", Route.merchant, PAID, Anchor.completed_at, COMPLETED, "2026-11-17T10:00+08:00", None),
    (
        "not-my-payment",
        Route.agent,
        replace(ARRIVED, reason=Reason.unauthorised, category=Category.digital),
        Anchor.completed_at,
        COMPLETED,
        "2027-12-02T10:00+08:00",
        None,
    ),
    (
        "faulty-or-missing",
        Route.merchant,
        replace(ARRIVED, reason=Reason.damaged, category=Category.digital),
        Anchor.completed_at,
        COMPLETED,
        "2027-01-01T10:00+08:00",
        None,
    ),
    ("seven-day-return", Route.return_, ARRIVED, Anchor.delivered_at, DELIVERED, "2026-11-13T00:00+08:00", None),
    (
        "billing-error",
        Route.agent,
        replace(ARRIVED, reason=Reason.duplicate),
        Anchor.completed_at,
        COMPLETED,
        "2027-05-01T10:00+08:00",
        None,
    ),
    (
        "sent-to-somebody",
        Route.merchant,
        replace(PAID, category=Category.transfer),
        Anchor.completed_at,
        COMPLETED,
        "2027-11-02T10:00+08:00",
        None,
    ),
    (
        "agent-exception",
        Route.agent,
        replace(ARRIVED, role=Role.agent, category=Category.digital),
        Anchor.completed_at,
        COMPLETED,
        "2027-11-02T10:00+08:00",
        None,
    ),
]


@pytest.mark.parametrize(("rule", "route", "facts", "anchor", "opens", "closes", "next_rule"), EDGES, ids=[edge[0] for edge in EDGES])
def test_each_rule_to_the_last_microsecond_of_its_window(
    *, rule: str, route: Route, facts: PolicyFacts, anchor: Anchor, opens: datetime, closes: str, next_rule: str | None
) -> None:
    last = decide(facts, at(closes) - MICROSECOND)
    closed = decide(facts, at(closes))
    after = decide(facts, at(closes) + MICROSECOND)

    assert isinstance(last, Allowed)
    assert (last.rule, last.route, last.policy_version) == (rule, route, "2026-11-a")
    assert last.window == Window(anchor, opens, at(closes))
    assert closed == after
    if next_rule is None:
        assert isinstance(closed, Denied)
        assert (closed.refusal, closed.rule, closed.window) == (Refusal.window_closed, rule, last.window)
        assert closed.next_steps == ("contact_merchant", "contact_support")
    else:
        assert isinstance(closed, Allowed)
        assert closed.rule == next_rule


@pytest.mark.parametrize(
    ("rule", "facts", "opens"),
    [
        ("not-yet-settled", PENDING, AUTHORISED),
        ("second-thoughts", PAID, COMPLETED),
        ("agent-exception", replace(ARRIVED, role=Role.supervisor, category=Category.digital), COMPLETED),
        ("seven-day-return", ARRIVED, DELIVERED),
    ],
)
def test_each_rule_opens_with_its_anchor(rule: str, facts: PolicyFacts, opens: datetime) -> None:
    before, first = decide(facts, opens - MICROSECOND), decide(facts, opens)

    assert isinstance(before, Denied)
    assert before.refusal is Refusal.window_not_open
    assert before.window is not None
    assert before.window.opens_at == opens
    assert isinstance(first, Allowed)
    assert first.rule == rule


def test_a_merchant_may_refund_his_own_payment_for_ever() -> None:
    verdict = decide(replace(ARRIVED, role=Role.merchant, channel=Channel.merchant), at("2040-01-01T00:00Z"))

    assert isinstance(verdict, Allowed)
    assert (verdict.rule, verdict.route, verdict.window) == ("merchant-refund", Route.automatic, None)


# What people mean, and who decides: written down by hand, not read from the rules.
MEANT: list[tuple[str, PolicyFacts, timedelta, str, Route]] = [
    ("charged twice, and the goods have come", replace(ARRIVED, reason=Reason.duplicate), timedelta(days=4), "billing-error", Route.agent),
    (
        "charged twice, the shop knows of nothing yet",
        replace(PAID, reason=Reason.duplicate),
        timedelta(days=2),
        "billing-error",
        Route.agent,
    ),
    ("charged twice, seen at once", replace(PAID, reason=Reason.duplicate), timedelta(minutes=5), "second-thoughts", Route.automatic),
    ("too much was taken", replace(ARRIVED, reason=Reason.wrong_amount), timedelta(days=100), "billing-error", Route.agent),
    ("paid twice by a fault of the app", replace(PAID, reason=Reason.technical), timedelta(days=100), "billing-error", Route.agent),
    (
        "said to be delivered, never was",
        replace(ARRIVED, reason=Reason.not_received),
        timedelta(days=4),
        "faulty-or-missing",
        Route.merchant,
    ),
    ("broken", replace(ARRIVED, reason=Reason.damaged), timedelta(days=4), "faulty-or-missing", Route.merchant),
    ("lost on its way", replace(SHIPPED, reason=Reason.not_received), timedelta(days=30), "faulty-or-missing", Route.merchant),
    ("sent to a friend, at once", replace(PAID, category=Category.transfer), timedelta(minutes=5), "sent-to-somebody", Route.merchant),
    ("sent to a friend", replace(PAID, category=Category.transfer), timedelta(days=200), "sent-to-somebody", Route.merchant),
    (
        "sent to the wrong person",
        replace(PAID, category=Category.transfer, reason=Reason.wrong_amount),
        timedelta(minutes=5),
        "billing-error",
        Route.agent,
    ),
    (
        "sent by a thief",
        replace(PAID, category=Category.transfer, reason=Reason.unauthorised),
        timedelta(minutes=5),
        "not-my-payment",
        Route.agent,
    ),
]


@pytest.mark.parametrize(("facts", "later", "rule", "route"), [case[1:] for case in MEANT], ids=[case[0] for case in MEANT])
def test_who_decides_is_whom_the_reason_asks_for(facts: PolicyFacts, later: timedelta, rule: str, route: Route) -> None:
    verdict = decide(facts, COMPLETED + later)

    assert isinstance(verdict, Allowed)
    assert (verdict.rule, verdict.route) == (rule, route)


def test_the_payee_of_a_transfer_has_three_days() -> None:
    verdict = decide(replace(PAID, category=Category.transfer), COMPLETED)

    assert isinstance(verdict, Allowed)
    assert (verdict.deadlines.merchant.length, verdict.deadlines.merchant.then) == (Length(72, Unit.hours), OnDeadline.agent)


def test_what_never_came_is_never_to_be_sent_back() -> None:
    facts = replace(ARRIVED, reason=Reason.not_received)

    verdict = decide(facts, COMPLETED + timedelta(days=60))

    assert isinstance(verdict, Denied)
    assert (verdict.refusal, verdict.rule) == (Refusal.window_closed, "faulty-or-missing")


def test_a_parcel_on_its_way_cannot_go_back_before_it_has_come() -> None:
    verdict = decide(SHIPPED, COMPLETED + timedelta(days=3))

    assert isinstance(verdict, Denied)
    assert (verdict.refusal, verdict.rule) == (Refusal.window_not_open, "seven-day-return")
    assert verdict.window == Window(Anchor.delivered_at, None, None)


@pytest.mark.parametrize("category", [Category.digital, Category.perishable, Category.custom_made])
def test_an_excluded_category_is_told_as_such_while_the_window_is_open(category: Category) -> None:
    facts = replace(ARRIVED, category=category)

    inside, outside = decide(facts, DELIVERED), decide(facts, at("2026-11-13T00:00+08:00"))

    assert isinstance(inside, Denied)
    assert (inside.refusal, inside.rule) == (Refusal.category_excluded, "seven-day-return")
    assert inside.window == Window(Anchor.delivered_at, DELIVERED, at("2026-11-13T00:00+08:00"))
    assert isinstance(outside, Denied)  # the one rule that is open is for transfers only
    assert (outside.refusal, outside.rule) == (Refusal.category_excluded, "sent-to-somebody")


def test_goods_that_came_back_have_no_rule_but_an_agents() -> None:
    returned = replace(ARRIVED, fulfilment=Fulfilment.returned)

    assert isinstance(refused := decide(returned, DELIVERED), Denied)
    assert (refused.refusal, refused.rule) == (Refusal.category_excluded, "sent-to-somebody")
    assert isinstance(allowed := decide(replace(returned, role=Role.agent), DELIVERED), Allowed)
    assert allowed.rule == "agent-exception"


def test_eligibility_without_a_reason_never_meets_a_rule_that_asks_for_one() -> None:
    nameless = replace(ARRIVED, reason=None)

    assert isinstance(verdict := decide(nameless, DELIVERED), Allowed)
    assert verdict.rule == "seven-day-return"
    assert isinstance(verdict := decide(replace(nameless, category=Category.digital), DELIVERED), Denied)
    assert verdict.refusal is Refusal.category_excluded


def test_the_clocks_that_a_rule_grants() -> None:
    verdict = decide(PAID, COMPLETED + timedelta(days=1))

    assert isinstance(verdict, Allowed)
    clocks = verdict.deadlines
    assert (clocks.merchant.length, clocks.merchant.then) == (Length(48, Unit.hours), OnDeadline.agent)
    assert (clocks.return_.length, clocks.return_.then) == (Length(15, Unit.days), OnDeadline.decline)
    assert (clocks.inspection.length, clocks.inspection.then) == (Length(7, Unit.days), OnDeadline.accept)
    assert (clocks.offer.length, clocks.offer.then) == (Length(72, Unit.hours), OnDeadline.agent)
    assert clocks.second_approval == Length(24, Unit.hours)
    assert clocks.agent == Length(5, Unit.business_days)
    assert verdict.effective_terms.allocation is Allocation.pro_rata
    assert verdict.effective_terms.forfeit == frozenset()


@pytest.mark.parametrize(("granted", "allowed"), [(0, True), (49, True), (50, False), (51, False)])
@pytest.mark.parametrize("role", [Role.wallet, Role.agent, Role.merchant])
def test_the_fifty_first_partial_refund_is_refused_to_everybody(granted: int, allowed: bool, role: Role) -> None:
    facts = replace(PAID, partial=True, partial_refunds=granted, role=role)

    verdict = decide(facts, COMPLETED)

    assert isinstance(verdict, Allowed) is allowed
    if isinstance(verdict, Denied):
        assert verdict.refusal is Refusal.limit_reached
        assert verdict.rule is not None


@pytest.mark.parametrize(
    ("currency", "amount", "needed"),
    [
        ("CNY", 500_000, False),
        ("CNY", 500_001, True),
        ("GBP", 60_000, False),
        ("GBP", 60_001, True),
        ("EUR", 70_000, False),
        ("EUR", 70_001, True),
        ("USD", 70_000, False),
        ("USD", 70_001, True),
        ("JPY", 1, True),  # not in the table
    ],
)
@pytest.mark.parametrize(
    "facts",
    [PAID, PENDING, replace(PAID, reason=Reason.unauthorised), ARRIVED, replace(ARRIVED, category=Category.digital)],
    ids=["automatic", "void", "agent", "return", "exception"],
)
def test_above_the_table_no_person_of_ours_decides_alone(currency: str, amount: int, needed: bool, facts: PolicyFacts) -> None:
    for role in Role:
        verdict = decide(
            replace(facts, role=role, currency=currency, amount=amount), DELIVERED if facts.anchors.get(Anchor.delivered_at) else COMPLETED
        )
        alone = role in (Role.agent, Role.supervisor) or (not isinstance(verdict, Denied) and verdict.route is Route.agent)
        agent_decides = not isinstance(verdict, Denied) and verdict.route is Route.agent
        expected: Any = needed and alone

        assert needs_second_approval(POLICY.effective_terms(verdict.rule), role, amount, currency, agent_decides=agent_decides) is expected


@pytest.mark.parametrize("state", [PaymentState.refunded, PaymentState.cancelled, PaymentState.failed])
def test_a_payment_that_is_over_has_no_rule(state: PaymentState) -> None:
    verdict = decide(replace(PAID, state=state), COMPLETED)

    assert isinstance(verdict, Denied)
    assert verdict.refusal is Refusal.no_rule
