"""What is committed together stands or falls alone, and nobody is told of what is not on the disk."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from service.sandbox.book import Book, Heard, Instruction, KeyReused
from service.sandbox.notifier import Mailbox
from service.sandbox.scribe import Scribe


def asked(key: str, amount: int = 5) -> Instruction:
    return Instruction(kind="refund", rail_key=key, payment_reference="p", provider_reference="ok", amount=amount, currency="CNY")


def moved_keys(path: Path) -> list[str]:
    book = Book(path, notifies=False)
    keys = [movement.rail_key for movement in book.movements("p", 0, 1000)]
    book.close()
    return keys


async def test_one_that_fails_takes_only_itself_back(tmp_path: Path) -> None:
    def breaks(book: Book) -> None:
        book.send(asked("b"), 1)
        raise KeyError("b")

    scribe = Scribe(tmp_path / "book.db", notifies=False)
    await scribe.open()
    outcomes = await asyncio.gather(
        scribe(lambda book: book.send(asked("a"), 1)),
        scribe(breaks),
        scribe(lambda book: book.send(asked("c"), 1)),
        scribe(lambda book: book.send(asked("a", 6), 1)),
        return_exceptions=True,
    )
    await scribe.close()

    assert [type(outcome) for outcome in outcomes] == [Heard, KeyError, Heard, KeyReused]
    assert moved_keys(tmp_path / "book.db") == ["a", "c"]


async def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    scribe = Scribe(tmp_path / "book.db", notifies=False)
    await scribe.open()
    await scribe(lambda book: book.execute("pragma max_page_count = 1"))  # SQLite takes the present size
    acknowledged: list[str] = []

    async def fill() -> None:
        for number in range(1000):
            key = f"{number:064d}"
            await scribe(lambda book, key=key: book.send(asked(key), 1))  # type: ignore[misc]  # mypy infers no lambda with defaults
            acknowledged.append(key)

    with pytest.raises(sqlite3.OperationalError, match="full"):
        await fill()

    await scribe(lambda book: book.execute("pragma max_page_count = 100000"))
    assert isinstance(await scribe(lambda book: book.send(asked("later"), 1)), Heard)
    await scribe.close()

    assert moved_keys(tmp_path / "book.db") == [*acknowledged, "later"]


async def test_a_book_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    scribe = Scribe(tmp_path, notifies=False)

    with pytest.raises(sqlite3.OperationalError):
        await scribe.open()


@pytest.mark.parametrize("url", ["", "ftp://host/x", "http:///x", "/x", "http://host/a b", "http://host/é"])
def test_an_odd_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        Mailbox(url)


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
    mailbox = Mailbox(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x?y=z")

    assert await mailbox.post({}, b"{}") is taken

    server.close()
    await server.wait_closed()
    assert await mailbox.post({}, b"{}") is False
