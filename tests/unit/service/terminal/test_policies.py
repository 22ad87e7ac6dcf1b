"""Policies at the terminal: what is right, what is wrong and where, and what the service answers."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from service.terminal.api_client import ApiClient
from service.terminal.failure import UserError
from service.terminal.policies import publish, run_lint
from service.terminal.policy_files import PolicyText
from service.terminal.policy_finding_texts import POLICY_FINDING_TEXTS, policy_finding_text
from workflows.domain.policies.lint import PolicyFinding, PolicyFindingCode, Severity

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
    output = io.StringIO()

    assert run_lint(DEFAULT, console=Console(file=output, width=300)) == 0
    assert "error:" not in output.getvalue()
    assert "The form is right; 0 errors, 3 warnings, 0 notes." in output.getvalue()


def test_what_is_right_is_said_with_what_was_checked(tmp_path: Path) -> None:
    said = "v-1: 1 rule, effective from 2026-12-01T00:00:00.000000Z. The form is right; 0 errors, 0 warnings, 0 notes.\n"

    assert lint(tmp_path, GOOD) == (0, said)
    as_json = {"version": "v-1", "effective_from": "2026-12-01T00:00:00Z", "timezone": "Asia/Shanghai", "calendar": "CN"}
    assert lint(tmp_path, json.dumps({**as_json, "rules": [{"name": "all", "route": "agent"}]})) == (0, said)


def test_each_fault_is_told_with_its_place(tmp_path: Path) -> None:
    status, said = lint(tmp_path, GOOD.replace("agent", "nowhere").replace("calendar: CN", "calendar: ZZ"))

    assert status == 1
    assert said.splitlines() == [
        "FILE:5: /calendar: There is no calendar of this name.",
        "FILE:7: /rules/0/route: Must be one of: 'void', 'automatic', 'merchant', 'return' or 'agent'.",
    ]


def test_what_is_no_policy_is_told(tmp_path: Path) -> None:
    status, said = lint(tmp_path, "[]")

    assert (status, said.splitlines()[0]) == (1, "FILE:1: the document: Must be an object.")


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
        ("[" * 1_200, "nested too deep"),
        ("#" * 300_000, "too long"),
    ],
    ids=["twice", "open", "open list", "no date", "a program", "no text", "deep", "long"],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        lint(tmp_path, text)


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


PENDING = (
    "Example: pending payment of CNY 100.00 from balance to another-merchant, general, fulfilment none; wallet asks by app: changed_mind."
)
ONE_YUAN = PENDING.replace("pending", "completed").replace("100.00", "1.00")
SHADOWED = GOOD + "  - {name: never, route: void,\n     when: {state: pending}}\n"


async def test_what_lint_finds_wrong_is_published_by_force_only(tmp_path: Path) -> None:
    told = f"FILE:8: error: never: never decides: all always decide before it. {PENDING}\n"

    status, said, sent = await published(tmp_path, SHADOWED, httpx.Response(201, json={}))
    forced, said_forced, [sent_forced] = await published(tmp_path, SHADOWED, httpx.Response(201, json={}), force=True)

    assert (status, sent) == (1, [])
    assert said == told + "v-1 was not published: 1 error. `--force` publishes it all the same.\n"
    assert (forced, len(sent_forced["rules"])) == (0, 2)
    assert said_forced.startswith(told + "Published v-1.")


MISTAKES = """
version: v-1
effective_from: 2026-12-01T00:00:00Z
timezone: UTC
calendar: none
second_approval_above: {CNY: 5}
agent_limits: {amount_per_day: {EUR: 5}}
rules:
  - name: by-nobody
    when: {role: merchant, channel: app}
    route: void
  - name: not-yet
    when: {state: pending}
    window: {anchor: completed_at, length: 1 day, requires_anchor: true}
    route: void
  - {name: settled, when: {state: completed}, route: agent}
  - name: exact
    when:
      state: completed
      amount: 100
    route: automatic
