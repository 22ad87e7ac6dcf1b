"""Where keys come from: files that change, and servers on this machine that change, lie, hang and die."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from service.auth import jwks
from service.auth.jwks import FileKeys, JwksUnreadable, KeysUnavailable, UrlKeys, VerificationKeys, algorithms_of, parse_jwks
from tests.unit.service.auth.issuer import ed25519, encode, jwk, key_set, p256, rsa_key

ED = ed25519()


class Seconds:
    """A monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def kids(keys: VerificationKeys) -> list[str | None]:
    return [key.kid for key in keys.keys]


def document(*entries: object) -> bytes:
    return json.dumps({"keys": list(entries)}).encode()


# What is taken in.


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": encode(b"0" * 32)},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
        {"kty": "OKP", "crv": "X25519", "x": encode(b"0" * 32)},
        {"kty": "OKP", "crv": "Ed25519", "x": encode(b"0" * 31)},
        {"kty": "OKP", "crv": "Ed25519"},
        {"kty": "RSA", "n": "!!!", "e": "AQAB"},
        {"kty": ["OKP"]},
        {},
        7,
        None,
        jwk(ED, use="enc"),
        jwk(ED, key_ops=["sign"]),
        jwk(ED, key_ops="verify"),
        jwk(ED, alg="ES256"),
        jwk(ED) | {"kid": 7},
    ],
)
def test_what_cannot_check_our_signatures_is_passed_over(entry: object) -> None:
    assert kids(parse_jwks(document(entry, jwk(ED, "good")))) == ["good"]


@pytest.mark.parametrize(
    "more", [{}, {"use": "sig"}, {"key_ops": ["verify"]}, {"alg": "EdDSA"}, {"alg": "Ed25519"}, {"x5t": "AA", "ext": True}]
)
def test_what_can_is_taken_in(more: dict[str, object]) -> None:
    assert kids(key_set(jwk(ED, "good", **more))) == ["good"]


def test_a_key_whose_name_is_null_is_taken_in() -> None:
    assert len(parse_jwks(document(jwk(ED) | {"kid": None})).keys) == 1


def test_of_a_private_key_only_the_public_half_is_taken_in() -> None:
    keys = key_set(jwk(ED, d=encode(ED.private_bytes_raw()), key_ops=["sign", "verify"]))

    assert not keys.keys[0].is_private


def test_each_kind_is_bound_to_its_own_algorithms() -> None:
    keys = key_set(jwk(ED), jwk(p256()), jwk(rsa_key()))

    assert [set(algorithms_of(key)) for key in keys] == [{"Ed25519", "EdDSA"}, {"ES256"}, {"RS256"}]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"keys": {}}', b'{"keys": null}', b"[" * 9000, b"\xff", document(*[{}] * 101)])
def test_what_is_no_set_is_refused(text: bytes) -> None:
    with pytest.raises(JwksUnreadable):
        parse_jwks(text)


# A file.


def write(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(path)


async def test_a_file_is_read_again_when_it_has_changed_but_looked_at_once_a_second(tmp_path: Path) -> None:
    path, seconds = tmp_path / "jwks.json", Seconds()
    write(path, document(jwk(ED, "old")))
    source = FileKeys(path, seconds)
    assert kids(await source.current()) == ["old"]

    write(path, document(jwk(ED, "new")))
    seconds.now += 0.9
    assert kids(await source.renewed()) == ["old"]
    seconds.now += 0.1
    assert kids(await source.current()) == ["new"]


async def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path, seconds = tmp_path / "jwks.json", Seconds()
    write(path, document(jwk(ED)))
    source = FileKeys(path, seconds)
    first = await source.current()

    seconds.now += 5

    assert await source.current() is first


@pytest.mark.parametrize("damage", [b"", b"not json", b"x" * (jwks.JWKS_BYTES_MAX + 1)])
async def test_a_damaged_file_leaves_the_last_good_set_in_use_for_an_hour(tmp_path: Path, damage: bytes) -> None:
    path, seconds = tmp_path / "jwks.json", Seconds()
    write(path, document(jwk(ED, "good")))
    source = FileKeys(path, seconds)
    await source.current()

    write(path, damage)
    seconds.now += 3600
    assert kids(await source.current()) == ["good"]
    seconds.now += 1
    with pytest.raises(KeysUnavailable):
        await source.current()
    write(path, document(jwk(ED, "mended")))
    seconds.now += 1
    assert kids(await source.current()) == ["mended"]


async def test_a_file_that_is_not_there_yet_is_found_later(tmp_path: Path) -> None:
    path, seconds = tmp_path / "jwks.json", Seconds()
    source = FileKeys(path, seconds)
    with pytest.raises(KeysUnavailable):
        await source.current()

    write(path, document(jwk(ED, "late")))
    seconds.now += 1

    assert kids(await source.current()) == ["late"]


# A URL.


def http_answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


class Server:
    """An HTTP server on this machine whose answer a test can change at any time."""

    def __init__(self) -> None:
        self.answer: bytes | None = http_answer(document(jwk(ED, "old")))
        self.requests: list[str] = []
        self.url = ""
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.was_asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        self.was_asked.set()
        await self.may_answer.wait()
        answer = self.answer if "GET /jwks.json " in self.requests[-1] else http_answer(document(jwk(ED, "elsewhere")))
        if answer is not None:
            writer.write(answer)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, UrlKeys, Seconds]]:
    server, seconds = Server(), Seconds()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/jwks.json"
    async with listener, httpx.AsyncClient(trust_env=False) as http:
        yield server, UrlKeys(server.url, http, seconds), seconds


