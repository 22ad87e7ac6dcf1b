"""The part of a policy's form that binds agents: read, written as it was read, and every fault at its place."""

from typing import Any

import pytest

from tests import factories as make
from workflows.domain.enums import Channel
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.form import PolicyInvalid, parse_policy
from workflows.domain.policies.policy import Verification

TIER = {"name": "simple", "first_response": "2 hours"}
WHOLE_TIER = {
    "name": "hard",
    "when": {"amount_above": 5, "currency": "CNY"},
    "routes": ["agent", "return"],
    "first_response": "1 hour",
    "resolution": "3 days",
    "investigation": True,
}
VERIFICATION = {"channels": ["hotline"], "methods": ["otp", "callback"]}


def test_what_is_wrong_is_told_with_its_place() -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"response_tiers": [{"name": "simple"}]}, "/response_tiers/0/first_response", "required"),
        ({"response_tiers": [TIER, TIER]}, "/response_tiers/1/name", "duplicate_tier_name"),
        ({"response_tiers": [{**TIER, "name": "Very Simple"}]}, "/response_tiers/0/name", "invalid_tier_name"),
        ({"response_tiers": [{**TIER, "routes": ["somebody"]}]}, "/response_tiers/0/routes/0", "unknown_value"),
        ({"response_tiers": [{**TIER, "first_response": "soon"}]}, "/response_tiers/0/first_response", "invalid_duration"),
        ({"response_tiers": [{**TIER, "when": {"mood": "bad"}}]}, "/response_tiers/0/when/mood", "unknown_policy_member"),
        ({"working_hours": {"opens": "09:00"}}, "/working_hours/closes", "required"),
        ({"working_hours": {"opens": "9:00", "closes": "18:00"}}, "/working_hours/opens", "invalid_wall_time"),
        ({"working_hours": {"opens": "18:00", "closes": "09:00"}}, "/working_hours", "working_hours_reversed"),
        ({"working_hours": {"opens": "09:00", "closes": "09:00"}}, "/working_hours", "working_hours_reversed"),
    ]

    def told(members: dict[str, Any]) -> list[tuple[str, str]]:
        with pytest.raises(PolicyInvalid) as raised:
            make.policy(**members)
        return [(fault.pointer, fault.code) for fault in raised.value.faults]

    assert [(members, told(members)) for members, _, _ in cases] == [(members, [(pointer, code)]) for members, pointer, code in cases]


def test_the_form_is_written_as_it_was_read() -> None:
    policy = make.policy(response_tiers=[TIER, WHOLE_TIER], working_hours={"opens": "09:00", "closes": "18:30"})

    assert parse_policy(policy_data(policy)) == policy
    assert policy_data(policy)["working_hours"] == {"opens": "09:00", "closes": "18:30"}


def test_hours_that_are_reversed_are_told_beside_other_faults() -> None:
    with pytest.raises(PolicyInvalid) as raised:
        make.policy(calendar="nowhere", working_hours={"opens": "18:00", "closes": "09:00"})

    assert {fault.code for fault in raised.value.faults} == {"invalid_calendar", "working_hours_reversed"}


def test_verification_is_written_as_it_was_read() -> None:
    policy = make.policy(verification=VERIFICATION)

    assert policy_data(policy)["verification"] == {"channels": ["hotline"], "methods": ["callback", "otp"]}
    assert parse_policy(policy_data(policy)) == policy
    assert policy_data(make.policy(verification=["chat"]))["verification"] == ["chat"]


def test_verification_everywhere_is_wherever_somebody_else_asks() -> None:
    everywhere = make.policy(verification=True).verification.channels

    assert everywhere == frozenset(Channel) - {Channel.app, Channel.merchant, Channel.system}
    assert make.policy(verification={"methods": ["otp"]}).verification.channels == everywhere
    assert make.policy(verification=False).verification == make.policy(verification=[]).verification == Verification()
    with pytest.raises(PolicyInvalid) as raised:
        make.policy(verification=["app"])
    assert [fault.pointer for fault in raised.value.faults] == ["/verification/0"]
