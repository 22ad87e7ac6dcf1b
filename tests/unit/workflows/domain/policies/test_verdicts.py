"""Which rule decides, what a refusal tells, and which of two verdicts is kinder."""

import timeit
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.factories import COMPLETED_AT, FACTS, policy_of
from tests.unit.workflows.domain.policies.rules import decide, refusal, window
from workflows.domain.enums import (
    ActorRole,
    Anchor,
    Refusal,
)
from workflows.domain.errors import Window
from workflows.domain.policies.verdicts import Allowed, Denied, needs_second_approval


def test_the_first_open_rule_decides() -> None:
    form = policy_of(
        {"when": {"state": "pending"}},
        {"window": window("completed_at", "1 hour")},
        {"window": window("completed_at", "2 hours"), "route": "agent"},
        {"route": "merchant"},
    )

    found = [decide(form, now=COMPLETED_AT + timedelta(minutes=minutes)) for minutes in (59, 60, 119, 120)]

    assert [verdict.rule for verdict in found] == ["r1", "r2", "r2", "r3"]


def test_of_closed_windows_the_one_that_closed_last_is_told() -> None:
    form = policy_of(
        {"window": window("completed_at", "1 hour")},
        {"window": window("completed_at", "3 hours")},
        {"window": window("completed_at", "2 hours")},
        {"window": window("completed_at", "3 hours")},
        {"window": window("completed_at", "9 hours"), "when": {"state": "pending"}},  # its `when` does not hold
    )

    verdict = decide(form, now=COMPLETED_AT + timedelta(hours=4))

    assert refusal(verdict) == (Refusal.window_closed, "r1")
    assert verdict.window == Window(Anchor.completed_at, COMPLETED_AT, COMPLETED_AT + timedelta(hours=3))


def test_windows_that_all_lie_ahead_are_not_open_yet_and_the_first_to_open_is_told() -> None:
    form = policy_of(
        {"window": window("shipped_at", "1 day", requires_anchor=True)},
        {"window": window("delivered_at", "1 day")},
        {"window": window("completed_at", "1 day")},
    )

    verdict = decide(form, now=COMPLETED_AT - timedelta(days=1))

    assert refusal(verdict) == (Refusal.window_not_open, "r2")
    assert verdict.window == Window(Anchor.completed_at, COMPLETED_AT, COMPLETED_AT + timedelta(days=1))


def test_one_closed_window_outweighs_those_that_lie_ahead() -> None:
    form = policy_of({"window": window("delivered_at", "1 day")}, {"window": window("completed_at", "1 hour")})

    assert refusal(decide(form, now=COMPLETED_AT + timedelta(hours=1))) == (Refusal.window_closed, "r1")


def test_a_required_anchor_keeps_a_window_shut_until_it_happens() -> None:
    form = policy_of({"window": window("return_received_at", "1 day"), "requires_anchor": True})
    returned = replace(FACTS, anchors={Anchor.return_received_at: COMPLETED_AT})

    assert refusal(decide(form)) == (Refusal.window_not_open, "r0")
    assert isinstance(decide(form, returned), Allowed)


def test_what_alone_keeps_a_rule_shut_is_told() -> None:
    cases: list[tuple[dict[str, Any], tuple[Refusal, str | None]]] = [
        ({"category": "digital"}, (Refusal.category_excluded, "r0")),
        ({"category_not": "general"}, (Refusal.category_excluded, "r0")),
        ({"category_not": "general", "category": "digital"}, (Refusal.category_excluded, "r0")),
        ({"channel": ["hotline", "chat"]}, (Refusal.channel_not_allowed, "r0")),
        ({"channel_not": "app"}, (Refusal.channel_not_allowed, "r0")),
        ({"category": "digital", "channel": "chat"}, (Refusal.no_rule, None)),  # neither alone
        ({"category": "digital", "state": "pending"}, (Refusal.no_rule, None)),
        ({"category": "digital", "amount_above": 10_000, "currency": "CNY"}, (Refusal.no_rule, None)),
        ({"currency": "EUR"}, (Refusal.no_rule, None)),
    ]

    assert [(when, refusal(decide(policy_of({"when": when})))) for when, _ in cases] == cases


