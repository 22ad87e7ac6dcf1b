"""Merchants' own rules: no clock of theirs is worse than the policy's, and each version has its name and says what changed."""

import pytest
from msgspec.structs import replace

from tests.factories import policy_of
from tests.unit.workflows.domain.policies.rules import clocked, merchant, own
from workflows.domain.enums import OnDeadline
from workflows.domain.model import MerchantContact
from workflows.domain.policies.merchants import changed_members, no_worse, parse_rules_version, rules_version

USUAL = policy_of({"route": "merchant"}, deadlines={"merchant": {"length": "48 hours", "then": "agent"}})


def test_a_clock_counts_as_far_as_it_is_no_worse() -> None:
    cases: list[tuple[dict[str, str], dict[str, str]]] = [
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
    ]

    def kept(given: dict[str, str]) -> dict[str, str]:
        rule = no_worse(clocked(**given), USUAL)
        clocks = {"merchant": rule.merchant_deadline, "return": rule.return_deadline, "inspection": rule.inspection_deadline}
        return {name: str(clock.length) for name, clock in clocks.items() if clock is not None}

    assert [(given, kept(given)) for given, _ in cases] == cases


def test_silence_counts_as_far_as_it_is_no_worse() -> None:
    def silence(then: str) -> OnDeadline:
        [rule] = own({"route": "merchant", "merchant_deadline": {"length": "1 hour", "then": then}})
        kept = no_worse(rule, USUAL).merchant_deadline
        assert kept is not None
        return kept.then

    assert [silence(then) for then in ("accept", "agent", "decline")] == [OnDeadline.accept, OnDeadline.agent, OnDeadline.agent]


@pytest.mark.parametrize("merchant_id", ["shop-1", "a@b", "@", "shop@2@3", "a/b%c"])
def test_the_name_of_a_version_leads_back_to_it(merchant_id: str) -> None:
    assert parse_rules_version(rules_version(merchant_id, 12)) == (merchant_id, 12)


def test_what_changed_is_named() -> None:
    before = merchant(CNY=5).details

    assert changed_members(None, before) == ("name", "contact", "auto_accept_up_to")
    assert changed_members(before, before) == ()
    assert changed_members(before, replace(before, rules=own({}), webhook="https://a.cn")) == ("webhook", "rules")
    assert changed_members(before, replace(before, contact=MerchantContact(phone="1"))) == ("contact",)
