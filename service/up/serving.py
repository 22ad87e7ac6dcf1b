"""Runs an ASGI application until it is told to stop."""

import asyncio
import gc
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from service.http_limits import HttpLimits
from service.http_protocol import http11_protocol
from service.settings import Settings
from service.up.raw_problems import raw_problem

ASGIApplication = Callable[..., Awaitable[Any]]
STOP_SECONDS = 8
_BACKLOG = 2048
_FILES_SHARE = 3 / 4  # of the files that the process may open, for connections; the rest is for the database and the logs
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


def serve(
    app: ASGIApplication,
    listening: socket.socket,
    *,
    limits: HttpLimits | None = None,
    interruptible: bool = True,
    stop_seconds: int = STOP_SECONDS,
) -> None:
    """Answer on this socket, which other processes may share, until SIGTERM (or Ctrl-C, where `interruptible`).

    Requests under way then have `stop_seconds` to end. The process may open as many files as the system lets it, and takes fewer
    connections than `limits` say where even that is too few.
    """
    limits = limits or HttpLimits()
    connections_max = min(limits.connections_max, int(raise_open_files_limit() * _FILES_SHARE))
    limits = replace(limits, connections_max=connections_max)
    config = configuration(app, limits, backlog=_BACKLOG, timeout_graceful_shutdown=stop_seconds)
    server = _Server(config)
    server.interruptible = interruptible
    settle_garbage_collection()
    server.run(sockets=[listening])
    if not server.started:
        raise SystemExit(3)  # its lifespan failed, and has logged why


def configuration(app: ASGIApplication, limits: HttpLimits | None = None, **more: Any) -> uvicorn.Config:
    """Our uvicorn settings: HTTP/1.1 only, within limits, no access log, no `Server` header; what it logs is ours to write."""
    protocol = http11_protocol(limits or HttpLimits(), raw_problem)
    ours: dict[str, Any] = {"ws": "none", "access_log": False, "log_config": None, "server_header": False, "proxy_headers": False}
    return uvicorn.Config(app, http=protocol, **ours, **more)


def limits_from(settings: Settings) -> HttpLimits:
    """The limits of the API's connections."""
    return HttpLimits(
        head_seconds=settings.head_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        connections_max=settings.connections_max,
        connections_per_address_max=settings.connections_per_address_max,
        trusted_proxies=settings.trusted_proxies,
    )


def limits_for_few(settings: Settings) -> HttpLimits:
    """The same for the rail, whose few callers may each take every connection."""
    limits = limits_from(settings)
    return replace(limits, connections_per_address_max=limits.connections_max)


def raise_open_files_limit() -> int:
    """Let this process open as many files as the system lets it; how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS calls the hard limit infinite, and takes no such soft one
        return soft
    return hard


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
