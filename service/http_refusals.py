"""Whole HTTP answers to what no application sees."""

import json
from http import HTTPStatus
from typing import Final

_STATUSES: Final = {
    "invalid-http": 400,
    "request-timeout": 408,
    "uri-too-long": 414,
    "headers-too-large": 431,
    "too-many-connections": 503,
}


def plain_refusal(slug: str, _accept_language: str | None) -> bytes:
    """A problem of four members, for a server without locales."""
    status = HTTPStatus(_STATUSES[slug])
    document = {"type": f"/problems/{slug}", "title": status.phrase, "status": status.value, "code": slug}
    headers = {"retry-after": "2"} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return raw_answer(status, json.dumps(document).encode(), {"content-type": "application/problem+json", **headers})


def raw_answer(status: int, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of an answer after which the connection is closed."""
    told = {**headers, "content-length": str(len(body)), "connection": "close"}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
