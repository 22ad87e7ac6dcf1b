"""HTTP/1.1 as uvicorn speaks it with httptools, within limits of bytes and time, and deaf to every offer to change the protocol."""

import math
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.http_limits import ConnectionTable, HttpLimits, Refusal
from service.http_refusals import plain_refusal
from service.metrics import CONNECTIONS_REFUSED

_CONNECT: Final = b"CONNECT"
_OFFER: Final = frozenset({b"upgrade", b"http2-settings"})
_VERSIONS: Final = frozenset({"1.0", "1.1"})
# RFC 9110, section 7.2, and RFC 3986, section 3.2: an IP literal or a registered name, which may be empty, and a port.
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-fv:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
_FRAMING_BYTES_MAX: Final = 16 * 1024  # of chunk extensions and trailers, beyond what each chunk needs
_FRAMING_BYTES_PER_CHUNK: Final = 32
_UNREAD_BYTES_MAX: Final = 256 * 1024  # what still comes after a refusal is received and dropped, so that the client can read the answer
_LINGER_SECONDS: Final = 1.0

Application = Callable[..., Awaitable[Any]]


def http11_protocol(limits: HttpLimits, refusal: Refusal | None = None) -> type["Http11Protocol"]:
    """The protocol's class for one server. `refusal` writes the answers to what no application sees."""

    class Limited(Http11Protocol):
        table = ConnectionTable(limits, refusal or plain_refusal)

    return Limited


class _RefusedError(Exception):
    """Stops the parser: what it reads is refused."""


