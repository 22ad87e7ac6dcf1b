"""What the adapter makes of every answer, and of every silence."""

import asyncio
import gzip
import json
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from service.providers.sandbox import REPLY_BYTES_MAX, SandboxProvider, rail_client
from tests.integration.raw_server import Answer, Request, answering, closing, http, raw_server, silent
from tests.rails import GIVEN_UP_SECONDS, PATIENCE_SECONDS, order
from workflows.domain.ports import (
    Absent,
    Declined,
    Done,
    NeedsAction,
    Order,
    Outcome,
    Pending,
    Provider,
    ProviderUnavailable,
    Returned,
    Settled,
    Unknown,
)

WANTED = order("ok")


@asynccontextmanager
async def provider(url: str, *, connections: int = 4, timeout_seconds: float = PATIENCE_SECONDS) -> AsyncIterator[SandboxProvider]:
    async with rail_client(connections=connections) as client:
        yield SandboxProvider(client, url, timeout_seconds=timeout_seconds)


async def sent_and_found(reply: bytes) -> tuple[Outcome, Outcome, Outcome]:
    """What becomes of a refund, a void and a question that are answered so."""
    async with raw_server(answering(reply)) as rail:
        return await asked(rail.url)


async def asked(url: str) -> tuple[Outcome, Outcome, Outcome]:
    async with provider(url) as rail:
        return await rail.refund(WANTED), await rail.void(WANTED), await rail.find(WANTED)


def said(**members: Any) -> dict[str, Any]:
    return {
        "rail_key": WANTED.rail_key,
        "amount": 7,
        "currency": "JPY",
        "provider_refund_id": "sbx_1",
        "rail_reference": "7" * 23,
    } | members


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (said(status="succeeded"), Done(7, "JPY", "sbx_1", "7" * 23)),
        (said(status="succeeded", provider_refund_id=None, rail_reference=None), Done(7, "JPY")),
        (said(status="pending"), Pending("sbx_1")),
        (said(status="declined", failure_code="account_closed"), Declined("account_closed")),
        (said(status="requires_action"), NeedsAction("sbx_1")),
        (said(status="settled"), Settled()),
        (said(status="returned", failure_code="account_closed"), Returned("account_closed")),
        (said(status="returned"), Returned()),
    ],
)
async def test_every_status_has_its_outcome(body: dict[str, Any], outcome: Outcome) -> None:
    assert await sent_and_found(http(200, body)) == (outcome, outcome, outcome)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe", b"[]", b"null", b'"succeeded"', b"[" * 50_000, b"1" * 5000, b" " * (REPLY_BYTES_MAX + 1), {},
     said(), said(status="new"), said(status=["succeeded"]), said(status="succeeded", amount="7"), said(status="succeeded", amount=7.0),
     said(status="succeeded", amount=True), said(status="succeeded", amount=None), said(status="succeeded", currency=None),
     said(status="succeeded", provider_refund_id=5), said(status="succeeded", provider_refund_id="x" * 256),
     said(status="succeeded", rail_reference="\x00"), said(status="declined"), said(status="succeeded", rail_key="another")],
)  # fmt: skip
async def test_an_unreadable_answer_is_unknown(body: object) -> None:
    assert await sent_and_found(http(200, body)) == (Unknown("unreadable"),) * 3


@pytest.mark.parametrize(
    "body", [b"not gzip", gzip.compress(json.dumps(said(status="succeeded")).encode()), gzip.compress(b" " * (500 * REPLY_BYTES_MAX))]
)
async def test_nothing_is_decompressed(body: bytes) -> None:
    async with raw_server(answering(http(200, body, {"Content-Encoding": "gzip"}))) as rail:
        assert await asked(rail.url) == (Unknown("unreadable"),) * 3
        assert {request.headers["accept-encoding"] for request in rail.requests} == {"identity"}


@pytest.mark.parametrize("status", [201, 204, 301, 401, 403, 409, 413, 422, 429, 500, 502, 504])
async def test_any_other_status_is_unknown(status: int) -> None:
    assert await sent_and_found(http(status, said(status="succeeded", code="absent"))) == (Unknown(f"http_{status}"),) * 3


async def test_only_the_rails_own_words_mean_that_nothing_was_done() -> None:
    assert await sent_and_found(http(404, {"code": "absent"})) == (Unknown("http_404"), Unknown("http_404"), Absent())
    assert await sent_and_found(http(404, {"detail": "Not Found"})) == (Unknown("http_404"),) * 3
    assert (await sent_and_found(http(404, b"nginx")))[2] == Unknown("unreadable")
    refused = Declined("invalid_request")
    assert await sent_and_found(http(400, {"code": "invalid_request"})) == (refused, refused, Unknown("http_400"))
    assert await sent_and_found(http(400, {"code": "other"})) == (Unknown("http_400"),) * 3


