"""Policies at the terminal: a file is checked, published at a running service, or described for editors."""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.api.models.policy_schema import policy_schema_file
from service.calendars import calendar
from service.terminal.api_client import ApiClient
from service.terminal.failure import UserError
from service.terminal.plain import plain, say
from service.terminal.policy_files import PolicyText, print_faults, read_policy
from service.terminal.policy_finding_texts import example_text, policy_finding_text
from workflows.domain.policies.calendar import business_days
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.lint import PolicyFinding, Severity, lint
from workflows.domain.policies.policy import Policy
from workflows.domain.times import rfc3339

_PATH = "/v1/policies"
_STYLES = {Severity.error: "red", Severity.warning: "yellow", Severity.note: ""}


def run_lint(file: Path, *, console: Console) -> int:
    """Print the faults of a policy's form, or else what is wrong with its rules. 1: the form is wrong, or a finding is an error."""
    read = read_policy(file, console)
    if read is None:
        return 1
    policy, text = read
    findings = _findings(policy)
    _print_findings(console, text, findings)
    rules = _counted(len(policy.rules), "rule")
    counts = Counter(one.severity for one in findings)
    told = ", ".join(_counted(counts[severity], str(severity)) for severity in Severity)
    say(console, f"{policy.version}: {rules}, effective from {rfc3339(policy.effective_from)}. The form is right; {told}.")
    return 1 if counts[Severity.error] else 0


def run_publish(url: str, token: str, file: Path, *, console: Console, force: bool = False) -> int:
    """Publish a policy at the service. 0: it is published, now or before. 1: it was refused, and why is printed."""

    async def run() -> int:
        async with ApiClient(url, token) as client:
            return await publish(client, file, console=console, force=force)

    return asyncio.run(run())


async def publish(client: ApiClient, file: Path, *, console: Console, force: bool = False) -> int:
    """The same, with a client that is ready. A policy in which lint finds errors is published by `force` only."""
    read = read_policy(file, console)
    if read is None:
        return 1
    policy, text = read
    errors = [one for one in _findings(policy) if one.severity is Severity.error]
    _print_findings(console, text, errors)
    if errors and not force:
        say(
            console,
            f"{policy.version} was not published: {_counted(len(errors), 'error')}. `--force` publishes it all the same.",
            style="red",
        )
        return 1
    await client.greet()
    reply = await client.post(_PATH, policy_data(policy), key=secrets.token_hex(16))
    if reply.code == "validation-failed":
        print_faults(console, text, [(str(one["pointer"]), str(one["detail"])) for one in reply.body.get("errors", [])])
        return 1
    if reply.status == httpx.codes.CREATED:
        say(console, f"Published {policy.version}. It decides payments authorised from {rfc3339(policy.effective_from)} on.", style="green")
        return 0
    if reply.status != httpx.codes.OK:
        raise UserError(f"The service answered {reply.told()}")
    told = reply.body
    say(console, f"{policy.version} was published before, with the same content: {told['published_at']} by {told['published_by']}.")
    return 0


def schema_text() -> str:
    """The JSON schema of a policy's document, as the file beside the default policy holds it."""
    return json.dumps(policy_schema_file(), indent=2, ensure_ascii=False) + "\n"


def _findings(policy: Policy) -> tuple[PolicyFinding, ...]:
    return lint(policy, business_days(policy, calendar))


def _print_findings(console: Console, text: PolicyText, findings: Iterable[PolicyFinding]) -> None:
    """A table on a terminal; elsewhere a line each, as compilers write them."""
    listed = list(findings)
    if not console.is_terminal:
        for one in listed:
            rule = f"{one.rule}: " if one.rule else ""
            say(console, f"{text.place(one.pointer)}: {one.severity}: {rule}{policy_finding_text(one)}.{_example(one)}")
    elif listed:
        table = Table("line", "severity", "rule", "finding", box=None, pad_edge=False, header_style="bold")
        for one in listed:
            cells = (str(text.line(one.pointer)), str(one.severity), one.rule or "", f"{policy_finding_text(one)}.{_example(one)}")
            table.add_row(*(Text(plain(cell), style=_STYLES[one.severity] if column < 2 else "") for column, cell in enumerate(cells)))
        console.print(table)


def _example(finding: PolicyFinding) -> str:
    return "" if finding.example is None else f" Example: {example_text(finding.example)}."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
