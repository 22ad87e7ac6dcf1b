"""Where the running service is found."""

from pathlib import Path

import pytest

from service.settings import load
from service.up_addresses import service_url


def test_the_running_service_is_where_up_wrote_or_where_it_is_configured(tmp_path: Path) -> None:
    configured = service_url(load(data_dir=tmp_path, port=8123))
    (tmp_path / "up.json").write_text('{"api": "http://127.0.0.1:9"}')

    assert configured == "http://127.0.0.1:8123"
    assert service_url(load(data_dir=tmp_path)) == "http://127.0.0.1:9"


@pytest.mark.parametrize("content", ["", "[1]", "3", "null", '{"api": 5}', "[" * 100_000, "\x00"])
def test_damaged_addresses_are_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "up.json").write_text(content)

    assert service_url(load(data_dir=tmp_path, port=8123)) == "http://127.0.0.1:8123"
