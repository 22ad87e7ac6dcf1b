"""A merchant's own rule is refused only where it never decides or is shown to be nowhere kinder than the policy."""

import random
import time
from collections import Counter
from typing import Any

import pytest

from service.shipped_policies import default_policy
from tests.factories import policy_of
from tests.unit.workflows.domain.policies.rules import (
    CLOCKS,
    CN,
    ENDS,
    NONE,
    OWN_CLOCKS,
    SHOP,
    clocked,
    merchant,
    own,
    random_policies,
    some_request,
    some_rule,
    within,
)
from workflows.domain.decisions.policy_context import context_for
from workflows.domain.faults import FaultCode
from workflows.domain.model import MerchantContact
from workflows.domain.policies.comparison import EXAMPLES_MAX, HarsherRule, HarsherRules, check_own_rules, harsher_rules
from workflows.domain.policies.form import parse_own_rules
from workflows.domain.policies.merchants import MerchantDetails, no_worse
from workflows.domain.policies.policy import Policy, Rule
from workflows.domain.policies.verdicts import Allowed, decide_route, kindness

SETTLED = {"state": "completed"}
SAMPLE, REQUESTS_OF_EACH = 60, 200  # policies with own rules, and what is asked under each


def test_a_rule_is_refused_where_it_is_nowhere_kinder() -> None:
    cases: list[tuple[dict[str, Any], bool]] = [
        (within("3 days", "return"), True),
        (within("7 days", "return"), True),  # as kind: it never decides
        (within("8 days", "return"), False),
        (within("3 days", "automatic"), False),
        (within("1 hour", "agent"), True),
        (within("5 business_days", "return"), True),  # without holidays
        (within("6 business_days", "return"), False),
        (within("2 hours", "return", "authorised_at"), False),  # may have settled before it was authorised here
        ({"route": "agent"}, False),
        (within("3 days", "return", "delivered_at"), False),  # delivered after a week, say
        (within("3 days", "return", when={"merchant_id": "another"}), True),  # never holds for this merchant
        (within("3 days", "return", when={"amount_above": 10_000, "currency": "CNY"}), True),
    ]

    form = policy_of(within("7 days", "return", when=SETTLED))

    wrong = []
    for mine, refused in cases:
        whole = {**mine, "when": {**SETTLED, **mine.get("when", {})}}
        if refused_names(form, whole) != (["own-0"] if refused else []):
            wrong.append(mine)
    assert wrong == []


def test_the_end_of_a_day_is_far_away_in_the_morning() -> None:
    form = policy_of(within("12 hours", when=SETTLED), timezone="Asia/Shanghai")
    day = {"route": "automatic", "when": SETTLED, "window": {"anchor": "completed_at", "until": {"end_of_day": "+0 minutes"}}}

    assert refused_names(form, day) == []
    assert refused_names(policy_of(within("24 hours", when=SETTLED), timezone="Asia/Shanghai"), day) == ["own-0"]


def test_what_the_policy_says_of_other_merchants_does_not_count() -> None:
    form = policy_of(within("60 days", when={**SETTLED, "merchant_id": SHOP}), within("7 days", when=SETTLED))

    assert refused_names(form, within("30 days", when=SETTLED)) == ["own-0"]
    assert refused_names(policy_of(within("60 days", when={**SETTLED, "merchant_id": "m-2"})), within("30 days", when=SETTLED)) == []


def test_a_rule_that_is_kinder_to_some_is_taken() -> None:
    form = policy_of(within("7 days", "automatic", when={**SETTLED, "reason": "damaged"}), within("7 days", "agent", when=SETTLED))

    assert refused_names(form, within("5 days", "merchant", when=SETTLED)) == []
    assert refused_names(form, within("5 days", "merchant", when={**SETTLED, "reason": "damaged"})) == ["own-0"]


def test_a_rule_that_an_earlier_one_hides_never_decides() -> None:
    form = policy_of(within("7 days", "agent", when=SETTLED))
    wide = within("9 days", "merchant", when=SETTLED)

    assert refused_names(form, wide, within("8 days", "automatic", when=SETTLED)) == ["own-1"]
    assert refused_names(form, wide, within("10 days", "automatic", when=SETTLED)) == []


