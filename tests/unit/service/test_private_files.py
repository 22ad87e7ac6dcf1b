"""Files that nobody else may read: whatever stands in them or in their place."""

import errno
import os
from pathlib import Path

import pytest

from service.private_files import FileUnusable, read_port, read_word, unusable, write_private
from tests.unit.service.file_modes import mode


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"99999", b"0", b"-1", b"1 2", b"7" * 5000, "１".encode()])
def test_a_damaged_port_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "port").write_bytes(content)

    assert read_port(tmp_path / "port") is None
    assert read_port(tmp_path) is None
    assert read_word(tmp_path / "missing") is None


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    (tmp_path / "port").symlink_to(tmp_path / "other")

    write_private(tmp_path / "port", "1")

    assert (tmp_path / "other").read_text() == "other"
    assert (read_port(tmp_path / "port"), mode(tmp_path / "port")) == (1, 0o600)


def test_a_full_disk_and_a_forbidden_directory_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(FileUnusable, match="Free some space"):
        write_private(tmp_path / "port", "1")
    assert list(tmp_path.iterdir()) == []
    assert "Let this user" in str(unusable(tmp_path, PermissionError(errno.EACCES, os.strerror(errno.EACCES))))
