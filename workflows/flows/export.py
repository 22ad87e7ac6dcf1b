"""The export of records as a stream, in constant memory, from one unchanging view of the database."""

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, time, timedelta

import asyncpg

from workflows.domain.exports import ExportDigest, Scope, Sign, csv_header, csv_line, trailer_line
from workflows.storage.views import Source, unchanging

CHUNK_BYTES = 64 * 1024
FETCH_ROWS = 1000

# The line is put together where the body lies, so that Python only counts, digests and passes on.
_LINES = """
select chain, sequence,
       convert_to(left(body, -1) || ',"hash":"' || encode(hash, 'hex') || '"}' || chr(10), 'UTF8') as line
  from record
 where occurred_at >= $1 and occurred_at < $2 and ($3::text is null or merchant_id = $3)
 order by chain_id, sequence
"""
_BODIES = """
select body, encode(hash, 'hex') as hash
  from record
 where occurred_at >= $1 and occurred_at < $2 and ($3::text is null or merchant_id = $3)
 order by chain_id, sequence
"""
# Moments are indexed by block range only: whether a day has records is cheap to ask, the next moment is a scan of all that follows.
# So the second is asked on days without any record, and never by merchant, who may be rare in a great table.
_ANY_RECORD = "select exists (select from record where occurred_at >= $1 and occurred_at < $2)"
_NEXT_MOMENT = """
select min(occurred_at)
  from record
 where ($1::timestamptz is null or occurred_at >= $1) and ($2::timestamptz is null or occurred_at < $2)
"""


async def export_lines(
    source: Source,
    *,
    start: datetime | None,
    end: datetime | None,
    merchant_id: str | None = None,
    sign: Sign,
    key: str,
) -> AsyncGenerator[bytes]:
    """NDJSON in chunks of some 64 KiB: records from `start` until before `end`, by UTC day, chain and sequence, then the signed trailer.

    `key` is the C2SP verifier key of `sign`. The stream holds a connection: close it (`contextlib.aclosing`) when leaving early.
    """
    scope = Scope(start=start, end=end, merchant_id=merchant_id)
    digest = ExportDigest()
    chunk: list[bytes] = []
    size = 0
    async for rows in _batches(source, _LINES, scope):
        for chain, sequence, line in rows:
            digest.add(line, chain, sequence, line[-67:-3].decode())
            chunk.append(line)
            size += len(line)
            if size >= CHUNK_BYTES:
                yield b"".join(chunk)
                chunk, size = [], 0
    chunk.append(trailer_line(digest.totals(), scope=scope, key=key, sign=sign))
    yield b"".join(chunk)


async def export_csv(
    source: Source, *, start: datetime | None, end: datetime | None, merchant_id: str | None = None
) -> AsyncGenerator[bytes]:
    """CSV (RFC 4180) in chunks, in the same order. It is for reading: only the NDJSON form can be verified."""
    scope = Scope(start=start, end=end, merchant_id=merchant_id)
    chunk = [csv_header()]
    size = 0
    async for rows in _batches(source, _BODIES, scope):
        for body, record_hash in rows:
            line = csv_line(body, record_hash)
            chunk.append(line)
            size += len(line)
            if size >= CHUNK_BYTES:
                yield "".join(chunk).encode()
                chunk, size = [], 0
    yield "".join(chunk).encode()


async def _batches(source: Source, statement: str, scope: Scope) -> AsyncIterator[list[asyncpg.Record]]:
    """The rows of `statement`, day by day, at most FETCH_ROWS at a time.

    Day by day, since a sort of the whole table would keep the first byte waiting for the last record.
    """
    async with unchanging(source) as connection:
        async for start, end in _days(connection, scope):
            cursor = await connection.cursor(statement, start, end, scope.merchant_id)
            while rows := await cursor.fetch(FETCH_ROWS):
                yield rows


async def _days(connection: asyncpg.Connection, scope: Scope) -> AsyncIterator[tuple[datetime, datetime]]:
    """The UTC days on which anything was recorded, cut to the scope."""
    moment = scope.start or await connection.fetchval(_NEXT_MOMENT, None, scope.end)
    while moment is not None and (scope.end is None or moment < scope.end):
        midnight = datetime.combine(moment.astimezone(UTC).date(), time(), UTC) + timedelta(days=1)
        until = midnight if scope.end is None else min(midnight, scope.end)
        if await connection.fetchval(_ANY_RECORD, moment, until):
            yield moment, until
            moment = until
        else:
            moment = await connection.fetchval(_NEXT_MOMENT, until, scope.end)
