"""Which PostgreSQL runs on a directory of data: what its pid file says, and what the kernel knows."""

import os
from pathlib import Path


def postmaster(data: Path) -> tuple[int, int] | None:
    """Process and port as `postmaster.pid` names them; port 0 while the server has not got so far."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), int(lines[3]) if len(lines) > 3 and lines[3] else 0
    except (OSError, IndexError, ValueError):
        return None


def processes_in(data: Path) -> set[int] | None:
    """The live processes that have `data` as their working directory: all of a server's, and nobody else's. None without /proc.

    More than the pid file can tell: after a killed postmaster, its children may still be writing for a moment.
    """
    if not Path("/proc/self/cwd").exists():
        return None
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == data and is_running(int(entry.name)):
                found.add(int(entry.name))
        except OSError:
            continue  # gone, or another user's
    return found


def is_running(process: int) -> bool:
    """Whether the process still runs; a zombie does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    except ProcessLookupError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")
