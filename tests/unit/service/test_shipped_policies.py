"""The policies that ship for other markets: each window at both sides of its end, with the article that it stands for."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

import service
from service.calendars import calendar, calendar_exists
from service.shipped_policies import SHIPPED, default_policy, shipped_policy
from workflows.domain.enums import Anchor, Category, Channel, Fulfilment, PaymentState, Reason, Refusal, Role, Route, Source
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.form import parse_policy
from workflows.domain.policies.policy import Policy
from workflows.domain.policies.verdicts import Allowed, Denied, Verdict, decide_route
from workflows.domain.windows import Length, Unit

MARKETS = tuple(name for name in SHIPPED if name != "default")
POLICIES = {name: shipped_policy(name) for name in SHIPPED}
MICROSECOND = timedelta(microseconds=1)
PENDING, COMPLETED = PaymentState.pending, PaymentState.completed
NONE, SHIPPED_, DELIVERED = Fulfilment.none, Fulfilment.shipped, Fulfilment.delivered


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A rule that decides until `closes`, and what comes then: another rule, or None: no longer."""

    policy: str
    law: str  # the article, or the practice
    rule: str
    route: Route
    paid: str
    closes: str
    then: str | None
    delivered: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


CN: dict[str, Any] = {"policy": "cn-wallet", "paid": "2026-11-02T21:30+08:00"}
CN_HOME: dict[str, Any] = {**CN, "delivered": "2026-11-05T17:00+08:00"}
EU: dict[str, Any] = {"policy": "eu-card", "paid": "2026-11-02T21:30+01:00"}
EU_HOME: dict[str, Any] = {**EU, "delivered": "2026-11-05T17:00+01:00"}
US: dict[str, Any] = {"policy": "us-wallet", "paid": "2026-11-02T21:30-05:00"}
US_HOME: dict[str, Any] = {**US, "delivered": "2026-11-05T17:00-05:00"}
AGENT: dict[str, Any] = {"role": Role.agent, "channel": Channel.hotline}

