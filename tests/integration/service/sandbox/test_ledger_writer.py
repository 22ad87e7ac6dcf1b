"""What is committed together stands or falls alone, and nobody is told of what is not on the disk."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from service.sandbox.ledger import Instruction, KeyReused, Ledger, SendResult
from service.sandbox.ledger_writer import LedgerWriter
from service.sandbox.notifier import WebhookClient


def asked(key: str, amount: int = 5) -> Instruction:
    return Instruction(kind="refund", rail_key=key, payment_reference="p", provider_reference="ok", amount=amount, currency="CNY")


def moved_keys(path: Path) -> list[str]:
    ledger = Ledger(path, notifies=False)
    keys = [movement.rail_key for movement in ledger.movements("p", 0, 1000)]
    ledger.close()
    return keys


async def test_one_that_fails_takes_only_itself_back(tmp_path: Path) -> None:
    def breaks(ledger: Ledger) -> None:
        ledger.send(asked("b"), 1)
        raise KeyError("b")

    writer = LedgerWriter(tmp_path / "ledger.db", notifies=False)
    await writer.open()
    outcomes = await asyncio.gather(
        writer(lambda ledger: ledger.send(asked("a"), 1)),
        writer(breaks),
        writer(lambda ledger: ledger.send(asked("c"), 1)),
        writer(lambda ledger: ledger.send(asked("a", 6), 1)),
        return_exceptions=True,
    )
    await writer.close()

    assert [type(outcome) for outcome in outcomes] == [SendResult, KeyError, SendResult, KeyReused]
    assert moved_keys(tmp_path / "ledger.db") == ["a", "c"]


async def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path / "ledger.db", notifies=False)
    await writer.open()
    await writer(lambda ledger: ledger.execute("pragma max_page_count = 1"))  # SQLite takes the present size
    acknowledged: list[str] = []

    async def fill() -> None:
        for number in range(1000):
            key = f"{number:064d}"
            await writer(lambda ledger, key=key: ledger.send(asked(key), 1))  # type: ignore[misc]  # mypy infers no lambda with defaults
            acknowledged.append(key)

    with pytest.raises(sqlite3.OperationalError, match="full"):
        await fill()

    await writer(lambda ledger: ledger.execute("pragma max_page_count = 100000"))
    assert isinstance(await writer(lambda ledger: ledger.send(asked("later"), 1)), SendResult)
    await writer.close()

    assert moved_keys(tmp_path / "ledger.db") == [*acknowledged, "later"]


async def test_a_ledger_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path, notifies=False)

    with pytest.raises(sqlite3.OperationalError):
        await writer.open()


@pytest.mark.parametrize("url", ["", "ftp://host/x", "http:///x", "/x", "http://host/a b", "http://host/é"])
def test_an_odd_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        WebhookClient(url)


@pytest.mark.parametrize(
    ("answer", "taken"),
    [(b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.1 204 \r\n\r\n", True),
     (b"HTTP/1.1 302 x\r\n\r\n", False), (b"HTTP/1.1 500 x\r\n\r\n", False),
     (b"", False), (b"HTTP/1.1 200 OK\r\n", False), (b"200\r\n\r\n", False), (b"x" * 200_000, False)],
)  # fmt: skip
async def test_only_2xx_takes_a_notification(answer: bytes, taken: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    webhook = WebhookClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x?y=z")

    assert await webhook.post({}, b"{}") is taken

    server.close()
    await server.wait_closed()
    assert await webhook.post({}, b"{}") is False
