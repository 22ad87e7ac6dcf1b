"""A start that is refused in a sentence: without keys, without a free port, without space, or by its configuration."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import environment_for_child

pytestmark = pytest.mark.slow


SECONDS_MAX = 240


def refundry(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "service", *arguments]
    given = environment_for_child({}) | environment
    return subprocess.run(command, capture_output=True, text=True, check=False, env=given, cwd=cwd, timeout=SECONDS_MAX)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert all(word in said for word in words), said


@pytest.mark.long
def test_up_names_what_configures_it_and_starts_nothing_without_keys(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REFUNDRY_JWKS_URL=https://127.0.0.1:1/hunter2\nREFUNDRY_ISSUER=hunter2\nPOSTGRES_PASSWORD=hunter2\n")

    done = refundry("up", "--data", "data", "--port", "0", cwd=tmp_path)

    refused(done, "Configured by: REFUNDRY_JWKS_URL, REFUNDRY_ISSUER (.env).", "REFUNDRY_JWKS_URL gave no JWKS")
    assert "hunter2" not in done.stdout + done.stderr
    assert not (tmp_path / "data" / "postgres").exists()


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
