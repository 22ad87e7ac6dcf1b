"""Merchants' own rules: the kinder verdict wins, nothing of theirs is worse, and a rule is refused only where it never wins."""

import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from service.calendars import calendar
from service.shipped_policies import default_policy
from tests.unit.workflows.domain.policies.test_policy import FACTS, policy
from workflows.domain.decisions.policy_context import PolicyContext, context_for
from workflows.domain.enums import (
    ActorRole,
    Anchor,
    Category,
    Channel,
    Fulfilment,
    OnDeadline,
    PaymentState,
    Reason,
    Refusal,
    Route,
    Source,
)
from workflows.domain.errors import Window
from workflows.domain.faults import FaultCode
from workflows.domain.model import MerchantContact
from workflows.domain.policies.comparison import EXAMPLES_MAX, HarsherRule, HarsherRules, check_own_rules, harsher_rules
from workflows.domain.policies.document import rules_data
from workflows.domain.policies.facts import PolicyFacts, facts_data, facts_from
from workflows.domain.policies.form import OWN_RULE, PolicyInvalid, parse_own_rules, parse_rules
from workflows.domain.policies.merchants import Merchant, MerchantDetails, changed_members, no_worse, parse_rules_version, rules_version
from workflows.domain.policies.policy import EffectiveTerms, Policy, Rule, Timeout
from workflows.domain.policies.verdicts import Allowed, Denied, Verdict, decide_route, kindness, more_favourable
from workflows.domain.windows import Length, Unit, at_most, deadline, nominal_seconds, parse_length

SHOP = "m-1"
NONE, CN = calendar("none"), calendar("CN")
START = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
REQUESTS = 100_000
DAY = timedelta(days=1)
LENGTHS = ("30 minutes", "12 hours", "24 hours", "1 day", "7 days", "168 hours", "15 days", "30 days", "1 month", "5 business_days")
CLOCKS = ("6 hours", "24 hours", "1 day", "48 hours", "2 days", "3 days", "5 days")
OWN_CLOCKS = (*CLOCKS, "1 business_day", "2 business_days", "1 month", "90 minutes")


def merchant(rules: tuple[Rule, ...] = (), **auto_accept: int) -> Merchant:
    details = MerchantDetails(name="Shop", contact=MerchantContact(email="a@b.cn"), rules=rules, auto_accept_up_to=auto_accept)
    return Merchant(id=SHOP, version=3, details=details, created_at=START, changed_at=START, changed_by="olga")


def terms(form: Policy, *rules: dict[str, Any], **auto_accept: int) -> PolicyContext:
    return context_for(form, merchant(own(*rules), **auto_accept), NONE)


def own(*rules: dict[str, Any]) -> tuple[Rule, ...]:
    return parse_own_rules([{"name": f"own-{number}", "route": "automatic", **rule} for number, rule in enumerate(rules)])


def within(length: str, route: str = "automatic", anchor: str = "completed_at", **rule: Any) -> dict[str, Any]:
    return {"route": route, "window": {"anchor": anchor, "length": length}, **rule}


def decided(verdict: Verdict) -> tuple[str, str | None]:
    return verdict.policy_version, verdict.rule


# What is generated.


def some_window(chance: random.Random) -> dict[str, Any]:
    anchor = chance.choice(["authorised_at", "completed_at", "completed_at", "completed_at", "shipped_at", "delivered_at", "delivered_at"])
    made: dict[str, Any] = {"anchor": anchor}
    if chance.random() < 0.15:
        made["until"] = {"end_of_day": chance.choice(["+15 minutes", "+0 minutes", "+2 days"])}
    else:
        made["length"] = chance.choice(LENGTHS)
    if chance.random() < 0.2:
        made["count_from"] = "next_day"
    if chance.random() < 0.3:
        made["requires_anchor"] = True
    return made