def test_windows_that_count_from_a_later_moment_may_be_longer() -> None:
    """Under the policy that ships: a return within a month of delivery, where the policy has a week."""
    month = within("30 days", "return", "delivered_at", when={**SETTLED, "fulfilment": ["shipped", "delivered"]}, requires_anchor=True)
    days = {**month, "window": {"anchor": "delivered_at", "length": "3 days", "requires_anchor": True}}
    form = default_policy()
    own_kind = {**days, "when": {**SETTLED, "fulfilment": "delivered", "category": "general", "reason": "changed_mind"}}

    assert refused_names(form, month) == []
    assert refused_names(form, days) == []  # kinder to who wants to bring back what is damaged
    assert refused_names(form, own_kind) == ["own-0"]


def test_the_reason_is_told_with_examples() -> None:
    form = policy_of(within("7 days", "return", when=SETTLED))
    harsh = own(within("3 days", "return", when=SETTLED), within("9 days", "return", when=SETTLED))

    with pytest.raises(HarsherRules) as raised:
        check_own_rules(form, SHOP, MerchantDetails(name="Shop", contact=MerchantContact(), rules=harsh), NONE)

    assert [(fault.pointer, fault.code) for fault in raised.value.faults] == [("/rules/0", FaultCode.harsher_rule)]
    [rule] = raised.value.rules
    assert rule.examples
    assert all(isinstance(shown.by_policy, Allowed) for shown in rule.examples)


def test_deadlines_that_are_worse_are_refused_with_what_is_allowed() -> None:
    details = MerchantDetails(name="Shop", contact=MerchantContact(), rules=(clocked(merchant="3 days", inspection="1 hour"),))
    with pytest.raises(HarsherRules) as raised:
        check_own_rules(policy_of({"route": "agent"}), SHOP, details, NONE)

    [fault] = raised.value.faults
    assert (fault.pointer, fault.code) == ("/rules/0/merchant_deadline", FaultCode.harsher_deadline)
    assert fault.members == {"limit": "48 hours, agent"}


@pytest.mark.slow
def test_rules_that_are_too_much_to_examine_are_let_through_in_time() -> None:
    chance = random.Random(3)
    form = policy_of(*(some_rule(chance, f"p-{number}", CLOCKS) for number in range(200)), timezone="Asia/Shanghai")
    rules = parse_own_rules([some_rule(chance, f"own-{number}", OWN_CLOCKS) for number in range(200)])

    started = time.process_time()
    harsher_rules(form, SHOP, rules, CN)

    assert time.process_time() - started < 10  # about one on a quiet machine


@pytest.mark.slow
def test_a_rule_that_is_refused_never_wins() -> None:
    """And each example is a customer whom it would have harmed."""
    seen = refused_among(SAMPLE)

    assert seen["refused"] > 10, seen
    assert seen["examples"] > 10, seen
    assert seen["won"] > 1_000, seen


@pytest.mark.long
def test_a_rule_that_is_refused_never_wins_in_any_of_500_policies() -> None:
    seen = refused_among(500)

    assert seen["refused"] > 100, seen
    assert seen["examples"] > 100, seen
    assert seen["won"] > 10_000, seen


def refused_among(count: int) -> Counter[str]:
    """What was refused and what won under so many random policies, all of it checked."""
    seen: Counter[str] = Counter()
    for chance, form, rules in random_policies(2, count):
        refused = harsher_rules(form, SHOP, rules, CN)
        names = {one.name for one in refused}
        seen["refused"] += len(names)
        seen["rules"] += len(rules)
        seen["examples"] += sum(len(one.examples) for one in refused)
        assert_examples(form, rules, refused)
        context = context_for(form, merchant(rules), CN)
        for _ in range(REQUESTS_OF_EACH):
            facts, at = some_request(chance, ENDS)
            verdict = context.verdict(facts, at)
            if isinstance(verdict, Allowed) and verdict.policy_version != form.version:
                assert verdict.rule not in names, (form.rules, rules, facts, at)
                seen["won"] += 1
    return seen


def assert_examples(form: Policy, rules: tuple[Rule, ...], refused: tuple[HarsherRule, ...]) -> None:
    mine = form.with_rules("own", tuple(no_worse(rule, form) for rule in rules))
    for one in refused:
        assert len(one.examples) <= EXAMPLES_MAX
        for shown in one.examples:
            assert shown.facts.merchant_id == SHOP
            assert shown.by_policy == decide_route(form, shown.facts, shown.at, CN)
            assert shown.by_rule == decide_route(mine, shown.facts, shown.at, CN)
            assert shown.by_rule.rule == rules[one.position].name == one.name
            assert kindness(shown.by_rule) < kindness(shown.by_policy)


def refused_names(form: Policy, *rules: dict[str, Any], zone_calendar: Any = NONE) -> list[str]:
    return [one.name for one in harsher_rules(form, SHOP, own(*rules), zone_calendar)]
