"""Files that nobody else may read: closed from their first moment whatever the umask, and written whole or not at all."""

import errno
import os
import re
import tempfile
from pathlib import Path

_WORD_BYTES_MAX = 1024
_WORD = re.compile(r"[!-~]+")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class FileUnusable(Exception):
    """A file or directory of ours cannot be used; the text says which, why, and what to do."""


def write_private(path: Path, text: str) -> None:
    """Put `text` into a file of mode 0600 that takes the place of the old one. A link is replaced, not followed. Raises FileUnusable."""
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(path)
        finally:
            Path(draft).unlink(missing_ok=True)  # gone already where it was kept
    except OSError as error:
        raise unusable(path, error) from error


def open_private(path: Path) -> int:
    """A descriptor of the file to read and write, made with mode 0600 where it is missing; no link is followed. Raises FileUnusable."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(path, error) from error


def make_private(path: Path) -> None:
    """Make an empty file of mode 0600, or close the one that is there. A link stays one; what it leads to is closed. Raises OSError."""
    place = path.resolve()
    try:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        close_to_others(place)


def close_to_others(path: Path) -> None:
    """Take every right from the group and from others. Raises OSError where it belongs to somebody else."""
    mode = path.stat().st_mode
    if mode & 0o077:
        path.chmod(mode & 0o700)


def read_word(path: Path) -> str | None:
    """The one word of printable ASCII that stands in a file; None where there is none, or anything else."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            text = file.read(_WORD_BYTES_MAX + 1).decode("ascii").strip()
    except (OSError, ValueError):
        return None
    return text if len(text) <= _WORD_BYTES_MAX and _WORD.fullmatch(text) else None


def read_port(path: Path) -> int | None:
    """The port of TCP that stands in a file; None where there is none, or anything else."""
    word = read_word(path)
    return int(word) if word is not None and re.fullmatch(r"[0-9]{1,5}", word) and 0 < int(word) < 65536 else None


def unusable(path: Path, error: OSError) -> FileUnusable:
    """What the system said about a file, in a sentence, and what to do."""
    why = error.strerror or str(error)
    if error.errno in _FULL:
        return FileUnusable(f"{path} cannot be written: {why}. Free some space, then try again.")
    if error.errno in _FORBIDDEN:
        return FileUnusable(f"{path} cannot be used: {why}. Let this user read and write it, or name another place.")
    if error.errno == errno.ELOOP:
        return FileUnusable(f"{path} is a symbolic link, which is not followed. Remove it, then try again.")
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY):
        return FileUnusable(f"{path} cannot be used: {why}. Move away what stands in its place, then try again.")
    return FileUnusable(f"{path} cannot be used: {why}.")
