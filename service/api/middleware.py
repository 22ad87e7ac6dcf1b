"""What is done around every request: it gets a name, is measured, and HEAD is answered as GET without the body."""

import re
import time
from functools import cache
from typing import Final

import structlog
from prometheus_client import Counter, Histogram
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import REQUESTS, SECONDS
from workflows.clock_and_ids import new_id

log = structlog.get_logger("api")

TRACE_ID: Final = "refundry.trace_id"  # their places in the request's scope
IS_HEAD: Final = "refundry.head"
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class ObserveRequests:
    """Every answer carries `Request-Id`: the trace that the caller is in (W3C Trace Context), or a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = _trace_id(scope)
        head = scope["method"] == "HEAD"
        scope[TRACE_ID] = name
        if head:
            scope = {**scope, "method": "GET", IS_HEAD: True}
        status, seconds, started = 0, 0.0, time.perf_counter()

        async def send_named(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - started
                message["headers"] = [*message["headers"], (b"request-id", name.encode())]
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception as fault:
            log.error("fault", trace_id=name, path=scope["path"], exc_info=fault)
            if not status:
                await PlainTextResponse("Internal Server Error", 500)(scope, receive, send_named)
            raise
        finally:
            _measure(scope, status, seconds)


def _trace_id(scope: Scope) -> str:
    found = next((value for header, value in scope["headers"] if header == b"traceparent"), b"")
    known = _TRACEPARENT.fullmatch(found)
    return known[1].decode() if known else new_id().hex


def _measure(scope: Scope, status: int, seconds: float) -> None:
    """By operation: what has no route is nobody's, and would be as many names as there are paths."""
    name = getattr(scope.get("route"), "name", None)
    if name is not None and status != 405:  # of several methods' routes none was asked for
        _seconds(name).observe(seconds)
        _requests(name, status).inc()


@cache
def _seconds(operation: str) -> Histogram:
    return SECONDS.labels(operation)


@cache
def _requests(operation: str, status: int) -> Counter:
    return REQUESTS.labels(operation, str(status))
