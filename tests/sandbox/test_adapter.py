"""What the adapter makes of every answer, and of every silence."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from msgspec.structs import asdict

from service.providers.sandbox import REPLY_BYTES_MAX, SandboxProvider
from tests.sandbox.conftest import order
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
Answer = Callable[[httpx.Request], httpx.Response]


def provider(answer: Answer, timeout_seconds: float = 60) -> SandboxProvider:
    return SandboxProvider(
        httpx.AsyncClient(base_url="http://rail", transport=httpx.MockTransport(answer)), timeout_seconds=timeout_seconds
    )


def replies(status: int, body: object, headers: dict[str, str] | None = None) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: httpx.Response(status, content=content, headers=headers)


def raises(error: Exception) -> Answer:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    return answer


async def sent_and_found(answer: Answer) -> tuple[Outcome, Outcome, Outcome]:
    rail = provider(answer)
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
    assert await sent_and_found(replies(200, body)) == (outcome, outcome, outcome)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe", b"[]", b"null", b'"succeeded"', b"[" * 50_000, b"1" * 5000, b" " * (REPLY_BYTES_MAX + 1), {},
     said(), said(status="new"), said(status=["succeeded"]), said(status="succeeded", amount="7"), said(status="succeeded", amount=7.0),
     said(status="succeeded", amount=True), said(status="succeeded", amount=None), said(status="succeeded", currency=None),
     said(status="succeeded", provider_refund_id=5), said(status="succeeded", provider_refund_id="x" * 256),
     said(status="succeeded", rail_reference="\x00"), said(status="declined"), said(status="succeeded", rail_key="another")],
)  # fmt: skip
async def test_an_unreadable_answer_is_unknown(body: object) -> None:
    assert await sent_and_found(replies(200, body)) == (Unknown("unreadable"),) * 3


async def test_an_encoding_that_lies_is_unreadable() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip"))

    assert await sent_and_found(answer) == (Unknown("unreadable"),) * 3


@pytest.mark.parametrize("status", [201, 204, 301, 401, 403, 409, 413, 422, 429, 500, 502, 504])
async def test_any_other_status_is_unknown(status: int) -> None:
    assert await sent_and_found(replies(status, said(status="succeeded", code="absent"))) == (Unknown(f"http_{status}"),) * 3


async def test_only_the_rails_own_words_mean_that_nothing_was_done() -> None:
    assert await sent_and_found(replies(404, {"code": "absent"})) == (Unknown("http_404"), Unknown("http_404"), Absent())
    assert await sent_and_found(replies(404, {"detail": "Not Found"})) == (Unknown("http_404"),) * 3
    assert (await sent_and_found(replies(404, b"nginx")))[2] == Unknown("unreadable")
    refused = Declined("invalid_request")
    assert await sent_and_found(replies(400, {"code": "invalid_request"})) == (refused, refused, Unknown("http_400"))
    assert await sent_and_found(replies(400, {"code": "other"})) == (Unknown("http_400"),) * 3


@pytest.mark.parametrize(
    ("header", "seconds"), [("1", 1.0), ("0", 0.0), ("86400", 3600.0), ("-1", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("", None)]
)
async def test_503_did_nothing(header: str, seconds: float | None) -> None:
    away = ProviderUnavailable(seconds)

    assert await sent_and_found(replies(503, b"", {"Retry-After": header})) == (away, away, Unknown("unavailable"))


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("busy")])
async def test_without_a_connection_nothing_was_done(error: Exception) -> None:
    assert await sent_and_found(raises(error)) == (ProviderUnavailable(), ProviderUnavailable(), Unknown("unavailable"))


@pytest.mark.parametrize(
    ("error", "why"),
    [(httpx.ReadTimeout("t"), "timeout"), (httpx.WriteTimeout("t"), "timeout"), (httpx.ReadError("r"), "connection"),
     (httpx.WriteError("w"), "connection"), (httpx.RemoteProtocolError("p"), "connection"), (httpx.CloseError("c"), "connection")],
)  # fmt: skip
async def test_a_lost_answer_is_unknown(error: Exception, why: str) -> None:
    assert await sent_and_found(raises(error)) == (Unknown(why),) * 3


async def test_a_reply_that_drips_is_a_timeout() -> None:
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:  # an async generator, whose type httpx does not name
            while True:
                yield b" "
                await asyncio.sleep(0.01)

    rail = provider(lambda _: httpx.Response(200, stream=Drip()), timeout_seconds=0.05)

    assert await rail.refund(WANTED) == Unknown("timeout")


async def test_a_cancelled_caller_stays_cancelled() -> None:
    async def answer(_: httpx.Request) -> httpx.Response:
        raise asyncio.CancelledError

    client = httpx.AsyncClient(base_url="http://rail", transport=httpx.MockTransport(answer))

    with pytest.raises(asyncio.CancelledError):
        await SandboxProvider(client, timeout_seconds=60).refund(WANTED)


async def test_every_attempt_says_the_same() -> None:
    seen: list[tuple[str, str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.raw_path.decode(), request.content))
        return httpx.Response(500)

    rail: Provider = provider(answer)
    await rail.refund(WANTED)
    await rail.refund(WANTED)
    await rail.find(Order(rail_key="../x", payment_reference="p", provider_reference="", amount=1, currency="CNY"))

    assert seen[0] == seen[1]
    assert json.loads(seen[0][2]) == asdict(WANTED)
    assert seen[2] == ("GET", "/sandbox/movements/..%2Fx", b"")
