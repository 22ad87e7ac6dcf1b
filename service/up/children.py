"""Child processes that are kept running: started, restarted when they end, and stopped together."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from service.log_file import LOG_BYTES_MAX, rotate
from service.settings import environment_of

_BACKOFF_SECONDS_MIN = 0.2
_BACKOFF_SECONDS_MAX = 10.0
_STABLE_SECONDS = 30  # a process that ran this long did not fail because of its configuration
_STOP_SECONDS_MAX = 12
_LOG_TAIL_BYTES = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProcess:
    """One process to keep running. `descriptors` are open files that it inherits, besides the pipe of `die_with_parent`."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    descriptors: tuple[int, ...] = ()


@dataclass(slots=True)
class _Supervised:
    child: ChildProcess
    task: asyncio.Task[None] | None = None
    process: asyncio.subprocess.Process | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class ChildProcesses:
    """The child processes of this one; each ends when it does, however it ends (`die_with_parent`).

    To be used in the main thread: the kernel counts a parent as dead when the *thread* that forked the child ends.
    """

    def __init__(self, logs: Path, report: Callable[[str], None]) -> None:
        self._logs = logs
        self._report = report
        self._supervised: list[_Supervised] = []
        self.parent_pipe, self._held = os.pipe()  # the children's end, and ours, which nobody inherits
        logs.mkdir(parents=True, exist_ok=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        os.close(self.parent_pipe)
        os.close(self._held)

    def start(self, child: ChildProcess) -> None:
        """Start it, and again whenever it ends of itself."""
        supervised = _Supervised(child)
        supervised.task = asyncio.create_task(self._run_again_and_again(supervised), name=child.name)
        self._supervised.append(supervised)

    def log_path(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def log_tail(self, name: str) -> str:
        """The end of what it wrote."""
        path = self.log_path(name)
        return path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip() if path.exists() else ""

    def stop_restarting(self) -> None:
        """From now on nobody is started again."""
        for supervised in self._supervised:
            supervised.stopping.set()

    async def stop(self, *names: str) -> None:
        """End those of these names, or all: SIGTERM, and SIGKILL for who has not ended in time."""
        leaving = [supervised for supervised in self._supervised if not names or supervised.child.name in names]
        for supervised in leaving:
            supervised.stopping.set()
            _signal(supervised.process, signal.SIGTERM)
        tasks = [supervised.task for supervised in leaving if supervised.task is not None]
        if tasks and (late := (await asyncio.wait(tasks, timeout=_STOP_SECONDS_MAX))[1]):
            for supervised in leaving:
                _signal(supervised.process, signal.SIGKILL)
            await asyncio.wait(late)
        self._supervised = [supervised for supervised in self._supervised if supervised not in leaving]

    async def _run_again_and_again(self, supervised: _Supervised) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while not supervised.stopping.is_set():
            started_at = loop.time()
            status = await self._run_once(supervised)
            if supervised.stopping.is_set():
                return
            failures = 1 if loop.time() - started_at > _STABLE_SECONDS else failures + 1
            seconds = min(_BACKOFF_SECONDS_MAX, _BACKOFF_SECONDS_MIN * 2 ** (failures - 1))
            # A signal to the whole group ends the child before us; whether it was one shows when the wait is over.
            if not await _set_within(supervised.stopping, seconds):
                self._report(
                    f"{supervised.child.name} ended ({_reason(status)}) and is started again; see {self.log_path(supervised.child.name)}"
                )

    async def _run_once(self, supervised: _Supervised) -> int:
        child, path = supervised.child, self.log_path(supervised.child.name)
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            rotate(path)
        with path.open("ab") as log:
            supervised.process = await asyncio.create_subprocess_exec(
                *child.command,
                env={**child.environment, **environment_of({"log_file": path.resolve()})},  # a child rotates its own file
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self.parent_pipe, *child.descriptors),
            )
        if supervised.stopping.is_set():  # stopped while it was being started
            _signal(supervised.process, signal.SIGTERM)
        return await supervised.process.wait()


def _signal(process: asyncio.subprocess.Process | None, number: signal.Signals) -> None:
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
