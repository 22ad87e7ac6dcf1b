"""HTTP/1.1 as uvicorn speaks it with httptools, but deaf to every offer to change the protocol."""

from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CONNECT: Final = b"CONNECT"
_OFFER: Final = frozenset({b"upgrade", b"http2-settings"})


class Http11Protocol(HttpToolsProtocol):
    """Answers a request that offers an upgrade (`Upgrade: h2c`, as Java's client and curl send it) as if it had not (RFC 9110, 7.8).

    httptools stops at the end of such a head and would never deliver the body. The head, as it was parsed and without the offer, goes
    to a new parser then, and what came after it follows; the application is told nothing before that.
    """

    _offered: tuple[bytes, str] | None = None  # the method and the version of a request whose offer is being declined

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        try:
            while (stopped := self._feed(rest)) is not None:
                if self._offered is None:
                    return  # CONNECT: what follows is no HTTP, and nobody waits for it
                rest = rest[stopped:]
                self._begin_again(*self._offered)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        method = self.parser.get_method()
        if self.parser.should_upgrade() and method != _CONNECT:
            self._offered = (method, self.parser.get_http_version())
            return
        self._offered = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._offered is None:
            super().on_message_complete()

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
