"""Payments by the thousand, made by PostgreSQL itself: each a copy of one that the product registered.

A row is taken as JSON, its ids and its reference are replaced by the copy's own, and the JSON is made a row again. So nothing here has to
know how the product writes a row, only which column of a table names the payment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from tests.bench.numbered import Numbered, named_ids

_BATCH = 20_000
# In the order in which they can be written, with the column that names the payment.
_TABLES = {
    "payment": "id",
    "cancellation": "payment_id",
    "refund": "payment_id",  # until revision 0013: `--compare` measures older commits too
    "leg": "payment_id",
    "record": "payment_id",
    "personal_text": "payment_id",
    "job": "payment_id",
    "kept_reply": "scope_id",
}
PAYMENT_ALONE = ("payment",)
PAYMENT_AND_RECORD = ("payment", "record")
EVERYTHING = tuple(_TABLES)

Advance = Callable[[int], None]  # so many copies more are there


@dataclass(frozen=True, slots=True)
class Original:
    """What is copied; `reference` is a word of its own that stands nowhere else."""

    payment: UUID
    reference: str
    tables: Sequence[str] = EVERYTHING


async def fill(url: str, original: Original, first: int, count: int, advance: Advance = lambda _: None) -> None:
    """Copies with the numbers from `first` on. `url` is the owner's: foreign keys are not checked one by one."""
    connection = await asyncpg.connect(url, ssl=False)
    try:
        await connection.execute("set session_replication_role = replica")
        statements = await _statements(connection, original)
        for start in range(first, first + count, _BATCH):
            end = min(start + _BATCH, first + count)
            for statement, text in statements:
                await connection.execute(statement, text, start, end - 1, timeout=600)
            advance(end - start)
    finally:
        await connection.close()


async def settle(url: str) -> None:
    """Statistics and a checkpoint, so that neither is due while somebody measures."""
    connection = await asyncpg.connect(url, ssl=False)
    try:
        await connection.execute("vacuum analyze", timeout=600)
        await connection.execute("checkpoint", timeout=600)
    finally:
        await connection.close()


async def changed(url: str, first: int, count: int) -> int:
    """How many payments of these numbers somebody has changed."""
    connection = await asyncpg.connect(url, ssl=False)
    try:
        query = "select count(*) from payment where version > 1 and id between lpad($1, 32, '0')::uuid and lpad($2, 32, '0')::uuid"
        found: int = await connection.fetchval(query, str(first), str(first + count - 1), timeout=600)
        return found
    finally:
        await connection.close()


async def _statements(connection: Any, original: Original) -> list[tuple[str, str]]:
    """For each row that belongs to the payment: what inserts its copies, and the row as a text with places."""
    rows = []
    for table in original.tables:
        if await connection.fetchval("select to_regclass($1)::text", f"public.{table}") is None:
            continue
        query = f"select to_jsonb(t)::text from {table} t where {_TABLES[table]} = $1"  # noqa: S608 -- our own names
        rows += [(table, row[0]) for row in await connection.fetch(query, original.payment)]
    numbered = Numbered("n::text", words={original.reference: "'copy-' || n"})
    numbered.add([original.payment])
    for _, row in rows:
        numbered.add(named_ids(row))
    return [await _statement(connection, table, *numbered.format_of(row)) for table, row in rows]


async def _statement(connection: Any, table: str, text: str, places: list[str]) -> tuple[str, str]:
    names = await connection.fetch(
        "select quote_ident(attname) from pg_attribute where attrelid = $1::text::regclass and attnum > 0 and not attisdropped"
        " and attgenerated = ''",
        table,
    )
    columns = ", ".join(name[0] for name in names)
    made = ", ".join(f"made.{name[0]}" for name in names)
    sql = (
        f"insert into {table} ({columns}) select {made} from generate_series($2::int, $3::int) n"  # noqa: S608 -- as the catalogue names them
        f" cross join lateral jsonb_populate_record(null::public.{table}, format($1::text, {', '.join(places)})::jsonb) made"
    )
    return sql, text
