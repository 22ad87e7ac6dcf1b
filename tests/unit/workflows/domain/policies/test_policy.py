"""The policy engine: conditions, refusals, limits, kindness, and facts that can be replayed."""

import json
import timeit
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from service.calendars import calendar
from workflows.domain.enums import (
    ActorRole,
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
    Source,
)
from workflows.domain.errors import Window
from workflows.domain.policies.facts import PolicyFacts, facts_data, facts_from
from workflows.domain.policies.form import parse_policy, parse_rules
from workflows.domain.policies.policy import Policy, Verification
from workflows.domain.policies.verdicts import Allowed, Denied, Verdict, decide_route, more_favourable, needs_second_approval
from workflows.domain.windows import Length, Unit

NONE = calendar("none")
START = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

FACTS = PolicyFacts(
    state=PaymentState.completed,
    fulfilment=Fulfilment.none,
    category=Category.general,
    merchant_id="m-1",
    currency="CNY",
    amount=10_000,
    role=ActorRole.wallet,
    channel=Channel.app,
    reason=Reason.changed_mind,
    sources=(Source.balance, Source.coupon),
    anchors={Anchor.completed_at: START, Anchor.delivered_at: START + timedelta(days=2)},
    partial=False,
)


def policy(*rules: dict[str, Any], **members: Any) -> Policy:
    named = [{"name": f"r{position}", "route": "automatic", **rule} for position, rule in enumerate(rules)]
    return parse_policy(
        {"version": "v", "effective_from": "2026-01-01T00:00:00Z", "timezone": "UTC", "calendar": "none", "rules": named, **members}
    )


def decide(form: Policy, facts: PolicyFacts = FACTS, now: datetime = START) -> Verdict:
    return decide_route(form, facts, now, NONE)


def refusal(verdict: Verdict) -> tuple[Refusal, str | None]:
    assert isinstance(verdict, Denied)
    return verdict.refusal, verdict.rule


def window(anchor: str, length: str, **members: Any) -> dict[str, Any]:
    return {"anchor": anchor, "length": length, **members}


@pytest.mark.parametrize(
    ("name", "holding", "failing"),
    [
        ("state", "completed", "pending"),
        ("fulfilment", ["none", "preparing"], ["shipped", "delivered"]),
        ("category", "general", "digital"),
        ("merchant_id", "m-1", "m-2"),
        ("currency", ["EUR", "CNY"], ["EUR"]),
        ("amount", 10_000, [9_999, 10_001]),
        ("role", "wallet", "merchant"),
        ("channel", "app", "hotline"),
        ("reason", "changed_mind", "damaged"),
        ("source", "coupon", "card"),
        ("source", ["card", "balance"], ["card", "bank"]),
    ],
)
def test_every_test_and_its_negation(name: str, holding: Any, failing: Any) -> None:
    assert isinstance(decide(policy({"when": {name: holding}})), Allowed)
    assert isinstance(decide(policy({"when": {name: failing}})), Denied)
    assert isinstance(decide(policy({"when": {f"{name}_not": failing}})), Allowed)
    assert isinstance(decide(policy({"when": {f"{name}_not": holding}})), Denied)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"amount_above": 9_999, "currency": "CNY"}, True),
        ({"amount_above": 10_000, "currency": "CNY"}, False),
        ({"amount_up_to": 10_000, "currency": "CNY"}, True),
        ({"amount_up_to": 9_999, "currency": "CNY"}, False),
        ({"amount_above": 9_999, "amount_up_to": 10_000, "currency": "CNY"}, True),
        ({"state": "completed", "currency": "EUR"}, False),  # all tests must hold
        ({}, True),
    ],
)
def test_amounts_have_bounds_and_all_tests_must_hold(when: dict[str, Any], holds: bool) -> None:
    assert isinstance(decide(policy({"when": when})), Allowed) is holds


def test_a_source_that_is_not_there_and_one_that_is() -> None:
    """`source_not` means that no source is one of these, not that some source is another."""
    assert isinstance(decide(policy({"when": {"source_not": "card"}})), Allowed)
    assert isinstance(decide(policy({"when": {"source_not": ["card", "coupon"]}})), Denied)


def test_no_reason_fails_a_test_for_one_and_passes_its_negation() -> None:
    nameless = replace(FACTS, reason=None)

    assert refusal(decide(policy({"when": {"reason": list(Reason)}}), nameless)) == (Refusal.no_rule, None)
    assert isinstance(decide(policy({"when": {"reason_not": list(Reason)}}), nameless), Allowed)


