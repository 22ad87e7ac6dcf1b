"""The policy engine: conditions, refusals, limits, kindness, and facts that can be replayed."""

from datetime import timedelta

from msgspec.structs import replace

from tests.factories import COMPLETED_AT, FACTS, policy_of
from tests.unit.workflows.domain.policies.rules import decide, refusal
from workflows.domain.enums import (
    Allocation,
    Channel,
    OnDeadline,
    Refusal,
    Role,
    Source,
)
from workflows.domain.policies.form import parse_rules
from workflows.domain.policies.policy import Verification
from workflows.domain.policies.verdicts import Allowed, Denied, more_favourable, needs_second_approval
from workflows.domain.windows import Length, Unit


def test_a_rules_own_terms_go_before_the_policys() -> None:
    form = policy_of(
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
    form = policy_of(
        {"second_approval_above": {}, "limits": {"partial_interval": "1 hour"}},
        second_approval_above={"CNY": 5},
        limits={"partial_interval": "1 minute"},
    )
    again = replace(FACTS, partial=True, partial_refunds=1, last_partial_at=COMPLETED_AT)

    assert needs_second_approval(form.effective_terms("r0"), Role.agent, 1, "CNY", agent_decides=False)
    assert isinstance(decide(form, again, COMPLETED_AT + timedelta(minutes=59)), Denied)
    assert isinstance(decide(form, again, COMPLETED_AT + timedelta(hours=1)), Allowed)


def test_a_merchants_own_rules_stand_on_the_policys_terms() -> None:
    base = policy_of({"route": "agent"}, second_approval_above={"CNY": 7}, deadlines={"agent": "1 day"})
    own = base.with_rules("m-1:3", parse_rules([{"name": "kind", "route": "automatic"}]))

    verdict = decide(own)

    assert isinstance(verdict, Allowed)
    assert (verdict.rule, verdict.policy_version, dict(verdict.effective_terms.second_approval_above)) == ("kind", "m-1:3", {"CNY": 7})
    assert verdict.deadlines.agent == Length(1, Unit.days)
    assert more_favourable(decide(base), verdict) is verdict


def test_a_cancellation_that_no_rule_decided_is_under_the_policys_own_terms() -> None:
    form = policy_of({"allocation": "cash_first"}, second_approval_above={"CNY": 5}, verification=["hotline"])

    assert (form.effective_terms(None).allocation, dict(form.effective_terms(None).second_approval_above)) == (
        Allocation.pro_rata,
        {"CNY": 5},
    )
    hotline = Verification(channels=frozenset({Channel.hotline}))
    assert form.effective_terms("r0").verification == form.effective_terms(None).verification == hotline
    assert policy_of({"verification": False}, verification=True).effective_terms("r0").verification == Verification()
