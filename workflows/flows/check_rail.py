"""Compare the books with a rail's own: what moved there is what we say, no more and no less."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from workflows.domain.decisions.outcomes import RETURNED
from workflows.domain.ids import from_rail_key, public, rail_key
from workflows.flows.check import InvariantResult

MOVED = "rail_moved_what_the_books_say"
RETURN_GRACE = timedelta(minutes=5)  # how long a rail may take to tell that money came back
LEGS_AT_ONCE = 1000

_LEGS = """
select l.payment_id, l.id, l.kind, l.amount, l.currency, l.state, l.failure_code
  from unnest($1::uuid[], $2::uuid[]) as k(payment_id, id) join leg l on l.payment_id = k.payment_id and l.id = k.id"""
_ARRIVED = "select count(*) from leg where provider = $1 and state in ('succeeded', 'returned')"
_NEXT = """
select payment_id, id from leg where provider = $1 and state in ('succeeded', 'returned') and (payment_id, id) > ($2, $3)
 order by payment_id, id limit $4"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One line of the rail's own book."""

    rail_key: str
    kind: str  # refund, void
    amount: int
    currency: str
    returned_at: datetime | None


async def check_rail(
    connection: asyncpg.Connection, provider: str, pages: AsyncIterator[Sequence[Moved]], moved: Callable[[str], Awaitable[bool]]
) -> InvariantResult:
    """`pages`: all that moved at the rail; `moved`: whether it says so of one key, asked only where the two counts differ.

    Both books may grow meanwhile: a leg's intent is always on record before its rail moves anything, and so found after it.
    """
    result = InvariantResult(name=MOVED, looked_at=0)
    arrived = 0
    async for page in pages:
        result.looked_at += len(page)
        arrived += await _check_page(connection, page, result)
    if arrived != await connection.fetchval(_ARRIVED, provider):
        await _find_missing(connection, provider, moved, result)
    return result


async def _check_page(connection: asyncpg.Connection, page: Sequence[Moved], result: InvariantResult) -> int:
    """How many of these movements our books have as arrived."""
    keys = [from_rail_key(movement.rail_key) for movement in page]
    known = [key for key in keys if key is not None]
    rows = await connection.fetch(_LEGS, [payment for payment, _ in known], [leg for _, leg in known])
    legs = {(row["payment_id"], row["id"]): row for row in rows}
    now: datetime = await connection.fetchval("select clock_timestamp()")
    arrived = 0
    for movement, key in zip(page, keys, strict=True):
        row = None if key is None else legs.get(key)
        wrong = _wrong(movement, row, now)
        if wrong is not None:
            result.violated(
                f"rail_key={movement.rail_key} kind={movement.kind} currency={movement.currency} amount={movement.amount} {wrong}"
            )
        arrived += row is not None and row["state"] in ("succeeded", "returned")
    return arrived


def _wrong(movement: Moved, row: Any, now: datetime) -> str | None:
    """What our rows say otherwise, as name=value pairs, or None. `row`: the leg, or None where there is none."""
    if row is None:
        return "leg=none"
    if (row["kind"], row["amount"], row["currency"]) != (movement.kind, movement.amount, movement.currency):
        return f"leg_kind={row['kind']} leg_currency={row['currency']} leg_amount={row['amount']}"
    if row["state"] == "failed" and movement.returned_at is not None and (row["failure_code"] or "").startswith(RETURNED):
        return None  # it went out and came back before anybody had told us that it had arrived
    if row["state"] in ("scheduled", "held", "failed"):
        return f"leg_state={row['state']}"
    if row["state"] == "returned" and movement.returned_at is None:
        return "leg_state=returned returned_at=none"
    if row["state"] == "succeeded" and movement.returned_at is not None and movement.returned_at < now - RETURN_GRACE:
        return f"leg_state=succeeded returned_at={movement.returned_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    return None


async def _find_missing(
    connection: asyncpg.Connection, provider: str, moved: Callable[[str], Awaitable[bool]], result: InvariantResult
) -> None:
    after = (UUID(int=0), UUID(int=0))
    while rows := await connection.fetch(_NEXT, provider, *after, LEGS_AT_ONCE):
        for row in rows:
            if not await moved(rail_key(row["payment_id"], row["id"])):
                result.violated(f"{public('pay', row['payment_id'])} leg={public('leg', row['id'])} leg_state=succeeded movement=none")
        after = (rows[-1]["payment_id"], rows[-1]["id"])
