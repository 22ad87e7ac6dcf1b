"""All of it together, as `refundry up` starts it: how soon it is ready, and what a refund costs that is carried to its end.

The worker is stopped (SIGSTOP) while the cancellations are requested. What is spent after it goes on is spent on the refunds alone: by the
worker, by the rail, by the API, which takes the rail's word, and by PostgreSQL.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from service.settings import environment_for_child
from service.up import embedded
from tests.bench import client, stage, stock, usage
from tests.bench.figures import Figures, per
from tests.bench.plan import Plan, Reporter
from workflows.domain.enums import Role
from workflows.storage.app_role import APP_ROLE

_CALLERS = 8
_DRAIN_SECONDS_MAX = 300
_FINISHED = "select count(*) from cancellation where refund_state = 'succeeded'"
_SERVED_BY = {"worker": "worker", "serve": "api", "sandbox": "rail"}  # by the word in its command line


@dataclass(frozen=True, slots=True)
class Running:
    process: int
    directory: Path

    @property
    def children(self) -> dict[str, int]:
        """One process of each kind."""
        return {kind: process for process, kind in self._kinds()}

    @property
    def workers(self) -> list[int]:
        return [process for process, kind in self._kinds() if kind == "worker"]

    def _kinds(self) -> Iterator[tuple[int, str]]:
        for process, command in usage.descendants(self.process).items():
            kind = next((_SERVED_BY[word] for word in command.split() if word in _SERVED_BY), None)
            if kind is not None:
                yield process, kind

    @property
    def api(self) -> str:
        """Where it answers."""
        found: str = json.loads((self.directory / "up.json").read_text())["api"]
        return found

    @property
    def server(self) -> embedded.Server:
        server = embedded.find(self.directory)
        assert server is not None
        return server


def measure(plan: Plan, figures: Figures, reporter: Reporter) -> None:
    """On a fresh directory, then once more on the same one."""
    directory = plan.directory / "whole"
    with reporter.part("refundry up, and refunds to their end", plan.refunds) as advance:
        with up(directory) as (first, _):
            figures.add("up.fresh.s", first)
        with up(directory) as (again, running):
            figures.add("up.again.s", again)
            figures.add_all("refund", asyncio.run(_refund(running, plan, advance)))


@contextmanager
def up(directory: Path, *arguments: str) -> Iterator[tuple[float, Running]]:
    """A running service, and the seconds until it was ready."""
    started, output = time.perf_counter(), directory.with_suffix(".txt")
    command = [sys.executable, "-P", "-m", "service", "up", "--data", str(directory), "--port", "0", *arguments]
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment_for_child({}))
    try:
        while not (directory / "up.json").exists():
            if process.poll() is not None or time.perf_counter() - started > stage.READY_SECONDS_MAX:
                raise RuntimeError(f"`up` is not ready:\n{output.read_text()}")
            time.sleep(0.01)
        yield time.perf_counter() - started, Running(process.pid, directory)
    finally:
        process.terminate()
        process.wait()


async def _refund(running: Running, plan: Plan, advance: Callable[[int], None]) -> dict[str, float]:
    signed = stage.token(running.directory, Role.wallet)
    api, url = running.api, running.server.owner_url()
    made = stage.register(api, signed, "refund-original")
    await stock.fill(url, stock.Original(made, "refund-original", stock.PAYMENT_AND_RECORD), 1, plan.refunds)
    await stock.settle(url)
    children = running.children
    with stopped(running.workers) as go_on:
        await asyncio.to_thread(request, api, signed, range(1, plan.refunds + 1))
        await stock.settle(url)
        connection = await asyncpg.connect(url, ssl=False)
        try:
            postmaster = stage.postmaster_of(running.server)
            postgres, cpu = usage.read_postgres(postmaster, APP_ROLE), {name: usage.cpu_seconds(one) for name, one in children.items()}
            go_on()
            seconds = await drained(connection, _FINISHED, plan.refunds, advance)
        finally:
            await connection.close()
        spent = usage.between(postgres, usage.read_postgres(postmaster, APP_ROLE))
    used = {f"{name}_us": per(usage.cpu_seconds(one) - cpu[name], plan.refunds) for name, one in children.items()}
    # The worker opens most of its connections only now; what they do is done for the refunds.
    return {
        "per_second": plan.refunds / seconds,
        **used,
        "postgres_us": per(spent["service"] + spent["starts"], plan.refunds),
        **{f"{kind}_us": per(spent[kind], plan.refunds) for kind in ("autovacuum", "writers")},
    }


@contextmanager
def stopped(processes: Sequence[int]) -> Iterator[Callable[[], None]]:
    """They stand still until the function is called that this gives, or the block is left: a stopped process would not end."""

    def go_on() -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield go_on
    finally:
        go_on()


def request(api: str, signed: str, numbers: Sequence[int]) -> None:
    """Ask for the cancellation of each of these payments."""
    parts, count = urlsplit(api), len(numbers)
    subjects = client.payments(numbers)
    host, port = parts.hostname or "127.0.0.1", parts.port or 0
    with client.Client(client.CANCEL, subjects, host=host, ports=[port], token=signed, callers=_CALLERS) as asking:
        done = asking.slice(_DRAIN_SECONDS_MAX)
    assert done.count == count, f"{done.count} of {count} cancellations were requested"


async def drained(connection: asyncpg.Connection, query: str, count: int, advance: Callable[[int], None]) -> float:
    """The seconds until `query` counts so many."""
    started, known = time.perf_counter(), 0
    while known < count:
        if time.perf_counter() - started > _DRAIN_SECONDS_MAX:
            raise RuntimeError(f"{known} of {count} are done: {query}")
        await asyncio.sleep(0.05)
        finished = await connection.fetchval(query)
        advance(finished - known)
        known = finished
    return time.perf_counter() - started