def some_when(chance: random.Random) -> dict[str, Any]:
    pool: dict[str, tuple[Any, ...]] = {
        "state": ("completed", "pending"),
        "fulfilment": tuple(Fulfilment),
        "category": ("general", "digital", "transfer"),
        "reason": ("changed_mind", "damaged", "unauthorised", "duplicate"),
        "role": ("wallet", "agent", "supervisor"),
        "channel": ("app", "hotline", "chat"),
        "source": ("balance", "coupon", "card"),
        "merchant_id": (SHOP, "m-2"),
        "currency": ("CNY", "EUR"),
    }
    made: dict[str, Any] = {}
    for subject in chance.sample(sorted(pool), chance.choice([0, 0, 1, 1, 2, 3])):
        values = [str(one) for one in chance.sample(pool[subject], chance.randint(1, min(2, len(pool[subject]))))]
        made[subject + chance.choice(["", "", "_not"])] = values
    if chance.random() < 0.15:
        made["currency"] = "CNY"
        made[chance.choice(["amount_above", "amount_up_to"])] = chance.choice([5_000, 10_000])
    return made


def some_rule(chance: random.Random, name: str, clocks: tuple[str, ...]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "route": str(chance.choice(list(Route))), "when": some_when(chance)}
    if chance.random() < 0.8:
        made["window"] = some_window(chance)
    if chance.random() < 0.4:
        made["merchant_deadline"] = {"length": chance.choice(clocks), "then": chance.choice(["accept", "agent", "decline"])}
    if chance.random() < 0.3:
        made["return_deadline"] = {"length": chance.choice(clocks), "then": "decline"}
    if chance.random() < 0.3:
        made["inspection_deadline"] = {"length": chance.choice(clocks), "then": "accept"}
    return made


def some_policy(chance: random.Random) -> Policy:
    rules = []
    for number in range(chance.randint(1, 7)):
        rule = some_rule(chance, f"p-{number}", CLOCKS)
        if chance.random() < 0.3:
            rule["forfeit"] = chance.choice([["coupon"], ["points"], True])
        if chance.random() < 0.3:
            rule["limits"] = {chance.choice(["partial_refunds_max", "requests_per_day"]): chance.randint(1, 3)}
        if chance.random() < 0.3:
            rule["second_approval_above"] = {"CNY": chance.choice([0, 5_000, 20_000])}
        if chance.random() < 0.3:
            rule["verification"] = {"channels": ["hotline"], "methods": chance.sample(["otp", "callback", "document"], 2)}
        rules.append(rule)
    members: dict[str, Any] = {
        "version": "policy",
        "effective_from": "2026-01-01T00:00:00Z",
        "timezone": "Asia/Shanghai",
        "calendar": "CN",
        "rules": rules,
        "second_approval_above": {"CNY": chance.choice([1_000, 100_000]), "EUR": 5_000},
        "limits": {"partial_interval": "1 hour"} if chance.random() < 0.5 else {},
        "verification": ["hotline", "chat"] if chance.random() < 0.5 else [],
    }
    if chance.random() < 0.5:
        members["deadlines"] = {"merchant": {"length": chance.choice(CLOCKS), "then": chance.choice(["accept", "agent", "decline"])}}
    return parse_policy_(members)


def parse_policy_(members: dict[str, Any]) -> Policy:
    return policy(*members.pop("rules"), **members)


def some_own_rules(chance: random.Random) -> tuple[Rule, ...]:
    return parse_own_rules([some_rule(chance, f"own-{number}", OWN_CLOCKS) for number in range(chance.randint(1, 4))])


