"""Limits how many lines of one kind are logged, and counts those that are left out."""

import threading
import time
from collections.abc import Callable
from typing import Final

LINES_AT_ONCE: Final = 20  # of one kind; so many are written whatever happens
LINES_PER_SECOND: Final = 1.0  # afterwards
KINDS_MAX: Final = 500  # that are told apart; further ones share the limit of all others
OTHERS: Final = "others"


class _Bucket:
    __slots__ = ("filled_at", "left_out", "tokens")

    def __init__(self, now: float) -> None:
        self.tokens = float(LINES_AT_ONCE)
        self.filled_at = now
        self.left_out = 0


class LineLimit:
    """A token bucket for each kind of line: LINES_AT_ONCE, and LINES_PER_SECOND after them. Safe in threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def admits(self, kind: str) -> bool:
        """Whether a line of this kind may be written now; one that may not is counted."""
        now = self._monotonic()
        with self._lock:
            bucket = self._bucket(kind, now)
            bucket.tokens = min(float(LINES_AT_ONCE), bucket.tokens + (now - bucket.filled_at) * LINES_PER_SECOND)
            bucket.filled_at = now
            if bucket.tokens < 1:
                bucket.left_out += 1
                return False
            bucket.tokens -= 1
            return True

    def take_left_out(self) -> dict[str, int]:
        """How many lines of each kind were left out since the last call; kinds of which none was are not named."""
        with self._lock:
            found = {kind: bucket.left_out for kind, bucket in self._buckets.items() if bucket.left_out}
            for kind in found:
                self._buckets[kind].left_out = 0
        return found

    def _bucket(self, kind: str, now: float) -> _Bucket:
        known = self._buckets.get(kind)
        if known is None:
            kind = kind if len(self._buckets) < KINDS_MAX else OTHERS
            known = self._buckets.setdefault(kind, _Bucket(now))
        return known
