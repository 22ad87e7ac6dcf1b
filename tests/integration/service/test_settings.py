"""Settings: read once, validated, frozen, and secret where they are secret."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from service import settings
from service.auth.keys import load_or_create_keys
from service.settings import PREFIX, Settings, environment_for_child, load, show, without_password
from service.up.data_directory import settings_for
from service.up_addresses import service_url


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours, and no `.env` but the test's own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_productions() -> None:
    read = load()

    assert (read.rail_timeout_seconds, read.lease_seconds) == (10, 60)
    assert (read.breaker_failures, read.breaker_pause_seconds) == (5, 10)
    assert (read.worker_concurrency, read.worker_notifications, read.worker_deadlines) == (16, 8, 8)
    assert read.enquiry_seconds == (30, 60, 300, 900, 3600, 14400, 86400)
    assert read.database_url == ""


def test_the_environment_comes_before_the_file_and_the_command_line_before_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REFUNDRY_PORT=1111\nREFUNDRY_HOST=::1\nREFUNDRY_ISSUER=file\n")
    monkeypatch.setenv("REFUNDRY_PORT", "2222")
    monkeypatch.setenv("REFUNDRY_HOST", "10.0.0.1")

    read = load(port=3333, host=None)

    assert (read.port, read.host, read.issuer) == (3333, "10.0.0.1", "file")
    assert {line.name: line.origin for line in show(load()) if line.origin != "default"} == {
        "REFUNDRY_PORT": "environment",
        "REFUNDRY_HOST": "environment",
        "REFUNDRY_ISSUER": ".env",
    }


def test_a_list_is_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUNDRY_ENQUIRY_SECONDS", "1, 2,5")

    assert load().enquiry_seconds == (1, 2, 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "eight"),
        ("database_url", "mysql://u:hunter2@h/d"),
        ("enquiry_seconds", ""),
        ("enquiry_seconds", "1,0"),
        ("rail_timeout_seconds", "0"),
        ("breaker_failures", "0"),
        ("breaker_pause_seconds", "301"),
        ("lease_seconds", "10"),  # not more than a call may take
        ("log_level", "loud"),
    ],
)
def test_nonsense_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), value)

    with pytest.raises(ValidationError) as refused:
        load()
    assert "hunter2" not in str(refused.value)


def test_two_sources_of_keys_are_one_too_many() -> None:
    with pytest.raises(ValidationError, match="not both"):
        load(jwks_file=Path("a"), jwks_url="https://idp.example/jwks")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().port = 1  # type: ignore[misc]  # the very thing that must fail


SECRETS = {
    "database_url": "db-hunter",
    "database_owner_url": "owner-hunter",
    "replica_url": "replica-hunter",
    "sandbox_secret": "rail-hunter",
}


def with_secrets() -> Settings:
    urls = {name: f"postgresql://u:{secret}@h:1/d" for name, secret in SECRETS.items() if name.endswith("_url")}
    return load(**urls, sandbox_secret=SecretStr(SECRETS["sandbox_secret"]))


def test_no_secret_is_shown() -> None:
    read = with_secrets()

    shown = repr(read) + str(read) + repr(show(read))

    assert "hunter" not in shown
    assert "postgresql://u:***@h:1/d" in shown, "the rest of the address helps"


def test_children_get_the_secrets_and_read_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    read = with_secrets()

    child = environment_for_child({name: getattr(read, name) for name in Settings.model_fields})
    for name, value in child.items():
        monkeypatch.setenv(name, value)

    assert load() == read


def test_every_setting_has_a_meaning_and_a_line() -> None:
    lines = show(load())

    assert [line.name for line in lines] == [PREFIX + name.upper() for name in Settings.model_fields]
    assert all(len(line.meaning) > 10 for line in lines)


def test_the_owners_address_is_the_applications_unless_told() -> None:
    assert load(database_url="postgresql://a@h/d").owner_url == "postgresql://a@h/d"
    assert load(database_url="postgresql://a@h/d", database_owner_url="postgresql://o@h/d").owner_url == "postgresql://o@h/d"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p%40ss@h:5432/d?x=1", "postgresql://u:***@h:5432/d?x=1"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u:p@h1:1,h2:2/d", "postgresql://u:***@h1:1,h2:2/d"),
        ("", ""),
    ],
)
def test_an_address_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_what_up_made_is_found_in_its_directory(tmp_path: Path) -> None:
    home = tmp_path / "postgres"
    home.mkdir()
    for name, text in {"port": "5555", "owner.password": "o", "app.password": "a"}.items():
        (home / name).write_text(text)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "jwks.json").write_text("{}")

    read = settings_for(data_dir=tmp_path)
    told = settings_for(data_dir=tmp_path, database_url="postgresql://x@h/d", jwks_url="https://idp.example/jwks")

    assert read.database_url == "postgresql://refundry_app:a@127.0.0.1:5555/refundry"
    assert read.owner_url == "postgresql://refundry:o@127.0.0.1:5555/refundry"
    assert read.jwks_file == tmp_path / "keys" / "jwks.json"
    assert (told.database_url, told.jwks_file) == ("postgresql://x@h/d", None)
    assert told.owner_url == "postgresql://x@h/d"


def test_the_running_service_is_where_up_wrote_or_where_it_is_configured(tmp_path: Path) -> None:
    configured = service_url(load(data_dir=tmp_path, port=8123))
    (tmp_path / "up.json").write_text('{"api": "http://127.0.0.1:9"}')

    assert configured == "http://127.0.0.1:8123"
    assert service_url(load(data_dir=tmp_path)) == "http://127.0.0.1:9"


def refundry(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "service", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment_for_child({}))


def test_the_terminal_shows_settings_and_hides_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUNDRY_DATABASE_URL", "postgresql://u:hunter2@h/d")

    done = refundry("settings")

    assert done.returncode == 0
    assert "hunter2" not in done.stdout
    assert re.search(r"REFUNDRY_DATABASE_URL +postgresql://u:\*\*\*@h/d +environment +PostgreSQL for", done.stdout)


def test_the_terminal_names_the_setting_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUNDRY_PORT", "eight")

    done = refundry("settings")

    assert done.returncode == 1
    assert done.stderr.startswith("REFUNDRY_PORT: ")
    assert "Traceback" not in done.stderr


def test_a_token_and_nothing_else_is_on_stdout(tmp_path: Path) -> None:
    load_or_create_keys(tmp_path)
    done = refundry("token", "--role", "merchant", "--sub", "m", "--merchant-id", "shop", "--ttl", "30m", "--data", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", done.stdout)


def test_no_token_is_made_of_keys_that_nobody_knows(tmp_path: Path) -> None:
    done = refundry("token", "--role", "agent", "--sub", "a", "--data", str(tmp_path))

    assert (done.returncode, done.stdout) == (1, "")
    assert "refundry up" in done.stderr
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
def test_wrong_use_is_2(arguments: list[str]) -> None:
    done = refundry(*arguments)

    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_no_database_says_what_to_do() -> None:
    done = refundry("database-url", "--data", "nowhere")

    assert (done.returncode, done.stdout) == (1, "")
    assert "REFUNDRY_DATABASE_URL" in done.stderr
    assert "--data" in done.stderr


def test_the_tour_looks_where_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text('{"api": "http://127.0.0.1:1"}')
    command = [sys.executable, "-P", "-m", "service.terminal.demo"]

    done = subprocess.run([*command, "--data", str(tmp_path)], capture_output=True, text=True, check=False, env=environment_for_child({}))
    wrong = subprocess.run([*command, "--date", "x"], capture_output=True, text=True, check=False, env=environment_for_child({}))

    assert (done.returncode, "http://127.0.0.1:1." in done.stdout) == (1, True)
    assert wrong.returncode == 2


COMMANDS = ["up", "serve", "worker", "sandbox", "migrate", "token", "import", "replay", "export", "verify", "check"]
COMMANDS += ["database-url", "diagram", "settings", "policy", "policy lint", "policy publish"]


def test_every_command_has_help() -> None:
    for command in COMMANDS:
        done = refundry(*command.split(), "--help")

        assert done.returncode == 0, done.stderr
        assert f"refundry {command}" in done.stdout


def test_only_settings_read_the_environment() -> None:
    root = Path(settings.__file__).parent.parent
    readers = {
        path.relative_to(root).as_posix()
        for part in ("service", "workflows")
        for path in (root / part).rglob("*.py")
        if re.search(r"os\.environ|os\.getenv", path.read_text())
    }

    # prometheus_client takes the directory that processes share from the environment alone.
    assert readers == {"service/settings.py", "service/shared_metrics.py"}
