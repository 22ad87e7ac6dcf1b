"""A policy in a file: what cannot be read is told, and each member is found on its line."""

import json
from pathlib import Path

import pytest

from service.terminal.failure import UserError
from service.terminal.policy_files import PolicyText
from tests.unit.service.terminal.linting import GOOD, lint


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
