"""A policy in a file: read as YAML or JSON, with the line on which each of its members stands."""

import json
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from service.api.i18n import Language, fault_message
from service.api.types import BODY_BYTES_MAX
from service.calendars import calendar_exists
from service.terminal.failure import UserError
from service.terminal.plain import say
from workflows.domain.policies.form import PolicyInvalid, parse_policy
from workflows.domain.policies.policy import Policy

FAULTS_SHOWN_MAX = 100


class PolicyText:
    """A decoded document, and where its members stand in the file. Raises UserError where the file holds neither YAML nor JSON."""

    def __init__(self, file: Path) -> None:
        self.file = file
        raw = file.read_bytes()
        if len(raw) > BODY_BYTES_MAX:
            raise UserError(f"{file} is too long: a policy has at most {BODY_BYTES_MAX} bytes.")
        try:
            loader = _OneNameOnce(_without_tabs(raw))
            self._node: yaml.Node | None = loader.get_single_node()
            self.document: object = None if self._node is None else loader.construct_document(self._node)
        except RecursionError:
            raise UserError(f"{file} is nested too deep.") from None
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that the calendar does not have
            raise UserError(f"{file} is neither YAML nor JSON: {_where(error)}") from None

    def line(self, pointer: str) -> int:
        """The line, from 1 on, of what an RFC 6901 pointer names; of the part around it, where that is not there."""
        node, line = self._node, 1
        for token in pointer.split("/")[1:]:
            key, node = _member(node, token.replace("~1", "/").replace("~0", "~"))
            if node is None:
                break
            line = int((key or node).start_mark.line) + 1
        return line

    def place(self, pointer: str) -> str:
        """`FILE:12`, as editors open it."""
        return f"{self.file}:{self.line(pointer)}"


def read_policy(file: Path, console: Console) -> tuple[Policy, PolicyText] | None:
    """The policy in a file that is to be published; None where it is none, and its faults are printed. Raises UserError."""
    text = PolicyText(file)
    try:
        return parse_policy(text.document, calendar_exists=calendar_exists, new=True), text
    except PolicyInvalid as invalid:
        print_faults(console, text, [(fault.pointer, fault_message(fault, Language.en)) for fault in invalid.faults])
        return None


def print_faults(console: Console, text: PolicyText, faults: Iterable[tuple[str, str]]) -> None:
    """Faults as pointers and sentences, a line each, up to FAULTS_SHOWN_MAX."""
    listed = list(faults)
    for pointer, sentence in listed[:FAULTS_SHOWN_MAX]:
        say(console, f"{text.place(pointer)}: {pointer or 'the document'}: {sentence}", style="red")
    if len(listed) > FAULTS_SHOWN_MAX:
        say(console, f"{text.file}: {len(listed) - FAULTS_SHOWN_MAX} more.", style="red")


class _OneNameOnce(yaml.SafeLoader):
    """YAML in which no object has a name twice: of two rules' conditions, the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} stands twice", problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


_MERGE = "tag:yaml.org,2002:merge"


def _without_tabs(raw: bytes) -> bytes:
    """JSON may be indented with tabs, which YAML refuses; a string of JSON holds none as it is."""
    if b"\t" not in raw:
        return raw
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    return raw.replace(b"\t", b" ")


def _member(node: yaml.Node | None, token: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    """A member's name and its value; of an array's entry the value only. Of a merged and an own member the own one, which is later."""
    if isinstance(node, yaml.MappingNode):
        found = [(key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode) and key.value == token]
        return found[-1] if found else (None, None)
    if isinstance(node, yaml.SequenceNode) and token.isdecimal() and int(token) < len(node.value):
        return None, node.value[int(token)]
    return None, None


def _where(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    return str(error)
