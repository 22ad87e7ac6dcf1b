"""Tells the person who started the service where everything is."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.panel import Panel
from rich.table import Table


def print_ready(console: Console, *, addresses: Sequence[tuple[str, str]], tokens: Mapping[str, str]) -> None:
    """Addresses in a panel, then a token per role; plain lines where nobody watches. No tokens: the keys are somebody else's."""
    if console.is_terminal:
        console.print(Panel(_grid(addresses), title="Refundry is ready", title_align="left", border_style="green", expand=False))
        if tokens:
            console.print("\nA token for each role, good for 12 hours:\n", style="bold")
    else:
        console.print("Refundry is ready")
        for name, value in addresses:
            console.print(f"{name:<9} {value}", soft_wrap=True, highlight=False, markup=False, emoji=False)
    for role, token in tokens.items():
        # Never wrapped, so that it can be copied.
        console.print(f"token {role:<10} {token}", soft_wrap=True, highlight=False, markup=False, emoji=False)
    if not tokens:
        console.print("Tokens are those of REFUNDRY_JWKS_URL or REFUNDRY_JWKS_FILE; none are signed here.", highlight=False)
    if console.is_terminal:
        console.print("\nCtrl-C stops everything. Started again, it goes on where it was.", style="dim")


def _grid(addresses: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in addresses:
        grid.add_row(f"[dim]{name}[/dim]", value)
    return grid
