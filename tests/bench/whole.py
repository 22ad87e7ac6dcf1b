"""All of it together, as `refundry up` starts it: how soon it is ready, and how many refunds it carries to the end."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from service.settings import environment_for_child
from service.up import embedded
from tests.bench import client, stage, stock
from workflows.domain import ids
from workflows.domain.enums import Role

_CALLERS = 8
_DRAIN_SECONDS_MAX = 120
_FINISHED = "select count(*) from refund where state = 'succeeded'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    ready_seconds: float
    ready_again_seconds: float
    refunds: int
    requested_seconds: float
    finished_seconds: float  # from the first request to the last refund


def measure(directory: Path, payments: int) -> Whole:
    """On a fresh directory, then once more on the same one."""
    with _up(directory) as first:
        pass
    with _up(directory) as again:
        requested, finished = asyncio.run(_refund(directory, payments))
    return Whole(ready_seconds=first, ready_again_seconds=again, refunds=payments, requested_seconds=requested, finished_seconds=finished)


@contextmanager
def _up(directory: Path) -> Iterator[float]:
    """A running service; gives the seconds until it was ready."""
    started, output = time.perf_counter(), directory.with_suffix(".txt")
    command = [sys.executable, "-P", "-m", "service", "up", "--data", str(directory), "--port", "0"]
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment_for_child({}))
    try:
        while not (directory / "up.json").exists():
            if process.poll() is not None or time.perf_counter() - started > stage.READY_SECONDS_MAX:
                raise RuntimeError(f"`up` is not ready:\n{output.read_text()}")
            time.sleep(0.01)
        yield time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


async def _refund(directory: Path, payments: int) -> tuple[float, float]:
    server = embedded.find(directory)
    assert server is not None
    api = urlsplit(json.loads((directory / "up.json").read_text())["api"])
    connection = await asyncpg.connect(server.app_url(), ssl=False)
    try:
        made = await stock.fill(server.app_url(), "whole", payments)
        load = client.Load(
            host=api.hostname or "127.0.0.1",
            port=api.port or 0,
            token=stage.token(directory, Role.wallet),
            callers=_CALLERS,
            seconds=_DRAIN_SECONDS_MAX,
            payments=[ids.public("pay", one) for one in made],
        )
        started = time.perf_counter()
        measured = await asyncio.to_thread(client.send, load)
        assert measured.created == payments, measured.statuses
        while await connection.fetchval(_FINISHED) < payments:
            if time.perf_counter() - started > _DRAIN_SECONDS_MAX:
                raise RuntimeError(f"{await connection.fetchval(_FINISHED)} of {payments} refunds have finished")
            await asyncio.sleep(0.02)
        return measured.seconds, time.perf_counter() - started
    finally:
        await connection.close()
