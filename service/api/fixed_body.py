"""Bodies that are the same for everybody: made once in a process, sent as they are, with an entity tag and a compressed form."""

import asyncio
import gzip
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from service.api.invisible import escaped_invisible

_COMPRESSED_BYTES_MIN: Final = 1400  # what fits into one packet gains nothing


class FixedResponse(Response):
    """An answer whose bytes are final: nothing in it is looked at or escaped again."""


class FixedBody:
    """`sent`: the bytes, in which invisible characters are escaped where `media_type` is JSON."""

    def __init__(self, sent: bytes, media_type: str) -> None:
        self.plain = escaped_invisible(sent) if "json" in media_type else sent
        self.media_type = media_type
        self.tag = f'"{sha256(self.plain).hexdigest()[:32]}"'
        squeezed = gzip.compress(self.plain, 9, mtime=0) if len(self.plain) >= _COMPRESSED_BYTES_MIN else self.plain
        self.gzipped = squeezed if len(squeezed) < len(self.plain) else None

    def response(self, request: Request, headers: Mapping[str, str]) -> Response:
        """The bytes in the form that the caller takes; each form has its own tag (RFC 9110, section 8.8.3)."""
        vary = ", ".join(filter(None, [headers.get("vary"), "accept-encoding"]))
        sent = {**headers, "vary": vary, "etag": self.tag}
        if self.gzipped is None or not _takes_gzip(request):
            return FixedResponse(self.plain, media_type=self.media_type, headers=sent)
        sent |= {"etag": f'{self.tag[:-1]}-gzip"', "content-encoding": "gzip"}
        return FixedResponse(self.gzipped, media_type=self.media_type, headers=sent)


class MadeOnce:
    """A body that takes long to make: in a thread, at the first call, whoever else calls meanwhile."""

    def __init__(self, make: Callable[[], FixedBody]) -> None:
        self._make = make
        self._making: asyncio.Task[FixedBody] | None = None

    async def get(self) -> FixedBody:
        """The body. What `make` raises is raised to all who wait for it; the next call tries again."""
        if self._making is None or (self._making.done() and (self._making.cancelled() or self._making.exception() is not None)):
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._making)


def _takes_gzip(request: Request) -> bool:
    for one in ",".join(request.headers.getlist("accept-encoding")).split(","):
        name, _, quality = one.replace(" ", "").lower().partition(";")
        if name == "gzip":
            return quality not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
