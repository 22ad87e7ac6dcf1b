"""The JSON schema of policies: the file is up to date, and it takes and refuses what the form does, as far as a schema can."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from service.api.models.policies import PolicyDocument
from service.api.models.policy_schema import policy_schema, policy_schema_file
from service.shipped_policies import default_policy
from service.terminal.policies import schema_text
from tests.unit.workflows.domain.policies.rules import BARE, WHOLE, faults
from workflows.domain.policies import document, form, form_agents, form_limits
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.form import PolicyInvalid, parse_policy

FOLDER = Path("service/policies")
DEFAULT = (FOLDER / "default.yaml").read_text("utf-8")
VALIDATOR = jsonschema_rs.validator_for(policy_schema_file(), validate_formats=True)


def as_json(text: str) -> Any:
    """YAML with its times as JSON has them."""
    return json.loads(json.dumps(yaml.safe_load(text), default=lambda at: at.isoformat().replace("+00:00", "Z")))


def form_takes(data: Any) -> bool:
    try:
        parse_policy(data, new=True)
    except PolicyInvalid:
        return False
    return True


def test_the_file_is_up_to_date() -> None:
    """`refundry policy schema > service/policies/policy.schema.json` writes it anew."""
    assert (FOLDER / "policy.schema.json").read_text("utf-8") == schema_text()


def test_it_is_a_schema() -> None:
    jsonschema_rs.meta.validate(policy_schema_file())
    assert "$ref" not in schema_text()  # it stands inside the OpenAPI too


def test_the_default_policy_names_it_and_meets_it() -> None:
    assert DEFAULT.splitlines()[0] == "# yaml-language-server: $schema=policy.schema.json"
    VALIDATOR.validate(as_json(DEFAULT))
    VALIDATOR.validate(policy_data(default_policy()))
    VALIDATOR.validate(as_json(WHOLE))
    VALIDATOR.validate(policy_data(parse_policy(yaml.safe_load(WHOLE))))
    VALIDATOR.validate(BARE)


def test_the_openapi_has_it() -> None:
    shown = PolicyDocument.model_json_schema()

    assert {name: shown[name] for name in policy_schema()} == policy_schema()
    assert VALIDATOR.is_valid(shown["example"])


def test_a_calendar_may_be_an_object() -> None:
    days = {"name": "CN", "holidays": ["2026-10-01"], "working_weekends": ["2026-10-10"]}

    assert VALIDATOR.is_valid({**BARE, "calendar": days})
    wrongs: list[dict[str, Any]] = [{"holidays": []}, {**days, "holidays": ["tomorrow"]}, {**days, "extra": 1}, {**days, "name": "a b"}]
    for wrong in wrongs:
        assert not VALIDATOR.is_valid({**BARE, "calendar": wrong})


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [path, *(found for key, part in inner for found in paths(part, (*path, key)))]


def with_value(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(data)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


FULL: dict[str, Any] = {
    **as_json(WHOLE),
    "verification": {"channels": ["hotline"], "methods": ["otp"]},
    "agent_limits": {"requests_per_day": 5, "amount_per_day": {"CNY": 5}, "refunds_to_wallet_per_day": 3},
    "working_hours": {"opens": "09:00", "closes": "18:00"},
    "response_tiers": [
        {
            "name": "t",
            "when": {"reason": "other"},
            "routes": ["agent"],
            "first_response": "1 hour",
            "resolution": "2 days",
            "investigation": True,
        }
    ],
}
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    10**15,
    10**15 + 1,
    "",
    "none",
    "agent",
    "1 day",
    "0 days",
    "+1 hour",
    "12:00",
    "a b",
    [],
    ["card"],
    {},
    {"x": 1},
]
# What a schema does not say: zones and calendars that exist, names that are unique, hours that run forward, the longest length of a unit.
BEYOND = {"unknown_zone", "unknown_calendar", "duplicate_rule_name", "duplicate_tier_name", "working_hours_reversed"}


@pytest.mark.slow
def test_every_member_takes_and_refuses_what_the_form_does() -> None:
    disagreed, refused = [], 0
    for path in paths(FULL)[1:]:
        for value in ODD:
            data = with_value(FULL, path, value)
            takes = form_takes(data)
            refused += not takes
            beyond = not takes and {fault.code.value for fault in faults(data)} <= BEYOND
            if VALIDATOR.is_valid(data) is not takes and not beyond:
                disagreed.append((path, value, takes))

    assert disagreed == []
    assert refused > 500


def test_members_that_are_unknown_or_missing_are_refused_alike() -> None:
    for path in paths(FULL):
        at: Any = FULL
        for key in path:
            at = at[key]
        if not isinstance(at, dict):
            continue
        for name in at:
            rest = {key: value for key, value in at.items() if key != name}
            data = with_value(FULL, path, rest) if path else rest
            assert VALIDATOR.is_valid(data) is form_takes(data), (path, name)
        data = with_value(FULL, path, {**at, "unknown": "x"}) if path else {**FULL, "unknown": "x"}
        assert VALIDATOR.is_valid(data) is form_takes(data) is False, path


@pytest.mark.parametrize("module", [form, form_agents, form_limits, document])
def test_every_member_that_the_form_knows_is_described(module: Any) -> None:
    """A member that is added to the form and forgotten in the schema would be marked as wrong by editors."""
    text = Path(module.__file__).read_text("utf-8")
    known = set(re.findall(r'has\["([a-z_]+)"\]', text)) | set(re.findall(r'^ +"([a-z_]+)": ', text, re.MULTILINE))

    described = {path[-1] for path in paths(policy_schema()) if len(path) > 1 and path[-2] == "properties"}

    assert known - described == set()
