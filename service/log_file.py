"""The file that a process's standard output and error are: changed for an empty one when it is full."""

import os
import sys
from pathlib import Path
from typing import Final

LOG_BYTES_MAX: Final = 10_000_000
LOG_FILES_MAX: Final = 5  # the one that is written, and those before it: name.log.1 is the newest of them


def rotate(path: Path, *, files_max: int = LOG_FILES_MAX) -> None:
    """Move the file away, and each older one a place further; the oldest is overwritten. Raises OSError."""
    for number in range(files_max - 1, 0, -1):
        older = path if number == 1 else _numbered(path, number - 1)
        if older.exists():
            older.replace(_numbered(path, number))


class LogFile:
    """Standard output and error of this process are `path` from now on, so that what no logger writes, such as the last words of an
    interpreter, stands there too.
    """

    def __init__(self, path: Path, *, bytes_max: int = LOG_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def make_room(self, coming: int) -> None:
        """Begin a new file where so many bytes more would be too many. Where that is impossible the old one is gone on with."""
        try:
            if os.fstat(_ERROR).st_size + coming > self._bytes_max:
                rotate(self._path)
                self._open()
        except OSError:
            return

    def _open(self) -> None:
        """The descriptors of both streams lead to the file, and are never closed between."""
        sys.stdout.flush()
        opened = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.dup2(opened, _OUTPUT)
            os.dup2(opened, _ERROR)
        finally:
            os.close(opened)


_OUTPUT, _ERROR = 1, 2


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
