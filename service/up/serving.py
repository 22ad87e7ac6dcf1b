"""Runs an ASGI application until it is told to stop."""

import asyncio
import gc
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from service.http_protocol import Http11Protocol

ASGIApplication = Callable[..., Awaitable[Any]]
STOP_SECONDS = 8
_BACKLOG = 2048
_GARBAGE_ALLOCATIONS = 50_000  # so many more objects than before: then the garbage collector looks at the youngest


class _Server(uvicorn.Server):
    """Stops by SIGTERM or Ctrl-C with exit status 0; uvicorn's own would end by the signal again."""

    interruptible = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        signals = [signal.SIGTERM, signal.SIGINT] if self.interruptible else [signal.SIGTERM]
        before = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.force_exit = self.should_exit and number == signal.SIGINT  # a second Ctrl-C does not wait
        self.should_exit = True


def serve(app: ASGIApplication, listening: socket.socket, *, interruptible: bool = True, stop_seconds: int = STOP_SECONDS) -> None:
    """Answer on this socket, which other processes may share, until SIGTERM (or Ctrl-C, where `interruptible`).

    Requests under way then have `stop_seconds` to end.
    """
    config = configuration(app, log_config=None, backlog=_BACKLOG, timeout_graceful_shutdown=stop_seconds)
    server = _Server(config)
    server.interruptible = interruptible
    settle_garbage_collection()
    server.run(sockets=[listening])
    if not server.started:
        raise SystemExit(3)  # its lifespan failed, and has logged why


def configuration(app: ASGIApplication, **more: Any) -> uvicorn.Config:
    """Our uvicorn settings: HTTP/1.1 only, no access log, no `Server` header."""
    return uvicorn.Config(app, http=Http11Protocol, ws="none", access_log=False, server_header=False, proxy_headers=False, **more)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError where the port is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def inherited_socket(descriptor: int) -> socket.socket:
    """The listening socket that a parent bound."""
    return socket.socket(fileno=descriptor)


def url_of(listening: socket.socket) -> str:
    """The URL at which a program on this machine reaches it."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared with, not bound to
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_until_signalled(work: Callable[[asyncio.Event], Awaitable[None]], *, interruptible: bool = True) -> None:
    """Run `work` with an event that SIGTERM (and Ctrl-C, where `interruptible`) sets."""

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop, interruptible=interruptible)
        await work(stop)

    settle_garbage_collection()
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(run())


def settle_garbage_collection() -> None:
    """Leave what stays for good, modules and routes, out of each collection, and collect seldom.

    A request leaves hardly any cycles behind; `make bench` watches the memory after many.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_ALLOCATIONS, 20, 20)


def stop_on_signals(stop: asyncio.Event, *, interruptible: bool = True) -> None:
    """Install handlers of our own, also where SIGINT was inherited as ignored (a shell does that to its background jobs)."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT) if interruptible else (signal.SIGTERM,):
        loop.add_signal_handler(number, stop.set)
