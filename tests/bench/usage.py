"""CPU seconds of a process and all below it, as Linux counts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Spent:
    """CPU seconds, known once the block is left."""

    seconds: float = 0.0


@contextmanager
def spending(process: int) -> Iterator[Spent]:
    """The CPU that the tree under `process` uses within the block."""
    spent = Spent()
    before = cpu_seconds(process)
    yield spent
    spent.seconds = cpu_seconds(process) - before


def cpu_seconds(process: int) -> float:
    """User and system time of the tree under `process`, children that have ended and were waited for among them."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            ticks[int(entry.name)] = sum(map(int, fields[11:15]))  # utime stime cutime cstime
    total, waiting = 0, [process]
    while waiting:
        one = waiting.pop()
        total += ticks.get(one, 0)
        waiting += children.get(one, [])
    return total / _TICKS