"""


def test_each_finding_is_told_with_its_line_and_an_example(tmp_path: Path) -> None:
    status, said = lint(tmp_path, MISTAKES)

    assert status == 1
    assert said.splitlines() == [
        "FILE:10: error: by-nobody: never matches: no request can meet its conditions on role, channel.",
        f"FILE:14: error: not-yet: never opens: no payment that it is for has completed_at, which its window requires. {PENDING}",
        f"FILE:17: error: exact: never decides: settled always decide before it. {ONE_YUAN}",
        f"FILE:18: warning: exact: tests an amount without a currency: the number counts in each of them. {ONE_YUAN}",
        "FILE:6: warning: EUR: not in second_approval_above, so a second person is needed for every amount (not-yet, settled, exact). "
        "Example: pending payment of EUR 100.00 from balance to another-merchant, general, fulfilment none; "
        "agent asks by hotline: changed_mind.",
        "FILE:8: warning: no rule is for a pending payment. Example: pending payment of CNY 100.00 from balance to another-merchant, "
        "general, fulfilment none; wallet asks by app: changed_mind.",
        "v-1: 4 rules, effective from 2026-12-01T00:00:00.000000Z. The form is right; 3 errors, 3 warnings, 0 notes.",
    ]


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    file, output = tmp_path / "policy.yaml", io.StringIO()
    file.write_text(MISTAKES)

    status = run_lint(file, console=Console(file=output, width=200, force_terminal=True, color_system=None))

    lines = output.getvalue().splitlines()
    assert status == 1
    assert lines[0].split() == ["line", "severity", "rule", "finding"]
    assert lines[1].split()[:4] == ["10", "error", "by-nobody", "never"]


def test_every_finding_has_a_sentence() -> None:
    assert set(POLICY_FINDING_TEXTS) == set(PolicyFindingCode)
    for code in PolicyFindingCode:
        finding = PolicyFinding(code=code, severity=Severity.note, pointer="", members=MEMBERS, others=tuple("abcdefg"))
        assert "{" not in policy_finding_text(finding)


MEMBERS: dict[str, str | tuple[str, ...] | datetime | None] = {
    "subjects": ("state",),
    "anchor": "completed_at",
    "opens_at": datetime(2026, 1, 1, tzinfo=UTC),
    "closes_at": datetime(2026, 1, 1, tzinfo=UTC),
    "currencies": ("CNY",),
    "state": "pending",
    "what": "gap",
}


LINES = """a: &base
  one: 1
  "two/three": 2
b:
  <<: *base
  one: 3
list:
  - x

  - y: 4
"""


def test_members_are_found_on_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(LINES)
    text = PolicyText(file)

    assert {pointer: text.line(pointer) for pointer in ("", "/a/one", "/a/two~1three", "/b/one", "/b/two~1three", "/b/no/such")} == {
        "": 1,
        "/a/one": 2,
        "/a/two~1three": 3,
        "/b/one": 6,
        "/b/two~1three": 3,  # where it was merged from
        "/b/no/such": 4,
    }
    assert [text.line(pointer) for pointer in ("/list", "/list/0", "/list/1", "/list/1/y", "/list/9", "/list/x")] == [7, 8, 10, 10, 7, 7]


def test_lines_are_found_in_json_too(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    document = {"rules": [{"name": "a\t"}, {"name": "b", "when": {"state": "x"}}]}
    for indent in (2, "\t"):
        file.write_text(json.dumps(document, indent=indent))
        text = PolicyText(file)

        assert text.document == document
        assert [text.line(pointer) for pointer in ("/rules", "/rules/1", "/rules/1/when/state")] == [2, 6, 9]


async def test_any_other_answer_ends_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="409 other: No"):
        await published(tmp_path, GOOD, httpx.Response(409, json={"code": "other", "detail": "No."}))
