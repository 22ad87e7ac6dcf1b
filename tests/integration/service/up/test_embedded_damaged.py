"""An embedded database whose files are damaged: mended, or left alone and told in a sentence."""

from pathlib import Path

import pytest

from service.private_files import read_port
from service.up import embedded
from tests.unit.service.file_modes import mode

pytestmark = pytest.mark.slow


def made_once(home: Path) -> None:
    (home / "data").mkdir(parents=True)
    (home / "data" / "PG_VERSION").write_text("18\n")
    for name in ("owner", "app"):
        (home / f"{name}.password").write_text("secret")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"two words"])
def test_a_lost_password_of_the_owner_says_how_to_reset_it(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "postgres" / "owner.password"
    made_once(path.parent)
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(embedded.EmbeddedError, match=r"Restore it from a backup; or write a new password.*--single"):
        embedded.start(tmp_path)


@pytest.mark.parametrize(("version", "said"), [("17", "made by PostgreSQL 17, and this is 18"), ("", "holds no database")])
def test_data_of_another_version_are_left_alone(tmp_path: Path, version: str, said: str) -> None:
    made_once(tmp_path / "postgres")
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text(version)

    with pytest.raises(embedded.EmbeddedError, match=said):
        embedded.start(tmp_path)


@pytest.mark.long
def test_a_wrong_password_is_told_and_no_server_is_left_and_damaged_ports_are_made_anew(tmp_path: Path) -> None:
    small = {"shared_buffers": "16MB", "max_connections": "20"}
    server = embedded.start(tmp_path, small)
    good = (server.home / "owner.password").read_text()
    try:
        (server.home / "owner.password").write_text("wrong")
        with pytest.raises(embedded.EmbeddedError, match="does not hold the owner's password"):
            embedded.start(tmp_path, small)  # finds it running
        (server.home / "owner.password").write_text(good)
        assert not server.running()
        (server.home / "port").write_bytes(b"\xff")
        (server.home / "app.password").write_bytes(b"")

        again = embedded.start(tmp_path, small)
        again.ensure_database()

        assert again.running()
        assert read_port(again.home / "port") == again.port
        assert mode(again.home / "port") == 0o600
    finally:
        embedded.Server(server.home, server.port).stop()
