"""The terms that are told before a payment: the same as are decided afterwards, whatever the policy."""

from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from service.calendars import calendar
from service.shipped_policies import SHIPPED, default_policy, shipped_policy
from tests import factories as make
from workflows.domain.decisions.policy_context import PolicyContext, context_for
from workflows.domain.decisions.requests import assess
from workflows.domain.decisions.terms import (
    CustomerTerms,
    PaymentStage,
    TermsPeriod,
    TermsQuestion,
    customer_terms,
    terms_key,
)
from workflows.domain.enums import Anchor, Category, Fulfilment, PaymentState, Reason, Refusal, Route
from workflows.domain.model import MerchantContact, Snapshot
from workflows.domain.policies.calendar import business_days
from workflows.domain.policies.conditions import Subject
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.form import parse_policy
from workflows.domain.policies.merchants import Merchant, MerchantDetails
from workflows.domain.policies.policy import Policy
from workflows.domain.policies.verdicts import Allowed, Denied
from workflows.domain.windows import Length, Unit

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
BUYING = TermsQuestion(merchant_id="shop-1", amount=10_000, currency="CNY")
STATES = {stage: PaymentState.pending if stage is PaymentStage.before_settlement else PaymentState.completed for stage in PaymentStage}
GOODS = {
    PaymentStage.before_settlement: Fulfilment.none,
    PaymentStage.paid: Fulfilment.none,
    PaymentStage.preparing: Fulfilment.preparing,
    PaymentStage.shipped: Fulfilment.shipped,
    PaymentStage.delivered: Fulfilment.delivered,
}


def in_force(policy: Policy, merchant: Merchant | None = None) -> PolicyContext:
    return context_for(policy, merchant, business_days(policy, calendar))


def shop(rules: list[dict[str, Any]] | None = None, accepts: dict[str, int] | None = None) -> Merchant:
    own = parse_policy({**HEAD, "rules": rules}).rules if rules else ()
    details = MerchantDetails(name="Shop", contact=MerchantContact(email="a@b.example"), rules=own, auto_accept_up_to=accepts or {})
    return Merchant(id="shop-1", version=1, details=details, created_at=NOW, changed_at=NOW, changed_by="op")


HEAD: dict[str, Any] = {"version": "v", "effective_from": "2026-01-01T00:00:00Z", "timezone": "Asia/Shanghai", "calendar": "CN"}


def at(told: CustomerTerms, stage: PaymentStage, reason: Reason, moment: datetime) -> TermsPeriod:
    (stages,) = [one for one in told.stages if stage in one.stages]
    (option,) = [one for one in stages.options if reason in one.reasons]
    (period,) = [one for one in option.periods if one.opens_at <= moment and (one.closes_at is None or moment < one.closes_at)]
    return period


def paid_at(question: TermsQuestion, stage: PaymentStage, moment: datetime) -> Snapshot:
    """A payment as it is kept, registered, and brought to that stage within the same moment."""
    happened = {
        Anchor.authorised_at: True,
        Anchor.completed_at: stage is not PaymentStage.before_settlement,
        Anchor.shipped_at: stage in {PaymentStage.shipped, PaymentStage.delivered},
        Anchor.delivered_at: stage is PaymentStage.delivered,
    }
    return make.with_payment(
        make.pending(),
        state=STATES[stage],
        fulfilment=GOODS[stage],
        category=question.category,
        merchant_id=question.merchant_id,
        amount=question.amount,
        currency=question.currency,
        funding=(),
        **{anchor.value: moment if done else None for anchor, done in happened.items()},
    )


# What a payment is told beforehand is what a request for it comes to.


@pytest.mark.slow
def test_the_terms_are_the_verdicts_of_any_policy_at_any_moment() -> None:
    chance, compared, seen = Random(20261122), 0, set[object]()
    while compared < 10_000:
        own = shop(random_rules(chance), chance.choice([None, {"CNY": chance.randrange(3_000)}])) if chance.random() < 0.6 else None
        terms = in_force(parse_policy({**HEAD, "rules": random_rules(chance)}), own)
        question = random_question(chance)
        told = customer_terms(terms, question, NOW)
        ends = [period.closes_at for stage in told.stages for option in stage.options for period in option.periods if period.closes_at]
        for _ in range(100):
            stage, reason = chance.choice(list(PaymentStage)), chance.choice(list(Reason))
            moment = random_moment(chance, ends)
            period = at(told, stage, reason, moment)
            asked = make.requested(reason=reason)

            assert period.verdict == assess(paid_at(question, stage, NOW), asked, terms, moment).verdict, (terms, question, stage, reason)
            seen.add(period.verdict.route if isinstance(period.verdict, Allowed) else period.verdict.refusal)
            compared += 1

    assert seen >= {*Route, *Refusal} - {Refusal.limit_reached}


