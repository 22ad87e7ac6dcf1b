"""The sandbox rail inside the test's own process: its real routes over its real ledger, and a clock that a test moves."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import aiohttp
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Message

from service.providers.sandbox import SandboxProvider
from service.sandbox.faults import RandomFaults
from service.sandbox.ledger import LedgerEntry, Movement, OwedNotification
from service.sandbox.ledger_writer import LedgerWriter
from service.sandbox.server import Rail
from tests.factories import Clock
from workflows.domain.ports import RailSchedule

EVERYTHING = 10**6
URL = "http://rail"
_FAR_MS = 10**15


SCHEDULE = RailSchedule(
    enquiries=tuple(timedelta(seconds=seconds) for seconds in (1, 2, 5, 10)),
    sends_again=True,
    unknown_max=timedelta(hours=1),
    processing_max=timedelta(days=3),
)


Early = Callable[[], Awaitable[None]]


@dataclass
class InProcessRail:
    """What a test asks of the rail besides calling it. `before_reply`: what happens once an effect is made and before its reply."""

    provider: SandboxProvider
    clock: Clock
    _writer: LedgerWriter
    _client: "_Client"

    def before_reply(self, happens: Early | None) -> None:
        self._client.before_reply = happens

    async def apply_due(self) -> int | None:
        """Confirm and return what is due by the clock; answers when the next is, in milliseconds since 1970."""
        return await self._writer(lambda ledger: ledger.apply_due(self.clock.milliseconds()))

    async def notices(self) -> list[OwedNotification]:
        """What the rail has to tell and has not told yet, oldest first."""
        return await self._writer(lambda ledger: ledger.owed(_FAR_MS, ()))

    async def delivered(self, notice: OwedNotification) -> None:
        await self._writer(lambda ledger: ledger.record_deliveries([notice], [], self.clock.milliseconds()))

    async def set_random_faults(self, chance: RandomFaults) -> None:
        """Random faults on top of those that the references ask for."""
        await self._writer(lambda ledger: ledger.set_random_faults(chance))

    async def entry(self, rail_key: str) -> LedgerEntry | None:
        """What the rail's book says of a key."""
        return await self._writer(lambda ledger: ledger.find(rail_key))

    async def movements(self, payment_reference: str | None = None) -> list[Movement]:
        return await self._writer(lambda ledger: ledger.movements(payment_reference, 0, EVERYTHING))


class _Slow(Exception):
    """The rail takes longer than its caller waits; it goes on with the work by its clock."""


async def _too_slow(seconds: float) -> None:
    if seconds:
        raise _Slow


@dataclass(frozen=True)
class _Content:
    body: bytes

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self.body


@dataclass(frozen=True)
class _Response:
    """As much of an aiohttp.ClientResponse as the adapter looks at."""

    status: int
    headers: dict[str, str]
    content: _Content


class _Client:
    """Calls the application as a client that gives up at once where no answer is coming: a time-out without the time."""

    def __init__(self, app: Starlette, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self.before_reply: Early | None = None

    @asynccontextmanager
    async def request(
        self, method: str, url: str, *, data: bytes | None, headers: dict[str, str] | None, **_: Any
    ) -> AsyncIterator[_Response]:
        self._clock.advance(timedelta(milliseconds=1))  # no two calls at the same moment: what is due first is then never a toss-up
        path = url.removeprefix(URL)
        asked, hung = False, False
        started: dict[str, Any] = {}
        chunks: list[bytes] = []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": b"",
            "server": ("rail", 80),
            "client": ("test", 1),
            "root_path": "",
        }

        async def receive() -> Message:
            nonlocal asked, hung
            if asked:
                hung = True
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": data or b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                chunks.append(message.get("body", b""))

        try:
            await self._app(scope, receive, send)
        except _Slow:
            raise aiohttp.SocketTimeoutError("the rail is slow") from None
        if self.before_reply is not None and method == "POST":
            await self.before_reply()
        if hung:
            raise aiohttp.SocketTimeoutError("the rail kept silent")
        told = {name.decode().title(): value.decode() for name, value in started["headers"]}
        yield _Response(started["status"], told, _Content(b"".join(chunks)))


@asynccontextmanager
async def in_process_rail(folder: Path, clock: Clock, schedule: RailSchedule = SCHEDULE) -> AsyncIterator[InProcessRail]:
    """A rail that delivers no notification by itself: the test says when, how often and in which order."""
    path = folder / "ledger.sqlite"
    writer = LedgerWriter(path, notifies=True)
    await writer.open()
    rail = Rail(writer, clock, _too_slow)
    app = Starlette(
        routes=[
            Route("/sandbox/refunds", rail.endpoint("refund"), methods=["POST"]),
            Route("/sandbox/voids", rail.endpoint("void"), methods=["POST"]),
            Route("/sandbox/movements/{rail_key}", rail.find),
            Route("/sandbox/movements/{rail_key}/cancel", rail.cancel_endpoint(), methods=["POST"]),
        ]
    )
    client = _Client(app, clock)
    yield InProcessRail(
        SandboxProvider(cast("aiohttp.ClientSession", client), URL, timeout_seconds=30, schedule=schedule), clock, writer, client
    )
    await writer.close()
