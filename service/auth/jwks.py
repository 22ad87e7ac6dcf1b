"""The keys that tokens are checked with: a JWKS, read from a file or fetched from a URL.

Only public keys of three kinds are taken in, each bound to the algorithms of its own kind; all else in a set is passed over.
"""

import asyncio
import base64
import binascii
import ipaddress
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

JWKS_BYTES_MAX = 256 * 1024
JWKS_KEYS_MAX = 100
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192
FILE_LOOK_SECONDS = 1.0
FETCH_TIMEOUT_SECONDS = 5.0
FETCH_AGAIN_SECONDS = 600.0  # a set is taken to be current for so long
FETCH_UNKNOWN_SECONDS = 30.0  # at most one fetch in so long because of an unknown key
FETCH_FAILED_SECONDS = 5.0  # and so long after one that failed
STALE_SECONDS = 3600.0  # a set goes on serving for so long while its source is down

Monotonic = Callable[[], float]  # seconds that only grow
Jwk = dict[str, object]
Members = dict[str, str | list[str]]

_PUBLIC_MEMBERS = {"OKP": ("kty", "crv", "x"), "EC": ("kty", "crv", "x", "y"), "RSA": ("kty", "n", "e")}
_ED25519 = frozenset({"Ed25519", "EdDSA"})  # RFC 9864's name, and the older one for the same signature


class KeysUnavailable(Exception):
    """No set of keys is at hand, so that no token can be judged; nothing is wrong with the caller."""


class JwksUnreadable(ValueError):
    """The text is not a JWKS."""


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """One public key, and the algorithms that its own kind allows."""

    kid: str | None
    algorithms: frozenset[str]
    key: OKPKey | ECKey | RSAKey
    thumbprint: str


class KeySet:
    """The keys of one JWKS, in its order."""

    def __init__(self, keys: tuple[VerificationKey, ...]) -> None:
        self.keys = keys
        self._thumbprints = frozenset(key.thumbprint for key in keys)

    def __contains__(self, key: VerificationKey) -> bool:
        return key.thumbprint in self._thumbprints

    def knows(self, kid: str | None) -> bool:
        return kid is None or any(key.kid == kid for key in self.keys)

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """The key of that name for that algorithm. A token that names none is checked only where there is no choice."""
        fitting = [key for key in self.keys if algorithm in key.algorithms and kid in (None, key.kid)]
        if not fitting or (kid is None and len(fitting) > 1):
            return None
        return fitting[0]


class KeySource(Protocol):
    """Where the keys come from. Both raise KeysUnavailable."""

    async def current(self) -> KeySet: ...

    async def renewed(self) -> KeySet:
        """The set after a look at the source, if one is due: a token named a key that is not in the current one."""
        ...


def parse_jwks(text: bytes) -> KeySet:
    """Take in what can check signatures, pass over the rest: symmetric and encryption keys, small RSA, curves that are not ours."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JwksUnreadable("not JSON") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > JWKS_KEYS_MAX:
        raise JwksUnreadable(f"not an object with at most {JWKS_KEYS_MAX} keys")
    return KeySet(tuple(_keys(entries)))


def _keys(entries: list[object]) -> Iterator[VerificationKey]:
    for entry in entries:
        if isinstance(entry, dict) and _may_verify(entry):
            key = _import(entry)
            if key is not None:
                yield key


def _may_verify(entry: Jwk) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _import(entry: Jwk) -> VerificationKey | None:
    """A key of our kinds, made of its public members only; None for any other."""
    try:
        members: Members = {name: str(entry[name]) for name in _PUBLIC_MEMBERS[str(entry["kty"])]}
        key, algorithms = _of_kind(members)
        thumbprint = key.thumbprint()
    except (KeyError, ValueError, TypeError, JoseError):
        return None
    named, kid = entry.get("alg"), entry.get("kid")
    if named is not None and named not in algorithms:
        return None
    if kid is not None and not isinstance(kid, str):
        return None
    return VerificationKey(kid, algorithms, key, thumbprint)


def _of_kind(members: Members) -> tuple[OKPKey | ECKey | RSAKey, frozenset[str]]:
    """The key and its algorithms; KeyError for a kind that is not ours."""
    if members["kty"] == "RSA":
        if not RSA_BITS_MIN <= _bits(str(members["n"])) <= RSA_BITS_MAX:
            raise KeyError("n")
        return RSAKey.import_key(members), frozenset({"RS256"})
    match members["kty"], members["crv"]:
        case "OKP", "Ed25519":
            return OKPKey.import_key(members), _ED25519
        case "EC", "P-256":
            return ECKey.import_key(members), frozenset({"ES256"})
    raise KeyError("crv")


def _bits(number: str) -> int:
    try:
        return int.from_bytes(base64.urlsafe_b64decode(number + "=" * (-len(number) % 4)), "big").bit_length()
    except binascii.Error:
        return 0


class FileKeys:
    """Keys from a file, read again when it has changed, looked at once a second at most."""

    def __init__(self, path: Path, monotonic: Monotonic = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._keys: KeySet | None = None
        self._seen: tuple[int, ...] | None = None
        self._looked_at = float("-inf")
        self._sound_at = float("-inf")

    async def current(self) -> KeySet:
        now = self._monotonic()
        if now - self._looked_at >= FILE_LOOK_SECONDS:
            self._looked_at = now
            self._look(now)
        if self._keys is None or now - self._sound_at > STALE_SECONDS:
            raise KeysUnavailable("the file of keys cannot be read")
        return self._keys

    async def renewed(self) -> KeySet:
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
        self._keys: KeySet | None = None
        self._fetched_at = float("-inf")
        self._failed_at = float("-inf")
        self._renewed_at = float("-inf")

    async def current(self) -> KeySet:
        """Whoever may use the old set does not wait for another's fetch."""
        if self._age() >= FETCH_AGAIN_SECONDS and not (self._fetching.locked() and self._is_usable()):
            async with self._fetching:
                if self._age() >= FETCH_AGAIN_SECONDS:
                    await self._fetch()
        return self._usable()

    async def renewed(self) -> KeySet:
        """Waits for a fetch that is under way: the key may be in it."""
        async with self._fetching:
            if self._monotonic() - self._renewed_at >= FETCH_UNKNOWN_SECONDS:
                await self._fetch()
        return self._usable()

    def _age(self) -> float:
        return self._monotonic() - self._fetched_at

    def _is_usable(self) -> bool:
        return self._keys is not None and self._age() <= STALE_SECONDS

    def _usable(self) -> KeySet:
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
