"""The service and the rail as a server of ours really serves them: what arrives on the wire is what they read."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.app import create_app
from service.http_limits import HttpLimits
from service.sandbox.server import create_app as create_rail
from service.up import serving
from tests.harness import Api, Json
from tests.integration.http_server import Application, served

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
OFFERS = {"none": b"", "h2c": OFFER, "websocket": WEBSOCKET}


def exchange(port: int, *parts: bytes) -> list[tuple[int, Json]]:
    """Send these, each in a packet of its own, and read until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            wire.sendall(part)
        raw = b"".join(iter(lambda: wire.recv(65_536), b""))
    answers = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answers.append((int(head.split()[1]), json.loads(raw[:length])))
        raw = raw[length:]
    return answers


class Sender:
    """Writes requests for one served application."""

    def __init__(self, token: str) -> None:
        self.token = token.encode()
        self.number = 0

    def post(self, path: str, body: bytes, *, offer: bytes = b"", media: bytes = b"application/json", last: bool = True) -> bytes:
        return self.head(path, offer, media, b"Content-Length: %d" % len(body), last=last) + body

    def chunked(self, path: str, *chunks: bytes, offer: bytes = b"", media: bytes = b"application/json") -> bytes:
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        return self.head(path, offer, media, b"Transfer-Encoding: chunked", last=True) + body

    def head(self, path: str, offer: bytes, media: bytes, framing: bytes, *, last: bool) -> bytes:
        self.number += 1
        lines = [b"POST " + path.encode() + b" HTTP/1.1", b"Host: service.test", b"Authorization: Bearer " + self.token]
        lines += [b"Idempotency-Key: key-%d-%d" % (id(self), self.number), b"Content-Type: " + media, framing]
        close = b"Connection: close\r\n" if last else b""  # beside the offer's own: both count
        return b"\r\n".join(lines) + b"\r\n" + offer + close + b"\r\n"


@pytest.fixture(scope="module")
async def port(api: Api) -> AsyncIterator[int]:
    async with served(create_app(api.settings, clock=api.clock), HttpLimits()) as found:
        yield found


@pytest.fixture
def sender(api: Api) -> Sender:
    return Sender(api.token("wallet"))


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_an_offer_to_upgrade_costs_no_body(api: Api, port: int, sender: Sender, offer: bytes) -> None:
    payment = await api.register(completed_at=None, authorised_at=api.clock.ago(hours=2))
    settled = api.clock.ago(hours=1)

    said = await asyncio.to_thread(
        exchange, port, sender.post(f"/v1/payments/{payment['id']}/complete", b'{"completed_at":"%b"}' % settled.encode(), offer=offer)
    )

    assert [(status, body["completed_at"]) for status, body in said] == [(200, settled)]


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_an_import_with_an_offer_is_imported(api: Api, port: int, sender: Sender, offer: bytes) -> None:
    lines = [json.dumps(api.terms()).encode() + b"\n" for _ in range(3)]
    ndjson = b"application/x-ndjson"

    whole = await asyncio.to_thread(exchange, port, sender.post("/v1/payments/import", b"".join(lines), offer=offer, media=ndjson))
    again = await asyncio.to_thread(exchange, port, sender.chunked("/v1/payments/import", *lines, offer=offer, media=ndjson))

    assert [(status, body["accepted"], body["duplicates"]) for status, body in whole + again] == [(200, 3, 0), (200, 0, 3)]


async def test_an_offer_in_single_bytes_is_read_as_well(api: Api, port: int, sender: Sender) -> None:
    terms = api.terms()
    request = sender.post("/v1/payments", json.dumps(terms).encode(), offer=OFFER)

    said = await asyncio.to_thread(exchange, port, *(request[n : n + 1] for n in range(len(request))))

    assert [(status, body["reference"]) for status, body in said] == [(201, terms["reference"])]


async def test_requests_sent_ahead_of_their_answers_are_all_read(api: Api, port: int, sender: Sender) -> None:
    terms = [api.terms() for _ in range(5)]
    offers = [OFFER, b"", OFFER, OFFER, b""]
    requests = [
        sender.post("/v1/payments", json.dumps(one).encode(), offer=offer, last=one is terms[-1])
        for one, offer in zip(terms, offers, strict=True)
    ]

    said = await asyncio.to_thread(exchange, port, b"".join(requests))

    assert [(status, body["reference"]) for status, body in said] == [(201, one["reference"]) for one in terms]


async def test_a_body_after_100_continue_is_read(api: Api, port: int, sender: Sender) -> None:
    terms = api.terms()
    body = json.dumps(terms).encode()

    def requested() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
            head = sender.head(
                "/v1/payments", OFFER + b"Expect: 100-continue\r\n", b"application/json", b"Content-Length: %d" % len(body), last=True
            )
            wire.sendall(head)
            first = wire.recv(100)
            wire.sendall(body)
            return first + b"".join(iter(lambda: wire.recv(65_536), b""))

    said = await asyncio.to_thread(requested)

    assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_an_empty_body_that_was_announced_is_refused(api: Api, port: int, sender: Sender, offer: bytes) -> None:
    payment = await api.register(completed_at=None)
    before = await api.rows()
    asked = [("/v1/payments/import", b"application/x-ndjson")]
    asked += [(path, b"application/json") for path in (f"/v1/payments/{payment['id']}/complete", "/v1/providers/sandbox/notifications")]

    for path, media in asked:
        said = await asyncio.to_thread(exchange, port, sender.chunked(path, offer=offer, media=media))

        assert [(status, body["code"]) for status, body in said] == [(400, "malformed-request")], path
    assert await api.rows() == before


@pytest.mark.parametrize("request_", [b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\nxx", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01"])
async def test_other_protocols_are_turned_away(port: int, request_: bytes) -> None:
    def requested() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
            wire.sendall(request_)
            return b"".join(iter(lambda: wire.recv(65_536), b""))

    assert (await asyncio.to_thread(requested)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_the_rail_reads_what_came_with_an_offer(tmp_path: Path, offer: bytes) -> None:
    asked = {"rail_key": "k1", "payment_reference": "p1", "provider_reference": "ok", "amount": 42, "currency": "CNY"}
    sender = Sender("")

    async with served(create_rail(tmp_path / "book.sqlite", notify_url=None, secret=""), HttpLimits()) as rail:
        done = await asyncio.to_thread(exchange, rail, sender.post("/sandbox/refunds", json.dumps(asked).encode(), offer=offer))
        empty = await asyncio.to_thread(exchange, rail, sender.chunked("/sandbox/refunds", offer=offer))

    assert [status for status, _ in done + empty] == [200, 400], (done, empty)


def test_its_settings_leave_the_loggers_alone() -> None:
    """What uvicorn logs goes where the service's own lines go; of calls it logs nothing."""
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error")]
    before = [(one.level, one.propagate, list(one.handlers)) for one in loggers]

    serving.configuration(Application())

    assert [(one.level, one.propagate, list(one.handlers)) for one in loggers] == before
    assert all(one.propagate for one in loggers)
