"""Who is calling: a bearer token in, a principal out.

    Unauthenticated        the caller's fault, as one word: TokenFault
    KeysUnavailable        ours: no keys are at hand to judge any token

A key decides which algorithms it may be used with; the token's header only chooses among them. What a header says of keys (`jwk`,
`jku`, `x5c`, `x5u`) is never read.
"""

import hashlib
import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NoReturn

from joserfc.errors import JoseError
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact
from joserfc.util import urlsafe_b64decode

from service.auth.jwks import KeySource, KeysUnavailable, VerificationKey
from service.auth.keys import MERCHANT_ID_LENGTH_MAX, SUB_LENGTH_MAX, is_name
from workflows.domain.enums import Role
from workflows.domain.ports import Clock

__all__ = ["Authenticator", "KeysUnavailable", "Principal", "TokenFault", "Unauthenticated"]

TOKEN_BYTES_MAX = 8 * 1024
LEEWAY_SECONDS = 30
CACHE_ENTRIES_MAX = 10_000
KID_LENGTH_MAX = 256

# EdDSA on an Ed25519 key is the very signature that RFC 9864 calls Ed25519; the library warns of the older, ambiguous name.
_ALGORITHMS: Final = {
    "Ed25519": JWSRegistry.algorithms["Ed25519"],
    "EdDSA": JWSRegistry.algorithms["Ed25519"],
    "ES256": JWSRegistry.algorithms["ES256"],
    "RS256": JWSRegistry.algorithms["RS256"],
}
_KINDS = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
_TIME_MAX = 253_402_300_799  # the end of the year 9999


class _Registry(JWSRegistry):
    """The library's limits, widened to what the token's own limit allows: some issuers put certificates into the header."""

    max_header_length = TOKEN_BYTES_MAX
    max_signature_length = TOKEN_BYTES_MAX


_REGISTRY = _Registry(algorithms=list(_ALGORITHMS))


class TokenFault(StrEnum):
    """What is wrong with a token."""

    missing = "missing"
    not_bearer = "not_bearer"
    too_long = "too_long"
    malformed = "malformed"
    critical = "critical"
    kind = "kind"
    algorithm = "algorithm"
    unknown_key = "unknown_key"
    signature = "signature"
    issuer = "issuer"
    audience = "audience"
    no_expiry = "no_expiry"
    expired = "expired"
    not_yet_valid = "not_yet_valid"
    issued_in_future = "issued_in_future"
    subject = "subject"
    role = "role"
    merchant = "merchant"
    twice = "twice"  # more than one was sent
    notification = "notification"  # a rail's word that is not signed by that rail, or not lately