@pytest.mark.slow
def test_questions_of_one_key_have_one_answer() -> None:
    chance, shared = Random(7), 0
    for _ in range(40):
        terms = in_force(parse_policy({**HEAD, "rules": random_rules(chance)}), shop(random_rules(chance), {"CNY": 900}))
        answers: dict[object, CustomerTerms] = {}
        for _ in range(12):
            question = random_question(chance)
            told = customer_terms(terms, question, NOW)
            shared += terms_key(terms, question) in answers
            assert answers.setdefault(terms_key(terms, question), told) == told

    assert shared > 20


def test_a_long_walk_ends_where_each_step_would() -> None:
    """Far along, the rules that are over are left out; but for the last of them, which a refusal still names."""

    def days(number: int, **members: Any) -> dict[str, Any]:
        return {"name": f"r{number}", "window": {"anchor": "completed_at", "length": f"{number} days"}, "route": "agent", **members}

    several = [days(number, route=["agent", "merchant"][number % 2]) for number in range(1, 40)]
    excluded = [days(number, when={"category_not": ["general"]}) for number in range(1, 40)]
    hour = {"name": "hour", "window": {"anchor": "completed_at", "length": "1 hour"}, "route": "automatic"}
    for rules in (several, excluded):
        terms = in_force(parse_policy({**HEAD, "rules": rules}), shop([hour]))
        told = customer_terms(terms, BUYING, NOW)
        for day, span in product(range(42), (timedelta(0), timedelta(hours=1))):
            moment = NOW + timedelta(days=day) + span
            asked = make.requested(reason=Reason.other)

            period = at(told, PaymentStage.paid, Reason.other, moment)

            assert period.verdict == assess(paid_at(BUYING, PaymentStage.paid, NOW), asked, terms, moment).verdict, (day, span)


def random_question(chance: Random) -> TermsQuestion:
    return TermsQuestion(
        merchant_id=chance.choice(["shop-1", "shop-2"]),
        category=chance.choice([Category.general, Category.digital, Category.transfer]),
        amount=chance.choice([1, 500, 999, 1_000, 1_001, 2_500]),
        currency=chance.choice(["CNY", "EUR"]),
    )


def random_moment(chance: Random, ends: list[datetime]) -> datetime:
    if ends and chance.random() < 0.6:
        return chance.choice(ends) + chance.choice([-MICROSECOND, timedelta(0), MICROSECOND])
    return NOW + timedelta(seconds=int(10 ** (chance.random() * 8)) - 1)


def random_rules(chance: Random) -> list[dict[str, Any]]:
    return [random_rule(chance, f"r{number}") for number in range(chance.choice([1, 1, 2, 3, 8, 24]))]


def random_rule(chance: Random, name: str) -> dict[str, Any]:
    def some(values: list[str]) -> list[str]:
        return chance.sample(values, chance.randrange(1, len(values)))

    tests: dict[str, Any] = {
        "state": lambda: chance.choice(["pending", "completed"]),
        "fulfilment": lambda: some(["none", "preparing", "shipped", "delivered"]),
        "category": lambda: some(["general", "digital", "transfer"]),
        "category_not": lambda: some(["general", "digital", "transfer"]),
        "reason": lambda: some([*Reason]),
        "reason_not": lambda: some([*Reason]),
        "role": lambda: chance.choice(["wallet", "agent"]),
        "channel_not": lambda: some(["app", "hotline"]),
        "channel": lambda: some(["app", "hotline", "chat"]),
        "merchant_id": lambda: some(["shop-1", "shop-2"]),
        "amount": lambda: [chance.choice([500, 1_000])],
    }
    when = {name: tests[name]() for name in chance.sample(sorted(tests), chance.choice([0, 0, 1, 1, 2, 3]))}
    if chance.random() < 0.2:
        when |= {"currency": "CNY", chance.choice(["amount_above", "amount_up_to"]): chance.choice([500, 1_000])}
    rule = {"name": name, "when": when, "route": chance.choice([*Route])}
    return rule if chance.random() < 0.1 else rule | {"window": random_window(chance)}


def random_window(chance: Random) -> dict[str, Any]:
    unit, most = chance.choice([("minutes", 90), ("hours", 200), ("days", 90), ("business_days", 30), ("months", 14)])
    window: dict[str, Any] = {"anchor": chance.choice([*Anchor])}
    if chance.random() < 0.15:
        window["until"] = {"end_of_day": chance.choice(["0 minutes", "15 minutes", "6 hours"])}
    else:
        window["length"] = f"{chance.randrange(1, most)} {unit}"
        if chance.random() < 0.3:
            window["count_from"] = "next_day"
    return window | ({"requires_anchor": True} if chance.random() < 0.5 else {})


# The policies that ship.


def told_of(told: CustomerTerms, stage: PaymentStage, reason: Reason) -> list[tuple[str, Length | None]]:
    (stages,) = [one for one in told.stages if stage in one.stages]
    (option,) = [one for one in stages.options if reason in one.reasons]
    return [
        (
            period.verdict.route.value if isinstance(period.verdict, Allowed) else period.verdict.refusal.value,
            None if period.until is None else period.until.length,
        )
        for period in option.periods
    ]


