"""What lies in a data directory: each thing where it belongs, and closed to everybody else.

DIR                     0711   passed through, not listed: PostgreSQL may run as `nobody`
├─ up.lock, up.json, sandbox.port, sandbox.secret, sandbox.sqlite (-wal, -shm)     0600
├─ keys/, logs/, metrics/      0700   and each file in them 0600
└─ postgres/            0700   the same, and `data`, which PostgreSQL keeps closed itself
"""

import os
import stat
from pathlib import Path

from service.private_files import FileUnusable, close_to_others, unusable

_FILES = ("up.lock", "up.json", "sandbox.port", "sandbox.secret", "sandbox.sqlite", "sandbox.sqlite-wal", "sandbox.sqlite-shm")
_DIRECTORIES = ("keys", "logs", "metrics", "postgres")
_IN_POSTGRES = ("lock", "port", "owner.password", "app.password", "server.log")
_SQLITE = b"SQLite format 3\x00"
_OPEN_MODE = 0o711


def prepare(directory: Path) -> None:
    """Make the directory where it is missing, see that nothing stands in another's place, and close what stands open.

    Only what is known to be ours is touched, and nothing behind a symbolic link. Raises FileUnusable.
    """
    try:
        if directory.exists() and not directory.is_dir():
            raise FileUnusable(f"{directory} is not a directory. Name another one: --data DIR.")
        directory.mkdir(mode=_OPEN_MODE, parents=True, exist_ok=True)
        _close_directory(directory)
        for name in _FILES:
            _close_file(directory / name)
        _check_ledger(directory / "sandbox.sqlite")
        (directory / "logs").mkdir(mode=0o700, exist_ok=True)
        for name in _DIRECTORIES:
            _close_folder(directory / name)
        for name in _IN_POSTGRES:
            _close_file(directory / "postgres" / name)
    except OSError as error:
        raise unusable(Path(error.filename or directory), error) from error


def _check_ledger(path: Path) -> None:
    """The rail opens its ledger itself, and says in its log what it finds: here only what is no database at all is told."""
    if not path.exists():
        return
    with path.open("rb") as file:
        start = file.read(len(_SQLITE))
    if start not in (b"", _SQLITE):
        raise FileUnusable(
            f"The sandbox rail's ledger {path} is no database of SQLite. Restore it from a backup; or move it away: "
            "an empty one is then begun, which does not know what the rail has moved."
        )


def _close_directory(directory: Path) -> None:
    """Nobody else may write in it; nor list it, unless it holds other things than ours, as a home directory does."""
    mode, owner = directory.stat().st_mode, directory.stat().st_uid
    if mode & stat.S_ISVTX and mode & stat.S_IWOTH:
        raise FileUnusable(f"Everybody may write in {directory}. Give a directory that is this program's own: --data DIR.")
    ours = {*_FILES, *_DIRECTORIES}
    alone = all(entry.name in ours or entry.name.startswith(".") for entry in directory.iterdir())
    wanted = mode & ~(0o066 if alone else 0o022)
    if wanted != mode and owner == os.getuid():
        directory.chmod(stat.S_IMODE(wanted))


def _close_folder(folder: Path) -> None:
    if folder.is_symlink() or not folder.exists():
        return
    if not folder.is_dir():
        raise FileUnusable(f"{folder} is a file where a directory belongs. Move it away, then start again.")
    close_to_others(folder)
    for entry in folder.iterdir():
        if entry.name.endswith((".log", ".jwk", ".json")) or entry.is_file():
            _close_file(entry)


def _close_file(path: Path) -> None:
    """A link is left as it is: it may lead to what is not ours."""
    if not path.exists():
        return
    if not path.is_file():
        what = "a directory" if path.is_dir() else "no ordinary file"
        raise FileUnusable(f"{path} is {what}, where a file belongs. Move it away, then start again.")
    if not path.is_symlink():
        close_to_others(path)
