"""The rail's own ledger as `refundry check` reads it."""

import aiohttp
import pytest

from service.providers import sandbox_ledger
from service.providers.sandbox_ledger import SandboxLedger
from tests.integration.raw_server import answering, closing, http, raw_server
from tests.rails import Caller, RailProcess, order
from workflows.domain.ports import Declined, Done


async def look(url: str) -> None:
    async with sandbox_ledger.sandbox_ledger(url) as ledger:
        await anext(ledger.pages())


async def test_every_movement_page_by_page(own_caller: Caller, own_rail: RailProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_ledger, "PAGE_ROWS", 2)
    orders = [order("ok", amount=amount) for amount in (1, 2, 3)]
    refused = order("decline:account_closed")
    for each in orders:
        assert isinstance(await own_caller.provider.refund(each), Done)
    assert isinstance(await own_caller.provider.refund(refused), Declined)

    async with sandbox_ledger.sandbox_ledger(own_rail.url + "/") as ledger:
        pages = [page async for page in ledger.pages()]
        moved = [await ledger.moved(each.rail_key) for each in (*orders, refused, order("ok"))]

    assert [(line.rail_key, line.amount) for page in pages for line in page] == [(each.rail_key, each.amount) for each in orders]
    assert [len(page) for page in pages] == [2, 1]
    assert moved == [True, True, True, False, False]


@pytest.mark.parametrize("reply", [http(500, b""), http(302, b"", {"Location": "/"}), http(204, b""), b"SSH-2.0\r\n", b"HTTP/1.1 200", b""])
async def test_whatever_goes_wrong_is_an_error_of_the_client(reply: bytes) -> None:
    async with raw_server(closing(reply)) as rail:
        with pytest.raises(aiohttp.ClientError):
            await look(rail.url)


async def test_a_silent_rail_is_an_error_of_the_client() -> None:
    async with raw_server(answering(b"")) as rail, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=0.05)) as client:
        with pytest.raises(aiohttp.ClientError):
            await SandboxLedger(client, rail.url).moved("x")


async def test_no_rail_is_an_error_of_the_client() -> None:
    with pytest.raises(aiohttp.ClientError):
        await look("http://127.0.0.1:1")
