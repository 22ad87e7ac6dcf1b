"""Policies at the terminal: what is right, what is wrong and where, and what the service answers."""

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from service.terminal.api_client import ApiClient
from service.terminal.failure import UserError
from service.terminal.policies import publish, run_lint
from tests.unit.service.terminal.linting import GOOD, MISTAKES, PENDING, lint

DEFAULT = Path("service/policies/default.yaml")


def test_the_policy_that_ships_is_right() -> None:
    output = io.StringIO()

    assert run_lint(DEFAULT, console=Console(file=output, width=300)) == 0
    assert "error:" not in output.getvalue()
    assert "The form is right; 0 errors, 3 warnings, 0 notes." in output.getvalue()


def test_what_is_right_is_said_with_what_was_checked(tmp_path: Path) -> None:
    said = "v-1: 1 rule, effective from 2026-12-01T00:00:00.000000Z. The form is right; 0 errors, 0 warnings, 0 notes.\n"

    assert lint(tmp_path, GOOD) == (0, said)
    as_json = {"version": "v-1", "effective_from": "2026-12-01T00:00:00Z", "timezone": "Asia/Shanghai", "calendar": "CN"}
    assert lint(tmp_path, json.dumps({**as_json, "rules": [{"name": "all", "route": "agent"}]})) == (0, said)


async def published(tmp_path: Path, text: str, answer: httpx.Response, *, force: bool = False) -> tuple[int, str, list[Any]]:
    sent: list[Any] = []

    def serve(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={})
        assert (request.url.path, bool(request.headers["idempotency-key"])) == ("/v1/policies", True)
        sent.append(json.loads(request.content))
        return answer

    file, output = tmp_path / "policy.yaml", io.StringIO()
    file.write_text(text)
    async with ApiClient("http://fake", "t", transport=httpx.MockTransport(serve)) as client:
        status = await publish(client, file, console=Console(file=output, width=300), force=force)
    return status, output.getvalue().replace(str(file), "FILE"), sent


async def test_a_policy_is_published(tmp_path: Path) -> None:
    status, said, [sent] = await published(tmp_path, GOOD, httpx.Response(201, json={}))

    assert (status, said) == (0, "Published v-1. It decides payments authorised from 2026-12-01T00:00:00.000000Z on.\n")
    assert (sent["version"], sent["effective_from"]) == ("v-1", "2026-12-01T00:00:00.000000Z")


async def test_what_was_published_before_is_said(tmp_path: Path) -> None:
    there = {"published_at": "2026-11-01T00:00:00.000000Z", "published_by": "olga"}

    status, said, _ = await published(tmp_path, GOOD, httpx.Response(200, json=there))

    assert (status, said) == (0, "v-1 was published before, with the same content: 2026-11-01T00:00:00.000000Z by olga.\n")


async def test_what_the_service_finds_is_printed_with_its_place(tmp_path: Path) -> None:
    problem = {"code": "validation-failed", "errors": [{"pointer": "/version", "code": "invalid_policy_version", "detail": "No version."}]}

    status, said, _ = await published(tmp_path, GOOD, httpx.Response(422, json=problem))

    assert (status, said) == (1, "FILE:2: /version: No version.\n")


async def test_what_is_wrong_is_not_sent(tmp_path: Path) -> None:
    status, said, sent = await published(tmp_path, "{}", httpx.Response(201, json={}))

    assert (status, sent) == (1, [])
    assert "FILE:1: /version: Is required." in said


SHADOWED = GOOD + "  - {name: never, route: void,\n     when: {state: pending}}\n"


async def test_what_lint_finds_wrong_is_published_by_force_only(tmp_path: Path) -> None:
    told = f"FILE:8: error: never: never decides: all always decide before it. {PENDING}\n"

    status, said, sent = await published(tmp_path, SHADOWED, httpx.Response(201, json={}))
    forced, said_forced, [sent_forced] = await published(tmp_path, SHADOWED, httpx.Response(201, json={}), force=True)

    assert (status, sent) == (1, [])
    assert said == told + "v-1 was not published: 1 error. `--force` publishes it all the same.\n"
    assert (forced, len(sent_forced["rules"])) == (0, 2)
    assert said_forced.startswith(told + "Published v-1.")


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    file, output = tmp_path / "policy.yaml", io.StringIO()
    file.write_text(MISTAKES)

    status = run_lint(file, console=Console(file=output, width=200, force_terminal=True, color_system=None))

    lines = output.getvalue().splitlines()
    assert status == 1
    assert lines[0].split() == ["line", "severity", "rule", "finding"]
    assert lines[1].split()[:4] == ["10", "error", "by-nobody", "never"]


async def test_any_other_answer_ends_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="409 other: No"):
        await published(tmp_path, GOOD, httpx.Response(409, json={"code": "other", "detail": "No."}))
