"""The sentence of each fault in what a caller sent: in both languages, with the members that it needs."""

import ast
from pathlib import Path

import pytest

import service.api
from service.api.i18n import fault_message, words
from tests.unit.service.api.sentences import EN, ZH, blanks
from workflows.domain.errors import Invalid
from workflows.domain.faults import Fault, FaultCode

ROOT = Path(service.api.__file__).parents[2]


def test_a_fault_is_told_in_both_languages_with_its_members() -> None:
    long = Fault("/note", FaultCode.too_many_characters, {"maximum": 2000})

    assert fault_message(long, EN) == "Must have at most 2000 characters."
    assert fault_message(long, ZH) == "最多 2000 个字符"


def test_choices_are_told_as_a_list() -> None:
    def told(*allowed: str) -> list[str]:
        return [fault_message(Fault("/x", FaultCode.unknown_value, {"allowed": allowed}), spoken) for spoken in (EN, ZH)]

    assert told("card", "bank", "points") == ["Must be one of: 'card', 'bank' or 'points'.", "必须是以下之一：'card'、'bank'或'points'"]
    assert told("card") == ["Must be one of: 'card'.", "必须是以下之一：'card'"]
    assert told() == ["Must be one of: –.", "必须是以下之一：–"]


def test_every_fault_is_a_plain_sentence() -> None:
    for code, text in words(EN, "fault").items():
        assert text[0].isupper(), code
        assert text.endswith((".", "_ . : -", "_")), code
    for code, text in words(ZH, "fault").items():
        assert not text.endswith("。"), code


def sources() -> list[ast.Module]:
    paths = (path for root in ("service", "workflows") for path in (ROOT / root).rglob("*.py") if path.name != "faults.py")
    return [ast.parse(path.read_text("utf-8")) for path in paths]


def code_of(node: ast.AST) -> str | None:
    found = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "FaultCode"
    return node.attr if found and isinstance(node, ast.Attribute) else None


@pytest.mark.slow
def test_no_fault_is_a_dead_letter() -> None:
    """Each code is used somewhere beside the list of them."""
    used = {code_of(node) for tree in sources() for node in ast.walk(tree)} - {None}

    assert used == {code.value for code in FaultCode}
    assert all(code.name == code.value for code in FaultCode)


@pytest.mark.slow
def test_every_fault_is_raised_with_the_members_that_its_sentence_needs() -> None:
    """Read off the sources, since a member that is missing would show only where the sentence is made."""
    needed = {code: blanks(text) for code, text in words(EN, "fault").items()}
    checked = 0
    for call in (node for tree in sources() for node in ast.walk(tree) if isinstance(node, ast.Call)):
        code = next(filter(None, map(code_of, call.args)), None)
        if code is None or (isinstance(call.func, ast.Attribute) and call.func.attr in {"get", "text"}):
            continue
        given = {keyword.arg for keyword in call.keywords}
        given |= {str(key.value) for one in call.args if isinstance(one, ast.Dict) for key in one.keys if isinstance(key, ast.Constant)}
        assert given == needed[code], ast.unparse(call)
        checked += 1
    assert checked > 60


def test_a_fault_for_programmers_names_its_code_and_members() -> None:
    assert str(Invalid("/amount", FaultCode.below_minimum, minimum=1)) == "/amount: below_minimum (minimum=1)"
    assert str(Invalid("/at", FaultCode.in_future)) == "/at: in_future"
