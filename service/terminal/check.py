"""`refundry check` at the terminal: every invariant with what breaks it, what waits for a person, and a progress bar meanwhile."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from service.providers.sandbox import SandboxProvider
from service.providers.sandbox_ledger import sandbox_ledger
from service.settings import Settings
from service.terminal.invariant_texts import INVARIANT_TEXTS, NOTICE_TEXTS
from service.terminal.plain import plain, say
from workflows.flows.check import InvariantResult, Noticed, Watch, notice, run_checks
from workflows.flows.check_rail import check_rail

_SESSION = {"application_name": "refundry check", "timezone": "UTC", "jit": "off"}


def run_check(settings: Settings, console: Console | None = None) -> int:
    """0: every invariant holds. 1: one is broken. The sandbox rail's own ledger is compared where the rail can be reached."""
    console = console or Console()
    started = time.monotonic()
    with _progress(console) as progress:
        found = asyncio.run(_run(settings, _watch(progress)))
    if not found.rail_compared:
        say(console, "The sandbox rail was not reached, so its ledger was not compared with ours.", "yellow")
    print_noticed(console, found.noticed)
    print_results(console, found.results, seconds=time.monotonic() - started)
    return 1 if any(result.broken for result in found.results) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """`rail_compared`: whether the rail's ledger was among what was looked at (true where there is no rail to ask)."""

    results: list[InvariantResult]
    noticed: list[Noticed]
    rail_compared: bool


def print_noticed(console: Console, noticed: Sequence[Noticed]) -> None:
    """A line for each thing that waits for a person. None of them is an error."""
    for each in noticed:
        if each.count:
            since = "" if each.oldest_at is None else f", the oldest since {each.oldest_at:%Y-%m-%d %H:%M} UTC"
            say(console, f"{each.name}: {each.count:,} {NOTICE_TEXTS[each.name]}{since}.", "yellow")


def print_results(console: Console, results: Sequence[InvariantResult], *, seconds: float) -> None:
    """The table, then the examples of what is broken, then the answer in a sentence."""
    table = Table("Invariant", "What must hold", header_style="bold")
    table.add_column("Rows", justify="right")
    table.add_column("Violations", justify="right")
    for result in results:
        style = "bold red" if result.broken else ""
        table.add_row(
            Text(result.name, style, overflow="fold"),
            Text(INVARIANT_TEXTS[result.name], overflow="fold"),
            f"{result.looked_at:,}",
            Text(f"{result.violations:,}", style or "green"),
        )
    console.print(table)
    broken = [result for result in results if result.broken]
    for result in broken:
        console.print(_examples(result))
    if broken:
        say(console, f"{len(broken)} of {len(results)} invariants are broken ({seconds:.1f} s).", "bold red")
    else:
        say(console, f"All {len(results)} invariants hold ({seconds:.1f} s).", "bold green")


async def _run(settings: Settings, watch: Watch) -> _Found:
    # Without the time limit that the service's own connections have: a whole database may take long.
    connection = await asyncpg.connect(settings.database_url, server_settings=_SESSION)
    try:
        results, noticed = await run_checks(connection, watch=watch), await notice(connection)
        if settings.sandbox_url is None:
            return _Found(results=results, noticed=noticed, rail_compared=True)
        watch("the rail's own ledger", 0, 1)
        try:
            async with sandbox_ledger(settings.sandbox_url) as ledger:
                results.append(await check_rail(connection, SandboxProvider.name, ledger.pages(), ledger.moved))
        except aiohttp.ClientError:
            return _Found(results=results, noticed=noticed, rail_compared=False)
        return _Found(results=results, noticed=noticed, rail_compared=True)
    finally:
        await connection.close()


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _watch(progress: Progress) -> Callable[[str, int, int], None]:
    task = progress.add_task("", total=None)
    return lambda what, done, total: progress.update(task, description=what, completed=done, total=total)


def _examples(result: InvariantResult) -> Table:
    more = result.violations - len(result.examples)
    title = f"{result.name}: {INVARIANT_TEXTS[result.name]}"
    table = Table(title=Text(title, "bold red"), title_justify="left", show_header=False)
    table.add_column()
    for example in result.examples:
        # The database may hold what a terminal would obey.
        table.add_row(Text(plain(example), overflow="fold"))
    if more > 0:
        table.add_row(Text(f"and {more:,} more", "dim"))
    return table
