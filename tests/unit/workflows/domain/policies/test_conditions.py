"""What a rule's `when` tests: every subject, its negation, and the bounds of an amount."""

from typing import Any

from msgspec.structs import replace

from tests.factories import FACTS, policy_of
from tests.unit.workflows.domain.policies.rules import decide, refusal
from workflows.domain.enums import (
    Reason,
    Refusal,
)
from workflows.domain.policies.conditions import Subject
from workflows.domain.policies.verdicts import Allowed, Denied


def test_every_test_and_its_negation() -> None:
    cases: list[tuple[str, Any, Any]] = [
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
    ]
    assert {name for name, _, _ in cases} == set(Subject)
    wrong = [
        f"{test}: {values}"
        for name, holding, failing in cases
        for test, values, holds in (
            (name, holding, True),
            (name, failing, False),
            (f"{name}_not", failing, True),
            (f"{name}_not", holding, False),
        )
        if isinstance(decide(policy_of({"when": {test: values}})), Allowed) is not holds
    ]

    assert wrong == []


def test_amounts_have_bounds_and_all_tests_must_hold() -> None:
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"amount_above": 9_999, "currency": "CNY"}, True),
        ({"amount_above": 10_000, "currency": "CNY"}, False),
        ({"amount_up_to": 10_000, "currency": "CNY"}, True),
        ({"amount_up_to": 9_999, "currency": "CNY"}, False),
        ({"amount_above": 9_999, "amount_up_to": 10_000, "currency": "CNY"}, True),
        ({"state": "completed", "currency": "EUR"}, False),  # all tests must hold
        ({}, True),
    ]

    assert [when for when, holds in cases if isinstance(decide(policy_of({"when": when})), Allowed) is not holds] == []


def test_a_source_that_is_not_there_and_one_that_is() -> None:
    """`source_not` means that no source is one of these, not that some source is another."""
    assert isinstance(decide(policy_of({"when": {"source_not": "card"}})), Allowed)
    assert isinstance(decide(policy_of({"when": {"source_not": ["card", "coupon"]}})), Denied)


def test_no_reason_fails_a_test_for_one_and_passes_its_negation() -> None:
    nameless = replace(FACTS, reason=None)

    assert refusal(decide(policy_of({"when": {"reason": list(Reason)}}), nameless)) == (Refusal.no_rule, None)
    assert isinstance(decide(policy_of({"when": {"reason_not": list(Reason)}}), nameless), Allowed)