@pytest.mark.parametrize(
    ("header", "seconds"), [("1", 1.0), ("0", 0.0), ("86400", 3600.0), ("-1", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("", None)]
)
async def test_503_did_nothing(header: str, seconds: float | None) -> None:
    away = ProviderUnavailable(seconds)

    assert await sent_and_found(http(503, b"", {"Retry-After": header})) == (away, away, Unknown("unavailable"))


# -- no connection: not a byte left -------------------------------------------------------------------------------------

NOTHING_SENT = (ProviderUnavailable(), ProviderUnavailable(), Unknown("unavailable"))


async def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)

    assert await asked("http://rail.test") == NOTHING_SENT


async def test_a_connection_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)

    async with provider("http://rail.test", timeout_seconds=0.05) as rail:
        assert await rail.refund(WANTED) == ProviderUnavailable()


async def test_a_handshake_that_fails() -> None:
    async def no_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(no_tls, "127.0.0.1", 0)
    async with server:
        assert await asked(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") == NOTHING_SENT


@pytest.mark.parametrize("url", ["ftp://rail", "rail", "", "http://", "http://1.2.3", "http://rail:99999"])
async def test_an_address_that_is_none(url: str) -> None:
    assert await asked(url) == NOTHING_SENT


async def test_no_free_connection() -> None:
    async with raw_server(silent) as rail, rail_client(connections=1) as client:
        patient, impatient = (SandboxProvider(client, rail.url, timeout_seconds=each) for each in (PATIENCE_SECONDS, 0.05))
        first = asyncio.create_task(patient.refund(WANTED))
        await rail.heard(1)

        assert await impatient.refund(WANTED) == ProviderUnavailable()
        assert await impatient.find(WANTED) == Unknown("unavailable")
        assert len(rail.requests) == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


# -- a byte may have left: never again "nothing was done" ---------------------------------------------------------------


async def reset(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


REPLY = http(200, said(status="succeeded"))
UNAVAILABLE = http(503, b"")
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [reset, closing(b""), closing(b"HTTP/1.1 200"), closing(UNAVAILABLE[:-1]), closing(REPLY[:-1]), closing(CHUNKED),
     closing(CHUNKED + b"5\r\nhe"), closing(b"HTTP/1.1 503 x\r\ncontent-length: 5\r\n\r\nhe")],
)  # fmt: skip
@pytest.mark.parametrize("before", [0, 1])
async def test_a_connection_that_breaks(answer: Answer, before: int) -> None:
    """On a new connection, and on one that has carried an answer before: the order goes out once."""

    async def first_answers(request: Request, writer: asyncio.StreamWriter) -> None:
        if len(rail.requests) <= before:
            await answering(REPLY)(request, writer)
        else:
            await answer(request, writer)

    for send in (SandboxProvider.refund, SandboxProvider.void):
        async with raw_server(first_answers) as rail, provider(rail.url) as adapter:
            for _ in range(before):
                assert isinstance(await adapter.refund(WANTED), Done)

            assert await send(adapter, WANTED) == Unknown("connection")
            assert len(rail.requests) == before + 1
            assert rail.connections == 1
            assert await adapter.find(WANTED) == Unknown("connection")


@pytest.mark.parametrize(
    "reply",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01\x00\x02\x02F", b"\r\n\r\n{}\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n",
     b"HTTP/1.1 503 x\r\nRetry-After: 1\r\n 2\r\nX: a\rb\r\n\r\n", b"HTTP/1.1 503 x\r\nX\x00: 1\r\n\r\n",
     CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", b"HTTP/1.1 503 x\r\ncontent-length: -1\r\n\r\n",
     b"HTTP/1.1 503 x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
     b"HTTP/1.1 503 x\r\ncontent-length: 0\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
     b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n" + b"X: x\r\n" * 1_000 + b"\r\n"],
)  # fmt: skip
async def test_an_answer_that_is_not_http(reply: bytes) -> None:
    assert await sent_and_found(reply) == (Unknown("unreadable"),) * 3


async def drips(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED)
    while not writer.is_closing():
        writer.write(b"1\r\n \r\n")
        await asyncio.sleep(0.01)


async def hesitates(_: Request, writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.01)


async def stops(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(REPLY[:-1])


@pytest.mark.parametrize("answer", [silent, stops, drips, hesitates])
@pytest.mark.slow
async def test_an_answer_that_is_late(answer: Answer) -> None:
    async def second_is_late(request: Request, writer: asyncio.StreamWriter) -> None:
        await (answering(REPLY) if len(rail.requests) == 1 else answer)(request, writer)

    async with raw_server(second_is_late) as rail, rail_client(connections=1) as client:
        # The connection is made in patience, so that it is the answer that is waited for.
        assert isinstance(await SandboxProvider(client, rail.url, timeout_seconds=PATIENCE_SECONDS).refund(WANTED), Done)

        assert await SandboxProvider(client, rail.url, timeout_seconds=GIVEN_UP_SECONDS).refund(WANTED) == Unknown("timeout")
        assert len(rail.requests) == 2


async def test_a_cancelled_caller_stays_cancelled() -> None:
    async with raw_server(silent) as rail, provider(rail.url) as adapter:
        calling = asyncio.create_task(adapter.refund(WANTED))
        await rail.heard(1)
        calling.cancel()

        with pytest.raises(asyncio.CancelledError):
            await calling


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    async with raw_server(answering(REPLY)) as elsewhere:
        assert await sent_and_found(http(status, b"", {"Location": elsewhere.url + "/"})) == (Unknown(f"http_{status}"),) * 3
        assert elsewhere.requests == []
    assert await sent_and_found(http(status, b"", {"Location": "http://127.0.0.1:1/"})) == (Unknown(f"http_{status}"),) * 3


@pytest.mark.parametrize("unasked", [UNAVAILABLE, http(404, {"code": "absent"}), http(400, {"code": "invalid_request"}), b"?"])
async def test_what_the_rail_says_unasked_answers_no_order(unasked: bytes) -> None:
    """It comes after the answer to one order and before the next one, on a connection that is kept."""

    async def remembers(request: Request, writer: asyncio.StreamWriter) -> None:
        await answering(REPLY)(request, writer)
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    async with raw_server(remembers) as rail, rail_client(connections=1) as client:
        adapter = SandboxProvider(client, rail.url, timeout_seconds=PATIENCE_SECONDS)
        assert isinstance(await adapter.refund(WANTED), Done)
        assert client.connector is not None
        ((kept, _),) = next(iter(client.connector._conns.values()))
        writers[0].write(unasked)
        while kept.is_connected() and not kept.should_close:  # until it has arrived
            await asyncio.sleep(0)

        assert isinstance(await adapter.refund(WANTED), Done)
        assert (len(rail.requests), rail.connections) == (2, 2)


# -- the surroundings ---------------------------------------------------------------------------------------------------


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(answering(UNAVAILABLE)) as proxy, raw_server(answering(REPLY)) as rail:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)

        assert await asked(rail.url) == (Done(7, "JPY", "sbx_1", "7" * 23),) * 3
        assert proxy.requests == []


async def test_no_cookie_is_kept() -> None:
    async with raw_server(answering(http(200, said(status="settled"), {"Set-Cookie": "a=b; Path=/"}))) as rail:
        assert await asked(rail.url.replace("127.0.0.1", "localhost")) == (Settled(),) * 3
        assert all("cookie" not in request.headers for request in rail.requests)


async def test_connections_are_kept() -> None:
    async with raw_server(answering(REPLY)) as rail:
        await asked(rail.url)

        assert (len(rail.requests), rail.connections) == (3, 1)


def garbled() -> Iterator[bytes]:
    """Answers as a broken rail might give them, the same at every run."""
    chance = random.Random(20261127)
    sound = [
        REPLY,
        UNAVAILABLE,
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
        http(404, {"code": "absent"}, {"Set-Cookie": "a=b", "Location": "/"}),
    ]
    tokens = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b": ",
        b"HTTP/1.1 ",
        b"101",
        b"content-length: 9\r\n",
        b"transfer-encoding: chunked\r\n",
        b"\xff",
    ]
    for _ in range(400):
        reply = bytearray(chance.choice(sound))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(reply))
            reply[at : at + chance.choice([0, 0, 1, 5])] = chance.choice([*tokens, bytes([chance.randrange(256)])])
        yield bytes(reply)


