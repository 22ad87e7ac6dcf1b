"""An issuer of tokens for tests: good ones, and every kind of bad one, signed by hand where a library would refuse to."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from service.auth.jwks import KeysUnavailable, VerificationKeys, parse_jwks
from service.auth.tokens import Authenticator

NOW = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
ISSUER, AUDIENCE = "https://issuer.example", "refundry"
Private = Ed25519PrivateKey | EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Clock:
    """The present moment, moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Keys:
    """A source of keys that a test can change and count."""

    def __init__(self, *jwks: Mapping[str, object]) -> None:
        self.set: VerificationKeys | None = key_set(*jwks)
        self.after_renewal: VerificationKeys | None = None
        self.renewals = 0

    async def current(self) -> VerificationKeys:
        if self.set is None:
            raise KeysUnavailable
        return self.set

    async def renewed(self) -> VerificationKeys:
        self.renewals += 1
        self.set = self.after_renewal or self.set
        return await self.current()


def key_set(*jwks: Mapping[str, object]) -> VerificationKeys:
    return parse_jwks(json.dumps({"keys": list(jwks)}).encode())


def authenticator(keys: Keys, clock: Clock | None = None, **options: int) -> Authenticator:
    return Authenticator(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock or Clock(), **options)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, length: int | None = None) -> str:
    return encode(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def jwk(private: Private, kid: str | None = "k1", **more: object) -> dict[str, object]:
    """The public JWK of a private key."""
    named: dict[str, object] = {} if kid is None else {"kid": kid}
    if isinstance(private, Ed25519PrivateKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": encode(private.public_key().public_bytes_raw())} | named | more
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.public_key().public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)} | named | more
    point = private.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": number(point.x, 32), "y": number(point.y, 32)} | named | more


def claims(**changed: object) -> dict[str, object]:
    """A wallet's claims, with some changed; None takes one out."""
    now = int(NOW.timestamp())
    given = {"iss": ISSUER, "aud": AUDIENCE, "sub": "wallet-backend", "role": "wallet", "iat": now, "exp": now + 600} | changed
    return {name: value for name, value in given.items() if value is not None}


def signing_input(header: object, payload: object) -> bytes:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return f"{encode(head)}.{encode(body)}".encode()


def signature(private: Private, data: bytes) -> bytes:
    if isinstance(private, Ed25519PrivateKey):
        return private.sign(data)
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(data, padding.PKCS1v15(), hashes.SHA256())
    r, s = decode_dss_signature(private.sign(data, ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def sign(private: Private, header: object, payload: object) -> str:
    data = signing_input(header, payload)
    return f"{data.decode()}.{encode(signature(private, data))}"


def sign_hmac(secret: bytes, header: object, payload: object) -> str:
    data = signing_input(header, payload)
    return f"{data.decode()}.{encode(hmac.new(secret, data, hashlib.sha256).digest())}"


def bearer(token: str) -> str:
    return f"Bearer {token}"


def ed25519() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def p256() -> EllipticCurvePrivateKey:
    return generate_private_key(SECP256R1())


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)
