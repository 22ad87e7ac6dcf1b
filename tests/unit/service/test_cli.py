"""The command line within this process: what it answers, and how it says that it was used wrongly."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from service import cli
from service.auth.keys import load_or_create_keys

pytestmark = pytest.mark.usefixtures("empty_environment")


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


Refundry = Callable[..., Done]


@pytest.fixture
def refundry(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refundry:
    """The program as its entry point calls it."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["refundry", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return Done(int(ended.value.code or 0), told.out, told.err)

    return run


def test_the_terminal_shows_settings_and_hides_secrets(monkeypatch: pytest.MonkeyPatch, refundry: Refundry) -> None:
    monkeypatch.setenv("REFUNDRY_DATABASE_URL", "postgresql://u:hunter2@h/d")

    done = refundry("settings")

    assert done.status == 0
    assert "hunter2" not in done.out
    assert re.search(r"REFUNDRY_DATABASE_URL +postgresql://u:\*\*\*@h/d +environment +PostgreSQL for", done.out)


def test_the_terminal_names_the_setting_that_is_wrong(monkeypatch: pytest.MonkeyPatch, refundry: Refundry) -> None:
    monkeypatch.setenv("REFUNDRY_PORT", "eight")

    done = refundry("settings")

    assert done.status == 1
    assert done.err.startswith("REFUNDRY_PORT: ")
    assert "Traceback" not in done.err


def test_a_token_and_nothing_else_is_on_stdout(tmp_path: Path, refundry: Refundry) -> None:
    load_or_create_keys(tmp_path)
    done = refundry("token", "--role", "merchant", "--sub", "m", "--merchant-id", "shop", "--ttl", "30m", "--data", str(tmp_path))

    assert done.status == 0, done.err
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", done.out)


def test_no_token_is_made_of_keys_that_nobody_knows(tmp_path: Path, refundry: Refundry) -> None:
    done = refundry("token", "--role", "agent", "--sub", "a", "--data", str(tmp_path))

    assert (done.status, done.out) == (1, "")
    assert "refundry up" in done.err
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["token", "--role", "king", "--sub", "x"],
        ["token", "--role", "agent", "--sub", "x", "--ttl", "soon"],
        ["token", "--role", "merchant", "--sub", "x"],
        ["token", "--role", "agent"],
        ["nonsense"],
        ["up", "--port", "x"],
        ["export", "-o", "x", "--format", "pdf"],
    ],
)
def test_wrong_use_is_2(arguments: list[str], refundry: Refundry) -> None:
    done = refundry(*arguments)

    assert done.status == 2, done.err
    assert "Traceback" not in done.err


def test_no_database_says_what_to_do(refundry: Refundry) -> None:
    done = refundry("database-url", "--data", "nowhere")

    assert (done.status, done.out) == (1, "")
    assert "REFUNDRY_DATABASE_URL" in done.err
    assert "--data" in done.err


COMMANDS = ["up", "serve", "worker", "sandbox", "migrate", "token", "import", "replay", "export", "verify", "check"]
COMMANDS += ["database-url", "diagram", "settings", "policy", "policy lint", "policy publish"]


@pytest.mark.slow
def test_every_command_has_help(refundry: Refundry) -> None:
    for command in COMMANDS:
        done = refundry(*command.split(), "--help")

        assert done.status == 0, done.err
        assert f"refundry {command}" in done.out
