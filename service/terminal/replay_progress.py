"""A progress bar for what is read, sent or decided, where somebody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

Advance = Callable[[float], None]


@contextmanager
def progress_bar(console: Console, name: str, total: float | None, done: ProgressColumn | None = None) -> Iterator[Advance]:
    """Shows `name` and how much of `total` is done; nothing where the console is no terminal."""
    if not console.is_terminal:
        yield lambda _: None
        return
    how = BarColumn() if total is not None else SpinnerColumn()
    columns = (TextColumn("{task.description}", markup=False), how, done or MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=total)
        yield lambda step: progress.advance(task, step)
