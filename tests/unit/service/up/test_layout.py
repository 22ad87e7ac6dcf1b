"""A data directory that is damaged, open or unusable: closed at the next start, or refused in a sentence."""

from pathlib import Path

import pytest

from service.private_files import FileUnusable
from service.up.layout import prepare
from tests.unit.service.file_modes import mode


def test_an_open_installation_is_closed_at_the_next_start(tmp_path: Path) -> None:
    for name in ("logs", "keys", "metrics", "postgres"):
        (tmp_path / name).mkdir(mode=0o777)
        (tmp_path / name).chmod(0o777)
    files = [*(tmp_path / name for name in ("up.json", "up.lock", "sandbox.port", "sandbox.sqlite", "sandbox.sqlite-wal"))]
    files += [tmp_path / "logs" / "api-1.log", tmp_path / "keys" / "token.jwk", tmp_path / "postgres" / "port"]
    for file in files:
        file.touch()
        file.chmod(0o666)
    tmp_path.chmod(0o777)

    prepare(tmp_path)

    assert mode(tmp_path) == 0o711
    assert {mode(tmp_path / name) for name in ("logs", "keys", "metrics", "postgres")} == {0o700}
    assert {mode(file) for file in files} == {0o600}


def test_what_is_not_ours_is_left_as_it_is(tmp_path: Path) -> None:
    other, elsewhere = tmp_path / "data" / "mine.txt", tmp_path / "elsewhere"
    other.parent.mkdir(mode=0o755)
    for file in (other, elsewhere):
        file.touch()
        file.chmod(0o644)
    (other.parent / "up.json").symlink_to(elsewhere)

    prepare(other.parent)

    assert [mode(file) for file in (other, elsewhere, other.parent)] == [0o644, 0o644, 0o755]


def test_a_directory_in_which_everybody_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)

    with pytest.raises(FileUnusable, match="--data DIR"):
        prepare(tmp_path)


@pytest.mark.parametrize("name", ["up.json", "up.lock", "sandbox.port", "sandbox.secret", "postgres/port", "postgres/owner.password"])
def test_a_directory_in_a_files_place_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)

    with pytest.raises(FileUnusable, match="Move it away"):
        prepare(tmp_path)
