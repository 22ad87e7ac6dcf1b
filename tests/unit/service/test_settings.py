"""Settings: read once, validated, frozen, and secret where they are secret."""

import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from service import settings
from service.settings import PREFIX, Settings, configured, environment_for_child, load, show, without_password

pytestmark = pytest.mark.usefixtures("empty_environment")


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


def test_an_empty_key_source_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("REFUNDRY_JWKS_URL=\nREFUNDRY_JWKS_FILE=\nREFUNDRY_SANDBOX_URL=\n")

    read = load()

    assert (read.jwks_url, read.jwks_file, read.sandbox_url) == (None, None, None)
    assert "REFUNDRY_JWKS_URL" in configured()


def test_a_childs_environment_names_its_file() -> None:
    from service.settings import environment_of

    assert environment_of({"log_file": Path("/x/api-1.log"), "port": None}) == {"REFUNDRY_LOG_FILE": "/x/api-1.log"}
    assert os.environ.get("REFUNDRY_LOG_FILE") is None
