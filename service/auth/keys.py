"""The keys that a machine of its own makes for itself: one signs tokens, another signs evidence.

    DATA_DIR/keys/          0700
    ├─ token.jwk            0600   Ed25519, private: signs the tokens of `refundry token`
    ├─ jwks.json            0600   its public half, as those who check tokens read it
    └─ evidence.jwk         0600   Ed25519, private: signs exports

The folder appears whole or not at all: it is written beside its place and renamed into it, so that of two processes that start at
once one wins and the other reads the winner's.
"""

import base64
import binascii
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeGuard

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from service.private_files import FileUnusable, close_to_others, unusable, write_private
from workflows.domain.enums import Role

ISSUER = "refundry-local"
AUDIENCE = "refundry"
EVIDENCE_NAME = "refundry-local"
TOKEN_FILE, JWKS_FILE, EVIDENCE_FILE = "token.jwk", "jwks.json", "evidence.jwk"

SUB_LENGTH_MAX = 128
MERCHANT_ID_LENGTH_MAX = 64
TTL_SECONDS_MAX = 10 * 366 * 86_400

_ED25519 = b"\x01"  # the signature type of a C2SP signed note


def is_name(value: object, length_max: int) -> TypeGuard[str]:
    """Whether a claim can name somebody: printable, not blank, not too long."""
    return isinstance(value, str) and 0 < len(value) <= length_max and value.isprintable() and not value.isspace()


class KeysUnusable(Exception):
    """The folder of keys is there, but cannot be used. They are never made anew over old ones: old tokens and exports hang on them."""


class VerifierKeyUnreadable(ValueError):
    """The text is not a verifier key of the signed-note format with an Ed25519 key."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks evidence, with nothing but its public key in hand."""

    name: str
    public: bytes  # 32 bytes

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read `name+hex(key id)+base64(0x01 || public key)`; raises VerifierKeyUnreadable."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise VerifierKeyUnreadable("the key is not base64") from error
        if key[:1] != _ED25519 or len(key) != 33:
            raise VerifierKeyUnreadable("not an Ed25519 key")
        verifier = cls(name, key[1:])
        if not name or any(sign.isspace() for sign in name):
            raise VerifierKeyUnreadable("the name is empty or has spaces in it")
        if key_id != verifier.key_id.hex():
            raise VerifierKeyUnreadable("the key id does not belong to this name and key")
        return verifier

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name || 0x0A || type || public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        encoded = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def verify(self, signature: bytes, data: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, data)
        except InvalidSignature:
            return False
        return True


class EvidenceKey:
    """Signs what leaves the house as evidence."""

    def __init__(self, private: Ed25519PrivateKey, name: str) -> None:
        self._private = private
        self.verifier = Verifier(name, private.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """64 bytes of Ed25519 over `data`."""
        return self._private.sign(data)

    def verifier_key(self) -> str:
        """What those who check need: `name+hex(key id)+base64(0x01 || public key)`."""
        return str(self.verifier)


class LocalKeys:
    """The keys of one data directory."""

    def __init__(self, *, folder: Path, token: OKPKey, evidence: EvidenceKey, issuer: str, audience: str) -> None:
        self._token = token
        self.jwks_path = folder / JWKS_FILE
        self.evidence = evidence
        self.issuer = issuer
        self.audience = audience

    def sign_token(self, *, sub: str, role: Role, merchant_id: str | None = None, ttl_seconds: int, now: datetime) -> str:
        """A bearer token for `sub`, valid from `now` on; a merchant's names the merchant. Raises ValueError where it may not be."""
        if not is_name(sub, SUB_LENGTH_MAX):
            raise ValueError(f"sub must have 1 to {SUB_LENGTH_MAX} printable characters")
        if not 1 <= ttl_seconds <= TTL_SECONDS_MAX:
            raise ValueError(f"a token lives for 1 to {TTL_SECONDS_MAX} seconds")
        if role is Role.merchant and not is_name(merchant_id, MERCHANT_ID_LENGTH_MAX):
            raise ValueError(f"a merchant's token names its merchant, with 1 to {MERCHANT_ID_LENGTH_MAX} printable characters")
        if role is not Role.merchant and merchant_id is not None:
            raise ValueError("only a merchant's token names a merchant")
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": sub,
            "role": role.value,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=ttl_seconds)).timestamp()),
        }
        if merchant_id is not None:
            claims["merchant_id"] = merchant_id
        return jwt.encode({"alg": "Ed25519", "kid": self._token.kid}, claims, self._token, algorithms=["Ed25519"])


