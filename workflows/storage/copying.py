"""The rows of a query by COPY: PostgreSQL sends them without being asked for each batch, and runs ahead while they are read."""

import asyncio
import re
from collections.abc import AsyncGenerator
from datetime import datetime

import asyncpg
from asyncpg.protocol import NO_TIMEOUT

BLOCK_BYTES = 64 * 1024  # a block is handed over once it has so many, so it may be greater by what one read of the socket brings
BLOCKS_AHEAD = 2  # a reader who is slower finds so many waiting; then PostgreSQL itself waits
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_MEANINGS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}  # any other byte stands for itself


async def copied(connection: asyncpg.Connection, query: str, *values: datetime | str | None) -> AsyncGenerator[list[list[bytes]]]:
    """The rows of `query` in blocks, each given as its columns. Values are as PostgreSQL writes them; none may be null.

    It takes as long as its reader, so no time limit holds on our side; a server's `statement_timeout` does, unless it is set to none.
    Close it (`contextlib.aclosing`) when leaving early. The connection is ended then, unless the copy was over: asyncpg (0.32, `copy_out`)
    may wait for ever for the end of a copy that it cancels, where it has read that end, or take what still comes for another answer.
    """
    blocks: asyncio.Queue[bytes | None] = asyncio.Queue()
    room = asyncio.Semaphore(BLOCKS_AHEAD)
    copying = asyncio.create_task(_copy(connection, query, values, blocks, room))
    copying.add_done_callback(lambda _: blocks.put_nowait(None))
    try:
        while (block := await blocks.get()) is not None:
            room.release()
            yield parse_columns(block)
        await copying
    finally:
        if not copying.done():
            connection.terminate()
        await _stop(copying)


def parse_columns(block: bytes) -> list[list[bytes]]:
    """The columns of whole rows in the text form of COPY: a newline ends a row, a tab stands between two values.

    What is raw in a value would be escaped, so both can be searched for in the block as a whole.
    """
    width = block.count(b"\t", 0, block.index(b"\n")) + 1
    values = block.replace(b"\n", b"\t").split(b"\t")
    values.pop()  # what comes after the last newline: nothing
    if b"\\" in block:
        values = [_ESCAPED.sub(_meaning, value) if b"\\" in value else value for value in values]
    return [values[column::width] for column in range(width)]


def _meaning(escape: re.Match[bytes]) -> bytes:
    return _MEANINGS.get(escape[1], escape[1])


async def _copy(
    connection: asyncpg.Connection,
    query: str,
    values: tuple[datetime | str | None, ...],
    blocks: asyncio.Queue[bytes | None],
    room: asyncio.Semaphore,
) -> None:
    pieces: list[bytes] = []
    size = 0

    async def take(piece: bytes) -> None:
        """Gather whole rows, as the protocol sends them. asyncpg reads no further while this waits."""
        nonlocal pieces, size
        pieces.append(piece)
        size += len(piece)
        if size >= BLOCK_BYTES:
            await room.acquire()
            blocks.put_nowait(b"".join(pieces))
            pieces, size = [], 0

    await connection.copy_from_query(query, *values, output=take, timeout=NO_TIMEOUT)
    if pieces:
        blocks.put_nowait(b"".join(pieces))


async def _stop(copying: asyncio.Task[None]) -> None:
    """Cancel the copy and see its end, also where we are cancelled meanwhile."""
    copying.cancel()
    interrupted: asyncio.CancelledError | None = None
    while not copying.done():
        try:
            await asyncio.wait({copying})
        except asyncio.CancelledError as again:
            interrupted = again
    if not copying.cancelled():
        copying.exception()  # looked at; whoever leaves early does not ask for it
    if interrupted is not None:
        raise interrupted