def some_request(chance: random.Random, ends: tuple[timedelta, ...]) -> tuple[PolicyFacts, datetime]:
    """What can be asked of a payment to the shop; often at the very end of a window, to the microsecond."""
    state = chance.choice([PaymentState.completed, PaymentState.completed, PaymentState.pending])
    authorised = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randint(0, 525_600))
    if chance.random() < 0.3:  # midnight in Shanghai
        authorised = authorised.replace(hour=16, minute=0)
    gap = chance.choice([timedelta(0), timedelta(hours=5), 3 * DAY, 40 * DAY])
    anchors: dict[Anchor, datetime | None] = dict.fromkeys(Anchor)
    anchors[Anchor.authorised_at] = authorised
    if state is PaymentState.completed:
        anchors[Anchor.completed_at] = authorised + chance.choice([timedelta(0), gap])
    if chance.random() < 0.6:
        anchors[Anchor.shipped_at] = authorised + chance.choice([timedelta(0), gap])
        if chance.random() < 0.7:
            anchors[Anchor.delivered_at] = (anchors[Anchor.shipped_at] or authorised) + chance.choice([timedelta(0), 2 * DAY, gap])
    happened = [at for at in anchors.values() if at is not None]
    at = chance.choice(happened) + chance.choice(ends) + chance.choice([timedelta(0), timedelta(microseconds=-1), timedelta(hours=7)])
    role, channel = chance.choice(
        [(ActorRole.wallet, Channel.app), (ActorRole.agent, Channel.hotline), (ActorRole.supervisor, Channel.chat)]
    )
    facts = PolicyFacts(
        state=state,
        fulfilment=chance.choice(list(Fulfilment)),
        category=chance.choice([Category.general, Category.digital, Category.transfer]),
        merchant_id=SHOP,
        currency=chance.choice(["CNY", "EUR"]),
        amount=chance.choice([100, 5_000, 5_001, 10_000, 50_000]),
        role=role,
        channel=channel,
        reason=chance.choice(list(Reason)),
        sources=tuple(chance.sample([Source.balance, Source.coupon, Source.card], chance.randint(1, 2))),
        anchors=anchors,
        partial=chance.random() < 0.3,
        partial_refunds=chance.randint(0, 3),
        last_partial_at=chance.choice([None, at - timedelta(minutes=30)]),
        taken=chance.choice([0, 0, 4_000]),
        requests_last_day=chance.randint(0, 3),
    )
    return facts, max(at, *happened)


CALLERS = ((ActorRole.wallet, Channel.app), (ActorRole.agent, Channel.hotline), (ActorRole.supervisor, Channel.chat))
ENDS = (timedelta(0), timedelta(minutes=30), timedelta(hours=12), DAY, 7 * DAY, 15 * DAY, 28 * DAY, 29 * DAY, 30 * DAY, 31 * DAY, 60 * DAY)


def worlds(seed: int, count: int) -> Iterator[tuple[random.Random, Policy, tuple[Rule, ...]]]:
    chance = random.Random(seed)
    for _ in range(count):
        yield chance, some_policy(chance), some_own_rules(chance)


# Kindness.

verdicts = st.one_of(
    st.builds(
        lambda route, then, closes, version: Allowed(
            route=route,
            rule="r",
            window=closes,
            policy_version=version,
            effective_terms=replace(policy({}).effective_terms("r0"), deadlines=deadlines_with(then)),
        ),
        st.sampled_from(Route),
        st.sampled_from(OnDeadline),
        st.sampled_from([None, *(Window(Anchor.completed_at, START, START + days * DAY) for days in (1, 2)), Window(None, None, None)]),
        st.sampled_from(["a", "b"]),
    ),
    st.builds(
        lambda refusal, closes, version: Denied(refusal=refusal, rule=None, window=closes, next_steps=(), policy_version=version),
        st.sampled_from(Refusal),
        st.sampled_from([None, *(Window(Anchor.completed_at, START, START + days * DAY) for days in (1, 2))]),
        st.sampled_from(["a", "b"]),
    ),
)


def deadlines_with(then: OnDeadline) -> Any:
    usual = policy({}).deadlines
    return replace(usual, merchant=Timeout(usual.merchant.length, then))


@given(verdicts, verdicts, verdicts)
def test_kindness_orders_all_verdicts(first: Verdict, second: Verdict, third: Verdict) -> None:
    one, two, three = kindness(first), kindness(second), kindness(third)

    assert (one < two) + (one == two) + (one > two) == 1
    assert not (one <= two <= three) or one <= three
    assert kindness(more_favourable(first, second)) == kindness(more_favourable(second, first)) == max(one, two)
    assert more_favourable(first, first) is first
    both = more_favourable(more_favourable(first, second), third), more_favourable(first, more_favourable(second, third))
    assert both[0] == both[1]


