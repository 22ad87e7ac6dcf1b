"""The process of the load client: N keep-alive connections, each with one request under way.

It reads a load in JSON from the first line of standard input, then a line for each slice: how many seconds. It answers each with a line.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

_END_OF_HEAD = b"\r\n\r\n"
_SHOWN_MAX = 600
RAMP = 0.2  # this share of a slice fills the queues; the rate is counted after it, and until nobody asks any more


@dataclass(slots=True)
class _Turn:
    """One slice: until when to ask, and what came of it."""

    deadline: float
    statuses: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    unexpected: str = ""  # the first answer that was not the expected one


class _Caller(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last one has come in."""

    def __init__(self, load: dict[str, Any], subjects: Iterator[str]) -> None:
        self._subjects = subjects
        self._method, self._path, self._body, self._key = load["method"], load["path"], load["body"], load["key"]
        self._expected = load["expected"]
        self._lines = f"host: {load['host']}\r\nauthorization: Bearer {load['token']}\r\ncontent-type: application/json\r\n"
        self._waiting = bytearray()
        self._sent_at = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in everything but its ancestors
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        if not self.done.done():
            self._turn.statuses["lost"] += 1
            self.done.set_result(None)

    def begin(self, turn: _Turn) -> asyncio.Future[None]:
        self._turn = turn
        self.done = asyncio.get_running_loop().create_future()
        self._next()
        return self.done

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        head, found, body = bytes(self._waiting).partition(_END_OF_HEAD)
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]):
            return
        now = time.perf_counter()
        self._turn.latencies.append(1000 * (now - self._sent_at))
        self._turn.ends.append(now)
        status = head[9:12].decode()
        self._turn.statuses[status] += 1
        if status != self._expected and not self._turn.unexpected:
            self._turn.unexpected = body.decode(errors="replace")[:_SHOWN_MAX]
        self._waiting.clear()
        self._next()

    def _next(self) -> None:
        subject = next(self._subjects, None) if time.perf_counter() < self._turn.deadline else None
        if subject is None or self.transport is None:
            self.done.set_result(None)
            return
        body = self._body.replace("%s", subject).encode()
        key = f"idempotency-key: {subject}\r\n" if self._key else ""
        length = f"content-length: {len(body)}\r\n" if body else ""
        head = f"{self._method} {self._path.replace('%s', subject)} HTTP/1.1\r\n{self._lines}{key}{length}\r\n"
        self._sent_at = time.perf_counter()
        self.transport.write(head.encode() + body)


async def _slice(load: dict[str, Any], callers: list[_Caller], seconds: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    for position, caller in enumerate(callers):  # the server closes connections that were idle for some seconds
        if caller.transport is None:
            port = load["ports"][position % len(load["ports"])]
            await loop.create_connection(lambda caller=caller: caller, load["host"], port)  # type: ignore[misc]  # a lambda with a default
    started, cpu = time.perf_counter(), time.process_time()
    turn = _Turn(started + seconds)
    await asyncio.gather(*(caller.begin(turn) for caller in callers))
    ended = time.perf_counter()
    begin, end = started + RAMP * seconds, min(turn.deadline, ended)
    return {
        "seconds": ended - started,
        "per_second": sum(begin <= at <= end for at in turn.ends) / (end - begin) if end > begin else 0.0,
        "cpu_seconds": time.process_time() - cpu,
        "statuses": dict(turn.statuses),
        "unexpected": turn.unexpected,
        "latencies_ms": [round(one, 3) for one in turn.latencies],
    }


async def _run() -> None:
    loop = asyncio.get_running_loop()
    load = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    subjects = iter(load["subjects"])
    callers = [_Caller(load, subjects) for _ in range(load["callers"])]
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        sys.stdout.write(json.dumps(await _slice(load, callers, float(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(_run())
