"""One after the other: what this process does about one thing, a payment mostly, each in its turn."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from typing import Any
from uuid import UUID

# What a request holds, and lends to others while it waits for its turn. Nothing, unless whoever serves it has said so.
WHILE_WAITING: ContextVar[Callable[[], AbstractAsyncContextManager[Any]]] = ContextVar("while_waiting", default=nullcontext)


class _Queue:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.names: Counter[Hashable] = Counter()  # of those who wait or are at work


class Turns:
    """A queue for each thing that this process is at work on."""

    def __init__(self) -> None:
        self._queues: dict[UUID, _Queue] = {}

    def __len__(self) -> int:
        """How many wait for their turn or are at work."""
        return sum(sum(queue.names.values()) for queue in self._queues.values())

    def is_queued(self, key: UUID, name: Hashable) -> bool:
        """Whether somebody of that name waits for his turn, or is at work."""
        queue = self._queues.get(key)
        return queue is not None and name in queue.names

    @asynccontextmanager
    async def turn(self, key: UUID, name: Hashable) -> AsyncIterator[None]:
        """Wait until everybody who came before has had his turn, then have it."""
        queue = self._queues.setdefault(key, _Queue())
        queue.names[name] += 1
        has_turn = False
        try:
            if queue.lock.locked():
                async with WHILE_WAITING.get()():
                    has_turn = await queue.lock.acquire()
            else:
                has_turn = await queue.lock.acquire()
            yield
        finally:
            if has_turn:  # also where the way back from waiting was interrupted
                queue.lock.release()
            queue.names[name] -= 1
            if not queue.names[name]:
                del queue.names[name]
            if not queue.names:
                self._queues.pop(key, None)
