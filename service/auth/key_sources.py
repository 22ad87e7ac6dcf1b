"""Where the callers' keys come from, as configured; and whether any can be had, before a server is started on them."""

from pathlib import Path

import httpx

from service.auth.jwks import FETCH_TIMEOUT_SECONDS, JWKS_BYTES_MAX, JwksUnreadable, KeySource, KeysUnavailable, UrlKeys, parse_jwks
from service.auth.keys import KeysUnusable

_KINDS = "Ed25519, P-256 and RSA of at least 2048 bits are"


async def is_usable(source: KeySource) -> bool:
    """Whether a token could be checked now: a set is at hand, with a key in it."""
    try:
        return bool((await source.current()).keys)
    except KeysUnavailable:
        return False


async def require_usable(url: str | None, file: Path | None) -> None:
    """Raises KeysUnusable, which names the setting at fault and never its value, where the configured source gives no key now."""
    if url is not None:
        await _require_fetched(url)
    elif file is not None:
        _require_read(file)


def _require_read(file: Path) -> None:
    setting = "The file of REFUNDRY_JWKS_FILE"
    helps = "Name a readable JWKS, or leave the setting out."
    try:
        if not file.is_file():
            raise KeysUnusable(f"{setting}, {file}, is {'no file' if file.exists() else 'not there'}. {helps}")
        with file.open("rb") as opened:
            text = opened.read(JWKS_BYTES_MAX + 1)
        if len(text) > JWKS_BYTES_MAX:
            raise KeysUnusable(f"{setting}, {file}, is larger than {JWKS_BYTES_MAX} bytes. {helps}")
        keys = parse_jwks(text).keys
    except OSError as error:
        raise KeysUnusable(f"{setting}, {file}, cannot be read: {error.strerror}. {helps}") from error
    except JwksUnreadable as error:
        raise KeysUnusable(f"{setting}, {file}, is no JWKS: {error}. {helps}") from error
    if not keys:
        raise KeysUnusable(f"{setting}, {file}, holds no public key that is taken: {_KINDS}. {helps}")


async def _require_fetched(url: str) -> None:
    helps = "Mend the address, or wait until it answers; with REFUNDRY_JWKS_URL empty the local keys are used."
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            keys = (await UrlKeys(url, http).current()).keys
        except (ValueError, httpx.InvalidURL) as error:
            raise KeysUnusable(
                f"REFUNDRY_JWKS_URL is no address that keys are taken from: https, or http on this machine. {helps}"
            ) from error
        except KeysUnavailable as error:
            raise KeysUnusable(f"REFUNDRY_JWKS_URL gave no JWKS within {FETCH_TIMEOUT_SECONDS:.0f} s. {helps}") from error
    if not keys:
        raise KeysUnusable(f"REFUNDRY_JWKS_URL gives no public key that is taken: {_KINDS}. {helps}")
