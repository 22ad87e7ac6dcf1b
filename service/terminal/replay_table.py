"""A replay's result as tables for a person."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.api.i18n import Language, amount_text
from service.terminal.plain import say
from service.terminal.replay_tally import Check, Outcome, Tally, percentile

_SHOWN_MAX = 10
_EXPLAINED = {
    Outcome.already_over: "409 invalid-state: an earlier cancellation had undone the whole payment",
    Outcome.too_much: "422 amount-exceeds-refundable: the data asks for more pieces than are left",
}
_TIME = (
    "Time: each payment was registered with completed_at = the start of this run - lag_seconds of its first cancellation, so that this "
    "one falls at its real distance; later cancellations of the same payment follow at once. A payment without cancellations keeps its "
    "distance to the last one of all. Amounts of refused and handed-off requests are what their pieces were worth then."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long it took, in seconds of this machine, and how many calls were made."""

    importing: float
    cancelling: float
    requests: int  # while cancelling
    repeated: int  # sent again after a lost or postponed answer


def print_result(console: Console, tally: Tally, found: list[Check], timing: Timing) -> None:
    console.print(_outcomes(tally))
    console.print(_times(tally, timing))
    console.print(_checks(found))
    for check in found:
        _list(console, check.name, check.faults)
    _list(console, "errors", (f"{one.reference} {one.invoice}: {one.detail}" for one in tally.errors()))
    for outcome, sentence in _EXPLAINED.items():
        if tally.count(outcome):
            say(console, f"{outcome}: {sentence}.")
    say(console, _TIME, style="dim")
    say(console, f"This run is {tally.plan.run.name}: `--run {tally.plan.run.name}` sends the very same again, and nothing happens twice.")
    say(
        console,
        "Next: `refundry check` holds the whole database against its invariants; `refundry export` and `refundry verify` the records.",
    )


def _outcomes(tally: Tally) -> Table:
    currencies = sorted(tally.plan.amounts)
    table = Table("", title="Replayed", title_justify="left", header_style="bold")
    table.add_column("count", justify="right")
    for currency in currencies:
        table.add_column(currency, justify="right")

    def row(name: str, count: int, amounts: Counter[str], style: str = "") -> None:
        cells = (Text(amount_text(amounts[currency], currency, Language.en)) for currency in currencies)
        table.add_row(Text(name), f"{count:,}", *cells, style=style)

    registered = int(tally.imported.get("accepted", 0)) + int(tally.imported.get("duplicates", 0))
    row("registered", registered, tally.plan.amounts)
    row("requested", len(tally.results), tally.amounts(), "bold")
    for outcome in Outcome:
        count = tally.count(outcome)
        row(f"  {outcome}", count, tally.amounts(outcome), "red" if outcome is Outcome.error and count else "")
        for detail, number in tally.details(outcome):
            if outcome is not Outcome.error:
                table.add_row(Text(f"    {detail}"), f"{number:,}", *("" for _ in currencies), style="dim")
    return table


def _times(tally: Tally, timing: Timing) -> Table:
    asked = [result.asked_seconds for result in tally.results]
    money = [result.money_seconds for result in tally.results if result.money_seconds is not None]
    rate = timing.requests / timing.cancelling if timing.cancelling > 0 else 0.0
    table = Table("", title="Times", title_justify="left", header_style="bold")
    for heading in ("", "p50", "p95"):
        table.add_column(heading, justify="right")
    table.add_row("import", f"{timing.importing:.1f} s", "", "")
    table.add_row("cancellations", f"{timing.cancelling:.1f} s", "", "")
    table.add_row("calls", f"{timing.requests:,}, {rate:,.0f}/s", "", "")
    table.add_row("calls sent again", f"{timing.repeated:,}", "", "")
    table.add_row("request to answer", "", _seconds(percentile(asked, 0.5)), _seconds(percentile(asked, 0.95)))
    table.add_row("request to money", "", _seconds(percentile(money, 0.5)), _seconds(percentile(money, 0.95)))
    return table


def _checks(found: list[Check]) -> Table:
    table = Table("invariant", "holds", title="Invariants", title_justify="left", header_style="bold")
    for check in found:
        holds = Text("yes", "bold green") if check.holds else Text(f"no ({len(check.faults):,})", "bold red")
        table.add_row(Text(check.name), holds)
    return table


def _list(console: Console, name: str, faults: Iterable[str]) -> None:
    told = list(faults)
    for fault in told[:_SHOWN_MAX]:
        say(console, f"{name}: {fault}", style="red")
    if len(told) > _SHOWN_MAX:
        say(console, f"{name}: and {len(told) - _SHOWN_MAX:,} more", style="red")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:,.0f} ms" if value < 10 else f"{value:,.1f} s"
