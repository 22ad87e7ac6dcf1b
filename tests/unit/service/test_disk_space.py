"""The space that is left: the least of the places that are written to."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from service import disk_space

MEGABYTE = 1024 * 1024


def test_the_fullest_disk_of_those_that_are_there_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {tmp_path: 30, tmp_path / "postgres": 20, tmp_path / "postgres" / "data": 10}
    monkeypatch.setattr(disk_space, "disk_usage", lambda place: SimpleNamespace(free=free[place] * MEGABYTE))

    found = [disk_space.free_megabytes(tmp_path)]
    for place in list(free)[1:]:
        place.mkdir()
        found.append(disk_space.free_megabytes(tmp_path))

    assert found == [30, 20, 10]


def test_a_directory_that_is_not_there_is_an_error_and_not_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        disk_space.free_megabytes(tmp_path / "missing")
