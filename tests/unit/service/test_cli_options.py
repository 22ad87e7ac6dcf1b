"""What several commands share: times as people write them, and a token that is signed with known keys only."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from service.auth.keys import load_or_create_keys
from service.cli_options import instant, sign
from service.settings import load
from service.terminal.failure import UserError
from workflows.domain.enums import Role


@pytest.fixture
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own clock is not in UTC."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_elsewhere")
def test_a_time_without_a_zone_is_in_utc() -> None:
    assert (
        instant("2026-11-01") == instant("2026-11-01T00:00:00") == instant("2026-11-01T08:00:00+08:00") == datetime(2026, 11, 1, tzinfo=UTC)
    )
    assert instant("2026-11-01T00:00:00Z") == datetime(2026, 11, 1, tzinfo=UTC)
    assert instant(None) is None


def test_what_is_no_time_is_wrong_use() -> None:
    for text in ("", "yesterday", "2026-13-01", "2026-11-01T25:00:00", "1762000000.5x"):
        with pytest.raises(typer.BadParameter, match="not a time"):
            instant(text)


def test_keys_are_never_made_to_sign_a_token(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`refundry up` makes them"):
        sign(load(data_dir=tmp_path), Role.agent, sub="a")
    assert list(tmp_path.iterdir()) == []

    load_or_create_keys(tmp_path)
    assert sign(load(data_dir=tmp_path), Role.agent, sub="a").count(".") == 2
    with pytest.raises(ValueError, match="merchant"):
        sign(load(data_dir=tmp_path), Role.merchant, sub="a")