def test_what_the_default_policy_promises() -> None:
    told = customer_terms(in_force(default_policy()), BUYING, NOW)

    assert [one.stages for one in told.stages] == [("before_settlement",), ("paid", "preparing"), ("shipped",), ("delivered",)]
    assert told_of(told, PaymentStage.before_settlement, Reason.other) == [("void", Length(7, Unit.days)), ("window-closed", None)]
    assert told_of(told, PaymentStage.paid, Reason.changed_mind) == [
        ("automatic", Length(30, Unit.minutes)),
        ("merchant", Length(15, Unit.days)),
        ("window-closed", None),
    ]
    assert told_of(told, PaymentStage.shipped, Reason.changed_mind) == [("window-not-open", None)]
    assert told_of(told, PaymentStage.delivered, Reason.changed_mind) == [("return", Length(7, Unit.days)), ("window-closed", None)]
    assert told_of(told, PaymentStage.delivered, Reason.unauthorised) == [("agent", Length(13, Unit.months)), ("window-closed", None)]
    assert told.depends_on == ()


def test_every_reason_is_told_once_in_every_stage_of_every_policy_that_ships() -> None:
    for name in SHIPPED:
        for category in Category:
            told = customer_terms(in_force(shipped_policy(name)), replace(BUYING, category=category), NOW)

            assert [stage for one in told.stages for stage in one.stages] == [*PaymentStage]
            for one in told.stages:
                assert sorted(reason for option in one.options for reason in option.reasons) == sorted(Reason)
                for option in one.options:
                    opens, closes = [p.opens_at for p in option.periods], [p.closes_at for p in option.periods]
                    assert [*opens[1:], None] == closes
                    assert opens[0] == NOW


# The merchant's own terms.


def test_a_merchants_kinder_rule_is_told_and_so_is_what_it_accepts() -> None:
    two_hours = {
        "name": "two-hours",
        "when": {"state": "completed", "fulfilment": ["none"]},
        "window": {"anchor": "completed_at", "length": "2 hours"},
        "route": "automatic",
    }
    terms = in_force(default_policy(), shop([two_hours], {"CNY": 5_000}))

    large, small = (customer_terms(terms, replace(BUYING, amount=amount), NOW) for amount in (5_001, 5_000))

    assert told_of(large, PaymentStage.paid, Reason.other)[:2] == [
        ("automatic", Length(2, Unit.hours)),
        ("merchant", Length(15, Unit.days)),
    ]
    assert told_of(small, PaymentStage.paid, Reason.other)[:2] == [
        ("automatic", Length(30, Unit.minutes)),  # then what the merchant accepts without being asked is open for longer
        ("automatic", Length(15, Unit.days)),
    ]
    assert told_of(large, PaymentStage.preparing, Reason.other)[0] == ("automatic", Length(30, Unit.minutes))


def test_without_an_amount_it_is_said_that_the_amount_matters() -> None:
    rules = policy_data(default_policy())["rules"]
    small = {"name": "small", "when": {"currency": "CNY", "amount_up_to": 500, "category": ["digital"]}, "route": "automatic"}
    limited, asked = in_force(parse_policy({**HEAD, "rules": [small, *rules]})), TermsQuestion(merchant_id="shop-1")
    card = {"name": "card", "when": {"source": "card"}, "route": "agent"}

    assert customer_terms(in_force(default_policy()), asked, NOW).depends_on == ()
    assert customer_terms(limited, asked, NOW).depends_on == ()
    assert customer_terms(limited, replace(asked, category=Category.digital), NOW).depends_on == (Subject.amount,)
    assert customer_terms(limited, replace(BUYING, category=Category.digital), NOW).depends_on == ()
    assert customer_terms(in_force(default_policy(), shop(accepts={"CNY": 1})), asked, NOW).depends_on == (Subject.amount,)
    assert customer_terms(in_force(parse_policy({**HEAD, "rules": [card, *rules]})), BUYING, NOW).depends_on == (Subject.source,)


def test_a_refusal_keeps_its_next_steps() -> None:
    (stage, *_) = customer_terms(in_force(default_policy()), BUYING, NOW).stages
    last = stage.options[0].periods[-1].verdict

    assert isinstance(last, Denied)
    assert last.next_steps == ("contact_merchant", "contact_support")


def test_the_question_is_asked_as_the_customer_in_the_app() -> None:
    agents = {"name": "agents", "when": {"role": "agent"}, "route": "automatic"}
    phone = {"name": "phone", "when": {"channel": "hotline"}, "route": "automatic"}

    told = customer_terms(in_force(parse_policy({**HEAD, "rules": [agents, phone]})), BUYING, NOW)

    assert told_of(told, PaymentStage.paid, Reason.other) == [(Refusal.channel_not_allowed, None)]