def test_the_first_open_rule_decides() -> None:
    form = policy(
        {"when": {"state": "pending"}},
        {"window": window("completed_at", "1 hour")},
        {"window": window("completed_at", "2 hours"), "route": "agent"},
        {"route": "merchant"},
    )

    found = [decide(form, now=START + timedelta(minutes=minutes)) for minutes in (59, 60, 119, 120)]

    assert [verdict.rule for verdict in found] == ["r1", "r2", "r2", "r3"]


def test_of_closed_windows_the_one_that_closed_last_is_told() -> None:
    form = policy(
        {"window": window("completed_at", "1 hour")},
        {"window": window("completed_at", "3 hours")},
        {"window": window("completed_at", "2 hours")},
        {"window": window("completed_at", "3 hours")},
        {"window": window("completed_at", "9 hours"), "when": {"state": "pending"}},  # its `when` does not hold
    )

    verdict = decide(form, now=START + timedelta(hours=4))

    assert refusal(verdict) == (Refusal.window_closed, "r1")
    assert verdict.window == Window(Anchor.completed_at, START, START + timedelta(hours=3))


def test_windows_that_all_lie_ahead_are_not_open_yet_and_the_first_to_open_is_told() -> None:
    form = policy(
        {"window": window("shipped_at", "1 day", requires_anchor=True)},
        {"window": window("delivered_at", "1 day")},
        {"window": window("completed_at", "1 day")},
    )

    verdict = decide(form, now=START - timedelta(days=1))

    assert refusal(verdict) == (Refusal.window_not_open, "r2")
    assert verdict.window == Window(Anchor.completed_at, START, START + timedelta(days=1))


def test_one_closed_window_outweighs_those_that_lie_ahead() -> None:
    form = policy({"window": window("delivered_at", "1 day")}, {"window": window("completed_at", "1 hour")})

    assert refusal(decide(form, now=START + timedelta(hours=1))) == (Refusal.window_closed, "r1")


def test_a_required_anchor_keeps_a_window_shut_until_it_happens() -> None:
    form = policy({"window": window("return_received_at", "1 day"), "requires_anchor": True})
    returned = replace(FACTS, anchors={Anchor.return_received_at: START})

    assert refusal(decide(form)) == (Refusal.window_not_open, "r0")
    assert isinstance(decide(form, returned), Allowed)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"category": "digital"}, (Refusal.category_excluded, "r0")),
        ({"category_not": "general"}, (Refusal.category_excluded, "r0")),
        ({"category_not": "general", "category": "digital"}, (Refusal.category_excluded, "r0")),
        ({"channel": ["hotline", "chat"]}, (Refusal.channel_not_allowed, "r0")),
        ({"channel_not": "app"}, (Refusal.channel_not_allowed, "r0")),
        ({"category": "digital", "channel": "chat"}, (Refusal.no_rule, None)),  # neither alone
        ({"category": "digital", "state": "pending"}, (Refusal.no_rule, None)),
        ({"category": "digital", "amount_above": 10_000, "currency": "CNY"}, (Refusal.no_rule, None)),
        ({"currency": "EUR"}, (Refusal.no_rule, None)),
    ],
)
def test_what_alone_keeps_a_rule_shut_is_told(when: dict[str, Any], expected: tuple[Refusal, str | None]) -> None:
    assert refusal(decide(policy({"when": when}))) == expected


def test_a_rule_that_excludes_a_category_is_told_before_one_that_is_for_another() -> None:
    form = policy({"when": {"category": "transfer"}}, {"when": {"category_not": "general"}})

    assert refusal(decide(form)) == (Refusal.category_excluded, "r1")


def test_a_category_is_not_blamed_for_a_window_that_is_shut_anyway() -> None:
    form = policy({"when": {"category": "digital"}, "window": window("completed_at", "1 hour")})

    assert refusal(decide(form)) == (Refusal.category_excluded, "r0")
    assert refusal(decide(form, now=START + timedelta(hours=1))) == (Refusal.no_rule, None)


def test_a_closed_window_is_told_before_an_excluded_category() -> None:
    form = policy({"when": {"category": "digital"}}, {"window": window("completed_at", "1 hour")})

    assert refusal(decide(form, now=START + timedelta(hours=1))) == (Refusal.window_closed, "r1")