EDGES = [
    Edge(
        **CN,
        law="Antom: cancel until 00:15 of the next day, Beijing time",
        rule="same-day-void",
        route=Route.void,
        facts={"state": PENDING},
        closes="2026-11-03T00:15+08:00",
        then="still-pending",
    ),
    Edge(
        **CN,
        law="WeChat Pay: an unpaid order closes after seven days",
        rule="still-pending",
        route=Route.agent,
        facts={"state": PENDING},
        closes="2026-11-09T21:30+08:00",
        then=None,
    ),
    Edge(
        **CN,
        law="Antom: cancel until 00:15, a paid order too",
        rule="same-day-cancel",
        route=Route.automatic,
        closes="2026-11-03T00:15+08:00",
        then="ask-the-merchant",
    ),
    Edge(
        **CN,
        law="WeChat Pay: 365 days",
        rule="ask-the-merchant",
        route=Route.merchant,
        closes="2027-11-02T21:30+08:00",
        then=None,
    ),
    Edge(
        **CN,
        law="WeChat Pay: 365 days, for the merchant too",
        rule="merchant-refund",
        route=Route.automatic,
        facts={"role": Role.merchant, "channel": Channel.merchant, "fulfilment": Fulfilment.returned},
        closes="2027-11-02T21:30+08:00",
        then=None,
    ),
    Edge(
        **CN,
        law="WeChat Pay: 365 days, for agents too",
        rule="agent-exception",
        route=Route.agent,
        facts={**AGENT, "fulfilment": Fulfilment.returned},
        closes="2027-11-02T21:30+08:00",
        then=None,
    ),
    Edge(
        **CN,
        law="E-Commerce Law art. 55, Civil Code art. 188: three years",
        rule="billing-error",
        route=Route.agent,
        facts={"reason": Reason.duplicate, "fulfilment": DELIVERED, "category": Category.digital},
        closes="2029-11-03T00:00+08:00",
        then=None,
    ),
    Edge(
        **CN,
        law="practice: the payee is asked, for 365 days",
        rule="sent-to-somebody",
        route=Route.merchant,
        facts={"category": Category.transfer},
        closes="2027-11-02T21:30+08:00",
        then=None,
    ),
    Edge(
        **CN_HOME,
        law="Consumer Protection Law art. 25, Return Measures art. 10: seven days from the day after",
        rule="seven-day-return",
        route=Route.return_,
        facts={"fulfilment": DELIVERED},
        closes="2026-11-13T00:00+08:00",
        then="last-day-was-a-holiday",
    ),
    Edge(
        **CN_HOME,
        law="Civil Code art. 203: a last day that is a holiday",
        rule="last-day-was-a-holiday",
        route=Route.agent,
        facts={"fulfilment": DELIVERED},
        closes="2026-11-22T00:00+08:00",
        then=None,
    ),
    Edge(
        **CN_HOME,
        law="Consumer Protection Law art. 24: seven days, whatever it is",
        rule="defective",
        route=Route.return_,
        facts={"fulfilment": DELIVERED, "category": Category.custom_made, "reason": Reason.damaged},
        closes="2026-11-13T00:00+08:00",
        then="faulty-or-missing",
    ),
    Edge(
        **CN_HOME,
        law="Consumer Protection Law art. 24, later; WeChat Pay: 365 days",
        rule="faulty-or-missing",
        route=Route.merchant,
        facts={"fulfilment": DELIVERED, "reason": Reason.not_received},
        closes="2027-11-02T21:30+08:00",
        then=None,
    ),
    Edge(
        **EU,
        law="practice: an authorisation lapses after seven days",
        rule="not-yet-settled",
        route=Route.void,
        facts={"state": PENDING},
        closes="2026-11-09T21:30+01:00",
        then=None,
    ),
    Edge(
        **EU,
        law="PSD2 art. 71(1): thirteen months, unauthorised",
        rule="not-my-payment",
        route=Route.agent,
        facts={"reason": Reason.unauthorised, "fulfilment": DELIVERED, "category": Category.digital},
        closes="2027-12-03T00:00+01:00",
        then=None,
    ),
    Edge(
        **EU,
        law="PSD2 art. 77(1): eight weeks",
        rule="amount-not-expected",
        route=Route.agent,
        facts={"reason": Reason.wrong_amount},
        closes="2026-12-29T00:00+01:00",
        then="incorrectly-executed",
    ),
    Edge(
        **EU,
        law="PSD2 art. 71(1): thirteen months, incorrectly executed",
        rule="incorrectly-executed",
        route=Route.agent,
        facts={"reason": Reason.technical, "fulfilment": DELIVERED, "category": Category.digital},
        closes="2027-12-03T00:00+01:00",
        then=None,
    ),
    Edge(
        **EU,
        law="PSD2 art. 80; practice: thirteen months",
        rule="sent-to-somebody",
        route=Route.merchant,
        facts={"category": Category.transfer, "fulfilment": DELIVERED},
        closes="2027-12-02T21:30+01:00",
        then=None,
    ),
    Edge(
        **EU,
        law="Directive 2011/83 art. 9(2)(a): 14 days from the contract, and 16(a) while it was not performed",
        rule="withdrawal-service-or-digital",
        route=Route.automatic,
        facts={"category": Category.service},
        closes="2026-11-17T00:00+01:00",
        then="ask-the-merchant",
    ),
    Edge(
        **EU,
        law="Directive 2011/83 art. 16(c): custom made; practice: 120 days to ask",
        rule="ask-the-merchant",
        route=Route.merchant,
        facts={"category": Category.custom_made},
        closes="2027-03-02T21:30+01:00",
        then=None,
    ),
    Edge(
        **EU,
        law="Directive 2011/83 art. 18; schemes: 120 days",
        rule="not-received",
        route=Route.merchant,
        facts={"fulfilment": SHIPPED_, "reason": Reason.not_received},
        closes="2027-03-02T21:30+01:00",
        then=None,
    ),
    Edge(
        **EU_HOME,
        law="Directive 2011/83 art. 9(2)(b): 14 days from the day after the goods came",
        rule="withdrawal",
        route=Route.return_,
        facts={"fulfilment": DELIVERED},
        closes="2026-11-20T00:00+01:00",
        then="last-day-was-a-holiday",
    ),
    Edge(
        **EU_HOME,
        law="Regulation 1182/71 art. 3(4): a last day that is a holiday",
        rule="last-day-was-a-holiday",
        route=Route.agent,
        facts={"fulfilment": DELIVERED},
        closes="2026-11-24T00:00+01:00",
        then=None,
    ),
    Edge(
        **EU_HOME,
        law="Directive 2019/771 art. 10(1): two years",
        rule="not-in-conformity",
        route=Route.merchant,
        facts={"fulfilment": DELIVERED, "reason": Reason.not_as_described, "category": Category.custom_made},
        closes="2028-11-06T00:00+01:00",
        then=None,
    ),
    Edge(
        **EU_HOME,
        law="schemes: 120 days, for a service that was not as agreed",
        rule="not-as-agreed",
        route=Route.merchant,
        facts={"fulfilment": DELIVERED, "reason": Reason.not_as_described, "category": Category.service},
        closes="2027-03-02T21:30+01:00",
        then=None,
    ),
    Edge(
        **EU,
        law="practice: thirteen months",
        rule="agent-exception",
        route=Route.agent,
        facts={**AGENT, "fulfilment": Fulfilment.returned},
        closes="2027-12-02T21:30+01:00",
        then=None,
    ),
    Edge(
        **US,
        law="practice: an authorisation lapses after seven days",
        rule="not-yet-settled",
        route=Route.void,
        facts={"state": PENDING},
        closes="2026-11-09T21:30-05:00",
        then=None,
    ),
    Edge(
        **US,
        law="12 CFR 1005.34(a): 30 minutes",
        rule="remittance-cancelled",
        route=Route.automatic,
        facts={"category": Category.transfer},
        closes="2026-11-02T22:00-05:00",
        then="sent-to-somebody",
    ),
    Edge(
        **US_HOME,
        law="12 CFR 1005.33(b)(1)(i): 180 days",
        rule="remittance-error",
        route=Route.agent,
        facts={"category": Category.transfer, "fulfilment": DELIVERED, "reason": Reason.wrong_amount},
        closes="2027-05-05T00:00-04:00",
        then=None,
    ),
    Edge(
        **US,
        law="12 CFR 1005.18(e)(1)(ii) and (2)(ii): 120 days",
        rule="error-on-balance",
        route=Route.agent,
        facts={"reason": Reason.unauthorised, "fulfilment": DELIVERED, "category": Category.digital},
        closes="2027-03-03T00:00-05:00",
        then=None,
    ),
    Edge(
        **US,
        law="practice: 180 days",
        rule="sent-to-somebody",
        route=Route.merchant,
        facts={"category": Category.transfer, "fulfilment": DELIVERED},
        closes="2027-05-01T21:30-04:00",
        then=None,
    ),
    Edge(
        **US,
        law="practice until the goods should have been sent: 30 days",
        rule="ask-the-merchant",
        route=Route.merchant,
        closes="2026-12-02T21:30-05:00",
        then="not-shipped-in-time",
    ),
    Edge(
        **US,
        law="schemes: 120 days",
        rule="faulty-or-missing",
        route=Route.merchant,
        facts={"fulfilment": SHIPPED_, "reason": Reason.damaged, "category": Category.custom_made},
        closes="2027-03-02T21:30-05:00",
        then=None,
    ),
    Edge(
        **US_HOME,
        law="practice: merchants' own terms, 30 days",
        rule="merchants-return-terms",
        route=Route.merchant,
        facts={"fulfilment": DELIVERED},
        closes="2026-12-06T00:00-05:00",
        then=None,
    ),
    Edge(
        **US,
        law="PayPal: 180 days",
        rule="agent-exception",
        route=Route.agent,
        facts={**AGENT, "fulfilment": Fulfilment.returned},
        closes="2027-05-01T21:30-04:00",
        then=None,
    ),
]
# Open for ever, or as long as nothing happens.
OPEN: dict[str, dict[str, dict[str, Any]]] = {
    "cn-wallet": {"not-my-payment": {"reason": Reason.unauthorised}},
    "eu-card": {
        "merchant-refund": {"role": Role.merchant, "channel": Channel.merchant},
        "withdrawal-before-sending": {},
        "withdrawal": {"fulfilment": SHIPPED_},
    },
    "us-wallet": {
        "merchant-refund": {"role": Role.merchant, "channel": Channel.merchant},
        "not-shipped-in-time": {"category": Category.general},
        "remittance-error": {"category": Category.transfer, "reason": Reason.not_received, "fulfilment": SHIPPED_},
    },
}


