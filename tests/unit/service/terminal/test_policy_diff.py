"""What changed between two policies: every change once, and nothing where there is none."""

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from rich.console import Console

from service.shipped_policies import default_policy
from service.terminal.api_client import ApiClient
from service.terminal.failure import UserError
from service.terminal.policy_diff import differences, published_document, run_diff
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.form import parse_policy

BASE: dict[str, Any] = {
    "version": "v",
    "effective_from": "2026-01-01T00:00:00Z",
    "timezone": "UTC",
    "calendar": "none",
    "rules": [
        {"name": "a", "when": {"state": "pending"}, "window": {"anchor": "authorised_at", "length": "7 days"}, "route": "void"},
        {"name": "b", "when": {"reason": ["damaged", "other"]}, "route": "agent"},
        {"name": "c", "route": "merchant", "merchant_deadline": {"length": "48 hours", "then": "agent"}},
        {"name": "d", "route": "agent", "second_approval_above": {"CNY": 5}},
    ],
    "second_approval_above": {"CNY": 500, "EUR": 60},
}
A, B, C, D = BASE["rules"]


def changed(**members: Any) -> list[str]:
    return list(differences(policy_data(parse_policy(BASE)), policy_data(parse_policy({**BASE, **members}))))


def test_nothing_changed() -> None:
    assert changed() == []
    assert changed(rules=[A, {**B, "when": {"reason": ["other", "damaged"]}}, C, D]) == []  # the order of words says nothing


def test_members_are_added_removed_and_changed() -> None:
    assert changed(version="w", second_approval_above={"EUR": 70, "JPY": 8}, limits={"requests_per_day": 5}, calendar="CN") == [
        "~ version: v → w",
        "~ calendar: none → CN",
        "- second_approval_above.CNY, was 500",
        "~ second_approval_above.EUR: 60 → 70",
        "+ second_approval_above.JPY: 8",
        "+ limits.requests_per_day: 5",
    ]
    assert changed(working_hours={"opens": "09:00", "closes": "18:00"}) == ["+ working_hours: opens 09:00, closes 18:00"]


def test_rules_are_added_removed_and_changed() -> None:
    new = {"name": "n", "when": {"category": ["digital", "travel"]}, "route": "void"}

    assert changed(
        rules=[A, new, {**B, "when": {"reason": "damaged"}}, {**C, "merchant_deadline": {"length": "24 hours", "then": "accept"}}]
    ) == [
        "- rule d, was number 4",
        "+ rule n, as number 2: when (category (digital, travel)), route void",
        "~ rule b: when.reason: damaged, other → damaged",
        "~ rule c: merchant_deadline.length: 48 hours → 24 hours",
        "~ rule c: merchant_deadline.then: agent → accept",
    ]


def test_a_rule_that_moved_is_told_alone() -> None:
    assert changed(rules=[D, A, B, C]) == ["> rule d: from number 4 to 1"]
    assert changed(rules=[B, C, D, {**A, "window": {"anchor": "authorised_at", "length": "8 days", "requires_anchor": True}}]) == [
        "> rule a: from number 1 to 4",
        "~ rule a: window.length: 7 days → 8 days",
        "+ rule a: window.requires_anchor: true",
    ]


def test_response_tiers_have_names_too() -> None:
    tiers = [{"name": "t", "first_response": "1 hour"}]
    more = policy_data(parse_policy({**BASE, "response_tiers": [{**tiers[0], "first_response": "2 hours"}, {**tiers[0], "name": "u"}]}))

    assert list(differences(policy_data(parse_policy({**BASE, "response_tiers": tiers})), more)) == [
        "~ response tier t: first_response: 1 hour → 2 hours",
        "+ response tier u, as number 2: when (nothing), first_response 1 hour",
    ]


def test_files_are_compared(tmp_path: Path) -> None:
    old, new, output = tmp_path / "old.yaml", tmp_path / "new.json", io.StringIO()
    old.write_text(yaml.safe_dump(BASE))
    new.write_text(yaml.safe_dump({**BASE, "timezone": "Asia/Shanghai"}))

    def run(first: Path, second: Path) -> int:
        console = Console(file=output, width=200)
        return run_diff(str(first), str(second), url="http://fake", token=no_token, console=console, errors=console)

    assert (run(old, old), output.getvalue()) == (0, "")
    assert (run(old, new), output.getvalue()) == (1, "~ timezone: UTC → Asia/Shanghai\n")


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    file, output = tmp_path / "old.yaml", io.StringIO()
    file.write_text("version: v")
    errors = Console(file=output, width=300)

    def run(first: str) -> tuple[int, str]:
        output.seek(0)
        output.truncate()
        status = run_diff(first, str(file), url="http://fake", token=no_token, console=Console(file=io.StringIO()), errors=errors)
        return status, output.getvalue().replace(str(file), "FILE")

    status, said = run(str(file))
    assert (status, said.splitlines()[-2:]) == (2, ["FILE:1: /timezone: Is required.", "FILE is no policy."])
    assert run("v-1") == (2, "v-1 is no file, and a published version needs a token. No keys.\n")


def no_token() -> str:
    raise UserError("No keys.")


async def test_a_published_version_is_read_from_the_service() -> None:
    document = policy_data(default_policy())

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/policies/2026-11-a":
            return httpx.Response(200, json={"policy": document, "published_at": "x", "published_by": "y"})
        return httpx.Response(404, json={"code": "not-found"})

    async with ApiClient("http://fake", "t", transport=httpx.MockTransport(serve)) as client:
        assert await published_document(client, "2026-11-a") == document
        with pytest.raises(UserError, match="2026-12-a is no file, and no version"):
            await published_document(client, "2026-12-a")


def test_a_calendar_whose_days_publication_wrote_down_is_the_same() -> None:
    dated = {"name": "CN", "holidays": ["2026-10-01"], "working_weekends": []}

    assert list(differences({"calendar": dated}, {"calendar": "CN"})) == []
    assert list(differences({"calendar": "CN"}, {"calendar": dated})) == []
    assert list(differences({"calendar": dated}, {"calendar": "GB"})) != []
    assert list(differences({"calendar": dated}, {"calendar": {**dated, "holidays": []}})) != []