async def test_a_set_is_fetched_once_and_again_when_it_has_aged() -> None:
    async with serving() as (server, source, seconds):
        assert kids(await source.current()) == ["old"]
        server.answer = http_answer(document(jwk(ED, "new")))

        seconds.now += 599
        assert kids(await source.current()) == ["old"]
        seconds.now += 1
        assert kids(await source.current()) == ["new"]

        assert len(server.requests) == 2


async def test_an_unknown_key_leads_to_one_fetch_in_thirty_seconds() -> None:
    async with serving() as (server, source, seconds):
        await source.current()
        server.answer = http_answer(document(jwk(ED, "new")))

        seconds.now += 29
        assert kids(await source.renewed()) == ["old"]
        seconds.now += 1
        assert kids(await source.renewed()) == ["new"]
        for _ in range(5):
            await source.renewed()

        assert len(server.requests) == 2


async def test_many_callers_at_once_make_one_fetch() -> None:
    async with serving() as (server, source, seconds):
        sets = await asyncio.gather(*(source.current() for _ in range(20)))
        seconds.now += 30
        sets += await asyncio.gather(*(source.renewed() for _ in range(20)))

        assert len(server.requests) == 2
        assert {tuple(kids(one)) for one in sets} == {("old",)}


async def test_who_may_use_the_old_set_does_not_wait_for_a_fetch_under_way() -> None:
    async with serving() as (server, source, seconds):
        old = await source.current()
        server.may_answer.clear()
        server.was_asked.clear()
        seconds.now += 600
        first = asyncio.create_task(source.current())
        await server.was_asked.wait()

        assert await source.current() is old

        server.may_answer.set()
        assert await first is not old


async def test_who_seeks_an_unknown_key_waits_for_a_fetch_under_way() -> None:
    async with serving() as (server, source, seconds):
        await source.current()
        server.answer = http_answer(document(jwk(ED, "new")))
        server.may_answer.clear()
        server.was_asked.clear()
        seconds.now += 600
        first = asyncio.create_task(source.current())
        await server.was_asked.wait()
        second = asyncio.create_task(source.renewed())
        server.may_answer.set()

        assert kids(await second) == ["new"]
        assert kids(await first) == ["new"]
        assert len(server.requests) == 2


BAD_ANSWERS = {
    "gone": None,
    "error": http_answer(document(jwk(ED)), "500 Internal Server Error"),
    "moved": http_answer(b"", "302 Found", "Location: http://127.0.0.1:9/other"),
    "garbage": http_answer(b"<html>"),
    "not http": b"hello\r\n\r\n",
    "too large": http_answer(b" " * (jwks.JWKS_BYTES_MAX + 1) + document(jwk(ED))),
    "compressed": http_answer(gzip.compress(document(jwk(ED))), "200 OK", "Content-Encoding: gzip"),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_while_the_source_is_down_the_old_set_serves_for_an_hour(answer: bytes | None) -> None:
    async with serving() as (server, source, seconds):
        await source.current()
        server.answer = answer

        seconds.now += 3600
        assert kids(await source.current()) == ["old"]
        assert len(server.requests) == 2
        seconds.now += 1
        with pytest.raises(KeysUnavailable):
            await source.current()

        assert len(server.requests) == 2, "a source that has just failed is left alone for some seconds"
        server.answer = http_answer(document(jwk(ED, "back")))
        seconds.now += 4
        assert kids(await source.current()) == ["back"]


async def test_a_redirect_is_not_followed() -> None:
    async with serving() as (server, source, seconds):
        await source.current()
        server.answer = http_answer(b"", "302 Found", "Location: /elsewhere.json")

        seconds.now += 600

        assert kids(await source.current()) == ["old"]
        assert len(server.requests) == 2


async def test_a_source_that_never_answered_is_unavailable_and_then_found() -> None:
    async with serving() as (server, source, seconds):
        server.answer = None
        for _ in range(3):
            with pytest.raises(KeysUnavailable):
                await source.current()
        assert len(server.requests) == 1

        server.answer = http_answer(document(jwk(ED, "late")))
        seconds.now += 5

        assert kids(await source.current()) == ["late"]


@pytest.mark.parametrize(
    "url",
    ["http://keys.example/jwks.json", "http://127.0.0.1.example/", "http://10.0.0.1/", "ftp://127.0.0.1/", "file:///etc/passwd", "/jwks"],
)
async def test_keys_do_not_come_over_an_open_line(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(ValueError, match="https"):
            UrlKeys(url, http)


@pytest.mark.parametrize("url", ["https://keys.example/jwks.json", "http://127.0.0.1:8080/", "http://[::1]/", "http://localhost/"])
async def test_keys_come_over_https_or_from_this_machine(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        UrlKeys(url, http)


def test_a_set_knows_its_keys_by_what_they_are_not_by_their_name() -> None:
    one, same, other = key_set(jwk(ED, "a")), key_set(jwk(ED, "b")), key_set(jwk(ed25519(), "a"))

    assert one.keys[0] in same
    assert one.keys[0] not in other
