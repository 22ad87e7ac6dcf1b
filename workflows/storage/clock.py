"""The database's time, told by this process: one clock for all machines that share the database."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

ASKED_TIMES = 3  # of these the one with the shortest way counts


class DatabaseClock:
    """A clock that was set by the database's and runs on by the monotonic clock; this machine's own time of day plays no part.

    It is off by half of one round trip at most, and follows the database wherever that one is set anew (`set_again`).
    """

    def __init__(self, pool: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._monotonic = monotonic
        self._known: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """The present moment, aware and UTC. Raises RuntimeError before the clock was set."""
        if self._known is None:
            raise RuntimeError("the clock was not set yet: await set_again() first")
        told, at = self._known
        return told + timedelta(seconds=self._monotonic() - at)

    async def set_again(self) -> None:
        """Ask the database for its time."""
        asked: list[tuple[float, datetime, float]] = []
        async with self._pool.acquire() as connection:
            for _ in range(ASKED_TIMES):
                before = self._monotonic()
                told = await connection.fetchval("select clock_timestamp()")
                after = self._monotonic()
                asked.append((after - before, told, (before + after) / 2))
        _, told, at = min(asked)
        self._known = told, at
