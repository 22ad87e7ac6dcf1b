"""A lean HTTP client in a process of its own: N keep-alive callers, each with one request under way.

It reads a specification in JSON from standard input and writes what it measured to standard output.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import uvloop

_ROOT = Path(__file__).resolve().parent.parent.parent
_PATIENCE_SECONDS = 30
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Ask for a cancellation of one payment after the other."""

    host: str
    port: int
    token: str
    callers: int
    seconds: float  # less where the payments do not suffice
    payments: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    seconds: float
    cpu_seconds: float  # of the client itself
    statuses: dict[str, int]
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def created(self) -> int:
        return self.statuses.get("201", 0)


def send(load: Load) -> Measured:
    """Run the load in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.client"]
    patience = load.seconds + _PATIENCE_SECONDS
    done = subprocess.run(command, input=json.dumps(asdict(load)), capture_output=True, text=True, check=False, cwd=_ROOT, timeout=patience)
    if done.returncode != 0:
        raise RuntimeError(f"the client failed:\n{done.stderr}")
    return Measured(**json.loads(done.stdout))


class _Caller(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last one has come in."""

    def __init__(self, load: Load, payments: Iterator[str], deadline: float) -> None:
        self._payments = payments
        self._deadline = deadline
        self._head = (
            f"POST /v1/payments/%s/cancellations HTTP/1.1\r\nhost: {load.host}\r\nauthorization: Bearer {load.token}\r\n"
            "content-type: application/json\r\nidempotency-key: %s\r\ncontent-length: 25\r\n\r\n"
        )
        self._waiting = bytearray()
        self._sent_at = 0.0
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in everything but its ancestors
        self._next()

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        head, found, body = bytes(self._waiting).partition(_END_OF_HEAD)
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        if len(body) < length:
            return
        self.latencies.append(time.perf_counter() - self._sent_at)
        self.statuses[head[9:12].decode()] += 1
        self._waiting.clear()
        self._next()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self.statuses["lost"] += 1
            self.ended.set_result(None)

    def _next(self) -> None:
        payment = next(self._payments, None) if time.perf_counter() < self._deadline else None
        if payment is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write((self._head % (payment, payment)).encode() + b'{"reason":"changed_mind"}')


async def _run(load: Load) -> Measured:
    loop = asyncio.get_running_loop()
    payments, started, cpu = iter(load.payments), time.perf_counter(), time.process_time()
    callers = []
    for _ in range(load.callers):
        _, caller = await loop.create_connection(lambda: _Caller(load, payments, started + load.seconds), load.host, load.port)
        callers.append(caller)
    for caller in callers:
        await caller.ended
    latencies = sorted(latency for caller in callers for latency in caller.latencies) or [0.0]
    return Measured(
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu,
        statuses=dict(sum((caller.statuses for caller in callers), Counter())),
        p50_ms=_quantile(latencies, 0.50),
        p95_ms=_quantile(latencies, 0.95),
        p99_ms=_quantile(latencies, 0.99),
    )


def _quantile(ordered: list[float], share: float) -> float:
    return 1000 * ordered[min(int(len(ordered) * share), len(ordered) - 1)]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(uvloop.run(_run(Load(**json.load(sys.stdin)))))))