def allowed(route: Route, then: OnDeadline = OnDeadline.agent, closes: Window | None = None) -> Allowed:
    effective = replace(policy({}).effective_terms("r0"), deadlines=deadlines_with(then))
    return Allowed(route=route, rule="r", window=closes, policy_version="v", effective_terms=effective)


def test_the_order_is_the_promised_one() -> None:
    refused = Denied(refusal=Refusal.window_not_open, rule=None, window=None, next_steps=(), policy_version="v")
    by_route = [kindness(refused), *map(kindness, map(allowed, (Route.agent, Route.merchant, Route.return_, Route.automatic)))]
    by_silence = [kindness(allowed(Route.merchant, then)) for then in (OnDeadline.decline, OnDeadline.agent, OnDeadline.accept)]
    by_end = [
        kindness(allowed(Route.agent, closes=closes))
        for closes in (Window(Anchor.completed_at, START, START + DAY), Window(Anchor.completed_at, START, START + 2 * DAY), None)
    ]

    for ascending in (by_route, by_silence, by_end):
        assert all(less < more for less, more in itertools.pairwise(ascending))
    assert kindness(allowed(Route.void)) == kindness(allowed(Route.automatic))
    assert max(by_silence) < kindness(allowed(Route.return_))
    assert {kindness(allowed(Route.agent, then)) for then in OnDeadline} == {kindness(allowed(Route.agent))}


def test_equally_kind_verdicts_are_the_policys() -> None:
    form = policy(within("2 days", "merchant"))

    assert decided(terms(form, within("48 hours", "merchant")).verdict(FACTS, START)) == ("v", "r0")
    assert decided(terms(form, within("49 hours", "merchant")).verdict(FACTS, START)) == (f"{SHOP}@3", "own-0")


# A hundred thousand random requests.