@pytest.mark.slow
async def test_no_answer_raises() -> None:
    replies = garbled()

    async def next_one(request: Request, writer: asyncio.StreamWriter) -> None:
        await closing(next(replies))(request, writer)

    async with raw_server(next_one) as rail, provider(rail.url) as adapter:
        seen = [await adapter.refund(WANTED) for _ in range(400)]

    assert {Unknown("unreadable"), Unknown("connection"), ProviderUnavailable()} < set(seen)
    assert Unknown("timeout") not in seen


@pytest.mark.slow
async def test_all_this_on_the_loop_of_the_service() -> None:
    """The service runs on uvloop, whose connections are its own."""

    async def all_this() -> None:
        for answer in (reset, closing(b""), closing(REPLY[:-1])):
            await test_a_connection_that_breaks(answer, 1)
        await test_what_the_rail_says_unasked_answers_no_order(UNAVAILABLE)
        await test_an_answer_that_is_late(silent)
        await test_no_free_connection()
        await test_no_answer_raises()
        assert await asked("http://127.0.0.1:1") == NOTHING_SENT

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(all_this())

    await asyncio.to_thread(run)


async def test_every_attempt_says_the_same() -> None:
    async with raw_server(answering(http(500, b""))) as rail, provider(rail.url + "/under/") as adapter:
        same: Provider = adapter
        await same.refund(WANTED)
        await same.refund(WANTED)
        await same.void(WANTED)
        await same.find(Order(rail_key="../x?y#z", payment_reference="p", provider_reference="", amount=1, currency="CNY"))

    first, again, void, find = rail.requests
    assert first == again
    assert (first.method, first.path, first.headers["content-type"]) == ("POST", "/under/sandbox/refunds", "application/json")
    assert (void.method, void.path, void.body) == ("POST", "/under/sandbox/voids", first.body)
    assert json.loads(first.body) == {name: getattr(WANTED, name) for name in Order.__struct_fields__}
    assert (find.method, find.path, find.body) == ("GET", "/under/sandbox/movements/..%2Fx%3Fy%23z", b"")
