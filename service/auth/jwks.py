"""The keys that tokens are checked with: a JWKS, read from a file or fetched from a URL.

Only public keys of three kinds are taken in, each bound to the algorithms of its own kind; all else in a set is passed over.
"""

import asyncio
import ipaddress
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import JWKRegistry, Key, KeySet

JWKS_BYTES_MAX = 256 * 1024
JWKS_KEYS_MAX = 100
RSA_MODULUS_LENGTH_MAX = 1366  # 8192 bits in base64url; joserfc itself warns of less than 2048
FILE_LOOK_SECONDS = 1.0
FETCH_TIMEOUT_SECONDS = 5.0
FETCH_AGAIN_SECONDS = 600.0  # a set is taken to be current for so long
FETCH_UNKNOWN_SECONDS = 30.0  # at most one fetch in so long because of an unknown key
FETCH_FAILED_SECONDS = 5.0  # and so long after one that failed
STALE_SECONDS = 3600.0  # a set goes on serving for so long while its source is down

Monotonic = Callable[[], float]  # seconds that only grow

# A key's `kty` and `crv`, and what it may be used with: `Ed25519` is RFC 9864's name, `EdDSA` the older one for the same signature.
_ALGORITHMS: Final = {("OKP", "Ed25519"): ("Ed25519", "EdDSA"), ("EC", "P-256"): ("ES256",), ("RSA", None): ("RS256",)}


class KeysUnavailable(Exception):
    """No set of keys is at hand, so that no token can be judged; nothing is wrong with the caller."""


class JwksUnreadable(ValueError):
    """The text is not a JWKS."""


class VerificationKeys(KeySet):
    """The public keys of one JWKS, in its order. A key is in the set if its thumbprint is, whatever its `kid`."""

    def __init__(self, keys: list[Key]) -> None:
        super().__init__(keys)
        self.thumbprints = frozenset(key.thumbprint() for key in keys)

    def __contains__(self, key: Key) -> bool:
        return key.thumbprint() in self.thumbprints


class KeySource(Protocol):
    """Where the keys come from. Both raise KeysUnavailable."""

    async def current(self) -> VerificationKeys: ...

    async def renewed(self) -> VerificationKeys:
        """The set after a look at the source, if one is due: a token named a key that is not in the current one."""
        ...


def parse_jwks(text: bytes) -> VerificationKeys:
    """Take in what can check signatures, pass over the rest: symmetric and encryption keys, small RSA, curves that are not ours."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JwksUnreadable("not JSON") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > JWKS_KEYS_MAX:
        raise JwksUnreadable(f"not an object with at most {JWKS_KEYS_MAX} keys")
    return VerificationKeys([key for entry in entries if (key := _public_key(entry)) is not None])


def algorithms_of(key: Key) -> tuple[str, ...]:
    """The algorithms that a key may be used with."""
    return _ALGORITHMS[key.key_type, key.get("crv")]  # type: ignore[index]  # `crv` is a string where it is there


def _public_key(entry: Any) -> Key | None:
    """A key that may check signatures, made of its public members only; None for any other."""
    try:
        algorithms = _ALGORITHMS[entry["kty"], entry.get("crv")]
        if entry.get("alg") not in (None, *algorithms) or not isinstance(entry.get("key_ops", []), list):
            return None
        if len(entry.get("n", "")) > RSA_MODULUS_LENGTH_MAX:
            return None
        registered = JWKRegistry.key_types[entry["kty"]].value_registry
        members = {name: entry[name] for name in ("kty", *registered) if name == "kty" or not registered[name].private}
        members |= {name: entry[name] for name in ("kid", "use", "key_ops") if entry.get(name) is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("error", SecurityWarning)  # what joserfc warns of, a small RSA key, is refused here
            key = JWKRegistry.import_key(members)
        key.check_use("sig")
        key.check_key_op("verify")
    except (KeyError, ValueError, TypeError, AttributeError, JoseError, SecurityWarning):
        return None
    return key


class FileKeys:
    """Keys from a file, read again when it has changed, looked at once a second at most."""

    def __init__(self, path: Path, monotonic: Monotonic = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._keys: VerificationKeys | None = None
        self._seen: tuple[int, ...] | None = None
        self._looked_at = float("-inf")
        self._sound_at = float("-inf")

    async def current(self) -> VerificationKeys:
        now = self._monotonic()
        if now - self._looked_at >= FILE_LOOK_SECONDS:
            self._looked_at = now
            self._look(now)
        if self._keys is None or now - self._sound_at > STALE_SECONDS:
            raise KeysUnavailable("the file of keys cannot be read")
        return self._keys

    async def renewed(self) -> VerificationKeys:
        return await self.current()

    def _look(self, now: float) -> None:
        """A file of some hundred bytes: read in place, since a thread would cost more. A bad one leaves the last good set in use."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                with self._path.open("rb") as file:
                    text = file.read(JWKS_BYTES_MAX + 1)
                if len(text) > JWKS_BYTES_MAX:
                    return
                self._keys, self._seen = parse_jwks(text), seen
        except (OSError, JwksUnreadable):
            return
        self._sound_at = now