def test_own_rules_never_make_a_request_worse() -> None:
    """And what they leave to be done by people is as strict as anywhere in the policy, each clock no worse than any."""
    won: Counter[str] = Counter()
    started = time.process_time()
    for chance, form, rules in worlds(1, 250):
        auto = {"CNY": 9_000} if chance.random() < 0.3 else {}
        context = context_for(form, merchant(rules, **auto), CN)
        strict = context.own
        assert strict is not None
        assert_strict(strict, form)
        for _ in range(REQUESTS // 250):
            facts, at = some_request(chance, ENDS)
            alone, both = decide_route(form, facts, at, CN), context.verdict(facts, at)
            assert kindness(both) >= kindness(alone), (facts, at)
            won["own" if both.policy_version == strict.version else "policy"] += 1
            won["refused"] += isinstance(both, Denied)
            if isinstance(both, Allowed) and both.accepted_by is not None:
                won["accepted"] += 1
                assert facts.currency == "CNY"
                assert facts.taken + facts.amount <= auto["CNY"]
            if isinstance(alone, Allowed) and isinstance(both, Allowed) and both.policy_version == strict.version:
                assert_no_worse(both, alone, at, form)
                won["better"] += 1

    assert sum(won[name] for name in ("own", "policy")) == REQUESTS
    assert all(won[name] > 1_000 for name in ("own", "policy", "refused", "accepted", "better")), won
    assert time.process_time() - started < 60


def assert_no_worse(both: Allowed, alone: Allowed, at: datetime, form: Policy) -> None:
    own_terms, usual = both.effective_terms, alone.effective_terms
    assert (own_terms.forfeit, own_terms.allocation) == (usual.forfeit, usual.allocation)
    assert own_terms.verification == usual.verification
    assert own_terms.second_approval_above in (usual.second_approval_above, {})
    if (both.route, alone.route) == (Route.merchant, Route.merchant):
        assert ends(both.deadlines.merchant, at, form) <= ends(alone.deadlines.merchant, at, form)
        assert harshness(both) <= harshness(alone)
    if (both.route, alone.route) == (Route.return_, Route.return_):
        assert ends(both.deadlines.return_, at, form) >= ends(alone.deadlines.return_, at, form)
        assert ends(both.deadlines.inspection, at, form) <= ends(alone.deadlines.inspection, at, form)


def harshness(verdict: Allowed) -> int:
    return [OnDeadline.accept, OnDeadline.agent, OnDeadline.decline].index(verdict.deadlines.merchant.then)


def ends(clock: Timeout, at: datetime, form: Policy) -> datetime:
    return deadline(at, clock.length, form.zone, CN)


def assert_strict(strict: Policy, form: Policy) -> None:
    """In every rule of the merchant's own, and where none decided."""
    everywhere = [form.effective_terms(None), *(form.effective_terms(rule.name) for rule in form.rules)]
    for name in (None, *(rule.name for rule in strict.rules)):
        mine = strict.effective_terms(name)
        for usual in everywhere:
            assert mine.second_approval_above.keys() <= usual.second_approval_above.keys()
            assert all(above <= usual.second_approval_above[currency] for currency, above in mine.second_approval_above.items())
            assert mine.verification.channels >= usual.verification.channels
            assert_limits(mine, usual)
        wanted = [usual.verification.methods for usual in everywhere if usual.verification.methods]
        shared = frozenset.intersection(*wanted) if wanted else frozenset()
        assert mine.verification.methods == shared or (not shared and mine.verification.methods in wanted)


def assert_limits(mine: EffectiveTerms, usual: EffectiveTerms) -> None:
    for name in ("partial_refunds_max", "requests_per_day"):
        limit = getattr(usual.limits, name)
        assert limit is None or getattr(mine.limits, name) <= limit
    interval = usual.limits.partial_interval
    assert interval is None or at_most(interval, mine.limits.partial_interval or Length(0, Unit.days))


def test_a_rule_that_is_refused_never_wins() -> None:
    """And each example is a customer whom it would have harmed."""
    seen: Counter[str] = Counter()
    for chance, form, rules in worlds(2, 500):
        refused = harsher_rules(form, SHOP, rules, CN)
        names = {one.name for one in refused}
        seen["refused"] += len(names)
        seen["rules"] += len(rules)
        seen["examples"] += sum(len(one.examples) for one in refused)
        assert_examples(form, rules, refused)
        context = context_for(form, merchant(rules), CN)
        for _ in range(REQUESTS // 500):
            facts, at = some_request(chance, ENDS)
            verdict = context.verdict(facts, at)
            if isinstance(verdict, Allowed) and verdict.policy_version != form.version:
                assert verdict.rule not in names, (form.rules, rules, facts, at)
                seen["won"] += 1

    assert seen["refused"] > 100, seen
    assert seen["examples"] > 100, seen
    assert seen["won"] > 10_000, seen


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


# Which rules are refused.


def refused_names(form: Policy, *rules: dict[str, Any], zone_calendar: Any = NONE) -> list[str]:
    return [one.name for one in harsher_rules(form, SHOP, own(*rules), zone_calendar)]


SETTLED = {"state": "completed"}


@pytest.mark.parametrize(
    ("mine", "refused"),
    [
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
    ],
)
def test_a_rule_is_refused_where_it_is_nowhere_kinder(mine: dict[str, Any], refused: bool) -> None:
    form = policy(within("7 days", "return", when=SETTLED))
    mine = {**mine, "when": {**SETTLED, **mine.get("when", {})}}

    assert refused_names(form, mine) == (["own-0"] if refused else [])


@pytest.mark.parametrize(
    ("policys", "mine", "refused"),
    [
        ("30 days", "1 month", False),  # of July
        ("31 days", "1 month", True),
        ("12 hours", "24 hours", False),
        ("1 month", "28 days", True),
        ("1 month", "29 days", False),  # of February
        ("15 days", "3 business_days", True),  # no holidays are that long
        ("7 days", "5 business_days", False),  # but this long
        ("5 business_days", "5 days", True),
    ],
)
def test_lengths_are_compared_on_every_day_of_the_calendar(policys: str, mine: str, refused: bool) -> None:
    form = policy(within(policys, when=SETTLED), timezone="Asia/Shanghai", calendar="CN")

    assert refused_names(form, within(mine, when=SETTLED), zone_calendar=CN) == (["own-0"] if refused else [])


def test_the_end_of_a_day_is_far_away_in_the_morning() -> None:
    form = policy(within("12 hours", when=SETTLED), timezone="Asia/Shanghai")
    day = {"route": "automatic", "when": SETTLED, "window": {"anchor": "completed_at", "until": {"end_of_day": "+0 minutes"}}}

    assert refused_names(form, day) == []
    assert refused_names(policy(within("24 hours", when=SETTLED), timezone="Asia/Shanghai"), day) == ["own-0"]


def test_what_the_policy_says_of_other_merchants_does_not_count() -> None:
    form = policy(within("60 days", when={**SETTLED, "merchant_id": SHOP}), within("7 days", when=SETTLED))

    assert refused_names(form, within("30 days", when=SETTLED)) == ["own-0"]
    assert refused_names(policy(within("60 days", when={**SETTLED, "merchant_id": "m-2"})), within("30 days", when=SETTLED)) == []


def test_a_rule_that_is_kinder_to_some_is_taken() -> None:
    form = policy(within("7 days", "automatic", when={**SETTLED, "reason": "damaged"}), within("7 days", "agent", when=SETTLED))

    assert refused_names(form, within("5 days", "merchant", when=SETTLED)) == []
    assert refused_names(form, within("5 days", "merchant", when={**SETTLED, "reason": "damaged"})) == ["own-0"]


def test_a_rule_that_an_earlier_one_hides_never_decides() -> None:
    form = policy(within("7 days", "agent", when=SETTLED))
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
    form = policy(within("7 days", "return", when=SETTLED))
    harsh = own(within("3 days", "return", when=SETTLED), within("9 days", "return", when=SETTLED))

    with pytest.raises(HarsherRules) as raised:
        check_own_rules(form, SHOP, MerchantDetails(name="Shop", contact=MerchantContact(), rules=harsh), NONE)

    assert [(fault.pointer, fault.code) for fault in raised.value.faults] == [("/rules/0", FaultCode.harsher_rule)]
    [rule] = raised.value.rules
    assert rule.examples
    assert all(isinstance(shown.by_policy, Allowed) for shown in rule.examples)


def test_rules_that_are_too_much_to_examine_are_let_through_in_time() -> None:
    chance = random.Random(3)
    form = policy(*(some_rule(chance, f"p-{number}", CLOCKS) for number in range(200)), timezone="Asia/Shanghai")
    rules = parse_own_rules([some_rule(chance, f"own-{number}", OWN_CLOCKS) for number in range(200)])

    started = time.process_time()
    harsher_rules(form, SHOP, rules, CN)

    assert time.process_time() - started < 10  # about one on a quiet machine


# Deadlines of their own.


def clocked(**clocks: str) -> Rule:
    then = {"merchant": "agent", "return": "decline", "inspection": "accept"}
    given_ = {f"{name}_deadline": {"length": length, "then": then[name]} for name, length in clocks.items()}
    [rule] = own({"route": "merchant", **given_})
    return rule


USUAL = policy({"route": "merchant"}, deadlines={"merchant": {"length": "48 hours", "then": "agent"}})


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ({"merchant": "24 hours"}, {"merchant": "24 hours"}),
        ({"merchant": "2 days"}, {"merchant": "2 days"}),
        ({"merchant": "49 hours"}, {"merchant": "48 hours"}),
        ({"merchant": "1 business_day"}, {"merchant": "48 hours"}),  # may be a week
        ({"return": "15 days"}, {"return": "15 days"}),
        ({"return": "14 days"}, {"return": "15 days"}),
        ({"return": "15 business_days"}, {"return": "15 business_days"}),
        ({"return": "1 month"}, {"return": "1 month"}),
        ({"inspection": "6 days"}, {"inspection": "6 days"}),
        ({"inspection": "8 days"}, {"inspection": "7 days"}),
        ({"inspection": "5 business_days"}, {"inspection": "7 days"}),
    ],
)
def test_a_clock_counts_as_far_as_it_is_no_worse(given_: dict[str, str], kept: dict[str, str]) -> None:
    rule = no_worse(clocked(**given_), USUAL)

    clocks = {"merchant": rule.merchant_deadline, "return": rule.return_deadline, "inspection": rule.inspection_deadline}
    assert {name: str(clock.length) for name, clock in clocks.items() if clock is not None} == kept


