"""The space left on this machine to what the service writes."""

from pathlib import Path
from shutil import disk_usage

_MEGABYTE = 1024 * 1024


def free_megabytes(directory: Path) -> float:
    """The least that is left to a data directory and to the embedded database in it, which may lie on another disk. Raises OSError."""
    places = (directory, directory / "postgres", directory / "postgres" / "data")
    return min(disk_usage(place).free for place in places if place is directory or place.exists()) / _MEGABYTE
