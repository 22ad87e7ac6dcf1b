"""Where fresh ids, salts and the present moment come from; everything else takes them as arguments."""

import secrets
import threading
import time
from datetime import UTC, datetime
from uuid import UUID

_RANDOM_BITS = 74
_STEP_BITS = 32


class _Uuid7:
    """UUIDs of version 7 (RFC 9562, section 5.7), strictly growing within a process, so that id order is the order of making."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0  # milliseconds, then 74 bits that are random at first and grow within a millisecond

    def __call__(self) -> UUID:
        fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS - 1)
        with self._lock:
            if fresh >> _RANDOM_BITS <= self._last >> _RANDOM_BITS:
                fresh = self._last + 1 + secrets.randbits(_STEP_BITS)
            self._last = fresh
        milliseconds, tail = fresh >> _RANDOM_BITS, fresh & ((1 << _RANDOM_BITS) - 1)
        return UUID(int=milliseconds << 80 | 0x7 << 76 | (tail >> 62) << 64 | 0x2 << 62 | tail & ((1 << 62) - 1))


new_id = _Uuid7()


def new_salt() -> bytes:
    return secrets.token_bytes(16)


def utc_now() -> datetime:
    """The one clock of a running service."""
    return datetime.now(UTC)  # noqa: TID251 - this is the clock that everybody else is given