def test_silence_counts_as_far_as_it_is_no_worse() -> None:
    def silence(then: str) -> OnDeadline:
        [rule] = own({"route": "merchant", "merchant_deadline": {"length": "1 hour", "then": then}})
        kept = no_worse(rule, USUAL).merchant_deadline
        assert kept is not None
        return kept.then

    assert [silence(then) for then in ("accept", "agent", "decline")] == [OnDeadline.accept, OnDeadline.agent, OnDeadline.agent]


def test_no_clock_is_worse_than_in_any_rule_of_the_policy() -> None:
    brief = {"route": "merchant", "merchant_deadline": {"length": "12 hours", "then": "agent"}}
    context = terms(policy({"route": "agent"}, brief), {"route": "merchant"})

    verdict = context.verdict(FACTS, START)

    assert isinstance(verdict, Allowed)
    assert (verdict.policy_version, str(verdict.deadlines.merchant.length)) == (f"{SHOP}@3", "12 hours")


def test_deadlines_that_are_worse_are_refused_with_what_is_allowed() -> None:
    details = MerchantDetails(name="Shop", contact=MerchantContact(), rules=(clocked(merchant="3 days", inspection="1 hour"),))
    with pytest.raises(HarsherRules) as raised:
        check_own_rules(policy({"route": "agent"}), SHOP, details, NONE)

    [fault] = raised.value.faults
    assert (fault.pointer, fault.code) == ("/rules/0/merchant_deadline", FaultCode.harsher_deadline)
    assert fault.members == {"limit": "48 hours, agent"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90 seconds", 90),
        ("2 minutes", 120),
        ("3 hours", 10_800),
        ("2 days", 172_800),
        ("5 business_days", 604_800),
        ("1 month", 2_592_000),
    ],
)
def test_about_how_long_a_length_is(text: str, seconds: int) -> None:
    length = parse_length(text)
    assert length is not None
    assert nominal_seconds(length) == seconds