def facts_of(paid: datetime, delivered: datetime | None = None, **more: Any) -> PolicyFacts:
    settled = more.get("state", COMPLETED) is COMPLETED
    usual = PolicyFacts(
        state=COMPLETED,
        fulfilment=NONE,
        category=Category.general,
        merchant_id="m-1",
        currency="CNY",
        amount=10_000,
        role=Role.wallet,
        channel=Channel.app,
        reason=Reason.changed_mind,
        sources=(Source.balance,),
        anchors={Anchor.authorised_at: paid, Anchor.completed_at: paid if settled else None, Anchor.delivered_at: delivered},
        partial=False,
    )
    return replace(usual, **more)


def decide(policy: Policy, facts: PolicyFacts, now: datetime) -> Verdict:
    return decide_route(policy, facts, now, calendar(policy.calendar.name))


@pytest.mark.parametrize("edge", EDGES, ids=[f"{edge.policy}: {edge.rule}: {edge.law}" for edge in EDGES])
def test_a_window_is_open_to_its_last_microsecond_and_then_it_is_not(edge: Edge) -> None:
    policy, closes = POLICIES[edge.policy], at(edge.closes)
    facts = facts_of(at(edge.paid), None if edge.delivered is None else at(edge.delivered), **edge.facts)

    last, after = decide(policy, facts, closes - MICROSECOND), decide(policy, facts, closes)

    assert isinstance(last, Allowed)
    assert (last.rule, last.route, last.policy_version) == (edge.rule, edge.route, policy.version)
    assert last.window is not None
    assert last.window.closes_at == closes
    if edge.then is None:
        assert isinstance(after, Denied)
        assert after.next_steps == ("contact_merchant", "contact_support")
    else:
        assert isinstance(after, Allowed)
        assert after.rule == edge.then


