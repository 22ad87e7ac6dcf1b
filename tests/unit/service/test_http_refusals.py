"""Whole HTTP answers, as an HTTP client reads them."""

import io
import json
from http.client import HTTPResponse
from typing import Any

import pytest

from service.http_refusals import plain_refusal, raw_answer


def read(raw: bytes) -> HTTPResponse:
    class Wire:
        def makefile(self, *_: Any, **__: Any) -> io.BytesIO:
            return io.BytesIO(raw)

    response = HTTPResponse(Wire())  # type: ignore[arg-type]  # all that it asks of a socket
    response.begin()
    return response


def test_each_refusal_is_a_problem_that_ends_the_connection() -> None:
    statuses = {"invalid-http": 400, "request-timeout": 408, "uri-too-long": 414, "headers-too-large": 431, "too-many-connections": 503}
    for slug, status in statuses.items():
        response = read(plain_refusal(slug, None))
        body = json.loads(response.read())

        assert (response.status, body["status"], body["code"], body["type"]) == (status, status, slug, f"/problems/{slug}")
        assert (response.headers["content-type"], response.headers["connection"]) == ("application/problem+json", "close"), slug
        assert response.headers["retry-after"] == ("2" if status == 503 else None), slug
    with pytest.raises(KeyError):
        plain_refusal("not-found", None)


def test_the_length_counts_bytes_and_not_signs() -> None:
    body = "请重试".encode()

    response = read(raw_answer(503, body, {"content-language": "zh-CN"}))

    assert (response.headers["content-length"], response.read()) == ("9", body)
