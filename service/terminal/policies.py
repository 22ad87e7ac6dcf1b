"""Policies at the terminal: a file is checked for its form, or published at a running service."""

import asyncio
import secrets
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console

from service.api.i18n import Language, fault_message
from service.api.types import BODY_BYTES_MAX
from service.calendars import calendar_exists
from service.terminal.api_client import ApiClient
from service.terminal.failure import UserError
from service.terminal.plain import say
from workflows.domain.faults import Fault
from workflows.domain.policy import Policy
from workflows.domain.policy_form import PolicyInvalid, parse_policy, policy_data
from workflows.domain.times import rfc3339

FAULTS_SHOWN_MAX = 100
_PATH = "/v1/policies"


def run_lint(file: Path, *, console: Console) -> int:
    """Print what is wrong with the form of a policy, each fault with its place. 0: nothing. 1: something."""
    policy = _read(file, console)
    if policy is None:
        return 1
    rules = f"{len(policy.rules)} rule{'' if len(policy.rules) == 1 else 's'}"
    say(
        console,
        f"The form of {policy.version} is right: {rules}, effective from {rfc3339(policy.effective_from)}. Only the form was checked.",
    )
    return 0


def run_publish(url: str, token: str, file: Path, *, console: Console) -> int:
    """Publish a policy at the service. 0: it is published, now or before. 1: it was refused, and why is printed."""

    async def run() -> int:
        async with ApiClient(url, token) as client:
            return await publish(client, file, console=console)

    return asyncio.run(run())


async def publish(client: ApiClient, file: Path, *, console: Console) -> int:
    """The same, with a client that is ready."""
    policy = _read(file, console)
    if policy is None:
        return 1
    await client.greet()
    reply = await client.post(_PATH, policy_data(policy), key=secrets.token_hex(16))
    if reply.code == "validation-failed":
        _print_faults(console, file, [(str(one["pointer"]), str(one["detail"])) for one in reply.body.get("errors", [])])
        return 1
    if reply.status == httpx.codes.CREATED:
        say(console, f"Published {policy.version}. It decides payments authorised from {rfc3339(policy.effective_from)} on.", style="green")
        return 0
    if reply.status != httpx.codes.OK:
        raise UserError(f"The service answered {reply.told()}")
    told = reply.body
    say(console, f"{policy.version} was published before, with the same content: {told['published_at']} by {told['published_by']}.")
    return 0


def _read(file: Path, console: Console) -> Policy | None:
    """The policy in a file; None where it is none, and its faults are printed. Raises UserError where nothing can be read."""
    try:
        return parse_policy(_load(file), calendar_exists=calendar_exists, new=True)
    except PolicyInvalid as invalid:
        _print_faults(console, file, [_told(fault) for fault in invalid.faults])
        return None


def _load(file: Path) -> object:
    raw = file.read_bytes()
    if len(raw) > BODY_BYTES_MAX:
        raise UserError(f"{file} is too long: a policy has at most {BODY_BYTES_MAX} bytes.")
    try:
        document: object = yaml.load(raw, Loader=_OneNameOnce)  # noqa: S506 -- a SafeLoader that is stricter still
    except RecursionError:
        raise UserError(f"{file} is nested too deep.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that the calendar does not have
        raise UserError(f"{file} is neither YAML nor JSON: {_where(error)}") from None
    return document


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


def _where(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    return str(error)


def _told(fault: Fault) -> tuple[str, str]:
    return fault.pointer, fault_message(fault, Language.en)


def _print_faults(console: Console, file: Path, faults: Iterable[tuple[str, str]]) -> None:
    listed = list(faults)
    for pointer, sentence in listed[:FAULTS_SHOWN_MAX]:
        say(console, f"{file}: {pointer or 'the document'}: {sentence}", style="red")
    if len(listed) > FAULTS_SHOWN_MAX:
        say(console, f"{file}: {len(listed) - FAULTS_SHOWN_MAX} more.", style="red")
