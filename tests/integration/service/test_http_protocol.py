"""What is no HTTP/1.1, or too much of it, is refused with a problem, and never costs an earlier request its answer."""

import asyncio

import pytest

from service.http_limits import HttpLimits
from tests.integration.http_server import GET, POST, Application, clients, served

LIMITS = HttpLimits()
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HEAD = b"GET /a HTTP/1.1\r\nHost: a.test\r\n"

INVALID = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host with a user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "host with a word for a port": b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "host of half an address": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "two lists of hosts": b"GET / HTTP/1.1\r\nHost: a, b\r\nHost: c\r\n\r\n",
    "no words": b"\x16\x03\x01\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "folded header": HEAD + b"X-A: a\r\n b\r\n\r\n",
    "space before a colon": HEAD + b"X-A : a\r\n\r\n",
    "length and chunks": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "another coding": POST + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "a coding beneath chunks": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "upgrade with two hosts": HEAD + b"Host: b\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}


async def test_what_is_no_http_is_refused_before_the_application_is_called(subtests: pytest.Subtests) -> None:
    async with served(app := Application(), LIMITS) as port:
        for name, sent in INVALID.items():
            app.paths.clear()
            with subtests.test(name):
                async with clients(port) as (client,):
                    await client.send(sent)

                    assert await client.problem() == "400 invalid-http"
                    assert app.paths == []


async def test_hosts_that_are_some_are_served(subtests: pytest.Subtests) -> None:
    hosts = (b"", b"a", b"a.test:80", b"a:", b"127.0.0.1:8000", b"[::1]:8000", b"a%2Db", b" a\t ")

    async with served(Application(), LIMITS) as port:
        for host in hosts:
            with subtests.test(host=host):
                async with clients(port) as (client,):
                    for _ in range(2):
                        await client.send(b"GET / HTTP/1.1\r\nHost:" + host + b"\r\n\r\n")

                        assert (await client.answer())[0] == 200


async def test_http_1_0_needs_no_host() -> None:
    async with served(Application(), LIMITS) as port, clients(port) as (client,):
        await client.send(b"GET / HTTP/1.0\r\n\r\n")

        status, headers, _ = await client.answer()
        assert (status, headers["connection"], await client.ended()) == (200, "close", b"")


async def test_a_refusal_speaks_the_language_that_was_asked_for() -> None:
    async with served(Application(), LIMITS) as port, clients(port) as (client,):
        await client.send(b"GET / HTTP/1.1\r\nAccept-Language: zh\r\n\r\n")

        status, headers, body = await client.answer()

    assert (status, headers["content-language"]) == (400, "zh-CN")
    assert "请求" in body.decode()


# Too much.


ENDLESS = {
    "a header": (HEAD + b"X-A: ", b"a" * 16_384, "431 headers-too-large"),
    "a header's name": (HEAD, b"a" * 16_384, "431 headers-too-large"),
    "many headers": (HEAD, b"a:b\r\n" * 3_000, "431 headers-too-large"),
    "long headers": (HEAD, b"X-A: " + b"a" * 1_000 + b"\r\n", "431 headers-too-large"),
    "an address": (b"GET /", b"a" * 16_384, "414 uri-too-long"),
    "empty lines": (b"\r\n", b"\r\n" * 8_192, "431 headers-too-large"),
    "spaces before the address": (b"GET ", b" " * 16_384, "431 headers-too-large"),
    "headers with an offer": (HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"a:b\r\n" * 3_000, "431 headers-too-large"),
    "a chunk's extension": (CHUNKED + b"1;a=", b"a" * 16_384, "400 invalid-http"),
    "extensions of each chunk": (CHUNKED, b"1;a=" + b"b" * 400 + b"\r\na\r\n", "400 invalid-http"),
    "a trailer": (CHUNKED + b"0\r\nX-A: ", b"a" * 16_384, "400 invalid-http"),
    "many trailers": (CHUNKED + b"0\r\n", b"a:b\r\n" * 3_000, "431 headers-too-large"),
    "a chunk's length": (CHUNKED, b"0" * 16_384, "400 invalid-http"),
}


async def test_what_has_no_end_is_refused(subtests: pytest.Subtests) -> None:
    async with served(app := Application(), LIMITS) as port:
        for name, (begin, more, refused) in ENDLESS.items():
            app.disconnected = asyncio.Event()
            with subtests.test(name):
                async with clients(port) as (client,):
                    await client.send(begin)
                    await client.flood(more, 2_000)

                    assert await client.problem() == refused
                    if begin.startswith(b"POST"):
                        await asyncio.wait_for(app.disconnected.wait(), 10)


