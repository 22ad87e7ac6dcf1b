"""What is written of a policy and of rules reads back equal."""

import json
from typing import Any

import pytest
import yaml

from tests.unit.workflows.domain.policies.rules import BARE, WHOLE, random_policies, with_rule
from workflows.domain.policies.document import policy_data, rules_data
from workflows.domain.policies.form import PolicyInvalid, parse_own_rules, parse_policy, parse_rules


@pytest.mark.slow
def test_stored_rules_survive_the_way_to_the_database_and_back() -> None:
    for chance, _, rules in random_policies(4, 300):
        again = parse_rules(json.loads(json.dumps(rules_data(rules))))
        assert again == rules
        assert parse_own_rules(rules_data(rules)) == rules
        assert chance is not None


@pytest.mark.parametrize("source", [BARE, yaml.safe_load(WHOLE)], ids=["bare", "whole"])
def test_what_is_written_reads_back_equal_through_json_and_yaml(source: dict[str, Any]) -> None:
    policy = parse_policy(source)
    data = policy_data(policy)

    assert parse_policy(data) == policy
    assert parse_policy(json.loads(json.dumps(data))) == policy
    assert parse_policy(yaml.safe_load(yaml.safe_dump(data))) == policy
    assert policy_data(parse_policy(data)) == data
    assert parse_rules(rules_data(policy.rules)) == policy.rules


@pytest.mark.parametrize(
    "earlier",
    [with_rule(when={"amount_above": 5}), {**BARE, "timezone": "Factory"}, {**BARE, "effective_from": "1900-01-01T00:00:00+14:00"}],
)
def test_what_was_published_before_it_was_refused_is_still_read(earlier: dict[str, object]) -> None:
    """A published version decides for years, and nobody can change it."""
    policy = parse_policy(earlier)

    assert parse_policy(policy_data(policy)) == policy
    with pytest.raises(PolicyInvalid):
        parse_policy(earlier, new=True)
