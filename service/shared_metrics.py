"""The metrics of the API processes of one machine, added up: whichever of them is asked, the same figures are shown.

prometheus_client adds up processes by files that each maps into its memory. Two of its ways are changed here. It names the files by process
id, so that a process that is started again and again leaves ever more of them; here a process takes the first free place in the directory,
and goes on with what the dead one there has counted. And its files get their room as they are written, so that a full disk ends the process
with SIGBUS; here they have their room before anything is counted.
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

log = structlog.get_logger("metrics")

PLACES_MAX: Final = 256  # processes of one directory
_GAUGES: Final = "gauge_livesum"
_KINDS: Final = ("counter", "histogram", _GAUGES)
_FILE_BYTES: Final = 1 << 20  # all operations and statuses that there are take less than a quarter of it


class _Shared:
    directory: Path | None = None
    lock: int | None = None  # held for as long as this process lives


def share_metrics(directory: Path) -> bool:
    """Count in this directory from now on; to be called before `service.metrics` is imported.

    False where that is not possible, as on a full disk: then this process counts for itself. Where no living process counts in the
    directory, what is in it is removed first.
    """
    if "service.metrics" in sys.modules:
        raise RuntimeError("the metrics are made already, each for this process alone")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory / "door.lock"):
            place, lock = _take_place(directory)
            _make_room(directory, place)
    except OSError as why:
        log.warning("metrics_not_shared", directory=str(directory), why=str(why))
        return False
    _Shared.directory, _Shared.lock = directory, lock
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)  # noqa: TID251 -- prometheus_client takes it from nowhere else
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]  # without types
    return True


def counted_metrics() -> bytes:
    """What this process has counted, or all that share its directory, in Prometheus' text format."""
    if _Shared.directory is None:
        return generate_latest()
    _forget_the_dead(_Shared.directory)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(_Shared.directory))  # type: ignore[no-untyped-call]  # as above
    return generate_latest(registry)


def _take_place(directory: Path) -> tuple[int, int]:
    """The first place that no living process has, and its lock."""
    found: tuple[int, int] | None = None
    others = False
    for place in range(1, PLACES_MAX + 1):
        path = directory / f"{place}.lock"
        if not path.exists() and found is not None:
            break
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _try_lock(lock):
            os.close(lock)
            others = True
        elif found is None:
            found = place, lock
        else:
            os.close(lock)
    if found is None:
        raise OSError(f"all {PLACES_MAX} places are taken")
    if not others:
        for old in directory.glob("*.db"):
            old.unlink()
    return found


def _make_room(directory: Path, place: int) -> None:
    """Files with all the room that they need. What the dead one waited for is over; what it counted stays."""
    (directory / f"{_GAUGES}_{place}.db").unlink(missing_ok=True)
    for kind in _KINDS:
        opened = os.open(directory / f"{kind}_{place}.db", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(opened, 0, _FILE_BYTES)
        finally:
            os.close(opened)


def _forget_the_dead(directory: Path) -> None:
    """What processes that have ended, and were not started again, said of their present."""
    for gauges in directory.glob(f"{_GAUGES}_*.db"):
        place = gauges.stem.rpartition("_")[2]
        lock = os.open(directory / f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _try_lock(lock):
                gauges.unlink(missing_ok=True)
        finally:
            os.close(lock)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
