"""A progress bar: shown to whoever watches, and to nobody else."""

import io

from rich.console import Console

from service.terminal.replay_progress import progress_bar


def test_only_a_terminal_shows_a_bar() -> None:
    for watched in (True, False):
        for total in (7.0, None):
            output = io.StringIO()
            with progress_bar(Console(file=output, width=100, force_terminal=watched), "[cancelling]", total) as advance:
                advance(3)
                advance(4)

            assert ("[cancelling]" in output.getvalue()) is watched
            assert ("7/7" in output.getvalue()) is (watched and total is not None)
            assert bool(output.getvalue()) is watched
