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

DEFAULT = Path("service/policies/default.yaml")
GOOD = """
version: v-1
effective_from: 2026-12-01T00:00:00Z
timezone: Asia/Shanghai
calendar: CN
rules:
  - {name: all, route: agent}
"""


def lint(tmp_path: Path, text: str | bytes) -> tuple[int, str]:
    file, console = tmp_path / "policy.yaml", Console(file=io.StringIO(), width=300)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    status = run_lint(file, console=console)
    return status, str(console.file.getvalue()).replace(str(file), "FILE")  # type: ignore[attr-defined]  # a StringIO


def test_the_policy_that_ships_is_right() -> None:
    assert run_lint(DEFAULT, console=Console(file=io.StringIO())) == 0


def test_what_is_right_is_said_with_what_was_checked(tmp_path: Path) -> None:
    said = "The form of v-1 is right: 1 rule, effective from 2026-12-01T00:00:00.000000Z. Only the form was checked.\n"

    assert lint(tmp_path, GOOD) == (0, said)
    as_json = {"version": "v-1", "effective_from": "2026-12-01T00:00:00Z", "timezone": "Asia/Shanghai", "calendar": "CN"}
    assert lint(tmp_path, json.dumps({**as_json, "rules": [{"name": "all", "route": "agent"}]})) == (0, said)


def test_each_fault_is_told_with_its_place(tmp_path: Path) -> None:
    status, said = lint(tmp_path, GOOD.replace("agent", "nowhere").replace("calendar: CN", "calendar: ZZ"))

    assert status == 1
    assert said.splitlines() == [
        "FILE: /calendar: There is no calendar of this name.",
        "FILE: /rules/0/route: Must be one of: 'void', 'automatic', 'merchant', 'return' or 'agent'.",
    ]


def test_what_is_no_policy_is_told(tmp_path: Path) -> None:
    status, said = lint(tmp_path, "[]")

    assert (status, said.splitlines()[0]) == (1, "FILE: the document: Must be an object.")


def test_more_than_a_hundred_faults_are_counted(tmp_path: Path) -> None:
    status, said = lint(tmp_path, GOOD + "".join("  - {name: b}\n" for _ in range(150)))

    assert status == 1
    assert len(said.splitlines()) == 101
    assert said.splitlines()[-1] == "FILE: 199 more."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "calendar: none\n", "line 8, column 1: calendar stands twice"),
        ("{", "line 1, column 2"),
        ("a: [", "line 1, column 5"),
        ("effective_from: 2026-13-45", "neither YAML nor JSON"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        (b"\xff\xfe\xff", "neither YAML nor JSON"),
        ("[" * 5_000, "nested too deep"),
        ("#" * 300_000, "too long"),
    ],
    ids=["twice", "open", "open list", "no date", "a program", "no text", "deep", "long"],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        lint(tmp_path, text)


async def published(tmp_path: Path, text: str, answer: httpx.Response) -> tuple[int, str, list[Any]]:
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
        status = await publish(client, file, console=Console(file=output, width=300))
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
    problem = {"code": "validation-failed", "errors": [{"pointer": "/version", "code": "policy_version_taken", "detail": "Taken."}]}

    status, said, _ = await published(tmp_path, GOOD, httpx.Response(422, json=problem))

    assert (status, said) == (1, "FILE: /version: Taken.\n")


async def test_what_is_wrong_is_not_sent(tmp_path: Path) -> None:
    status, said, sent = await published(tmp_path, "{}", httpx.Response(201, json={}))

    assert (status, sent) == (1, [])
    assert "FILE: /version: Is required." in said


async def test_any_other_answer_ends_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="409 other: No"):
        await published(tmp_path, GOOD, httpx.Response(409, json={"code": "other", "detail": "No."}))