class UrlKeys:
    """Keys from a URL, fetched again when they have aged, when a token names an unknown one, and never by two at a time."""

    def __init__(self, url: str, http: httpx.AsyncClient, monotonic: Monotonic = time.monotonic) -> None:
        """Raises ValueError for a URL that is neither https nor on this machine."""
        parsed = httpx.URL(url)
        if parsed.scheme != "https" and not (parsed.scheme == "http" and is_loopback(parsed.host)):
            raise ValueError("keys are fetched over https, or from this machine")
        self._url = parsed
        self._http = http
        self._monotonic = monotonic
        self._fetching = asyncio.Lock()
        self._keys: VerificationKeys | None = None
        self._fetched_at = float("-inf")
        self._failed_at = float("-inf")
        self._renewed_at = float("-inf")

    async def current(self) -> VerificationKeys:
        """Whoever may use the old set does not wait for another's fetch."""
        if self._age() >= FETCH_AGAIN_SECONDS and not (self._fetching.locked() and self._is_usable()):
            async with self._fetching:
                if self._age() >= FETCH_AGAIN_SECONDS:
                    await self._fetch()
        return self._usable()

    async def renewed(self) -> VerificationKeys:
        """Waits for a fetch that is under way: the key may be in it."""
        async with self._fetching:
            if self._monotonic() - self._renewed_at >= FETCH_UNKNOWN_SECONDS:
                await self._fetch()
        return self._usable()

    def _age(self) -> float:
        return self._monotonic() - self._fetched_at

    def _is_usable(self) -> bool:
        return self._keys is not None and self._age() <= STALE_SECONDS

    def _usable(self) -> VerificationKeys:
        if self._keys is None or not self._is_usable():
            raise KeysUnavailable("the source of keys does not answer")
        return self._keys

    async def _fetch(self) -> None:
        """One fetch, unless one has just failed; a failure leaves the last good set in use."""
        if self._monotonic() - self._failed_at < FETCH_FAILED_SECONDS:
            return
        self._renewed_at = self._monotonic()
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                self._keys = parse_jwks(await self._body())
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, JwksUnreadable):
            self._failed_at = self._monotonic()
        else:
            self._fetched_at = self._monotonic()

    async def _body(self) -> bytes:
        body = bytearray()
        headers = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}
        async with self._http.stream("GET", self._url, headers=headers, follow_redirects=False) as reply:
            if reply.status_code != httpx.codes.OK:
                raise JwksUnreadable("not a 200")
            async for chunk in reply.aiter_raw():
                body += chunk
                if len(body) > JWKS_BYTES_MAX:
                    raise JwksUnreadable("too large")
        return bytes(body)


def is_loopback(host: str) -> bool:
    """Whether an address stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
