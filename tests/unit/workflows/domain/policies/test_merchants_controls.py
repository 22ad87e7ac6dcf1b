"""What a merchant's own rules do not change: shares, forfeits, verification and the second person, then and later."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import FACTS
from workflows.domain.decisions.policy_context import PolicyContext, context_for
from workflows.domain.enums import Allocation, CancellationState, Channel, Route, Source
from workflows.domain.model import MerchantContact
from workflows.domain.policies.comparison import harsher_rules
from workflows.domain.policies.form import parse_own_rules
from workflows.domain.policies.merchants import Merchant, MerchantDetails
from workflows.domain.policies.policy import Limits
from workflows.domain.policies.verdicts import Allowed
from workflows.domain.windows import Length, Unit

SHOP = "automatic"  # as the payments of `factories` name it
TWO_HOURS, THREE_HOURS = ({"anchor": "completed_at", "length": f"{hours} hours"} for hours in (2, 3))


def context(policys: list[dict[str, Any]], own: list[dict[str, Any]], **members: Any) -> PolicyContext:
    details = MerchantDetails(name="Shop", contact=MerchantContact(email="a@b.cn"), rules=parse_own_rules(own))
    merchant = Merchant(id=SHOP, version=1, details=details, created_at=make.NOW, changed_at=make.NOW, changed_by="olga")
    return context_for(make.policy(rules=policys, **members), merchant, make.Weekdays())


SHARES = {"allocation": "cash_first", "forfeit": ["coupon"], "verification": ["hotline"], "second_approval_above": {"CNY": 7}}


def test_shares_forfeits_and_persons_are_those_of_the_policys_rule_now_and_later() -> None:
    terms = context(
        [{"name": "theirs", "route": "automatic", "window": TWO_HOURS, **SHARES}],
        [{"name": "ours", "route": "automatic", "window": THREE_HOURS}],
    )
    snapshot = make.completed(funding=make.BOTH)

    change = make.request(snapshot, terms=terms)

    row = make.newest(change.after(snapshot))
    assert (row.policy_version, row.rule, row.route) == (f"{SHOP}@1", "ours", Route.automatic)
    expected = terms.policy.effective_terms("theirs")
    told = terms.effective_terms(row)
    assert (told.allocation, told.forfeit) == (Allocation.cash_first, frozenset({Source.coupon}))
    assert replace(told, deadlines=expected.deadlines) == expected
    assert row.forfeited == (100, 0), "the coupon is not given back, as without the merchant's rules"


def test_where_policy_refuses_its_strictest_terms_hold() -> None:
    terms = context(
        [
            {"name": "elsewhere", "when": {"merchant_id": "elsewhere"}, "route": "automatic", **SHARES},
            {"name": "other", "when": {"merchant_id": "other"}, "route": "automatic"},
        ],
        [{"name": "ours", "route": "automatic"}],
    )

    verdict = terms.verdict(replace(FACTS, merchant_id=SHOP), make.NOW)

    assert isinstance(verdict, Allowed)
    assert verdict.effective_terms.second_approval_above == {"CNY": 7}
    assert verdict.effective_terms.verification.channels == frozenset({Channel.hotline})
    assert verdict.effective_terms.forfeit == frozenset()


def test_where_policy_refuses_the_strictest_of_each_limit_holds() -> None:
    often = {"requests_per_day": 3, "partial_refunds_max": 2, "partial_interval": "2 hours"}
    seldom = {"requests_per_day": 5, "partial_refunds_max": 1, "partial_interval": "1 hours"}
    terms = context(
        [
            {"name": "elsewhere", "when": {"merchant_id": "elsewhere"}, "route": "automatic", "limits": often},
            {"name": "other", "when": {"merchant_id": "other"}, "route": "automatic", "limits": seldom},
        ],
        [{"name": "ours", "route": "automatic"}],
    )

    verdict = terms.verdict(replace(FACTS, merchant_id=SHOP), make.NOW)

    assert isinstance(verdict, Allowed)
    assert verdict.effective_terms.limits == Limits(requests_per_day=3, partial_refunds_max=1, partial_interval=Length(2, Unit.hours))


@pytest.mark.parametrize(
    ("policys", "needed"),
    [
        ([{"name": "r", "route": "agent"}], True),
        ([{"name": "r", "when": {"merchant_id": "elsewhere"}, "route": "automatic"}], True),
        ([{"name": "r", "route": "merchant"}], False),
        ([{"name": "r", "route": "automatic", "window": TWO_HOURS}], False),
    ],
)
def test_one_of_ours_gets_no_way_around_a_colleague(policys: list[dict[str, Any]], needed: bool) -> None:
    """A cent, asked for by an agent: policy refuses it, leaves it to another agent, or to the merchant, or allows it."""
    terms = context(policys, [{"name": "ours", "route": "automatic"}])
    snapshot = make.completed()

    change = make.request(snapshot, make.requested(actor=make.AGENT, amount=1), terms=terms)

    row = make.newest(change.after(snapshot))
    assert (row.rule, row.second_approval) == ("ours", needed)
    assert row.state is (CancellationState.awaiting_second_approval if needed else CancellationState.executing)


def test_the_customer_himself_needs_nobody_for_what_the_merchant_grants() -> None:
    terms = context([{"name": "r", "route": "agent"}], [{"name": "ours", "route": "automatic"}])

    row = make.newest(make.request(snapshot := make.completed(), terms=terms).after(snapshot))

    assert (row.state, row.second_approval) == (CancellationState.executing, False)


def test_a_hand_off_that_the_merchant_accepts_beforehand_is_not_called_harsher() -> None:
    """Goods worth little may be kept: policy wants them back, and the merchant's own hand-off is accepted without asking it."""
    policy = make.policy(rules=[{"name": "back", "route": "return", "window": TWO_HOURS}])
    keep_it = parse_own_rules([{"name": "keep-it", "route": "merchant", "window": TWO_HOURS}])

    assert [rule.name for rule in harsher_rules(policy, SHOP, keep_it, make.Weekdays())] == ["keep-it"]
    assert harsher_rules(policy, SHOP, keep_it, make.Weekdays(), accepts=True) == ()
