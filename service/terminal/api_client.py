"""The running service, as the terminal's commands reach it: they ask again where the network failed, and a call is never done twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from service.auth.jwks import is_loopback
from service.terminal.failure import UserError

Pause = Callable[[float], Awaitable[None]]

ATTEMPTS_MAX = 14  # with the pauses below: a service that restarts has over half a minute
GREETINGS_MAX = 3
PAUSE_SECONDS_MAX = 5.0
_PAUSE_SECONDS = 0.1
_CONNECTIONS_MAX = 64
_TIMEOUT = httpx.Timeout(30, connect=10)
_UPLOAD_TIMEOUT = httpx.Timeout(None, connect=10)  # the service answers when it has taken in the last line
_NDJSON = "application/x-ndjson"
_AGAIN = frozenset({429, 502, 503, 504})
_IN_FLIGHT = "idempotency-in-flight"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that will not change by asking again."""

    status: int
    body: dict[str, Any]  # JSON
    attempts: int = 1

    @property
    def code(self) -> str:
        """The problem's slug; empty where it is none."""
        return str(self.body.get("code", "")) if self.status >= 400 else ""

    def told(self) -> str:
        """The answer in a line, for a person."""
        return f"{self.status} {self.code}: {self.body.get('detail', '')}" if self.code else str(self.status)


class ApiClient:
    """A client of one service, for one caller. Every call is safe to repeat: a read, or one with an idempotency key of its own."""

    def __init__(self, url: str, token: str, *, transport: httpx.AsyncBaseTransport | None = None, pause: Pause = asyncio.sleep) -> None:
        self.url = url
        self.requests = 0
        self.repeated = 0
        self._pause = pause
        limits = httpx.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=_CONNECTIONS_MAX)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            self._client = httpx.AsyncClient(
                base_url=url, headers=headers, timeout=_TIMEOUT, limits=limits, transport=transport, trust_env=by_environment(url)
            )
        except httpx.InvalidURL as error:
            raise UserError(f"{url} is no address of a service: {error}") from error
        if self._client.base_url.scheme not in ("http", "https"):
            raise UserError(f"{url} is no address of a service: it must begin with http:// or https://")

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def greet(self) -> dict[str, Any]:
        """What the service says of itself. Raises UserError where it is not there, or does not take the token."""
        return (await self._send(self._client.build_request("GET", "/v1/meta"), attempts_max=GREETINGS_MAX)).body

    async def get(self, path: str) -> Reply:
        return await self._send(self._client.build_request("GET", path))

    async def post(self, path: str, body: Mapping[str, object], *, key: str) -> Reply:
        return await self._send(self._client.build_request("POST", path, json=body, headers={"Idempotency-Key": key}))

    async def upload(self, path: str, chunks: Callable[[], AsyncIterator[bytes]], *, attempts_max: int = 1) -> Reply:
        """Stream NDJSON. More than one attempt only where `chunks` can begin again and the lines may be sent twice."""
        for attempt in range(1, attempts_max + 1):
            self.requests += 1
            try:
                headers = {"Content-Type": _NDJSON}
                response = await self._client.post(path, content=chunks(), headers=headers, timeout=_UPLOAD_TIMEOUT)
            except httpx.TransportError as error:
                if attempt == attempts_max:
                    raise UserError(
                        f"The stream to {self.url} broke: {_said(error)}. Lines may be sent again: none counts twice."
                    ) from error
                self.repeated += 1
                await self._pause(min(_PAUSE_SECONDS * 2**attempt, PAUSE_SECONDS_MAX))
                continue
            return self._reply(response, attempt)
        raise ValueError("at least one attempt")

    async def _send(self, request: httpx.Request, attempts_max: int = ATTEMPTS_MAX) -> Reply:
        for attempt in range(1, attempts_max + 1):
            self.requests += 1
            wait = min(_PAUSE_SECONDS * 2 ** (attempt - 1), PAUSE_SECONDS_MAX)
            try:
                reply = self._reply(response := await self._client.send(request), attempt)
            except httpx.TransportError as error:
                if attempt == attempts_max:
                    raise UserError(f"The service at {self.url} cannot be reached: {_said(error)}. Is it running?") from error
            else:
                if reply.status not in _AGAIN and reply.code != _IN_FLIGHT:
                    return reply
                if attempt == attempts_max:
                    raise UserError(f"The service at {self.url} still answers {reply.told()}. Try again later.")
                wait = max(wait, _seconds(response.headers.get("retry-after", "")))
            self.repeated += 1
            await self._pause(wait)
        raise AssertionError("the last attempt returns or raises")

    def _reply(self, response: httpx.Response, attempt: int) -> Reply:
        try:
            body = response.json()
        except ValueError:
            body = None
        reply = Reply(response.status_code, body if isinstance(body, dict) else {}, attempt)
        if reply.status in (401, 403):
            raise UserError(
                f"The service at {self.url} does not take this token ({reply.told()}). "
                "Tokens of the local key: name the directory that the service was started with: --data DIR."
            )
        return reply


def by_environment(url: str) -> bool:
    """Whether the environment's proxies and roots count on the way to a service: not to one on this machine. Raises httpx.InvalidURL."""
    return not is_loopback(httpx.URL(url).host)


def _seconds(text: str) -> float:
    return min(float(text), PAUSE_SECONDS_MAX) if text.isascii() and text.isdigit() else 0.0


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
