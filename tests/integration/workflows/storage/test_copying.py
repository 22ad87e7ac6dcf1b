"""Many lines taken at once say the same as line by line, however the stream is cut; a copy waits for its reader and ends with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from hashlib import sha256
from itertools import groupby

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.loops.auto import auto_loop_factory

from tests.database import Cluster, in_thread
from workflows.domain.canonical import canonical
from workflows.domain.exports import ExportDigest, Totals, export_lines_of
from workflows.storage.copying import BLOCK_BYTES, BLOCKS_AHEAD, copied, parse_columns

TEXT = st.text(st.one_of(st.sampled_from('\\\n\t\r\b\f\v"}{,n退'), st.characters(codec="utf-8", exclude_characters="\0")), max_size=8)
CHAINS = st.sampled_from(["pay_1", "pay_2", "service", 'odd "\\\n\t退'])
ROWS = st.lists(st.tuples(CHAINS, st.integers(1, 2**31 - 1), TEXT), max_size=12)
_COPY_ESCAPES = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}

HANG_SECONDS_MAX = 20  # only bounds a hang
Row = tuple[str, int, str]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def copy_text(row: tuple[str, ...]) -> bytes:
    """As PostgreSQL writes a row (its manual, COPY, text format)."""
    return "\t".join("".join(_COPY_ESCAPES.get(one, one) for one in value) for value in row).encode() + b"\n"


def hash_of_text(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def body_of(text: str) -> str:
    return canonical({"text": text}).decode()


def line_by_line(rows: list[Row]) -> tuple[bytes, Totals]:
    """The form as it is published, written down in the plainest way."""
    lines = [f'{body_of(text)[:-1]},"hash":"{hash_of_text(text)}"}}\n'.encode() for _, _, text in rows]
    runs = []
    for chain, group in groupby(rows, key=lambda row: row[0]):
        run = list(group)
        first, last = run[0], run[-1]
        runs.append(canonical([chain, first[1], hash_of_text(first[2]), last[1], hash_of_text(last[2])]) + b"\n")
    whole = b"".join(lines)
    return whole, Totals(
        count=len(rows), digest=sha256(whole).hexdigest(), runs=len(runs), chains_digest=sha256(b"".join(runs)).hexdigest()
    )


def in_blocks(rows: list[Row], cuts: set[int]) -> tuple[bytes, Totals]:
    digest, content, block = ExportDigest(), b"", b""
    for at, (chain, sequence, text) in enumerate(rows, 1):
        block += copy_text((chain, str(sequence), hash_of_text(text), body_of(text)))
        if at in cuts or at == len(rows):
            chains, sequences, hashes, bodies = parse_columns(block)
            lines = export_lines_of(bodies, hashes)
            digest.add_lines(lines, chains, sequences, hashes)
            content, block = content + lines, b""
    return content, digest.totals()


@given(ROWS, st.sets(st.integers(1, 12)))
def test_blocks_say_what_lines_say(rows: list[Row], cuts: set[int]) -> None:
    assert in_blocks(rows, cuts) == line_by_line(rows)


def test_a_block_may_end_anywhere() -> None:
    rows = [(chain, sequence, f"\\{chain}\n") for chain in ("pay_1", "pay_2", "pay_1") for sequence in range(1, 5)]
    for one in range(1, len(rows) + 1):
        for other in range(one, len(rows) + 1):
            assert in_blocks(rows, {one, other}) == line_by_line(rows)


@given(ROWS)
def test_one_line_at_a_time_says_the_same(rows: list[Row]) -> None:
    digest = ExportDigest()
    for chain, sequence, text in rows:
        digest.add(export_lines_of([body_of(text).encode()], [hash_of_text(text).encode()]), chain, sequence, hash_of_text(text))
    assert digest.totals() == line_by_line(rows)[1]


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[TEXT] * width), min_size=1, max_size=6)))
def test_every_text_comes_through_a_copy(rows: list[tuple[str, ...]]) -> None:
    columns = parse_columns(b"".join(copy_text(row) for row in rows))
    assert columns == [[value.encode() for value in column] for column in zip(*rows, strict=True)]


class Endless:
    """A connection whose copy never ends by itself."""

    taken = 0
    closed = False
    ended = False

    def terminate(self) -> None:
        self.closed = True

    async def copy_from_query(self, _: str, *, output: Callable[[bytes], Awaitable[None]], **_more: object) -> None:
        try:
            while True:
                await output(b"x" * BLOCK_BYTES + b"\n")
                self.taken += 1
        finally:
            await asyncio.sleep(0)  # as a connection that has something left to do
            self.ended = True


async def test_a_slow_reader_is_waited_for() -> None:
    connection = Endless()
    async with aclosing(copied(connection, "")) as blocks:
        await anext(blocks)
        for _ in range(100):
            await asyncio.sleep(0)
        assert connection.taken <= 1 + BLOCKS_AHEAD
    assert connection.ended
    assert connection.closed


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, auto_loop_factory()], ids=["asyncio", "as it is served"])
@pytest.mark.slow
def test_a_connection_whose_copy_was_left_is_closed_or_of_use(cluster: Cluster, loop_factory: LoopFactory) -> None:
    """Wherever it is left: before the first piece was read, between two, or with the end of all that PostgreSQL says read already."""
    url = cluster.server.owner_url("postgres")

    async def left(kib: int, turns: int) -> None:
        connection = await asyncpg.connect(url, ssl=False)
        try:
            async with aclosing(copied(connection, f"select repeat('x', 1023) from generate_series(1, {kib})")) as blocks:  # noqa: S608
                begun = asyncio.ensure_future(anext(blocks))
                for _ in range(5):
                    await asyncio.sleep(0)
                time.sleep(0.05)
                await begun
                for _ in range(turns):
                    await asyncio.sleep(0)
            async with asyncio.timeout(HANG_SECONDS_MAX):
                assert connection.is_closed() or await connection.fetchval("select 1") == 1
        finally:
            connection.terminate()

    async def all_of_them() -> None:
        for kib in (100, 560, 600, 640, 680, 720, 20_000):
            for turns in (0, 1, 3, 100):
                await left(kib, turns)

    def run() -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(all_of_them())

    in_thread(run)


async def test_a_reader_cancelled_again_and_again_leaves_no_copy_behind() -> None:
    connection = Endless()

    async def read() -> None:
        async with aclosing(copied(connection, "")) as blocks:
            async for _ in blocks:
                await asyncio.sleep(0)

    reading = asyncio.create_task(read())
    while connection.taken < 3:
        await asyncio.sleep(0)
    while not reading.done():  # as anyio does
        reading.cancel()
        await asyncio.sleep(0)
    assert reading.cancelled()
    assert connection.ended


async def test_a_fault_of_the_copy_reaches_the_reader() -> None:
    class Broken:
        async def copy_from_query(self, _: str, *, output: Callable[[bytes], Awaitable[None]], **_more: object) -> None:
            await output(b"1\t2\n" * BLOCK_BYTES)
            raise ConnectionError("gone")

    async with aclosing(copied(Broken(), "")) as blocks:
        assert await anext(blocks) == [[b"1"] * BLOCK_BYTES, [b"2"] * BLOCK_BYTES]
        with pytest.raises(ConnectionError):
            await anext(blocks)