class Unauthenticated(Exception):
    """The caller is nobody we know. `detail` is the fault, for a sentence."""

    def __init__(self, detail: TokenFault) -> None:
        super().__init__(detail.value)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `merchant_id` is a merchant's, and nobody else's."""

    sub: str
    role: Role
    merchant_id: str | None
    expires_at: datetime


class Authenticator:
    """Checks tokens, and remembers those that it has found good."""

    def __init__(self, keys: KeySource, *, issuer: str, audience: str, clock: Clock, cache_entries_max: int = CACHE_ENTRIES_MAX) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._cache_entries_max = cache_entries_max
        self._cache: OrderedDict[bytes, tuple[Principal, VerificationKey]] = OrderedDict()  # by digest: no token is kept

    async def authenticate(self, authorization_header: str | None) -> Principal:
        """The principal behind `Authorization: Bearer …`. Raises Unauthenticated, or KeysUnavailable."""
        token = _bearer(authorization_header)
        digest = hashlib.sha256(token).digest()
        known = await self._recall(digest)
        if known is not None:
            return known
        signed, header = _extract(token)
        key = await self._key(header)
        _verify(signed, str(header["alg"]), key)
        principal = self._principal(_object(signed.payload))
        self._cache[digest] = (principal, key)
        if len(self._cache) > self._cache_entries_max:
            self._cache.popitem(last=False)
        return principal

    async def _recall(self, digest: bytes) -> Principal | None:
        """A token found good before, unless it has expired or its key has been taken out of the set since."""
        entry = self._cache.get(digest)
        if entry is None:
            return None
        principal, key = entry
        keys = await self._keys.current()
        if key in keys and _is_alive(principal.expires_at.timestamp(), self._clock()):
            if digest in self._cache:  # another task may have pushed it out while this one waited for the keys
                self._cache.move_to_end(digest)
            return principal
        self._cache.pop(digest, None)
        return None

    async def _key(self, header: dict[str, object]) -> VerificationKey:
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
            _refuse(TokenFault.algorithm)
        if kid is not None and (not isinstance(kid, str) or len(kid) > KID_LENGTH_MAX):
            _refuse(TokenFault.unknown_key)
        keys = await self._keys.current()
        if not keys.knows(kid):
            keys = await self._keys.renewed()
        key = keys.find(kid, algorithm)
        if key is None:
            _refuse(TokenFault.algorithm if kid is not None and keys.knows(kid) else TokenFault.unknown_key)
        return key

    def _principal(self, claims: dict[str, object]) -> Principal:
        """The claims of a token whose signature is good."""
        now = self._clock()
        audience = claims.get("aud")
        if claims.get("iss") != self._issuer:
            _refuse(TokenFault.issuer)
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            _refuse(TokenFault.audience)
        expires_at = _check_times(claims, now)
        sub, merchant_id = claims.get("sub"), claims.get("merchant_id")
        role = claims.get("role")
        if not is_name(sub, SUB_LENGTH_MAX):
            _refuse(TokenFault.subject)
        if not isinstance(role, str) or role not in _ROLES:
            _refuse(TokenFault.role)
        if role != Role.merchant:
            return Principal(sub, Role(role), None, expires_at)
        if not is_name(merchant_id, MERCHANT_ID_LENGTH_MAX):
            _refuse(TokenFault.merchant)
        return Principal(sub, Role.merchant, merchant_id, expires_at)


_ROLES = frozenset(role.value for role in Role)


def _refuse(fault: TokenFault) -> NoReturn:
    raise Unauthenticated(fault)


def _bearer(header: str | None) -> bytes:
    if header is None or not header.strip():
        _refuse(TokenFault.missing)
    found = _BEARER.fullmatch(header.strip())
    if found is None:
        _refuse(TokenFault.not_bearer)
    if len(found[1]) > TOKEN_BYTES_MAX:
        _refuse(TokenFault.too_long)
    try:
        return found[1].encode("ascii")
    except UnicodeEncodeError:
        _refuse(TokenFault.malformed)


def _extract(token: bytes) -> tuple[CompactSignature, dict[str, object]]:
    """The token's parts, nothing of it believed yet."""
    try:
        signed = extract_compact(token, registry=_REGISTRY)
    # The library takes any JSON for a header, and stumbles over what is not an object or nests too deeply.
    except (JoseError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        _refuse(TokenFault.malformed)
    header: object = signed.protected
    if not isinstance(header, dict):
        _refuse(TokenFault.malformed)
    if "crit" in header or "b64" in header:
        _refuse(TokenFault.critical)
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _KINDS:
        _refuse(TokenFault.kind)
    return signed, header


def _verify(signed: CompactSignature, algorithm: str, key: VerificationKey) -> None:
    model = _ALGORITHMS[algorithm]
    try:
        model.check_key(key.key)
        signature = urlsafe_b64decode(signed.segments["signature"])
        genuine = model.verify(signed.segments["header"] + b"." + signed.segments["payload"], signature, key.key)
    except (JoseError, ValueError, LookupError):
        genuine = False
    if not genuine:
        _refuse(TokenFault.signature)


def _object(text: bytes) -> dict[str, object]:
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError):
        _refuse(TokenFault.malformed)
    if not isinstance(claims, dict):
        _refuse(TokenFault.malformed)
    return claims


def _check_times(claims: dict[str, object], now: datetime) -> datetime:
    """When the token expires; `exp` is required, `nbf` and `iat` count where they are given."""
    expires = _time(claims, "exp", TokenFault.no_expiry)
    if expires is None:
        _refuse(TokenFault.no_expiry)
    if not _is_alive(expires, now):
        _refuse(TokenFault.expired)
    latest = now.timestamp() + LEEWAY_SECONDS
    if (_time(claims, "nbf", TokenFault.not_yet_valid) or 0) > latest:
        _refuse(TokenFault.not_yet_valid)
    if (_time(claims, "iat", TokenFault.issued_in_future) or 0) > latest:
        _refuse(TokenFault.issued_in_future)
    return datetime.fromtimestamp(expires, UTC)


def _time(claims: dict[str, object], name: str, fault: TokenFault) -> float | None:
    """A NumericDate (seconds, a fraction allowed), or None where the claim is left out."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _TIME_MAX:
        _refuse(fault)
    return float(value)


def _is_alive(expires: float, now: datetime) -> bool:
    return now.timestamp() < expires + LEEWAY_SECONDS
