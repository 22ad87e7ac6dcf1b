"""Public ids: a prefix and the 32 lowercase hex digits of a UUID."""

import hashlib
import re
from typing import Literal
from uuid import UUID

Prefix = Literal["pay", "can", "rfd", "leg", "rec", "txt", "job", "ntf", "ano"]
_HEX = re.compile(r"[0-9a-f]{32}")
RAIL_KEY = re.compile(r"[0-9a-f]{64}")


def public(prefix: Prefix, value: UUID) -> str:
    return f"{prefix}_{value.hex}"


def parse(prefix: Prefix, text: str) -> UUID | None:
    """The UUID in a public id, or None where the text is not one."""
    head, _, digits = text.partition("_")
    if head != prefix or not _HEX.fullmatch(digits):
        return None
    return UUID(hex=digits)


def payment_id(reference: str) -> UUID:
    """A UUID of version 8 (RFC 9562, section 5.8) made of the SHA-256 of the payment's reference.

    The primary key is then itself the natural key: one index fewer, and a payment is found, on any shard, from what the wallet knows.
    """
    return _version_8(hashlib.sha256(b"payment\0" + reference.encode()).digest())


def scope_id(name: str) -> UUID:
    """The id under which something that belongs to no payment is kept: a collection's replies, a chain of its own."""
    return _version_8(hashlib.sha256(b"scope\0" + name.encode()).digest())


def rail_key(payment: UUID, leg: UUID) -> str:
    """64 hex digits, which every rail accepts and from which a rail's word finds its payment without a search."""
    return payment.hex + leg.hex


def from_rail_key(key: str) -> tuple[UUID, UUID] | None:
    """The payment's and the leg's id, or None where the key is not one of ours."""
    if not RAIL_KEY.fullmatch(key):
        return None
    return UUID(hex=key[:32]), UUID(hex=key[32:])


def _version_8(digest: bytes) -> UUID:
    number = int.from_bytes(digest[:16], "big")
    number &= ~(0xF << 76) & ~(0x3 << 62)
    return UUID(int=number | (0x8 << 76) | (0x2 << 62))
