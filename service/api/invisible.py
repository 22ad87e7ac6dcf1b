"""Characters that nobody sees, or that turn the direction of the text around them: shown as what they are."""

import json
import re
from typing import Final

from starlette.responses import Response

from service.api.types import INVISIBLE

_INVISIBLE: Final = re.compile(f"[{INVISIBLE}]")


def escape_invisible(response: Response) -> None:
    """Write those in a JSON answer as JSON's own escapes (RFC 8259, section 7): a parser reads the same, and whoever looks at it sees them.

    A text in which somebody hid a direction or a zero width would otherwise read like another.
    """
    body = getattr(response, "body", b"")  # a stream has none
    if not isinstance(body, bytes) or body.isascii() or "json" not in response.headers.get("content-type", ""):
        return
    escaped = escaped_invisible(body)
    if escaped != body:
        response.body = escaped
        response.headers["content-length"] = str(len(response.body))


def escaped_invisible(body: bytes) -> bytes:
    """These bytes of JSON with each of those written as its escape."""
    return _INVISIBLE.sub(lambda found: json.dumps(found[0])[1:-1], body.decode()).encode()
