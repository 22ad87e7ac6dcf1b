"""How a start goes on a damaged, open or unusable data directory: mended, closed, or refused in a sentence; and what readiness tells."""

import asyncio
import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.auth.key_sources import require_usable
from service.auth.keys import KeysUnusable, load_or_create_keys
from service.private_files import FileUnusable, read_port, read_word, unusable, write_private
from service.sandbox.ledger import Ledger
from service.sandbox.ledger_file import check_ledger
from service.settings import configured, environment_for_child, load
from service.up import embedded
from service.up.layout import prepare
from service.up_addresses import service_url
from workflows.storage.connections import Connections

pytestmark = pytest.mark.slow

SECONDS_MAX = 240


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refundry(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "service", *arguments]
    given = environment_for_child({}) | environment
    return subprocess.run(command, capture_output=True, text=True, check=False, env=given, cwd=cwd, timeout=SECONDS_MAX)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert all(word in said for word in words), said


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


@pytest.mark.parametrize("name", ["up.json", "up.lock", "sandbox.port", "sandbox.secret", "postgres/port", "postgres/owner.password"])
def test_a_directory_in_a_files_place_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)

    with pytest.raises(FileUnusable, match="Move it away"):
        prepare(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"99999", b"0", b"-1", b"1 2", b"7" * 5000, "１".encode()])
def test_a_damaged_port_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "port").write_bytes(content)

    assert read_port(tmp_path / "port") is None
    assert read_port(tmp_path) is None
    assert read_word(tmp_path / "missing") is None


@pytest.mark.parametrize("content", ["", "[1]", "3", "null", '{"api": 5}', "[" * 100_000, "\x00"])
def test_damaged_addresses_are_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "up.json").write_text(content)

    assert service_url(load(data_dir=tmp_path, port=8123)) == "http://127.0.0.1:8123"


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


SOURCES: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.exists(), "is not there"),
    (lambda path: path.mkdir(), "is no file"),
    (lambda path: path.write_bytes(b"\xff\x00"), "is no JWKS"),
    (lambda path: path.write_text('{"keys": [{"kty": "oct", "k": "AAAA"}]}'), "no public key"),
]


@pytest.mark.parametrize(("make", "said"), SOURCES)
async def test_a_file_without_keys_is_told(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    make(tmp_path / "jwks.json")

    with pytest.raises(KeysUnusable, match=said):
        await require_usable(None, tmp_path / "jwks.json")


@pytest.mark.parametrize("url", ["http://idp.example/secret", "nonsense", "https://127.0.0.1:1/secret", "https://["])
async def test_an_address_without_keys_is_told_and_not_repeated(url: str) -> None:
    with pytest.raises(KeysUnusable, match="REFUNDRY_JWKS_URL") as told:
        await require_usable(url, None)
    assert "secret" not in str(told.value)


async def test_the_local_keys_are_usable(tmp_path: Path) -> None:
    await require_usable(None, load_or_create_keys(tmp_path).jwks_path)
    await require_usable(None, None)


@pytest.mark.long
def test_up_names_what_configures_it_and_starts_nothing_without_keys(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REFUNDRY_JWKS_URL=https://127.0.0.1:1/hunter2\nREFUNDRY_ISSUER=hunter2\nPOSTGRES_PASSWORD=hunter2\n")

    done = refundry("up", "--data", "data", "--port", "0", cwd=tmp_path)

    refused(done, "Configured by: REFUNDRY_JWKS_URL, REFUNDRY_ISSUER (.env).", "REFUNDRY_JWKS_URL gave no JWKS")
    assert "hunter2" not in done.stdout + done.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_an_empty_key_source_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("REFUNDRY_JWKS_URL=\nREFUNDRY_JWKS_FILE=\nREFUNDRY_SANDBOX_URL=\n")

    read = load()

    assert (read.jwks_url, read.jwks_file, read.sandbox_url) == (None, None, None)
    assert "REFUNDRY_JWKS_URL" in configured()


def test_an_environment_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")

    refused(refundry("settings", cwd=tmp_path), ".env", "UTF-8")


@pytest.mark.long
def test_a_server_without_keys_or_with_its_port_in_use_does_not_start(tmp_path: Path) -> None:
    given = {"REFUNDRY_DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = str(occupied.getsockname()[1])

        keyless = refundry("serve", "--data", "data", "--port", port, cwd=tmp_path, **given, REFUNDRY_JWKS_FILE="missing.json")
        late = refundry("serve", "--data", "data", "--port", port, cwd=tmp_path, **given)
        rail = refundry("sandbox", "--data", "data", "--port", port, cwd=tmp_path)

        away = refundry("serve", "--data", "data", "--port", "0", cwd=tmp_path, **given)
        strange = refundry("serve", "--data", "data", "--port", "0", cwd=tmp_path, REFUNDRY_DATABASE_URL="postgresql://u@no.invalid/d")

    refused(keyless, "REFUNDRY_JWKS_FILE", "is not there")
    refused(away, "The database cannot be reached", "`refundry settings` shows its address")
    refused(strange, "The database cannot be reached")
    refused(late, f"port {port}", "--port N")
    refused(rail, f"port {port}", "--port N")


@pytest.mark.long
def test_up_is_refused_where_it_may_not_be_or_there_is_too_little_space(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "up.lock").symlink_to(tmp_path / "victim")

    refused(refundry("up", "--data", "file", cwd=tmp_path), "is not a directory", "--data DIR")
    refused(refundry("up", "--data", "link", cwd=tmp_path), "symbolic link")
    refused(refundry("up", "--data", "full", cwd=tmp_path, REFUNDRY_DISK_FREE_MEGABYTES_MIN="1000000"), "are free", "Free some space")
    assert not (tmp_path / "victim").exists()


async def test_a_database_without_space_is_remembered() -> None:
    class Full:
        def is_closed(self) -> bool:
            return False

        def is_in_transaction(self) -> bool:
            return False

        async def execute(self, _: str) -> None:
            raise asyncpg.DiskFullError("could not extend file")

    async def connect() -> Any:
        return Full()

    connections = Connections(connect, 1)
    before = connections.disk_full_at

    with pytest.raises(asyncpg.DiskFullError):
        await connections.execute("insert")

    assert before is None
    assert connections.disk_full_at is not None
    assert connections.disk_full_at <= asyncio.get_running_loop().time()


def test_a_ledger_that_is_whole_is_taken(tmp_path: Path) -> None:
    Ledger(tmp_path / "sandbox.sqlite", notifies=True).close()

    check_ledger(tmp_path / "sandbox.sqlite")
    prepare(tmp_path)
