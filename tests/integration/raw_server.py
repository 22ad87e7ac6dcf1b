"""A server of raw bytes: it reads requests as HTTP, and answers with whatever bytes a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """What arrived: every request, and over how many connections."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def heard(self, requests: int) -> None:
        """Return when so many requests have arrived."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= requests)

    async def take(self, request: Request) -> None:
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()


def http(status: int, body: object, headers: dict[str, str] | None = None) -> bytes:
    """A whole answer; a body that is not bytes is told as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        content = b""
    told = {"Content-Length": str(len(content))} | (headers or {})
    lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content


def answering(reply: bytes) -> Answer:
    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    return answer


def closing(reply: bytes) -> Answer:
    """Say so much, and close the connection."""

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        writer.close()

    return answer


async def silent(_: Request, writer: asyncio.StreamWriter) -> None:
    """Take the request, and say nothing as long as the caller stays."""


@asynccontextmanager
async def raw_server(answer: Answer) -> AsyncIterator[RawServer]:
    kept = RawServer()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.connections += 1
        writers.append(writer)
        try:
            while not writer.is_closing():
                request = await _request(reader)
                await kept.take(request)
                await answer(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    kept.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield kept
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def _request(reader: asyncio.StreamReader) -> Request:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)