def test_each_refusal_may_have_next_steps_of_its_own() -> None:
    steps = {"default": {"next_steps": ["contact_support"]}, "window-closed": {"next_steps": ["contact_merchant"]}}
    form = policy({"window": window("completed_at", "1 hour")}, refusals=steps)

    closed, ahead = decide(form, now=START + timedelta(days=1)), decide(form, now=START - timedelta(days=1))

    assert isinstance(closed, Denied)
    assert closed.next_steps == ("contact_merchant",)
    assert isinstance(ahead, Denied)
    assert ahead.next_steps == ("contact_support",)
    assert isinstance(bare := decide(policy()), Denied)
    assert bare.next_steps == ()


def test_partials_keep_their_interval() -> None:
    form = policy({}, limits={"partial_interval": "1 minute"})
    again = replace(FACTS, partial=True, partial_refunds=1, last_partial_at=START)

    assert refusal(decide(form, again, START + timedelta(minutes=1) - MICROSECOND)) == (Refusal.limit_reached, "r0")
    assert isinstance(decide(form, again, START + timedelta(minutes=1)), Allowed)
    assert isinstance(decide(form, replace(again, partial=False), START), Allowed)
    assert isinstance(decide(form, replace(again, last_partial_at=None), START), Allowed)


@pytest.mark.parametrize(("asked", "allowed"), [(0, True), (2, True), (3, False), (4, False)])
@pytest.mark.parametrize("partial", [False, True])
def test_requests_per_day_bind_whole_and_partial_requests(asked: int, allowed: bool, partial: bool) -> None:
    form = policy({}, limits={"requests_per_day": 3})

    verdict = decide(form, replace(FACTS, requests_last_day=asked, partial=partial))

    assert isinstance(verdict, Allowed) is allowed


def test_no_partials_at_all_still_allows_the_whole() -> None:
    form = policy({}, limits={"partial_refunds_max": 0})

    assert isinstance(decide(form), Allowed)
    assert refusal(decide(form, replace(FACTS, partial=True))) == (Refusal.limit_reached, "r0")


def test_a_rules_own_terms_go_before_the_policys() -> None:
    form = policy(
        {
            "route": "merchant",
            "merchant_deadline": {"length": "1 day", "then": "accept"},
            "second_approval_above": {"CNY": 1},
            "allocation": "cash_first",
            "forfeit": True,
            "limits": {"partial_refunds_max": 1},
        },
        limits={"partial_refunds_max": 9, "requests_per_day": 2},
        second_approval_above={"CNY": 5, "EUR": 5},
        deadlines={"merchant": {"length": "2 days", "then": "decline"}, "agent": "1 business_day"},
    )

    verdict = decide(form)

    assert isinstance(verdict, Allowed)
    assert verdict.deadlines.merchant.length == Length(1, Unit.days)
    assert verdict.deadlines.merchant.then is OnDeadline.accept
    assert verdict.deadlines.agent == Length(1, Unit.business_days)
    assert verdict.effective_terms.allocation is Allocation.cash_first
    assert verdict.effective_terms.forfeit == {Source.coupon, Source.points}
    assert needs_second_approval(verdict.effective_terms, Role.agent, 2, "CNY", agent_decides=False)
    assert needs_second_approval(
        verdict.effective_terms, Role.agent, 2, "EUR", agent_decides=False
    )  # the rule's table replaces the policy's
    assert refusal(decide(form, replace(FACTS, partial=True, partial_refunds=1))) == (Refusal.limit_reached, "r0")
    assert refusal(decide(form, replace(FACTS, requests_last_day=2))) == (Refusal.limit_reached, "r0")


def test_a_rules_empty_table_and_longer_interval_go_before_the_policys_too() -> None:
    form = policy(
        {"second_approval_above": {}, "limits": {"partial_interval": "1 hour"}},
        second_approval_above={"CNY": 5},
        limits={"partial_interval": "1 minute"},
    )
    again = replace(FACTS, partial=True, partial_refunds=1, last_partial_at=START)

    assert needs_second_approval(form.effective_terms("r0"), Role.agent, 1, "CNY", agent_decides=False)
    assert isinstance(decide(form, again, START + timedelta(minutes=59)), Denied)
    assert isinstance(decide(form, again, START + timedelta(hours=1)), Allowed)


def test_a_merchants_own_rules_stand_on_the_policys_terms() -> None:
    base = policy({"route": "agent"}, second_approval_above={"CNY": 7}, deadlines={"agent": "1 day"})
    own = base.with_rules("m-1:3", parse_rules([{"name": "kind", "route": "automatic"}]))

    verdict = decide(own)

    assert isinstance(verdict, Allowed)
    assert (verdict.rule, verdict.policy_version, dict(verdict.effective_terms.second_approval_above)) == ("kind", "m-1:3", {"CNY": 7})
    assert verdict.deadlines.agent == Length(1, Unit.days)
    assert more_favourable(decide(base), verdict) is verdict