class Http11Protocol(HttpToolsProtocol):
    """One connection. What is too large, too slow or no HTTP/1.1 is answered with a problem, and the connection is closed.

    It ends its connection itself when `check` finds `_deadline` passed, instead of by a timer for each request.

    A request that offers an upgrade (`Upgrade: h2c`, as Java's client and curl send it) is answered as if it had not (RFC 9110, 7.8).
    httptools stops at the end of such a head and would never deliver the body. The head, as it was parsed and without the offer, goes
    to a new parser then, and what came after it follows; the application is told nothing before that.
    """

    table: ConnectionTable

    _offered: tuple[bytes, str] | None = None  # the method and the version of a request whose offer is being declined

    waiting_since = 0.0
    _deadline = math.inf
    _messages = 0  # heads begun
    _head_begun = False
    _in_body = False
    _head_bytes = 0  # of a head that spans several reads
    _read_bytes = 0  # this read's
    _body_bytes = 0  # of this read
    _body_pieces = 0
    _framing_bytes = 0  # of a chunked body, beyond what it needs
    _trailers = 0
    _unread_bytes = 0
    _host: bytes | None = None  # the one that was looked at before

    _fault: str | None = None  # the problem for which the parser was stopped
    _is_deaf = False  # whatever comes now is dropped
    _owed: str | None = None  # a problem that is told after the answers to earlier requests
    _is_lingering = False
    _unsent_bytes = 0  # when it was looked at last
    _send_deadline = 0.0

    @property
    def is_waiting(self) -> bool:
        return not self._is_lingering and (self.cycle is None or self.cycle.response_complete)

    # The connection's beginning and end.

    def connection_made(self, transport: Any) -> None:  # asyncio's transports have no class in common with uvloop's
        super().connection_made(transport)
        self.waiting_since = self.loop.time()
        self._deadline = self.waiting_since + self.table.limits.head_seconds
        if self.table.admit(self, self.client[0] if self.client else None, self.loop):
            return
        if self.table.linger(self, self.loop):
            self._refuse("too-many-connections")
        else:
            CONNECTIONS_REFUSED.labels("too-many-connections").inc()
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.table.remove(self)
        super().connection_lost(exc)

    def evict(self) -> None:
        CONNECTIONS_REFUSED.labels("too-many-connections").inc()
        self._is_deaf = True
        if self._head_begun:
            self._write_refusal("too-many-connections")
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # closing would wait for an answer that nobody takes, and nobody would count it any more
        else:
            self.transport.close()

    # What comes in.

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            self._drop(len(data))
            return
        messages, was_in_body = self._messages, self._in_body
        self._read_bytes, self._body_bytes, self._body_pieces = len(data), 0, 0
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._stop()
            return
        if self._in_body:
            self._receive_body(len(data), began=self._messages != messages)
        elif self._head_begun or not (was_in_body or self._messages != messages):
            self._receive_head(len(data), began=self._messages != messages, after_other=was_in_body or self._messages > messages + 1)

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        while (stopped := self._feed(rest)) is not None:
            if self._offered is None:
                return  # CONNECT: what follows is no HTTP, and nobody waits for it
            rest = rest[stopped:]
            self._begin_again(*self._offered)

    def _receive_head(self, size: int, *, began: bool, after_other: bool) -> None:
        """After a read that ended in a head or, where none has begun, in the empty lines before one."""
        limits = self.table.limits
        if began:
            self._head_bytes = 0 if after_other else size
            self._deadline = self.loop.time() + limits.head_seconds
        else:
            self._head_bytes += size
        if self._head_bytes > limits.head_bytes_max:
            self._refuse("headers-too-large")

    def _receive_body(self, size: int, *, began: bool) -> None:
        """After a read that ended in a body."""
        limits = self.table.limits
        if began:
            self._framing_bytes = self._trailers = self._unread_bytes = 0
            self._deadline = self.loop.time() + limits.body_grace_seconds
            return
        framing = size - self._body_bytes - _FRAMING_BYTES_PER_CHUNK * self._body_pieces
        self._framing_bytes = max(0, self._framing_bytes + framing)
        if self._framing_bytes > _FRAMING_BYTES_MAX:
            self._refuse("invalid-http")
        elif self.cycle.response_complete:
            self._drop(size)
        else:
            bought = self._deadline + size / limits.bytes_per_second_min
            self._deadline = min(bought, self.loop.time() + limits.pause_seconds_max)

    def _drop(self, size: int) -> None:
        self._unread_bytes += size
        if self._unread_bytes > _UNREAD_BYTES_MAX and (self.is_waiting or self._is_lingering):
            self.transport.close()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self.table.limits.pipelined_max:
            self._fail(None)
        self._messages += 1
        self._head_begun = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.table.limits.url_bytes_max:
            self._fail("uri-too-long")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:  # a trailer: the request was judged by its head, and nothing is added to that
            self._trailers += 1
            if self._trailers > self.table.limits.head_fields_max:
                self._fail("headers-too-large")
            return
        if len(self.headers) >= self.table.limits.head_fields_max:
            self._fail("headers-too-large")
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._check_head_size()
        method = self.parser.get_method()
        if self.parser.should_upgrade() and method != _CONNECT:
            self._offered = (method, self.parser.get_http_version())
            return
        self._offered = None
        self._check_head()
        super().on_headers_complete()
        self._head_begun, self._in_body = False, True

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._body_pieces += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._offered is not None:
            return
        self._in_body, self._head_bytes = False, 0
        self._deadline = self.loop.time() + self.table.limits.keep_alive_seconds if self.cycle.response_complete else math.inf
        super().on_message_complete()

    def _fail(self, slug: str | None) -> NoReturn:
        """Stop the parser. None: only to read no further than this."""
        self._fault = slug
        self._is_deaf = slug is None
        raise _RefusedError

    def _check_head_size(self) -> None:
        most = self.table.limits.head_bytes_max
        if (
            self._head_bytes + self._read_bytes > most
            and len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > most
        ):
            self._fail("headers-too-large")

    def _check_head(self) -> None:
        """RFC 9112, sections 3.2 and 6.1. A coding that llhttp refuses as well, but after the application was called, is refused here."""
        version = self.parser.get_http_version()
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
                if value != self._host:
                    self._check_host(value)
            elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                self._fail("invalid-http")
        if hosts > 1 or (hosts == 0 and version == "1.1") or version not in _VERSIONS:
            self._fail("invalid-http")

    def _check_host(self, value: bytes) -> None:
        if not _HOST.fullmatch(value.strip(b" \t")):
            self._fail("invalid-http")
        self._host = value

    def _feed(self, data: bytes | memoryview) -> int | None:
        """How far the parser came, where it stopped at an offer."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            return int(stop.args[0])
        return None

    def _begin_again(self, method: bytes, version: str) -> None:
        lines = [b"%b %b HTTP/%b" % (method, self.url, version.encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name not in _OFFER]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own, for requests sent ahead
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    # What goes out.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # uvicorn's types of an application are private
        super()._start_asgi_task(cycle, _closing_unless_continued(cycle, app) if cycle.waiting_for_100_continue else app)

    def on_response_complete(self) -> None:
        """uvicorn's own, with a deadline in place of its timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        if self._owed is not None:
            self._tell(self._owed)
            return
        self.waiting_since = now = self.loop.time()
        if self._in_body:  # answered before all of it came: the rest is dropped, and has to come soon
            self._deadline = now + self.table.limits.head_seconds
        elif not self._head_begun:
            self._deadline = now + self.table.limits.keep_alive_seconds

    def resume_writing(self) -> None:
        self._unsent_bytes = 0
        super().resume_writing()

    def _stop(self) -> None:
        if self._fault is not None or not self._is_deaf:
            self._refuse(self._fault or "invalid-http")
        else:  # too many requests sent ahead: those that were read are answered, and the connection is closed after the last
            self.pipeline[0][0].keep_alive = False

    def _refuse(self, slug: str) -> None:
        """Answer with a problem after the answers to all requests before the one at fault, and close the connection."""
        self._is_deaf = True
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._tell(slug)
        elif not self._in_body:
            self._owed = slug
        elif self.pipeline:  # the request at fault waits for its turn
            self.pipeline.popleft()
            self._owed = slug
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
            else:
                self._tell(slug)

    def _tell(self, slug: str) -> None:
        CONNECTIONS_REFUSED.labels(slug).inc()
        if self.transport.is_closing():
            return
        self._write_refusal(slug)
        # Closing at once what the client still writes to would make TCP throw away the answer (RFC 9112, section 9.6).
        try:
            if self.transport.can_write_eof():
                self.transport.write_eof()
        except OSError:  # the other side has gone
            self.transport.close()
            return
        self._is_lingering = True
        self._unread_bytes = 0
        self._deadline = self.loop.time() + min(_LINGER_SECONDS, self.table.limits.head_seconds)

    def _write_refusal(self, slug: str) -> None:
        language = next((value for name, value in self.headers or () if name == b"accept-language"), b"")
        status_line, _, rest = self.table.refusal(slug, language.decode("latin-1") or None).partition(b"\r\n")
        always = (b"%b: %b" % header for header in self.server_state.default_headers)
        self.transport.write(b"\r\n".join([status_line, *always, rest]))

    # Time.

    def check(self, now: float) -> None:
        self._check_sending(now)
        if now < self._deadline or self.transport.is_closing():
            return
        waits_for_us = self.flow.read_paused or (self._in_body and self.cycle.waiting_for_100_continue)
        if waits_for_us and not self._is_lingering:
            self._deadline = now + self.table.limits.body_grace_seconds
        elif self._head_begun or (self._in_body and not self.cycle.response_complete):
            self._late()
        else:
            self.transport.close()

    def _late(self) -> None:
        if self._is_lingering:
            self.transport.close()
        elif not self._is_deaf:
            self._refuse("request-timeout")

    def _check_sending(self, now: float) -> None:
        """End a connection whose client does not take its answer, also where it is being closed: that waits for the rest to be taken."""
        unsent, limits = self.transport.get_write_buffer_size(), self.table.limits
        if unsent and not self._unsent_bytes:
            self._send_deadline = now + limits.pause_seconds_max
        elif unsent < self._unsent_bytes:
            bought = self._send_deadline + (self._unsent_bytes - unsent) / limits.bytes_per_second_min
            self._send_deadline = min(bought, now + limits.pause_seconds_max)
        self._unsent_bytes = unsent
        if unsent and now >= self._send_deadline:
            CONNECTIONS_REFUSED.labels("request-timeout").inc()
            self.transport.abort()


def _closing_unless_continued(cycle: RequestResponseCycle, app: Application) -> Application:
    """Who was not told to send its body may send the next request instead, which must not be read as that body (RFC 9110, 10.1.1)."""

    async def run(scope: Any, receive: Any, send: Any) -> None:  # ASGI's own types
        async def send_once(message: Any) -> None:
            if cycle.waiting_for_100_continue:
                cycle.keep_alive = False
            await send(message)

        await app(scope, receive, send_once)

    return run
