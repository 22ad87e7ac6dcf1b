"""The command that takes a history under policies: reads them, decides, prints the table, and draws the picture."""

from datetime import datetime
from pathlib import Path

from rich.console import Console

from service.terminal.plain import say
from service.terminal.replay_offline import Assumptions, compare, read_policies
from service.terminal.replay_offline_table import print_comparison
from service.terminal.replay_progress import progress_bar
from service.terminal.replay_svg import picture


def run_compare(  # noqa: PLR0913 -- each is an option of the command
    folder: Path,
    names: list[str],
    *,
    assumptions: Assumptions,
    now: datetime,
    console: Console,
    limit: int | None = None,
    svg: Path | None = None,
) -> int:
    """Print what becomes of a folder's cancellations under each policy. 0: every column adds up. 1: one does not.

    Raises UnknownPolicy, UserError.
    """
    policies = read_policies(names)
    with progress_bar(console, "deciding", None) as advance:
        found = compare(folder, policies, assumptions, now=now, limit=limit, advance=advance)
    print_comparison(console, found)
    if svg is not None:
        svg.write_text(picture(found), encoding="utf-8")
        say(console, f"The picture is in {svg}.")
    return 0 if found.adds_up else 1
