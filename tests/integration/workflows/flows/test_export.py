"""The export out of a real PostgreSQL: its order, its scope, and memory that does not grow with it."""

import asyncio
import csv
import io
import json
import re
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace

from service.up import embedded
from tests.factories import OURS, chain, draft, export, in_order, judge, sign
from workflows.domain.exports import Scope, csv_header, csv_line
from workflows.domain.records import GENESIS, Record, chain_id, seal
from workflows.domain.verifying import VerificationStatus
from workflows.flows.export import export_csv, export_lines
from workflows.storage.copying import BLOCK_BYTES

pytestmark = pytest.mark.slow

TABLE = """
create table record (
    chain_id uuid, sequence int, id uuid not null, chain text not null, payment_id uuid, merchant_id text, type text not null,
    occurred_at timestamptz not null, actor_role text not null, actor_id text not null, body text not null, hash bytea not null,
    primary key (chain_id, sequence)
);
create index record_newest on record (occurred_at nulls first, id nulls first);
create index record_merchant on record (merchant_id, occurred_at, id) where merchant_id is not null
"""
COLUMNS = re.findall(r"(\w+) (?:uuid|int|text|timestamptz|bytea)", TABLE)
DAY = timedelta(days=1)
START = datetime(2026, 11, 1, tzinfo=UTC)
BIG_CHAINS, BIG_LENGTH = 2_500, 20
READ_BYTES = 256 * 1024  # the most that asyncio reads at once


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[embedded.Server]:
    server = embedded.start(tmp_path_factory.mktemp("postgres"))
    try:
        for name in ("small", "big", "empty", "odd"):
            server.ensure_database(name)
            connection = await asyncpg.connect(server.owner_url(name), ssl=False)
            await connection.execute(TABLE)
            await connection.close()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
async def small(server: embedded.Server) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(server.owner_url("small"), ssl=False, min_size=1, max_size=2) as pool:
        await store(pool, SMALL)
        yield pool


async def fill_big(server: embedded.Server) -> None:
    """Once: whichever test is first to need it."""
    async with asyncpg.create_pool(server.owner_url("big"), ssl=False, min_size=1, max_size=2) as pool:
        if await pool.fetchval("select exists (select from record)"):
            return
        for batch in range(0, BIG_CHAINS, 500):
            some = (chain(str(n), BIG_LENGTH, start=START + n % 7 * DAY, step=timedelta(hours=5)) for n in range(batch, batch + 500))
            await store(pool, (record for records in some for record in records))


async def store(pool: asyncpg.Pool, records: Iterable[Record]) -> None:
    await pool.copy_records_to_table("record", columns=COLUMNS, records=[row(record) for record in records])


def row(record: Record) -> tuple[object, ...]:
    actor, chain_of = record.actor, chain_id(record.chain)
    return (
        chain_of,
        record.sequence,
        record.id,
        record.chain,
        record.payment_id,
        merchant_of(record),
        str(record.type),
        record.occurred_at,
        str(actor.role),
        actor.id,
        record.body,
        bytes.fromhex(record.hash),
    )  # fmt: skip -- a row reads best as one


def merchant_of(record: Record) -> str:
    return "even" if chain_id(record.chain).bytes[0] % 2 == 0 else "odd"


# Chains that alternate over days, an empty fortnight, and records on both sides of midnight.
SMALL = [
    *(record for name in "abcdefgh" for record in chain(name, 6, start=START + timedelta(hours=7), step=timedelta(hours=9))),
    *chain("late", 3, start=START + 20 * DAY - timedelta(microseconds=1), step=timedelta(microseconds=1)),
]


