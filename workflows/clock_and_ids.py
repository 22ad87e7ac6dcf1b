"""Where fresh ids, salts and the present moment come from; everything else takes them as arguments."""

import secrets
import threading
import time
from datetime import UTC, datetime
from uuid import UUID

_RANDOM_BITS = 74


class _Uuid7:
    """UUIDs of version 7 (RFC 9562, section 5.7), strictly growing within a process, so that id order is the order of making."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0  # milliseconds, then 74 bits that are random at first and grow within a millisecond

    def __call__(self) -> UUID:
        now = time.time_ns() // 1_000_000
        with self._lock:
            later = now > self._last >> _RANDOM_BITS
            # Within a millisecond the random part counts on: RFC 9562, section 6.2, method 2.
            self._last = fresh = now << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS - 1) if later else self._last + 1
        milliseconds, tail = fresh >> _RANDOM_BITS, fresh & ((1 << _RANDOM_BITS) - 1)
        return UUID(int=milliseconds << 80 | 0x7 << 76 | (tail >> 62) << 64 | 0x2 << 62 | tail & ((1 << 62) - 1))


new_id = _Uuid7()


def new_salt() -> bytes:
    return secrets.token_bytes(16)


def utc_now() -> datetime:
    """The one clock of a running service."""
    return datetime.now(UTC)  # noqa: TID251 -- this is the clock that everybody else is given
