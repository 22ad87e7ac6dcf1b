"""Bearer tokens: checks them with joserfc and returns the principal that they name.

    Unauthenticated        the caller's fault, as one word: TokenFault
    KeysUnavailable        ours: no keys are at hand to judge any token

A key decides which algorithms it may be used with; the token's header only chooses among them. What a header says of keys (`jwk`,
`jku`, `x5c`, `x5u`) is never read.
"""

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NoReturn

from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, ExpiredTokenError, InvalidClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry
from joserfc.jwt import Claims, JWTClaimsRegistry

from service.auth.jwks import KeySource, KeysUnavailable, VerificationKeys, algorithms_of
from service.auth.key_sources import is_usable
from service.auth.keys import MERCHANT_ID_LENGTH_MAX, SUB_LENGTH_MAX, is_name
from workflows.domain.enums import Role
from workflows.domain.ports import Clock

__all__ = ["Authenticator", "KeysUnavailable", "Principal", "TokenFault", "Unauthenticated"]

ALGORITHMS: Final = ("Ed25519", "EdDSA", "ES256", "RS256")
TOKEN_BYTES_MAX = 8 * 1024
LEEWAY_SECONDS = 30
CACHE_ENTRIES_MAX = 10_000
KID_LENGTH_MAX = 256
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
_TIME_MAX = 253_402_300_799  # the end of the year 9999
_ROLES = frozenset(role.value for role in Role)


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
    """Checks tokens, and caches the principals of those that are good until they expire or their key leaves the set."""

    def __init__(self, keys: KeySource, *, issuer: str, audience: str, clock: Clock, cache_entries_max: int = CACHE_ENTRIES_MAX) -> None:
        self._keys = keys
        self._claims = _ClaimsRegistry(
            now=lambda: int(clock().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
            role={"essential": True},
        )
        self._cache_entries_max = cache_entries_max
        self._cache: OrderedDict[bytes, tuple[Principal, str]] = OrderedDict()  # SHA-256 of the token: principal, thumbprint of its key

    async def has_keys(self) -> bool:
        """Whether there is a key at hand that a token could be checked with."""
        return await is_usable(self._keys)

    async def authenticate(self, authorization_header: str | None) -> Principal:
        """The principal behind `Authorization: Bearer …`. Raises Unauthenticated, or KeysUnavailable."""
        token = _bearer(authorization_header)
        digest = hashlib.sha256(token).digest()
        cached = await self._cached(digest)
        if cached is not None:
            return cached
        claims, key = await self._verified(token)
        principal = self._principal(claims)
        self._cache[digest] = (principal, key.thumbprint())
        if len(self._cache) > self._cache_entries_max:
            self._cache.popitem(last=False)
        return principal

    async def _cached(self, digest: bytes) -> Principal | None:
        entry = self._cache.get(digest)
        if entry is None:
            return None
        principal, thumbprint = entry
        keys = await self._keys.current()
        if thumbprint in keys.thumbprints and self._claims.now < principal.expires_at.timestamp() + LEEWAY_SECONDS:
            if digest in self._cache:  # another task may have removed it while this one waited for the keys
                self._cache.move_to_end(digest)
            return principal
        self._cache.pop(digest, None)
        return None

    async def _verified(self, token: bytes) -> tuple[Claims, Key]:
        """The claims of a token whose signature is good, and the key that it was checked with."""
        try:
            return _decode(token, await self._keys.current())
        except InvalidKeyIdError:
            pass  # the issuer may have a new key
        try:
            return _decode(token, await self._keys.renewed())
        except InvalidKeyIdError:
            _refuse(TokenFault.unknown_key)

    def _principal(self, claims: Claims) -> Principal:
        try:
            self._claims.validate({name: claims[name] for name in _CLAIM_FAULTS if claims.get(name) is not None})
        except ExpiredTokenError:
            _refuse(TokenFault.expired)
        except ClaimError as error:
            _refuse(_CLAIM_FAULTS[error.claim.partition(",")[0]])
        role, merchant_id = Role(claims["role"]), None
        if role is Role.merchant:
            merchant_id = claims.get("merchant_id")
            if not is_name(merchant_id, MERCHANT_ID_LENGTH_MAX):
                _refuse(TokenFault.merchant)
        return Principal(claims["sub"], role, merchant_id, datetime.fromtimestamp(claims["exp"], UTC))


class _SignatureRegistry(JWSRegistry):
    """joserfc's signatures, with ours alone among the algorithms, and with our rules for the header."""

    # EdDSA on an Ed25519 key is the very signature that RFC 9864 calls Ed25519; the library warns of the older, ambiguous name.
    algorithms = {name: JWSRegistry.algorithms["Ed25519" if name == "EdDSA" else name] for name in ALGORITHMS}  # noqa: RUF012 -- the library's own
    max_header_length = TOKEN_BYTES_MAX  # some issuers put certificates into the header
    max_signature_length = TOKEN_BYTES_MAX

    def check_header(self, header: object) -> None:
        """Called by joserfc before it chooses a key."""
        if not isinstance(header, dict):
            _refuse(TokenFault.malformed)
        if "crit" in header or "b64" in header:
            _refuse(TokenFault.critical)
        kind, algorithm, kid = header.get("typ", "JWT"), header.get("alg"), header.get("kid")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            _refuse(TokenFault.kind)
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            _refuse(TokenFault.algorithm)
        if kid is not None and (not isinstance(kid, str) or len(kid) > KID_LENGTH_MAX):
            _refuse(TokenFault.unknown_key)


class _ClaimsRegistry(JWTClaimsRegistry):
    """joserfc's registered claims, and our `sub` and `role`."""

    def validate_exp(self, value: object) -> None:
        if isinstance(value, int | float) and not 0 <= value <= _TIME_MAX:
            raise InvalidClaimError("exp")
        super().validate_exp(value)

    def validate_sub(self, value: object) -> None:
        if not is_name(value, SUB_LENGTH_MAX):
            raise InvalidClaimError("sub")

    def validate_role(self, value: object) -> None:
        if not isinstance(value, str) or value not in _ROLES:
            raise InvalidClaimError("role")


_REGISTRY = _SignatureRegistry(algorithms=ALGORITHMS)
_CLAIM_FAULTS: Final = {
    "iss": TokenFault.issuer,
    "aud": TokenFault.audience,
    "exp": TokenFault.no_expiry,
    "nbf": TokenFault.not_yet_valid,
    "iat": TokenFault.issued_in_future,
    "sub": TokenFault.subject,
    "role": TokenFault.role,
}


def _decode(token: bytes, keys: VerificationKeys) -> tuple[Claims, Key]:
    """Raises Unauthenticated, and InvalidKeyIdError for a `kid` that is not in the set."""
    try:
        decoded = jwt.decode(token, lambda signed: _choose_key(keys, signed.headers()), algorithms=ALGORITHMS, registry=_REGISTRY)
    except InvalidKeyIdError:
        raise
    except BadSignatureError:
        _refuse(TokenFault.signature)
    # The library takes any JSON for a header, and stumbles over what is not an object or nests too deeply.
    except (JoseError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        _refuse(TokenFault.malformed)
    return decoded.claims, _choose_key(keys, decoded.header)


def _choose_key(keys: VerificationKeys, header: dict[str, Any]) -> Key:
    """The key of that `kid` for that `alg`. A token without `kid` is checked only where there is no choice."""
    kid = header.get("kid")
    named = [key for key in keys if kid in (None, key.kid)]
    if kid is not None and not named:
        raise InvalidKeyIdError(kid)
    fitting = [key for key in named if header["alg"] in algorithms_of(key)]
    if kid is not None and not fitting:
        _refuse(TokenFault.algorithm)
    if not fitting or (kid is None and len(fitting) > 1):
        _refuse(TokenFault.unknown_key)
    return fitting[0]


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


def _refuse(fault: TokenFault) -> NoReturn:
    raise Unauthenticated(fault)
