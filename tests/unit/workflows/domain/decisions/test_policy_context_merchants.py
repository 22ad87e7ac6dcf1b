"""Who decides: the policy, or the merchant's own rules where they are kinder; and under whose terms."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.factories import COMPLETED_AT, FACTS, policy_of
from tests.unit.workflows.domain.policies.rules import SHOP, terms, within
from workflows.domain.enums import (
    OnDeadline,
    Route,
)
from workflows.domain.policies.facts import facts_data
from workflows.domain.policies.policy import Timeout
from workflows.domain.policies.verdicts import Allowed, Verdict
from workflows.domain.windows import Length, Unit


def test_equally_kind_verdicts_are_the_policys() -> None:
    form = policy_of(within("2 days", "merchant"))

    assert decided(terms(form, within("48 hours", "merchant")).verdict(FACTS, COMPLETED_AT)) == ("v", "r0")
    assert decided(terms(form, within("49 hours", "merchant")).verdict(FACTS, COMPLETED_AT)) == (f"{SHOP}@3", "own-0")


def decided(verdict: Verdict) -> tuple[str, str | None]:
    return verdict.policy_version, verdict.rule


def test_no_clock_is_worse_than_in_any_rule_of_the_policy() -> None:
    brief = {"route": "merchant", "merchant_deadline": {"length": "12 hours", "then": "agent"}}
    context = terms(policy_of({"route": "agent"}, brief), {"route": "merchant"})

    verdict = context.verdict(FACTS, COMPLETED_AT)

    assert isinstance(verdict, Allowed)
    assert (verdict.policy_version, str(verdict.deadlines.merchant.length)) == (f"{SHOP}@3", "12 hours")


def test_what_would_be_handed_off_is_accepted_up_to_the_limit() -> None:
    context = terms(policy_of({"route": "merchant"}), CNY=10_000)

    def route(**members: Any) -> tuple[Route, str | None]:
        verdict = context.verdict(replace(FACTS, **members), COMPLETED_AT)
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
    verdict = terms(policy_of({"route": policys}), {"route": mine}, CNY=10_000).verdict(FACTS, COMPLETED_AT)

    assert isinstance(verdict, Allowed)
    assert (verdict.route, verdict.accepted_by) == (Route.automatic, f"{SHOP}@3")
    above = terms(policy_of({"route": policys}), {"route": mine}, CNY=9_999).verdict(FACTS, COMPLETED_AT)
    assert isinstance(above, Allowed)
    assert above.route is not Route.automatic


@pytest.mark.parametrize("route", ["agent", "return"])
def test_nothing_is_accepted_that_others_decide(route: str) -> None:
    verdict = terms(policy_of({"route": route}), CNY=10**9).verdict(FACTS, COMPLETED_AT)

    assert isinstance(verdict, Allowed)
    assert (verdict.route, verdict.accepted_by) == (Route(route), None)


def test_the_terms_of_a_cancellation_are_those_of_the_rule_that_decided() -> None:
    """Of the merchant's own rule though one of the policy has the same name."""
    form = policy_of({"name": "both", "route": "agent"}, second_approval_above={"CNY": 500})
    context = terms(form, {"name": "both", "route": "merchant", "merchant_deadline": {"length": "1 hour", "then": "accept"}})

    class Decided:
        rule = "both"
        policy_version = f"{SHOP}@3"
        facts = facts_data(replace(FACTS, merchant_id=SHOP))
        created_at = COMPLETED_AT

    class DecidedByPolicy(Decided):
        policy_version = "v"

    mine: Any = Decided()
    theirs: Any = DecidedByPolicy()
    assert context.effective_terms(mine).deadlines.merchant == Timeout(Length(1, Unit.hours), OnDeadline.accept)
    assert context.effective_terms(theirs).deadlines.merchant == Timeout(Length(48, Unit.hours), OnDeadline.agent)
    assert context.effective_terms(mine).second_approval_above == {"CNY": 500}
