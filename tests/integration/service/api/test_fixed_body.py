"""What is the same for everybody is made once, and is not sent again to who has it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from service.api import openapi
from service.api.fixed_body import FixedBody, MadeOnce
from service.app import create_app
from tests.harness import Api, calling

PATHS = ("/openapi.json", "/docs", "/redoc", "/problems", "/problems/policy-refused")


@pytest.fixture
async def fresh(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """A process that was asked for nothing yet."""
    async with calling(create_app(api.settings, clock=api.clock)) as http:
        yield http


@pytest.mark.slow
async def test_the_document_is_made_once_for_all_who_ask_at_once(fresh: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(app: FastAPI) -> bytes:
        made.append(1)
        return openapi.document_bytes(app)

    monkeypatch.setattr("service.console.pages.document_bytes", counted)

    answers = await asyncio.gather(*(fresh.get("/openapi.json", headers={"accept-encoding": "identity"}) for _ in range(100)))

    assert len({answer.content for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {200}
    assert len(made) == 1


@pytest.mark.slow
async def test_the_document_is_not_looked_through_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds signs that are not ASCII: looking for invisible ones in 600 kB took most of each call."""
    await api.http.get("/openapi.json")
    monkeypatch.setattr("service.api.routing.escape_invisible", lambda response: pytest.fail(f"{len(response.body)} bytes"))

    assert (await api.http.get("/openapi.json")).status_code == 200


@pytest.mark.parametrize("path", PATHS)
async def test_who_has_it_is_sent_nothing(api: Api, path: str) -> None:
    for encoding in ("identity", "gzip"):
        first = await api.http.get(path, headers={"accept-encoding": encoding})
        again = await api.http.get(path, headers={"accept-encoding": encoding, "if-none-match": first.headers["etag"]})

        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert "accept-encoding" in first.headers["vary"].lower()
        other = await api.http.get(path, headers={"accept-encoding": encoding, "if-none-match": '"another"'})
        assert (other.status_code, other.content) == (200, first.content)


async def test_each_form_has_a_tag_of_its_own_and_says_the_same(api: Api) -> None:
    plain = await api.http.get("/openapi.json", headers={"accept-encoding": "gzip;q=0"})
    squeezed = await api.http.get("/openapi.json", headers={"accept-encoding": "br, gzip"})

    assert "content-encoding" not in plain.headers
    assert squeezed.headers["content-encoding"] == "gzip"
    assert int(squeezed.headers["content-length"]) < len(plain.content) / 5
    assert squeezed.content == plain.content
    assert squeezed.headers["etag"] != plain.headers["etag"]


async def test_a_language_has_a_page_and_a_tag_of_its_own(api: Api) -> None:
    english, chinese = [await api.http.get("/problems", headers={"accept-language": name}) for name in ("en", "zh-CN")]

    assert english.headers["etag"] != chinese.headers["etag"]
    assert english.headers["vary"] == "accept-language, accept-encoding"


async def test_what_could_not_be_made_is_tried_again() -> None:
    tries = []

    def make() -> FixedBody:
        tries.append(1)
        if len(tries) == 1:
            raise OSError
        return FixedBody(b"{}", "application/json")

    once = MadeOnce(make)
    with pytest.raises(OSError):  # noqa: PT011 -- as `make` raised it
        await once.get()

    first, second = await once.get(), await once.get()

    assert first is second
    assert len(tries) == 2


def test_invisible_signs_are_escaped_in_it_once() -> None:
    body = FixedBody(json.dumps({"a": "x\u202ey"}, ensure_ascii=False).encode(), "application/json")

    assert body.plain == b'{"a": "x\\u202ey"}'
    assert body.gzipped is None
    long = FixedBody(b"<p>" * 1000, "text/html")
    assert gzip.decompress(long.gzipped or b"") == long.plain
