"""The command line as a program of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import environment_for_child

pytestmark = pytest.mark.slow


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", *command], capture_output=True, text=True, check=False, env=environment_for_child({}), cwd=folder
    )


def test_what_is_wrong_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REFUNDRY_PORT", "eight")

    done = run("service", "settings", folder=tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("REFUNDRY_PORT: ")
    assert "Traceback" not in done.stderr


def test_a_command_waits_for_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    heavy = ("sqlalchemy", "sqlmodel", "fastapi", "aiohttp", "alembic", "holidays")
    program = f"import sys, service.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False, env=environment_for_child({}), cwd=tmp_path
    )

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_the_tour_looks_where_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text('{"api": "http://127.0.0.1:1"}')

    done = run("service.terminal.demo", "--data", str(tmp_path), folder=tmp_path)
    wrong = run("service.terminal.demo", "--date", "x", folder=tmp_path)

    assert (done.returncode, "http://127.0.0.1:1." in done.stdout) == (1, True)
    assert wrong.returncode == 2
