"""CPU seconds and memory of processes, as Linux counts them; PostgreSQL's by what each of its processes is there for."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_TICKS = os.sysconf("SC_CLK_TCK")

# `service` and `pgbench`: their backends, told apart by the role that they log in as. `writers`: checkpointer, background writer, WAL
# writer and I/O workers. `starts`: the postmaster, and connections that began or ended meanwhile.
Kind = Literal["service", "pgbench", "autovacuum", "writers", "starts"]
BACKGROUND: tuple[Kind, ...] = ("autovacuum", "writers", "starts")
_KINDS: tuple[Kind, ...] = ("service", "pgbench", *BACKGROUND)
Spent = dict[Kind, float]  # CPU seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds of PostgreSQL's processes up to now, by process id."""

    alive: dict[int, tuple[Kind, float]]
    postmaster: float
    ended: float  # of all children that have ended


def read_postgres(postmaster: int, app_role: str) -> Reading:
    alive: dict[int, tuple[Kind, float]] = {}
    for process in _children().get(postmaster, []):
        own = _own_and_ended(process)
        if own is not None:
            alive[process] = (kind_of(_title(process), app_role), own[0])
    own = _own_and_ended(postmaster) or (0.0, 0.0)
    return Reading(alive, own[0], own[1])


def between(before: Reading, after: Reading) -> Spent:
    """CPU seconds by kind. What was not there before, or is gone, counts as a start, or as autovacuum's."""
    spent: Spent = dict.fromkeys(_KINDS, 0.0)
    for process, (kind, seconds) in after.alive.items():
        known = before.alive.get(process)
        started = known is None and kind in ("service", "pgbench")
        spent["starts" if started else kind] += seconds - (known[1] if known else 0.0)
    gone = [known for process, known in before.alive.items() if process not in after.alive]
    ended = after.ended - before.ended - sum(seconds for _, seconds in gone)
    # Autovacuum's workers come and go; a backend ends only where its client leaves.
    by_backend = any(kind in ("service", "pgbench") for kind, _ in gone)
    spent["starts" if by_backend else "autovacuum"] += max(ended, 0.0)
    spent["starts"] += after.postmaster - before.postmaster
    return spent


def total(many: Iterable[Spent]) -> Spent:
    added = list(many)
    return {kind: sum(one[kind] for one in added) for kind in _KINDS}


def kind_of(title: str, app_role: str) -> Kind:
    """By the title that a process of PostgreSQL gives itself."""
    name = title.removeprefix("postgres: ").strip()
    if name.startswith("autovacuum"):
        return "autovacuum"
    if name.startswith(app_role + " "):
        return "service"
    # Every other session is the owner's: pgbench, since nobody else works while it is measured.
    return "pgbench" if "(" in name else "writers"


def cpu_seconds(process: int) -> float:
    """User and system time of the tree under `process`, children that have ended and were waited for among them."""
    children = _children()
    total, waiting = 0.0, [process]
    while waiting:
        one = waiting.pop()
        total += sum(_own_and_ended(one) or (0.0, 0.0))
        waiting += children.get(one, [])
    return total


def memory_bytes(process: int) -> int:
    """The resident set of one process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def descendants(process: int) -> dict[int, str]:
    """The command lines of all processes below this one."""
    children, found, waiting = _children(), {}, [process]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found[child] = _title(child)
            waiting.append(child)
    return found


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    return children


def _own_and_ended(process: int) -> tuple[float, float] | None:
    """Its own time, and that of its children that have ended."""
    fields = _stat(process)
    if fields is None:
        return None
    user, system, ended_user, ended_system = map(int, fields[11:15])
    return (user + system) / _TICKS, (ended_user + ended_system) / _TICKS


def _stat(process: int) -> list[str] | None:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return None


def _title(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