@pytest.mark.parametrize(("name", "rule"), [(name, rule) for name, rules in OPEN.items() for rule in rules])
def test_what_the_law_gives_no_end_has_none(name: str, rule: str) -> None:
    paid = at("2026-11-02T21:30+00:00")

    verdict = decide(POLICIES[name], facts_of(paid, **OPEN[name][rule]), paid + timedelta(days=3_000))

    assert isinstance(verdict, Allowed)
    assert verdict.rule == rule


@pytest.mark.parametrize("name", MARKETS)
def test_every_rule_decides_something(name: str) -> None:
    decided = {edge.rule for edge in EDGES if edge.policy == name} | set(OPEN[name])
    linked = {"error-on-linked-account"} if name == "us-wallet" else set()  # two tests below

    assert decided | linked == {rule.name for rule in POLICIES[name].rules}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_can_be_published_and_comes_back_equal(name: str) -> None:
    policy = POLICIES[name]

    again = parse_policy(policy_data(policy), calendar_exists=calendar_exists, new=True)

    assert again == policy
    assert calendar_exists(policy.calendar.name)
    assert policy.effective_from == at("2026-11-01T00:00Z")
    assert name == "default" or policy.version == f"{name}-2026-11"


def test_the_files_beside_the_code_are_the_shipped_ones() -> None:
    folder = Path(service.__file__).parent / "policies"

    assert sorted(path.stem for path in folder.iterdir() if path.suffix == ".yaml") == sorted(SHIPPED)
    assert default_policy() == POLICIES["default"]
    with pytest.raises(KeyError):
        shipped_policy("../settings")


@pytest.mark.parametrize("name", MARKETS)
def test_every_currency_that_a_policy_names_has_its_threshold(name: str) -> None:
    policy = POLICIES[name]
    named = {str(value) for rule in policy.rules for one in rule.when.conditions if one.subject == "currency" for value in one.values}
    named |= {currency for rule in policy.rules for currency in rule.second_approval_above or {}}

    own = {"cn-wallet": "CNY", "eu-card": "EUR", "us-wallet": "USD"}[name]
    assert named | {own} <= set(policy.second_approval_above)