async def test_a_whole_head_in_one_packet_keeps_to_the_limits_too() -> None:
    too_large = {HEAD + b"X-A: " + b"a" * 32_768 + b"\r\n\r\n", HEAD + b"a:b\r\n" * 100 + b"\r\n"}

    async with served(app := Application(), LIMITS) as port, clients(port, 3) as (*others, last):
        for client, sent in zip(others, too_large, strict=True):
            await client.send(sent)
            assert await client.problem() == "431 headers-too-large"
        await last.send(b"GET /" + b"a" * 8_192 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await last.problem() == "414 uri-too-long"
    assert app.paths == []


@pytest.mark.slow
async def test_heads_at_the_limits_are_served() -> None:
    many = HEAD + b"a:b\r\n" * 99 + b"\r\n"
    large = HEAD + b"X-A: " + b"a" * 32_000 + b"\r\n\r\n"
    long = b"GET /" + b"a" * 8_191 + b" HTTP/1.1\r\nHost: a\r\n\r\n"

    async with served(Application(), LIMITS) as port, clients(port) as (client,):
        for sent in (many, large, long, large):
            for part in (sent[:7_000], sent[7_000:]):
                await client.send(part)
                await asyncio.sleep(0.01)  # so that it arrives in pieces; nothing depends on it

            assert (await client.answer())[0] == 200


async def test_a_head_behind_a_large_body_is_not_counted_with_it() -> None:
    body = POST + b"Content-Length: 300000\r\n\r\n" + b"a" * 300_000

    async with served(Application(), LIMITS) as port, clients(port) as (client,):
        await client.send((body + GET) * 3)

        assert [(await client.answer())[2] for _ in range(6)] == [b"300000", b"0"] * 3


async def test_chunks_of_one_byte_and_short_extensions_are_read() -> None:
    chunks = b"1\r\na\r\n" * 20_000 + b"1;a=b\r\na\r\n" * 1_000 + b"0\r\nX-A: b\r\n\r\n"

    async with served(Application(), LIMITS) as port, clients(port) as (client,):
        await client.send(CHUNKED + chunks)

        assert (await client.answer())[2] == b"21000"


async def test_trailers_add_nothing_to_the_head() -> None:
    app = Application()

    async with served(app, LIMITS) as port, clients(port) as (client,):
        await client.send(CHUNKED + b"1\r\na\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
        await client.answer()

    assert [name for name, _ in app.headers] == [b"host", b"transfer-encoding"]


# Requests sent ahead.


@pytest.mark.slow
async def test_earlier_requests_have_their_answers_before_a_refusal() -> None:
    for bad, refused in (
        (b"nonsense\r\n\r\n", "400 invalid-http"),
        (CHUNKED + b"z", "400 invalid-http"),
        (b"GET /" + b"a" * 9_000, "414 uri-too-long"),
    ):
        app = Application()

        async with served(app, LIMITS) as port, clients(port) as (client,):
            await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + GET + bad)
            await asyncio.sleep(0.1)  # a refusal that is too early would be written by now
            app.go.set()

            assert [(await client.answer())[0] for _ in range(2)] == [200, 200]
            assert await client.problem() == refused
        assert app.paths == ["/slow", "/a"]


@pytest.mark.slow
async def test_only_so_many_requests_are_read_ahead_and_the_last_of_them_closes() -> None:
    app = Application()

    async with served(app, HttpLimits(pipelined_max=4)) as port, clients(port) as (client,):
        await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + GET * 5_000)
        await asyncio.sleep(0.1)
        app.go.set()

        answers = [await client.answer() for _ in range(5)]
        assert [status for status, _, _ in answers] == [200] * 5
        assert [headers.get("connection") for _, headers, _ in answers] == [None, None, None, None, "close"]
        assert await client.ended() == b""
    assert app.paths == ["/slow", "/a", "/a", "/a", "/a"]


# Bodies that nobody waits for.


async def test_what_still_comes_after_an_answer_is_bounded() -> None:
    async with served(Application(), LIMITS) as port, clients(port) as (client,):
        await client.send(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        assert (await client.answer())[0] == 200

        for _ in range(2_000):
            await client.send(b"a" * 65_536)
            if client.writer.transport.is_closing():
                break

        assert client.writer.transport.is_closing()


async def test_a_body_that_comes_soon_after_its_answer_leaves_the_connection_open() -> None:
    async with served(Application(), LIMITS) as port, clients(port) as (client,):
        await client.send(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        assert (await client.answer())[0] == 200

        await client.send(b"a" * 100_000 + GET)

        assert (await client.answer())[0] == 200


async def test_who_was_not_told_to_send_its_body_gets_a_closed_connection() -> None:
    async with served(Application(), LIMITS) as port, clients(port) as (client,):
        await client.send(b"POST /unread HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")

        status, headers, _ = await client.answer()
        assert (status, headers["connection"], await client.ended()) == (200, "close", b"")
