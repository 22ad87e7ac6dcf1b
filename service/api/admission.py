"""Admission: how many requests this process works on at once, and how many may wait for that.

A request that would wait too long is refused at the beginning, before anything was done for it: so those that were admitted are
answered as fast as ever, however many are asking.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

from service.metrics import REFUSED, WAITING
from workflows.domain.errors import Overloaded
from workflows.turns import WHILE_WAITING

WAIT_SECONDS_MAX: Final = 4.0
_RETRY_SECONDS_MAX: Final = 3  # those who were refused together do not all come back together


class Admission:
    """At most `places` at once; at most `waiting_max` wait for one, in their order, each for no longer than `wait_seconds_max`.

    A request that waits for its turn at a payment gives its place up, and goes on without one when its turn comes: one of each payment
    at most does, and it has waited enough.
    """

    def __init__(self, places: int, waiting_max: int, wait_seconds_max: float = WAIT_SECONDS_MAX) -> None:
        self._free = asyncio.Semaphore(places)
        self._waiting_max = waiting_max
        self._wait_seconds_max = wait_seconds_max
        self.at_work = self.waiting = 0
        self.refused = 0  # since the start

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one request, lent to others while it waits for its turn. Raises Overloaded."""
        async with _Place(self) as place:
            before = WHILE_WAITING.set(place.lent)
            try:
                yield
            finally:
                WHILE_WAITING.reset(before)

    async def enter(self) -> None:
        if not self._free.locked():
            await self._free.acquire()  # at once
            self.at_work += 1
            return
        if self.waiting >= self._waiting_max:
            raise self._overloaded()
        self.waiting += 1
        WAITING.inc()
        try:
            async with asyncio.timeout(self._wait_seconds_max):
                await self._free.acquire()
        except TimeoutError:
            raise self._overloaded() from None
        finally:
            self.waiting -= 1
            WAITING.dec()
        self.at_work += 1

    def leave(self) -> None:
        self.at_work -= 1
        self._free.release()

    def _overloaded(self) -> Overloaded:
        self.refused += 1
        REFUSED.inc()
        return Overloaded(1 + secrets.randbelow(_RETRY_SECONDS_MAX))


class _Place:
    __slots__ = ("_admission", "_held")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._held = False

    async def __aenter__(self) -> Self:
        await self._admission.enter()
        self._held = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._give_up()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Others have the place from here on: its own request only waits."""
        self._give_up()
        yield

    def _give_up(self) -> None:
        if self._held:
            self._held = False
            self._admission.leave()