@pytest.mark.parametrize("name", MARKETS)
def test_every_rule_names_its_source(name: str) -> None:
    text = (Path(service.__file__).parent / "policies" / f"{name}.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()

    for position, line in enumerate(lines):
        if line.startswith("  - name:") and position > lines.index("rules:") and "response_tiers:" not in lines[:position]:
            assert lines[position - 1].startswith("  # "), line
    assert "Not covered" in text
    assert yaml.safe_load(text)["version"] == f"{name}-2026-11"


@pytest.mark.parametrize(("days", "rule"), [(31, "error-on-linked-account"), (91, "error-on-linked-account"), (92, None)])
@pytest.mark.parametrize("source", [Source.card, Source.bank])
def test_a_bank_account_has_sixty_days_after_the_statement(source: Source, days: int, rule: str | None) -> None:
    """12 CFR 1005.11(b)(1)(i): where the statement is sent at the end of a month of 31 days, its 60th day is open, its 61st is not."""
    paid = at("2026-12-01T09:00-05:00")
    facts = facts_of(paid, reason=Reason.unauthorised, sources=(source,), fulfilment=DELIVERED, category=Category.digital)

    verdict = decide(POLICIES["us-wallet"], facts, at("2026-12-01T23:59:59-05:00") + timedelta(days=days))

    assert (verdict.rule if isinstance(verdict, Allowed) else None) == rule


def test_a_balance_that_paid_a_part_gives_the_longer_time() -> None:
    paid = at("2026-12-01T09:00-05:00")
    facts = facts_of(paid, reason=Reason.duplicate, sources=(Source.card, Source.balance), fulfilment=DELIVERED)

    assert decide(POLICIES["us-wallet"], facts, paid + timedelta(days=110)).rule == "error-on-balance"


@pytest.mark.parametrize(
    ("now", "rule"),
    [
        ("2026-11-02T23:59:59+08:00", "same-day-void"),
        ("2026-11-03T00:14:59+08:00", "same-day-void"),
        ("2026-11-03T00:15:00+08:00", "still-pending"),
    ],
)
def test_the_day_of_a_void_is_beijings(now: str, rule: str) -> None:
    paid = at("2026-11-01T16:00:00+00:00")  # the first moment of the day in Beijing, still the day before in UTC

    assert decide(POLICIES["cn-wallet"], facts_of(paid, state=PENDING), at(now)).rule == rule


@pytest.mark.parametrize("category", [Category.digital, Category.perishable, Category.custom_made, Category.service, Category.travel])
@pytest.mark.parametrize("name", ["cn-wallet", "eu-card"])
def test_the_exceptions_from_the_right_to_send_back(name: str, category: Category) -> None:
    """Consumer Protection Law art. 25; Directive 2011/83 art. 16."""
    paid = at("2026-11-02T12:00Z")
    facts = facts_of(paid, paid, fulfilment=DELIVERED, category=category)

    verdict = decide(POLICIES[name], facts, paid + timedelta(days=1))

    assert isinstance(verdict, Denied)
    assert (verdict.refusal, verdict.rule) == (Refusal.category_excluded, "seven-day-return" if name == "cn-wallet" else "withdrawal")


def test_partial_refunds_of_wechat_pay() -> None:
    policy, paid = POLICIES["cn-wallet"], at("2026-11-02T12:00Z")
    part = facts_of(paid, partial=True, partial_refunds=49, last_partial_at=paid)

    assert policy.limits.partial_interval == Length(1, Unit.minutes)
    assert isinstance(decide(policy, part, paid + timedelta(minutes=1)), Allowed)
    for refused, now in ((part, paid + timedelta(seconds=59)), (replace(part, partial_refunds=50), paid + timedelta(minutes=1))):
        assert isinstance(verdict := decide(policy, refused, now), Denied)
        assert verdict.refusal is Refusal.limit_reached


@pytest.mark.parametrize(("name", "days"), [("cn-wallet", 9), ("eu-card", 4)])
def test_the_days_after_the_last_one_hold_every_run_of_holidays(name: str, days: int) -> None:
    """What Civil Code art. 203 and Regulation 1182/71 art. 3(4) add is never cut off."""
    policy = POLICIES[name]
    lengths = {rule.name: rule.window.length for rule in policy.rules if rule.window is not None}
    usual = lengths["seven-day-return" if name == "cn-wallet" else "withdrawal"]
    longest = lengths["last-day-was-a-holiday"]
    book = calendar(policy.calendar.name)

    assert usual is not None
    assert longest is not None
    assert longest.amount - usual.amount == days
    for start in range(5 * 365):
        day = date(2026, 1, 1) + timedelta(days=start)
        assert any(book.is_business_day(day + timedelta(days=later)) for later in range(days + 1)), day


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("category", list(Category))
def test_who_paid_for_something_else_may_say_so_from_the_first_moment(name: str, category: Category) -> None:
    paid = at("2026-11-02T12:00Z")

    verdict = decide(POLICIES[name], facts_of(paid, paid, fulfilment=DELIVERED, category=category, reason=Reason.unauthorised), paid)

    assert isinstance(verdict, Allowed)
    assert verdict.route is Route.agent