def test_a_rule_that_excludes_a_category_is_told_before_one_that_is_for_another() -> None:
    form = policy_of({"when": {"category": "transfer"}}, {"when": {"category_not": "general"}})

    assert refusal(decide(form)) == (Refusal.category_excluded, "r1")


def test_a_category_is_not_blamed_for_a_window_that_is_shut_anyway() -> None:
    form = policy_of({"when": {"category": "digital"}, "window": window("completed_at", "1 hour")})

    assert refusal(decide(form)) == (Refusal.category_excluded, "r0")
    assert refusal(decide(form, now=COMPLETED_AT + timedelta(hours=1))) == (Refusal.no_rule, None)


def test_a_closed_window_is_told_before_an_excluded_category() -> None:
    form = policy_of({"when": {"category": "digital"}}, {"window": window("completed_at", "1 hour")})

    assert refusal(decide(form, now=COMPLETED_AT + timedelta(hours=1))) == (Refusal.window_closed, "r1")


def test_each_refusal_may_have_next_steps_of_its_own() -> None:
    steps = {"default": {"next_steps": ["contact_support"]}, "window-closed": {"next_steps": ["contact_merchant"]}}
    form = policy_of({"window": window("completed_at", "1 hour")}, refusals=steps)

    closed, ahead = decide(form, now=COMPLETED_AT + timedelta(days=1)), decide(form, now=COMPLETED_AT - timedelta(days=1))

    assert isinstance(closed, Denied)
    assert closed.next_steps == ("contact_merchant",)
    assert isinstance(ahead, Denied)
    assert ahead.next_steps == ("contact_support",)
    assert isinstance(bare := decide(policy_of()), Denied)
    assert bare.next_steps == ()


def test_partials_keep_their_interval() -> None:
    form = policy_of({}, limits={"partial_interval": "1 minute"})
    again = replace(FACTS, partial=True, partial_refunds=1, last_partial_at=COMPLETED_AT)

    assert refusal(decide(form, again, COMPLETED_AT + timedelta(minutes=1) - timedelta(microseconds=1))) == (Refusal.limit_reached, "r0")
    assert isinstance(decide(form, again, COMPLETED_AT + timedelta(minutes=1)), Allowed)
    assert isinstance(decide(form, replace(again, partial=False), COMPLETED_AT), Allowed)
    assert isinstance(decide(form, replace(again, last_partial_at=None), COMPLETED_AT), Allowed)


@pytest.mark.parametrize(("asked", "allowed"), [(0, True), (2, True), (3, False), (4, False)])
@pytest.mark.parametrize("partial", [False, True])
def test_requests_per_day_bind_whole_and_partial_requests(asked: int, allowed: bool, partial: bool) -> None:
    form = policy_of({}, limits={"requests_per_day": 3})

    verdict = decide(form, replace(FACTS, requests_last_day=asked, partial=partial))

    assert isinstance(verdict, Allowed) is allowed


def test_no_partials_at_all_still_allows_the_whole() -> None:
    form = policy_of({}, limits={"partial_refunds_max": 0})

    assert isinstance(decide(form), Allowed)
    assert refusal(decide(form, replace(FACTS, partial=True))) == (Refusal.limit_reached, "r0")


@pytest.mark.parametrize("role", ActorRole)
def test_the_table_counts_where_one_person_of_ours_would_decide_alone(role: ActorRole) -> None:
    effective_terms = policy_of({}, second_approval_above={"CNY": 100}).effective_terms("r0")
    asks_for_others = role in {ActorRole.agent, ActorRole.supervisor}

    assert needs_second_approval(effective_terms, role, 101, "CNY", agent_decides=False) is asks_for_others
    assert needs_second_approval(effective_terms, role, 101, "CNY", agent_decides=True)
    assert not needs_second_approval(effective_terms, role, 100, "CNY", agent_decides=True)
    assert needs_second_approval(effective_terms, role, 1, "EUR", agent_decides=True)  # a currency that the table lacks counts as above


def test_a_decision_costs_microseconds() -> None:
    """A guard against a blunder, far above what is measured, so that a busy machine does not fail it."""
    form = policy_of(*({"when": {"state": "pending"}, "window": window("authorised_at", "7 days")} for _ in range(10)), {})

    assert min(timeit.repeat(lambda: decide(form), number=200, repeat=5)) / 200 < 0.001
