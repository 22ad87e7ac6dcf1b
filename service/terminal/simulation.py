"""Simulations at the terminal: a policy in a file, tried at a running service on the decisions of a span."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from service.api.i18n import Language, amount_text
from service.terminal.api_client import by_environment
from service.terminal.plain import plain, say
from service.terminal.policy_files import PolicyText, print_faults, read_policy
from workflows.domain.policies.document import policy_data
from workflows.domain.times import rfc3339

DIFFERENCES_SHOWN_MAX = 20
INTERRUPTED = 130  # the exit status of a command that Ctrl-C ended
_PATH = "/v1/policies/simulate"
_TIMEOUT = httpx.Timeout(60, connect=10)  # between two pages of decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationCall:
    """A service, a policy's file, and the half-open span of the decisions to try it on."""

    url: str
    token: str
    file: Path
    start: datetime
    end: datetime


def run_simulate(call: SimulationCall, *, console: Console, as_json: bool = False, transport: httpx.BaseTransport | None = None) -> int:
    """Print what the policy would have changed; `as_json`: the service's own answer, and nothing else, on the standard output.

    0: done. 1: it was refused, or the stream was cut, and why is printed. 130: Ctrl-C ended it, and the service stops too.
    """
    messages = Console(stderr=True) if as_json else console
    found = read_policy(call.file, messages)
    if found is None:
        return 1
    policy, _ = found
    body = {"policy": policy_data(policy), "from": rfc3339(call.start), "to": rfc3339(call.end)}
    try:
        result = _ask(call, body, messages, transport)
    except KeyboardInterrupt:
        say(messages, "Stopped. A simulation writes nothing, so nothing has changed.")
        return INTERRUPTED
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
        say(messages, f"The service at {call.url} cannot be reached, or broke off: {why}. Is it running? Start again.", style="red")
        return 1
    if result is None:
        return 1
    if as_json:
        console.print(json.dumps(result, ensure_ascii=False, indent=2), markup=False, emoji=False, highlight=False, soft_wrap=True)
    else:
        _print(result, console)
    return 0


def _ask(call: SimulationCall, body: dict[str, Any], console: Console, transport: httpx.BaseTransport | None) -> dict[str, Any] | None:
    """The result; None where there is none, and why is printed. Leaving it closes the connection, by which the service knows."""
    headers = {"Authorization": f"Bearer {call.token}", "Accept": "application/x-ndjson"}
    with (
        httpx.Client(
            base_url=call.url, headers=headers, timeout=_TIMEOUT, transport=transport, trust_env=by_environment(call.url)
        ) as client,
        client.stream("POST", _PATH, json=body) as response,
    ):
        if response.status_code != httpx.codes.OK:
            response.read()
            _print_refusal(response, PolicyText(call.file), console)
            return None
        with _progress(console) as tell:
            for line in response.iter_lines():
                told: dict[str, Any] = json.loads(line)
                if told.pop("type") == "result":
                    return told
                tell.update(tell.task_ids[0], decisions=told["decisions"], at=told["at"])
    say(console, "The simulation was cut: the stream ended without its result. Start it again.", style="red")
    return None


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (SpinnerColumn(), TextColumn("{task.fields[decisions]:,} decisions, up to {task.fields[at]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("", total=None, decisions=0, at="the beginning")
        yield progress


def _print_refusal(response: httpx.Response, written: PolicyText, console: Console) -> None:
    try:
        problem: dict[str, Any] = response.json()
    except ValueError:
        problem = {}
    if problem.get("code") == "validation-failed":
        for one in problem.get("errors", []):
            if one["pointer"].startswith("/policy"):
                print_faults(console, written, [(one["pointer"].removeprefix("/policy"), one["detail"])])
            else:
                say(console, f"{one['pointer']}: {one['detail']}", style="red")
    else:
        say(console, f"The service refused: {response.status_code} {problem.get('title', '')}. {problem.get('detail', '')}", style="red")


def _print(result: dict[str, Any], console: Console) -> None:
    say(console, _summary(result))
    if result["not_reproduced"]:
        say(
            console,
            f"{result['not_reproduced']:,} kept decisions are not what their own policy says when it is asked again. "
            "This should never be: report it, with the output of --json.",
            style="red",
        )
    if result["skipped"]:
        say(console, f"{result['skipped']:,} were left out, since no policy had been asked.")
    if result["transitions"]:
        console.print(_transitions(result))
        console.print(_rules(result))
    if result["differences"]:
        console.print(_differences(result))


def _summary(result: dict[str, Any]) -> str:
    changed, other = result["changed"], result["changed"] - result["kinder"] - result["harsher"]
    if not changed:
        said = f"{result['policy_version']} would have changed none of {result['decisions']:,} decisions."
    else:
        said = (
            f"{result['policy_version']} would have changed {changed:,} of {result['decisions']:,} decisions: "
            f"{result['kinder']:,} kinder to the customer, {result['harsher']:,} harsher, {other:,} neither."
        )
    return f"{said} {result['window_changed']:,} more keep their route with another window." if result["window_changed"] else said


def _transitions(result: dict[str, Any]) -> Table:
    table = Table("Before", "After", "Decisions", "Asked for", title="Outcomes", title_justify="left")
    table.columns[2].justify = "right"
    for one in result["transitions"]:
        changed = "" if one["before"] == one["after"] else "bold"
        amounts = ", ".join(amount_text(amount, currency, Language.en) for currency, amount in one["amounts"].items())
        table.add_row(plain(one["before"]), plain(one["after"]), f"{one['decisions']:,}", plain(amounts), style=changed)
    return table


def _rules(result: dict[str, Any]) -> Table:
    table = Table("Rule", "Decisions", title=Text(f"By rule of {plain(result['policy_version'])}"), title_justify="left")
    table.columns[1].justify = "right"
    for one in result["rules_after"]:
        table.add_row(Text("no rule" if one["rule"] is None else plain(one["rule"])), f"{one['decisions']:,}")
    return table


def _differences(result: dict[str, Any]) -> Table:
    found = result["differences"]
    title = "The largest differences"
    if len(found) > DIFFERENCES_SHOWN_MAX or result["changed"] > len(found):
        title += f": {min(len(found), DIFFERENCES_SHOWN_MAX)} of {result['changed']:,} (--json shows up to 100)"
    table = Table("Amount", "Cancellation", "Decided", "Before", "After", title=title, title_justify="left")
    for one in found[:DIFFERENCES_SHOWN_MAX]:
        cells = (amount_text(one["amount"], one["currency"], Language.en), one["cancellation_id"], one["created_at"])
        table.add_row(*(Text(plain(cell), overflow="fold") for cell in (*cells, _reason(one["before"]), _reason(one["after"]))))
    return table


def _reason(explanation: dict[str, Any]) -> str:
    return f"{explanation['route'] or explanation['refusal']} ({explanation['rule'] or 'no rule'})"
