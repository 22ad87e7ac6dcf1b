"""The same history under several policies, for a person: a table with a column for each, and what was assumed."""

from collections import Counter

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.api.i18n import Language, amount_text
from service.terminal.plain import plain, say
from service.terminal.replay_offline import GROUPS, Comparison, Ending
from workflows.domain.enums import Refusal

_ALL = "all"
_REFUSALS = frozenset(refusal.value for refusal in Refusal)  # policy's own; the others are the payment's


def print_comparison(console: Console, found: Comparison) -> None:
    console.print(_table(found))
    say(console, _sum(found), style="" if found.adds_up else "red")
    for sentence in assumed(found):
        say(console, sentence, style="dim")


def told_group(group: str) -> str:
    """A group as a person reads it."""
    return f"refused: {group.replace('-', ' ')}" if group in _REFUSALS else group


def present(found: Comparison) -> list[str]:
    """The groups that any of the policies has, in their order."""
    return [group for group in GROUPS if any(column.count(group) for column in found.columns)]


def assumed(found: Comparison) -> list[str]:
    """What the files do not say, and was taken for so."""
    days, reason = found.assumptions.delivered_after_days, found.assumptions.reason.value
    return [
        f"Assumed where the files do not say: goods arrive {days} {'day' if days == 1 else 'days'} after the payment, and are being "
        f"prepared until then; the category is general; the reason is {reason}; the customer asks, in the app; the balance paid.",
        "Each cancellation is asked for at its real moment, in its real currency; days are those of each policy's zone and calendar. "
        "What a policy does not refuse is granted at once, by whoever must decide, as it was in history.",
    ]


def _table(found: Comparison) -> Table:
    table = Table(title="The same cancellations under each policy", title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for column in found.columns:
        table.add_column(Text(plain(column.name)), justify="right")
    for group in (*present(found), None):
        if group is None:
            table.add_section()
        table.add_row(Text(told_group(group or _ALL)), *(f"{column.count(group):,}" for column in found.columns), style="bold")
        table.add_row("", *(_amounts(column.amount(group)) for column in found.columns))
        for rule in _rules(found, group):
            numbers = (column.counts[Ending(group, rule)] for column in found.columns if group is not None)
            table.add_row(Text(f"  {plain(rule)}"), *(f"{number:,}" if number else "" for number in numbers), style="dim")
    return table


def _amounts(amounts: Counter[str]) -> Text:
    return Text("\n".join(amount_text(amounts[currency], currency, Language.en) for currency in sorted(amounts)))


def _rules(found: Comparison, group: str | None) -> list[str]:
    """Of all columns, in the order in which they first stand there."""
    return list(dict.fromkeys(e.rule for column in found.columns for e in column.counts if e.group == group and e.rule is not None))


def _sum(found: Comparison) -> str:
    left = found.cancellations - found.taken
    rest = f" {left:,} more belong to payments that are not in the folder, or beyond the limit." if left else ""
    if found.adds_up:
        return f"Each column adds up to {'all ' if not left else ''}{found.taken:,} cancellations of the folder.{rest}"
    wrong = ", ".join(f"{column.name} has {column.count():,}" for column in found.columns if column.count() != found.taken)
    return f"The columns do not add up to {found.taken:,}: {wrong}.{rest}"
