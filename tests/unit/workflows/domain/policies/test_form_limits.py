"""The part of a policy's form that limits agents: written as it was read, and every fault at its place."""

from typing import Any

import pytest

from tests import factories as make
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.form import PolicyInvalid, parse_policy

LIMITS = {"requests_per_day": 3, "amount_per_day": {"CNY": 1_000}, "refunds_to_wallet_per_day": 2}


def test_the_written_form_comes_back() -> None:
    cases: list[dict[str, Any]] = [LIMITS, {}, {"requests_per_day": 1}, {"amount_per_day": {"JPY": 1}}, {"refunds_to_wallet_per_day": 1}]
    for limits in cases:
        made = make.policy(agent_limits=limits)

        assert policy_data(made)["agent_limits"] == limits
        assert parse_policy(policy_data(made)) == made
    assert "agent_limits" not in policy_data(make.policy())


def test_every_fault_is_named_with_its_place() -> None:
    cases: list[tuple[object, str]] = [
        ([], "/agent_limits"),
        ({"per_day": 1}, "/agent_limits/per_day"),
        ({"requests_per_day": 0}, "/agent_limits/requests_per_day"),
        ({"requests_per_day": True}, "/agent_limits/requests_per_day"),
        ({"requests_per_day": None}, "/agent_limits/requests_per_day"),
        ({"refunds_to_wallet_per_day": 1_000_001}, "/agent_limits/refunds_to_wallet_per_day"),
        ({"amount_per_day": 1}, "/agent_limits/amount_per_day"),
        ({"amount_per_day": {"cny": 1}}, "/agent_limits/amount_per_day/cny"),
        ({"amount_per_day": {"CNY": 0}}, "/agent_limits/amount_per_day/CNY"),
        ({"amount_per_day": {"CNY": 1.5}}, "/agent_limits/amount_per_day/CNY"),
    ]

    def told(limits: object) -> list[str]:
        with pytest.raises(PolicyInvalid) as raised:
            make.policy(agent_limits=limits)
        return [fault.pointer for fault in raised.value.faults]

    assert [(limits, told(limits)) for limits, _ in cases] == [(limits, [pointer]) for limits, pointer in cases]