@pytest.mark.parametrize("first", [*OWN_CLOCKS, "31 days", "28 days", "0 days"])
@pytest.mark.parametrize("second", [*OWN_CLOCKS, "31 days", "28 days", "0 days"])
def test_at_most_is_true_on_every_day_or_not_said(first: str, second: str) -> None:
    one, two = parse_length(first), parse_length(second)
    assert one is not None
    assert two is not None
    form = policy({}, timezone="Asia/Shanghai")
    always = all(
        deadline(at, one, form.zone, CN) <= deadline(at, two, form.zone, CN)
        for at in (datetime(2026, 1, 1, 16, tzinfo=UTC) + day * DAY for day in range(400))
    )

    assert always or not at_most(one, two)
    if Unit.business_days not in (one.unit, two.unit):
        assert at_most(one, two) == always


# What is accepted without asking.


def test_what_would_be_handed_off_is_accepted_up_to_the_limit() -> None:
    context = terms(policy({"route": "merchant"}), CNY=10_000)

    def route(**members: Any) -> tuple[Route, str | None]:
        verdict = context.verdict(replace(FACTS, **members), START)
        assert isinstance(verdict, Allowed)
        return verdict.route, verdict.accepted_by

    assert route(amount=10_000) == (Route.automatic, f"{SHOP}@3")
    assert route(amount=10_001) == (Route.merchant, None)
    assert route(amount=6_000, taken=4_000) == (Route.automatic, f"{SHOP}@3")
    assert route(amount=6_000, taken=4_001) == (Route.merchant, None)
    assert route(amount=1, currency="USD") == (Route.merchant, None)


