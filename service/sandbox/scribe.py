"""The one thread that writes the book: what waits together is committed together, and acknowledged only then."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from service.sandbox.book import Book

T = TypeVar("T")
BATCH_MAX = 256
_Job = tuple[Callable[[Book], Any], asyncio.Future[Any]]  # each future's type is its own work's result
_Settled = list[tuple[asyncio.Future[Any], Any, BaseException | None]]


class Scribe:
    """`await scribe(work)` runs `work(book)` in a transaction and returns its result once that is on the disk."""

    def __init__(self, path: Path, *, notifies: bool) -> None:
        self._path = path
        self._notifies = notifies
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._opened: asyncio.Future[None]
        self._thread = threading.Thread(target=self._run, name="sandbox-book", daemon=True)

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._opened = self._loop.create_future()
        self._thread.start()
        await self._opened

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def __call__(self, work: Callable[[Book], T]) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((work, future))
        return await future

    def _run(self) -> None:
        try:
            book = Book(self._path, notifies=self._notifies)
        except BaseException as error:
            self._tell([(self._opened, None, error)])
            return
        self._tell([(self._opened, None, None)])
        closing = False
        while not closing:
            batch, closing = self._next()
            if batch:
                self._tell(_commit(book, batch))
        book.close()

    def _next(self) -> tuple[list[_Job], bool]:
        """Wait for one job, then take what stands behind it."""
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) == BATCH_MAX:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _tell(self, settled: _Settled) -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, settled)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more, and what is committed stands


def _commit(book: Book, batch: list[_Job]) -> _Settled:
    """One transaction for all, a savepoint for each, so that one that fails takes only itself back."""
    settled: _Settled = []
    try:
        book.execute("begin immediate")
        for work, future in batch:
            book.execute("savepoint job")
            try:
                settled.append((future, work(book), None))
            except Exception as error:
                book.execute("rollback to job")
                settled.append((future, None, error))
            book.execute("release job")
        book.execute("commit")
    except Exception as error:
        book.abandon()
        return [(future, None, error) for _, future in batch]
    return settled


def _settle(settled: _Settled) -> None:
    for future, result, error in settled:
        if future.done():
            continue  # the one who asked has gone
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
