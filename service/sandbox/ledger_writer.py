"""Works on the ledger in a thread: what is asked while one transaction is committed goes into the next, together."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from service.sandbox.ledger import Ledger

T = TypeVar("T")
BATCH_MAX = 256
_Job = tuple[Callable[[Ledger], Any], asyncio.Future[Any]]  # each future's type is its own work's result


class LedgerWriter:
    """`await writer(work)` runs `work(ledger)` in a transaction and returns its result once that is on the disk."""

    def __init__(self, path: Path, *, notifies: bool) -> None:
        self._path = path
        self._notifies = notifies
        self._waiting: list[_Job] = []
        self._committing: asyncio.Task[None] | None = None
        self._ledger: Ledger

    async def open(self) -> None:
        self._ledger = await asyncio.to_thread(Ledger, self._path, notifies=self._notifies)

    async def close(self) -> None:
        if self._committing is not None:
            await self._committing
        self._ledger.close()

    async def __call__(self, work: Callable[[Ledger], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_waiting())
        return await future

    async def _commit_waiting(self) -> None:
        while self._waiting:
            jobs, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            results = await asyncio.to_thread(self._ledger.commit, [work for work, _ in jobs])
            for (_, future), result in zip(jobs, results, strict=True):
                if future.done():
                    continue  # whoever asked has gone
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        self._committing = None
