"""Between rows and values: whatever stands in a row is in its value, and the value is written as that very row."""

import json
from typing import Any

import pytest
from msgspec.json import Decoder

from tests.integration.workflows.storage import rows
from workflows.domain.model import Payment
from workflows.storage.mapping import ANOMALY_STEP, CANCELLATION, JOB, LEG, PAYMENT, TEXT, TableMapping

LATER = "2026-11-03T10:00:00.000001Z"
APPROVAL = {"by": "a-1", "role": "agent", "at": rows.NOW}
FUNDED: rows.Row = {
    **rows.PAYMENT_ROW,
    "funding": [{"source": "balance", "amount": 1000, "provider": "sandbox", "provider_reference": "ok", "funder": "shop"}],
}
# Each with as much as one row may hold.
FULL: dict[str, rows.Row] = {
    "payment": {
        **FUNDED,
        "order_reference": "o",
        "shipped_at": LATER,
        "delivered_at": LATER,
        "merchant_told_at": {"delivered_at": LATER},
        "last_partial_at": LATER,
        "merchant_rules_version": "m@1",
    },
    "cancellation": {
        **rows.CANCELLATION_ROW,
        **rows.NO_REFUND,
        "state": "awaiting_agent",
        "items": [["a", 1]],
        "clock_id": rows.id_(77),
        "clock_started_at": rows.NOW,
        "reminders": 2,
        "deadline_at": LATER,
        "on_deadline": "decline",
        "approvals": [APPROVAL],
        "assigned_to": "a-1",
        "tier": "simple",
        "first_response_due_at": LATER,
        "resolution_due_at": LATER,
        "facts": {"amount": 7, "reason": "ž ✓ 退款"},
    },
    "leg": {
        **rows.LEG_ROW,
        "answers": [[rows.NOW, "send", "unknown:timeout", None], [LATER, "ask", "succeeded", "a-1"]],
    },
}
MAPPINGS: tuple[TableMapping[Any], ...] = (PAYMENT, CANCELLATION, LEG, TEXT, ANOMALY_STEP, JOB)


async def stored(connection: rows.Connection, table: str) -> dict[str, Any]:
    """The first row; what is JSON as JSON."""
    key = "1" if table == "payment" else "2"
    row = await connection.fetchrow(f"select * from {table} order by {key} limit 1")  # noqa: S608 -- our own names
    return {name: _read(value) for name, value in row.items()}


def _read(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    try:
        return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value
    except json.JSONDecodeError:
        return value


@pytest.mark.parametrize("full", [False, True], ids=["what a row must have", "as much as it may have"])
async def test_a_row_becomes_a_value_and_the_same_row_again(owner: rows.Connection, full: bool) -> None:
    payment: Payment | None = None
    for table, row in rows.FIRST.items():
        least = FUNDED if table == "payment" else row
        await rows.insert(owner, table, FULL.get(table, least) if full else least)
    for mapping in MAPPINGS:
        name = mapping.name
        text = await owner.fetchval(f"select {mapping.json('t')} from {name} t")  # noqa: S608 -- our own names
        value = Decoder(mapping.value).decode(text)
        payment = value if isinstance(value, Payment) else payment

        written = dict(zip(mapping.columns, map(_read, mapping.writer()(value, payment)), strict=True))

        assert written == await stored(owner, name), name


async def test_the_types_are_those_that_postgresql_takes(owner: rows.Connection) -> None:
    for mapping in MAPPINGS:
        types = dict(
            await owner.fetch(
                "select attname, format_type(atttypid, null) from pg_attribute where attrelid = $1::regclass and attnum > 0",
                f"public.{mapping.name}",
            )
        )
        for column, type_ in zip(mapping.columns, mapping.types, strict=True):
            same = await owner.fetchval("select $1::text::regtype = $2::text::regtype", type_, types[column])
            assert same or types[column] not in {"text", "bigint", "jsonb", "bytea"}, (mapping.name, column, type_, types[column])