@pytest.mark.parametrize(("policys", "mine"), [("merchant", "return"), ("return", "merchant"), ("agent", "merchant")])
def test_what_is_accepted_is_kinder_than_a_return(policys: str, mine: str) -> None:
    """Whichever of both hands off: a merchant that accepts at once does not ask for the goods."""
    verdict = terms(policy({"route": policys}), {"route": mine}, CNY=10_000).verdict(FACTS, START)

    assert isinstance(verdict, Allowed)
    assert (verdict.route, verdict.accepted_by) == (Route.automatic, f"{SHOP}@3")
    above = terms(policy({"route": policys}), {"route": mine}, CNY=9_999).verdict(FACTS, START)
    assert isinstance(above, Allowed)
    assert above.route is not Route.automatic


@pytest.mark.parametrize("route", ["agent", "return"])
def test_nothing_is_accepted_that_others_decide(route: str) -> None:
    verdict = terms(policy({"route": route}), CNY=10**9).verdict(FACTS, START)

    assert isinstance(verdict, Allowed)
    assert (verdict.route, verdict.accepted_by) == (Route(route), None)


# Form.


def test_stored_rules_survive_the_way_to_the_database_and_back() -> None:
    for chance, _, rules in worlds(4, 300):
        again = parse_rules(json.loads(json.dumps(rules_data(rules))))
        assert again == rules
        assert parse_own_rules(rules_data(rules)) == rules
        assert chance is not None


@pytest.mark.parametrize("member", ["forfeit", "limits", "second_approval_above", "allocation", "verification", "colour"])
def test_what_is_the_policys_to_say_is_refused_in_an_own_rule(member: str) -> None:
    assert member not in OWN_RULE

    with pytest.raises(PolicyInvalid) as raised:
        own({member: {}})

    assert [fault.pointer for fault in raised.value.faults] == [f"/rules/0/{member}"]


@pytest.mark.parametrize("merchant_id", ["shop-1", "a@b", "@", "shop@2@3", "a/b%c"])
def test_the_name_of_a_version_leads_back_to_it(merchant_id: str) -> None:
    assert parse_rules_version(rules_version(merchant_id, 12)) == (merchant_id, 12)


def test_what_changed_is_named() -> None:
    before = merchant(CNY=5).details

    assert changed_members(None, before) == ("name", "contact", "auto_accept_up_to")
    assert changed_members(before, before) == ()
    assert changed_members(before, replace(before, rules=own({}), webhook="https://a.cn")) == ("webhook", "rules")
    assert changed_members(before, replace(before, contact=MerchantContact(phone="1"))) == ("contact",)


def test_facts_that_were_kept_before_taken_was_can_be_read() -> None:
    kept = facts_data(replace(FACTS, taken=7))
    assert facts_from(kept).taken == 7
    del kept["taken"]

    assert facts_from(kept) == replace(FACTS, taken=0)


def test_the_terms_of_a_cancellation_are_those_of_the_rule_that_decided() -> None:
    """Of the merchant's own rule though one of the policy has the same name."""
    form = policy({"name": "both", "route": "agent"}, second_approval_above={"CNY": 500})
    context = terms(form, {"name": "both", "route": "merchant", "merchant_deadline": {"length": "1 hour", "then": "accept"}})

    class Decided:
        rule = "both"
        policy_version = f"{SHOP}@3"
        facts = facts_data(replace(FACTS, merchant_id=SHOP))
        created_at = START

    class DecidedByPolicy(Decided):
        policy_version = "v"

    mine: Any = Decided()
    theirs: Any = DecidedByPolicy()
    assert context.effective_terms(mine).deadlines.merchant == Timeout(Length(1, Unit.hours), OnDeadline.accept)
    assert context.effective_terms(theirs).deadlines.merchant == Timeout(Length(48, Unit.hours), OnDeadline.agent)
    assert context.effective_terms(mine).second_approval_above == {"CNY": 500}
