"""A configured source of keys that gives none: told before a server is started on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.auth.key_sources import require_usable
from service.auth.keys import KeysUnusable, load_or_create_keys

pytestmark = pytest.mark.slow


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