def load_or_create_keys(data_dir: Path, *, issuer: str = ISSUER, audience: str = AUDIENCE) -> LocalKeys:
    """The keys of `data_dir`, made at the first call. Raises KeysUnusable where they are incomplete or unreadable.

    Only the public half may be lost: it is made anew from the private one.
    """
    folder = data_dir / "keys"
    try:
        if not _is_filled(folder):
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(folder)
        close_to_others(folder)
    except OSError as error:
        raise KeysUnusable(str(unusable(folder, error))) from error
    token = _read(folder / TOKEN_FILE)
    evidence = _read(folder / EVIDENCE_FILE)
    private = evidence.private_key
    if not isinstance(private, Ed25519PrivateKey) or not isinstance(token.private_key, Ed25519PrivateKey):
        raise KeysUnusable(f"The keys in {folder} are not private Ed25519 keys. {_restore(folder)}")
    _complete(folder / JWKS_FILE, token)
    name = evidence.kid or EVIDENCE_NAME
    return LocalKeys(folder=folder, token=token, evidence=EvidenceKey(private, name), issuer=issuer, audience=audience)


def _complete(path: Path, token: OKPKey) -> None:
    """The set of public keys, unless it is there: it may hold others' keys too."""
    from service.auth.jwks import JwksUnreadable, parse_jwks  # noqa: PLC0415 -- it brings an HTTP client, for which a command would wait

    try:
        close_to_others(path)
        if parse_jwks(path.read_bytes()).keys:
            return
    except (OSError, JwksUnreadable):
        pass
    try:
        write_private(path, _as_text(_public_set(token)))
    except FileUnusable as error:
        raise KeysUnusable(str(error)) from error


def _public_set(token: OKPKey) -> dict[str, object]:
    return {"keys": [token.as_dict(private=False)]}


def _restore(folder: Path) -> str:
    return (
        f"Restore {folder} from a backup; or move it away: new keys are then made, by which old tokens are refused "
        "and old exports are no longer known as ours."
    )


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _create(folder: Path) -> None:
    """Make a set of keys and put it in its place, unless somebody else was faster."""
    token = OKPKey.generate_key("Ed25519", {"kid": f"local-{secrets.token_hex(8)}", "use": "sig"})
    evidence = OKPKey.generate_key("Ed25519", {"kid": EVIDENCE_NAME, "use": "sig"})
    draft = Path(tempfile.mkdtemp(prefix=".keys-", dir=folder.parent))  # mkdtemp makes it 0700 whatever the umask
    try:
        _write(draft / TOKEN_FILE, token.as_dict(private=True))
        _write(draft / JWKS_FILE, _public_set(token))
        _write(draft / EVIDENCE_FILE, evidence.as_dict(private=True))
        draft.rename(folder)  # onto a folder that has files in it this fails, everywhere
    except OSError:
        if not _is_filled(folder):
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # gone already where it was renamed
    _flush_folder(folder.parent)


def _write(path: Path, content: object) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(_as_text(content))
        file.flush()
        os.fsync(file.fileno())


def _as_text(content: object) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _flush_folder(folder: Path) -> None:
    """A rename outlives a power cut only once its folder is on disk; where folders cannot be opened there is nothing to flush."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> OKPKey:
    try:
        close_to_others(path)  # restored from a backup, perhaps
        return OKPKey.import_key(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise KeysUnusable(f"{path} cannot be read: {error.strerror}. {_restore(path.parent)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, JoseError) as error:
        raise KeysUnusable(f"{path} holds no private Ed25519 key. {_restore(path.parent)}") from error
