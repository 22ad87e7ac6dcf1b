"""The table of a comparison: what it says of the limit, and of columns that do not add up."""

import io
from pathlib import Path

from rich.console import Console

from service.terminal.replay_offline import Ending
from service.terminal.replay_offline_table import print_comparison
from tests.unit.service.terminal.comparing import TWO, compared


def test_the_limit_takes_the_first_payments_and_says_what_is_left(folder: Path) -> None:
    console = Console(file=io.StringIO(), width=120)

    found = compared(folder, ["cn-wallet"], limit=2)
    print_comparison(console, found)

    assert found.taken == 4
    assert "Each column adds up to 4 cancellations of the folder. 6 more belong to payments" in console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def test_a_column_that_does_not_add_up_is_told(folder: Path) -> None:
    console = Console(file=io.StringIO(), width=120)
    found = compared(folder, TWO)
    found.columns[0].add(Ending("agent", "invented"), 1, "GBP")

    print_comparison(console, found)

    assert not found.adds_up
    assert "The columns do not add up to 9: cn-wallet has 10." in console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
