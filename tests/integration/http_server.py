"""A server of ours within a test's loop, with limits of the test's own, and a client that writes bytes."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from service.http_limits import HttpLimits
from service.up import serving

WAIT_SECONDS = 20.0  # generous: only a fault takes so long
GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST /read HTTP/1.1\r\nHost: a.test\r\n"


class Server(uvicorn.Server):
    """Leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Application:
    """`/read` answers with the length of the body, `/slow` once `go` is set, `/large` with 32 MiB; all others at once. Keeps what came."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.paths: list[str] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.disconnected = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.paths.append(scope["path"])
        try:
            await self._answer(scope, receive, send)
        finally:
            self.headers = list(scope["headers"])
            self.ended.set()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        length, more = 0, scope["path"] == "/read"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected.set()
                return
            length, more = length + len(message["body"]), message["more_body"]
        if scope["path"] == "/slow":
            await self.go.wait()
        body = b"x" * (32 * 1024 * 1024) if scope["path"] == "/large" else str(length).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
        for at in range(0, len(body), 65_536):
            await send({"type": "http.response.body", "body": body[at : at + 65_536], "more_body": at + 65_536 < len(body)})


class Client:
    """One connection; every wait is bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Write, as far as the server takes it: it may have closed the connection."""
        try:
            self.writer.write(data)
            await asyncio.wait_for(self.writer.drain(), WAIT_SECONDS)
        except ConnectionError:
            pass

    @property
    def has_word(self) -> bool:
        """Whether the server has answered or closed."""
        buffered = self.reader._buffer  # type: ignore[attr-defined] # a stream has no other way to look ahead
        return bool(buffered) or self.reader.at_eof() or self.writer.transport.is_closing()

    async def flood(self, data: bytes, times: int, *, pause_seconds: float = 0) -> None:
        """Write this over and over, until the server answers or closes."""
        for _ in range(times):
            if self.has_word:
                return
            await self.send(data)
            await asyncio.sleep(pause_seconds)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: its status, headers and body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT_SECONDS)
        line, *fields = head.decode().splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields) if name}
        body = await asyncio.wait_for(self.reader.readexactly(int(headers.get("content-length", 0))), WAIT_SECONDS)
        return int(line.split()[1]), headers, body

    async def problem(self) -> str:
        """The code of the problem that comes next, before the end of the connection."""
        status, headers, body = await self.answer()
        told = json.loads(body)
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        assert (told["status"], told["type"]) == (status, f"/problems/{told['code']}")
        assert told["title"]
        assert told["detail"]
        assert told["trace_id"] == headers["request-id"]
        await self.ended()
        return f"{status} {told['code']}"

    async def ended(self) -> bytes:
        """What comes until the server ends the connection."""
        try:
            return await asyncio.wait_for(self.reader.read(), WAIT_SECONDS)
        except ConnectionError:
            return b""

    def read_nothing(self) -> None:
        self.reader._transport.pause_reading()  # type: ignore[attr-defined] # the writer's own type cannot be paused

    def close(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def served(app: serving.ASGIApplication, limits: HttpLimits) -> AsyncIterator[int]:
    """The port at which our server answers for an application, within these limits."""
    listening = serving.listen("127.0.0.1", 0)
    server = Server(serving.configuration(app, limits, timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve([listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def clients(port: int, count: int = 1) -> AsyncIterator[list[Client]]:
    """So many connections, closed at the end."""
    opened: list[Client] = []
    try:
        for _ in range(count):
            opened.append(Client(*await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024)))
        yield opened
    finally:
        for one in opened:
            one.close()
        await asyncio.sleep(0)
