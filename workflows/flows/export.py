"""The export of records as a stream, in constant memory, from one unchanging view of the database."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, time, timedelta

import asyncpg

from workflows.domain.exports import ExportDigest, Scope, Sign, csv_header, csv_line, export_lines_of, trailer_line
from workflows.storage.copying import copied
from workflows.storage.views import Source, unchanging

# Columns as they are: what PostgreSQL puts together of them costs it more than their way to us.
_ROWS = """
select chain, sequence, encode(hash, 'hex'), body
  from record
 where occurred_at >= $1 and occurred_at < $2 and ($3::text is null or merchant_id = $3)
 order by chain_id, sequence
"""
# One step into an index, `record_newest` or `record_merchant`, so that days without a record cost nothing. Limits that are `null or`
# are no condition of an index in a plan that is kept: each step would walk from the first record.
_NEXT_MOMENT = """
select min(occurred_at)
  from record
 where occurred_at >= coalesce($1, '-infinity'::timestamptz) and occurred_at < coalesce($2, 'infinity'::timestamptz)
"""
_NEXT_MOMENT_OF_MERCHANT = f"{_NEXT_MOMENT} and merchant_id = $3"


# A day takes as long as its reader, who may also leave us waiting between two: whoever serves him bounds that. PostgreSQL looks whether
# we are still there, and sorts nothing to the end that nobody reads.
_TIME = """
set local statement_timeout = 0;
set local idle_in_transaction_session_timeout = 0;
set local client_connection_check_interval = '1s'
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
    async with aclosing(_blocks(source, scope)) as blocks:
        async for chains, sequences, hashes, bodies in blocks:
            lines = export_lines_of(bodies, hashes)
            digest.add_lines(lines, chains, sequences, hashes)
            yield lines
    yield trailer_line(digest.totals(), scope=scope, key=key, sign=sign)


async def export_csv(
    source: Source, *, start: datetime | None, end: datetime | None, merchant_id: str | None = None
) -> AsyncGenerator[bytes]:
    """CSV (RFC 4180) in chunks, in the same order. It is for reading: only the NDJSON form can be verified."""
    scope = Scope(start=start, end=end, merchant_id=merchant_id)
    async with aclosing(_blocks(source, scope)) as blocks:
        header = csv_header()
        async for _, _, hashes, bodies in blocks:
            lines = [csv_line(body.decode(), record_hash.decode()) for body, record_hash in zip(bodies, hashes, strict=True)]
            yield (header + "".join(lines)).encode()
            header = ""
    if header:
        yield header.encode()


async def _blocks(source: Source, scope: Scope) -> AsyncGenerator[list[list[bytes]]]:
    """Chains, sequences, hashes and bodies of the records, day by day, in blocks.

    Day by day, since a sort of the whole table would keep the first byte waiting for the last record.
    """
    async with unchanging(source) as connection:
        await connection.execute(_TIME)
        async with aclosing(_days(connection, scope)) as days:
            async for start, end in days:
                async with aclosing(copied(connection, _ROWS, start, end, scope.merchant_id)) as blocks:
                    async for columns in blocks:
                        yield columns


async def _days(connection: asyncpg.Connection, scope: Scope) -> AsyncGenerator[tuple[datetime, datetime]]:
    """The UTC days on which anything in the scope was recorded, cut to it."""
    moment = await _next_moment(connection, scope, scope.start)
    while moment is not None:
        midnight = datetime.combine(moment.astimezone(UTC).date(), time(), UTC) + timedelta(days=1)
        until = midnight if scope.end is None else min(midnight, scope.end)
        yield moment, until
        moment = await _next_moment(connection, scope, until)


async def _next_moment(connection: asyncpg.Connection, scope: Scope, start: datetime | None) -> datetime | None:
    """When the first record of the scope at or after `start` was made."""
    if scope.merchant_id is None:
        moment: datetime | None = await connection.fetchval(_NEXT_MOMENT, start, scope.end)
    else:
        moment = await connection.fetchval(_NEXT_MOMENT_OF_MERCHANT, start, scope.end, scope.merchant_id)
    return moment
