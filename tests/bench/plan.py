"""What to measure and for how long, and what tells how far it has come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PARTS = ("requests", "endpoints", "memory", "exports", "refunds", "deadlines", "rails", "rules", "growth")
BY_DEFAULT = PARTS[:-1]
POLICY_SIZES = (10, 200)  # rules
RAIL_CONCURRENCY = (16, 32, 64)  # calls to one rail at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    parts: tuple[str, ...]
    rounds: int
    seconds: float  # of the service and of pgbench each, for each number of callers in each round
    slice_seconds: float  # after which they change places
    warm_seconds: float  # before each measurement
    endpoint_seconds: float
    callers: tuple[int, ...]
    apis: int
    stock: int  # payments with cancellation, refund, leg, job and records that are there before anything is measured
    refunds: int
    deadlines: int  # that are due together
    deadline_seconds: float  # of refunds before, with nothing else due
    rail_seconds: float  # of refunds, for each concurrency
    outage_seconds: float  # for which a rail is away
    memory_requests: int
    growth: tuple[int, ...]
    seed: int
    directory: Path


@dataclass(frozen=True, slots=True)
class Reporter:
    """Tells a person what is going on."""

    console: Console

    @contextmanager
    def part(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar; gives what moves it on."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=self.console.is_terminal) as progress:
            task = progress.add_task(title, total=total)
            yield lambda steps: progress.advance(task, steps)