async def gather(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def test_all_records_in_order_and_verified(small: asyncpg.Pool) -> None:
    content = await gather(export_lines(small, start=None, end=None, sign=sign, key=OURS))

    assert content == b"".join(export(in_order(SMALL)))
    verdict = judge(io.BytesIO(content), trusted_key=OURS)
    assert (verdict.status, verdict.records, verdict.chains) == (VerificationStatus.verified, len(SMALL), 9)


async def test_a_connection_serves_as_well_as_a_pool(small: asyncpg.Pool) -> None:
    async with small.acquire() as connection:
        content = await gather(export_lines(connection, start=None, end=None, sign=sign, key=OURS))
    assert content == b"".join(export(in_order(SMALL)))


@pytest.mark.parametrize("merchant_id", [None, "even", "odd", "nobody"])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, START + DAY),
        (START + DAY, None),
        (START + timedelta(hours=16), START + timedelta(hours=49)),
        (START - 50 * DAY, START + 50 * DAY),
        (START + 20 * DAY - timedelta(microseconds=1), START + 20 * DAY),
        (START + 20 * DAY, START + 20 * DAY + timedelta(microseconds=1)),
        (START + 10 * DAY, START + 11 * DAY),
        (START + DAY, START + DAY),
        (START + 2 * DAY, START + DAY),
        (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)),
    ],
)
async def test_the_scope_is_half_open(small: asyncpg.Pool, start: datetime | None, end: datetime | None, merchant_id: str | None) -> None:
    within = [
        record
        for record in in_order(SMALL)
        if (start is None or start <= record.occurred_at)
        and (end is None or record.occurred_at < end)
        and merchant_id in (None, merchant_of(record))
    ]

    content = await gather(export_lines(small, start=start, end=end, merchant_id=merchant_id, sign=sign, key=OURS))

    assert content == b"".join(export(within, scope=Scope(start=start, end=end, merchant_id=merchant_id)))
    assert judge(io.BytesIO(content), trusted_key=OURS).status is VerificationStatus.verified


async def test_csv_has_the_same_records(small: asyncpg.Pool) -> None:
    content = await gather(export_csv(small, start=None, end=None))
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))
    assert [row["hash"] for row in rows] == [record.hash for record in in_order(SMALL)]


async def test_an_empty_table_is_a_trailer(server: embedded.Server) -> None:
    connection = await asyncpg.connect(server.owner_url("empty"), ssl=False)
    content = await gather(export_lines(connection, start=None, end=None, sign=sign, key=OURS))
    await connection.close()
    assert content == b"".join(export([]))


async def test_one_view_while_others_write(server: embedded.Server) -> None:
    """What is committed after the stream began is not in it, though its day is yet to come."""
    async with asyncpg.create_pool(server.owner_url("empty"), ssl=False, min_size=1, max_size=2) as pool:
        before = chain("before", 200, start=START, step=timedelta(hours=1))
        await store(pool, before)
        stream = export_lines(pool, start=None, end=None, sign=sign, key=OURS)
        async with aclosing(stream):
            first = await anext(stream)
            await store(pool, chain("after", 3, start=START + 100 * DAY))
            rest = await gather(stream)
        assert first + rest == b"".join(export(before))


async def test_leaving_early_gives_the_connection_back(small: asyncpg.Pool) -> None:
    async with aclosing(export_lines(small, start=None, end=None, sign=sign, key=OURS)) as stream:
        await anext(stream)
    assert small.get_idle_size() == small.get_size()


async def test_a_slow_reader_is_waited_for_between_two_days_too(server: embedded.Server, small: asyncpg.Pool) -> None:
    """PostgreSQL has sent all of a day then, and would end whoever asks it for nothing more for a minute."""
    assert await small.fetchval("select count(*) from record") == len(SMALL)
    session = {"statement_timeout": "15s", "idle_in_transaction_session_timeout": "60s"}
    connection = await asyncpg.connect(server.owner_url("small"), ssl=False, server_settings=session)
    limits = "select array[current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')]"
    async with aclosing(export_lines(connection, start=None, end=None, sign=sign, key=OURS)) as stream:
        await anext(stream)
        meanwhile = await connection.fetchval(limits)
    afterwards = await connection.fetchval(limits)
    await connection.close()

    assert (meanwhile, afterwards) == (["0", "0"], ["15s", "1min"])


