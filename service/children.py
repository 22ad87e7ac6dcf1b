"""Keeps child processes running: starts them, starts again what died, ends them all."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_BACKOFF_SECONDS_MIN = 0.2
_BACKOFF_SECONDS_MAX = 10.0
_STEADY_SECONDS = 30  # who lived this long did not die of how it was started
_STOP_SECONDS_MAX = 12
_LOG_BYTES_MAX = 10_000_000
_LAST_WORDS_BYTES = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process to keep running. `descriptors` are open files that it inherits, besides the leash."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    descriptors: tuple[int, ...] = ()


@dataclass(slots=True)
class _Kept:
    child: Child
    task: asyncio.Task[None] | None = None
    process: asyncio.subprocess.Process | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Children:
    """The children of this process, each on the leash: they end when it does, however it ends.

    To be used in the main thread: the kernel sends a child its parent's death when the *thread* ends that forked it.
    """

    def __init__(self, logs: Path, tell: Callable[[str], None]) -> None:
        self._logs = logs
        self._tell = tell
        self._kept: list[_Kept] = []
        self.leash, self._held = os.pipe()  # the children's end, and ours, which nobody inherits
        logs.mkdir(parents=True, exist_ok=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        os.close(self.leash)
        os.close(self._held)

    def keep(self, child: Child) -> None:
        """Start it, and again whenever it ends of itself."""
        kept = _Kept(child)
        kept.task = asyncio.create_task(self._keep(kept), name=child.name)
        self._kept.append(kept)

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def last_words(self, name: str) -> str:
        """The end of what it wrote."""
        path = self.log_of(name)
        return path.read_bytes()[-_LAST_WORDS_BYTES:].decode(errors="replace").strip() if path.exists() else ""

    def let_end(self) -> None:
        """From now on nobody is started again."""
        for kept in self._kept:
            kept.stopping.set()

    async def stop(self, *names: str) -> None:
        """End those of these names, or all: SIGTERM, and SIGKILL for who has not ended in time."""
        leaving = [kept for kept in self._kept if not names or kept.child.name in names]
        for kept in leaving:
            kept.stopping.set()
            _send(kept.process, signal.SIGTERM)
        tasks = [kept.task for kept in leaving if kept.task is not None]
        if tasks and (late := (await asyncio.wait(tasks, timeout=_STOP_SECONDS_MAX))[1]):
            for kept in leaving:
                _send(kept.process, signal.SIGKILL)
            await asyncio.wait(late)
        self._kept = [kept for kept in self._kept if kept not in leaving]

    async def _keep(self, kept: _Kept) -> None:
        loop, deaths = asyncio.get_running_loop(), 0
        while not kept.stopping.is_set():
            born = loop.time()
            status = await self._live(kept)
            if kept.stopping.is_set():
                return
            deaths = 1 if loop.time() - born > _STEADY_SECONDS else deaths + 1
            seconds = min(_BACKOFF_SECONDS_MAX, _BACKOFF_SECONDS_MIN * 2 ** (deaths - 1))
            # A signal to the whole group ends the child before us; whether it was one shows when the wait is over.
            if not await _set_within(kept.stopping, seconds):
                self._tell(f"{kept.child.name} ended ({_reason(status)}) and is started again; see {self.log_of(kept.child.name)}")

    async def _live(self, kept: _Kept) -> int:
        child, path = kept.child, self.log_of(kept.child.name)
        if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            kept.process = await asyncio.create_subprocess_exec(
                *child.command,
                env=dict(child.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self.leash, *child.descriptors),
            )
        if kept.stopping.is_set():  # told while it was being born
            _send(kept.process, signal.SIGTERM)
        return await kept.process.wait()


def _send(process: asyncio.subprocess.Process | None, number: signal.Signals) -> None:
    if process is not None and process.returncode is None:
        process.send_signal(number)


def _reason(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