def test_kindness_goes_by_route_then_by_the_later_end() -> None:
    def allowed(route: str, hours: int | None) -> Verdict:
        return decide(policy({"route": route} | ({} if hours is None else {"window": window("completed_at", f"{hours} hours")})))

    ladder = [
        decide(policy()),
        allowed("agent", 1),
        allowed("agent", None),
        allowed("merchant", 1),
        allowed("return", 1),
        allowed("automatic", 1),
        allowed("void", 2),
        allowed("automatic", None),
    ]

    for position, kind in enumerate(ladder):
        for harsher in ladder[:position]:
            assert more_favourable(kind, harsher) is kind
            assert more_favourable(harsher, kind) is kind
    equal = allowed("void", 2)
    assert more_favourable(equal, ladder[6]) is equal  # of equals the first


@pytest.mark.parametrize("role", ActorRole)
def test_the_table_counts_where_one_person_of_ours_would_decide_alone(role: ActorRole) -> None:
    effective_terms = policy({}, second_approval_above={"CNY": 100}).effective_terms("r0")
    asks_for_others = role in {ActorRole.agent, ActorRole.supervisor}

    assert needs_second_approval(effective_terms, role, 101, "CNY", agent_decides=False) is asks_for_others
    assert needs_second_approval(effective_terms, role, 101, "CNY", agent_decides=True)
    assert not needs_second_approval(effective_terms, role, 100, "CNY", agent_decides=True)
    assert needs_second_approval(effective_terms, role, 1, "EUR", agent_decides=True)  # a currency that the table lacks counts as above


def test_a_cancellation_that_no_rule_decided_is_under_the_policys_own_terms() -> None:
    form = policy({"allocation": "cash_first"}, second_approval_above={"CNY": 5}, verification=["hotline"])

    assert (form.effective_terms(None).allocation, dict(form.effective_terms(None).second_approval_above)) == (
        Allocation.pro_rata,
        {"CNY": 5},
    )
    hotline = Verification(channels=frozenset({Channel.hotline}))
    assert form.effective_terms("r0").verification == form.effective_terms(None).verification == hotline
    assert policy({"verification": False}, verification=True).effective_terms("r0").verification == Verification()


_moments = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- bounds are naive by hypothesis's own rule
_facts = st.builds(
    PolicyFacts,
    state=st.sampled_from(PaymentState),
    fulfilment=st.sampled_from(Fulfilment),
    category=st.sampled_from(Category),
    merchant_id=st.text(min_size=1, max_size=64),
    currency=st.sampled_from(["CNY", "JPY"]),
    amount=st.integers(1, 10**15),
    role=st.sampled_from(ActorRole),
    channel=st.sampled_from(Channel),
    reason=st.none() | st.sampled_from(Reason),
    sources=st.lists(st.sampled_from(Source), max_size=6).map(tuple),
    anchors=st.dictionaries(st.sampled_from(Anchor), st.none() | _moments),
    partial=st.booleans(),
    partial_refunds=st.integers(0, 100),
    last_partial_at=st.none() | _moments,
    requests_last_day=st.integers(0, 100),
)


@given(facts=_facts)
def test_facts_survive_json(facts: PolicyFacts) -> None:
    text = json.dumps(facts_data(facts))

    assert facts_from(json.loads(text)) == facts
    assert "+00:00" not in text


@given(facts=_facts, now=_moments)
def test_every_decision_replays_from_its_facts(facts: PolicyFacts, now: datetime) -> None:
    form = policy(
        {"when": {"state": "pending"}, "window": window("authorised_at", "7 days")},
        {"when": {"category_not": "digital", "reason_not": "other"}, "window": window("delivered_at", "7 days", count_from="next_day")},
        {"when": {"role": ["agent"]}, "window": window("completed_at", "13 months"), "route": "agent"},
        limits={"partial_refunds_max": 50, "partial_interval": "1 minute"},
    )

    assert decide(form, facts_from(facts_data(facts)), now) == decide(form, facts, now)


def test_a_decision_costs_microseconds() -> None:
    """A guard against a blunder, far above what is measured, so that a busy machine does not fail it."""
    form = policy(*({"when": {"state": "pending"}, "window": window("authorised_at", "7 days")} for _ in range(10)), {})

    assert min(timeit.repeat(lambda: decide(form), number=200, repeat=5)) / 200 < 0.001
