"""The ledger's file: closed to others from its first moment, taken where it is whole, refused where it is no database."""

import os
from pathlib import Path

import pytest

from service.private_files import FileUnusable
from service.sandbox.ledger import Ledger
from service.sandbox.ledger_file import check_ledger
from service.up.layout import prepare
from tests.unit.service.file_modes import mode


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_the_ledger_is_closed_from_its_first_moment_and_again(tmp_path: Path, umask: int) -> None:
    path, before = tmp_path / "sandbox.sqlite", os.umask(umask)
    try:
        made = Ledger(path, notifies=False)
        files = list(tmp_path.iterdir())
        first = {mode(file) for file in files}
        for file in files:
            file.chmod(0o644)
        again = Ledger(path, notifies=False)
    finally:
        os.umask(before)

    assert len(files) == 3
    assert (first, {mode(file) for file in files}) == ({0o600}, {0o600})
    made.close()
    again.close()


def test_a_ledger_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.sqlite"
    path.write_bytes(b"\xff" * 5000)

    with pytest.raises(FileUnusable, match="Restore it from a backup"):
        check_ledger(path)
    with pytest.raises(FileUnusable, match="Restore it from a backup"):
        prepare(tmp_path)
    assert path.read_bytes() == b"\xff" * 5000


def test_a_ledger_that_is_whole_is_taken(tmp_path: Path) -> None:
    Ledger(tmp_path / "sandbox.sqlite", notifies=True).close()

    check_ledger(tmp_path / "sandbox.sqlite")
    prepare(tmp_path)