async def test_odd_texts_come_out_as_they_were_stored(server: embedded.Server) -> None:
    """Among them what only another than the service can have stored: an auditor must get that too."""
    texts = ["\\", "\\\\", '"', "\n", "\t", "\r\n", "\\n", "\\.", "\\N", "\x7f\x01", "退款 ž \N{GRINNING FACE}", "}", "'$1'", ""]
    records: list[Record] = []
    for day, text in enumerate(texts):
        records.append(
            seal(
                draft(START + day // 3 * DAY, {"text": text}),
                id=UUID(int=day),
                chain="service",
                payment_id=None,
                sequence=day + 1,
                previous_hash=records[-1].hash if records else GENESIS,
            )
        )
    changed = replace(records[-1], body=records[-1].body.replace('"data":{', '"data":{\n\t\\'))
    async with asyncpg.create_pool(server.owner_url("odd"), ssl=False, min_size=1, max_size=2) as pool:
        await store(pool, [*records[:-1], changed])
        content = await gather(export_lines(pool, start=None, end=None, sign=sign, key=OURS))
        assert content == b"".join(export([*records[:-1], changed]))

        rows = await gather(export_csv(pool, start=None, end=START + 3 * DAY))
        some = [record for record in records if record.occurred_at < START + 3 * DAY]
        assert rows.decode() == csv_header() + "".join(csv_line(record.body, record.hash) for record in some)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_leaving_a_great_export_frees_its_connection(server: embedded.Server, cancelled: bool) -> None:
    await fill_big(server)
    async with asyncpg.create_pool(server.owner_url("big"), ssl=False, min_size=1, max_size=1) as pool:

        async def read(begun: asyncio.Event) -> None:
            async with aclosing(export_lines(pool, start=None, end=None, sign=sign, key=OURS)) as stream:
                await anext(stream)
                begun.set()
                if cancelled:
                    await asyncio.Event().wait()

        begun = asyncio.Event()
        reading = asyncio.create_task(read(begun))
        await begun.wait()
        while cancelled and not reading.done():  # as anyio does
            reading.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({reading})
        async with pool.acquire() as connection:
            assert not connection.is_in_transaction()
            assert await connection.fetchval("select count(*) from record") == BIG_CHAINS * BIG_LENGTH


async def test_no_time_limit_cuts_a_slow_reader(server: embedded.Server) -> None:
    await fill_big(server)
    limits = {"statement_timeout": "500ms"}
    async with asyncpg.create_pool(
        server.owner_url("big"), ssl=False, min_size=1, max_size=1, command_timeout=0.5, server_settings=limits
    ) as pool:
        async with aclosing(export_lines(pool, start=START, end=START + DAY, sign=sign, key=OURS)) as stream:
            first = await anext(stream)
            await asyncio.sleep(1)
            verdict = judge(io.BytesIO(first + await gather(stream)), trusted_key=OURS)
        assert verdict.status is VerificationStatus.verified
        assert await pool.fetchval("show statement_timeout") == "500ms"


async def test_postgresql_looks_whether_the_reader_is_still_there(small: asyncpg.Pool) -> None:
    """Who left while a day was sorted leaves no backend that sorts it to the end."""
    async with small.acquire() as connection:
        async with aclosing(export_csv(connection, start=None, end=None)) as stream:
            await anext(stream)  # the first day was short: its copy is over, the transaction is not
            during = await connection.fetchval("show client_connection_check_interval")
        assert (during, await connection.fetchval("show client_connection_check_interval")) == ("1s", "0")


@pytest.mark.long
async def test_fifty_thousand_records_in_constant_memory(server: embedded.Server) -> None:
    await fill_big(server)
    async with asyncpg.create_pool(server.owner_url("big"), ssl=False, min_size=1, max_size=2) as pool:
        stream = export_lines(pool, start=None, end=None, sign=sign, key=OURS)
        await anext(stream)  # what is made once is not counted

        tracemalloc.start()
        size_total, greatest = 0, 0
        async for chunk in stream:
            size_total += len(chunk)
            greatest = max(greatest, len(chunk))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert size_total > 25_000_000
        assert greatest < BLOCK_BYTES + READ_BYTES + 10_000
        assert peak < 8_000_000

        content = await gather(export_lines(pool, start=None, end=None, sign=sign, key=OURS))
    verdict = judge(io.BytesIO(content), trusted_key=OURS)
    assert (verdict.status, verdict.records, verdict.chains) == (VerificationStatus.verified, BIG_CHAINS * BIG_LENGTH, BIG_CHAINS)
    places = [
        (record["occurred_at"][:10], chain_id(record["chain"]).bytes, record["sequence"])
        for record in map(json.loads, content.splitlines()[:-1])
    ]
    assert all(one < other for one, other in pairwise(places))
