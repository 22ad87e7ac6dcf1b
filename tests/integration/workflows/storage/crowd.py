"""A hundred thousand payments and what became of them, made in seconds by SQL; whatever is rare lies at the far end of its list."""

import json
from datetime import UTC, datetime
from typing import Any

from tests.integration.workflows.storage.rows import ANOMALY_ROW, ANOMALY_STEP_ROW, CANCELLATION_ROW, LEG_ROW, PAYMENT_ROW, RECORD_ROW, Row
from workflows.domain.ids import payment_id

Connection = Any  # asyncpg ships no types

PAYMENTS = 100_000
START = datetime(2026, 10, 1, tzinfo=UTC)
MIDDLE = datetime(2026, 10, 6, 18, 53, 20, tzinfo=UTC)
LATE = datetime(2026, 10, 12, tzinfo=UTC)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
DEADLINE = datetime(2026, 11, 20, tzinfo=UTC)  # of most that wait
KNOWN = "order-known"  # the reference of a payment with a cancellation, a refund and legs

# Each statement makes the members in which its rows differ from those of rows.py; `made` holds them all.
_PAYMENT = """
    select n, case when n = 50000 then $2::uuid else gen_random_uuid() end as id,
        case when n = 50000 then $3::text else 'order-' || n end as reference,
        timestamptz '2026-10-01Z' + n * interval '10 seconds' as created_at,
        timestamptz '2026-10-01Z' + n * interval '11 seconds' as updated_at,
        case when n < 40 then 'wallet-quiet' else 'wallet-' || n % 5000 end as wallet_id,
        case when n < 40 then 'merchant-quiet' when n % 3 = 0 then 'merchant-big' else 'merchant-' || n % 300 end as merchant_id,
        case when n % 2 = 0 then 'basket' when n % 7 = 0 then 'basket-' || n end as order_reference,
        case when n < 20 then 'failed' when n > 95000 then 'pending' when n % 25 = 0 then 'refunding' else 'completed' end as state,
        case when n % 5 = 0 then 4 else 1 end as sequence
      from generate_series(0, $1::integer - 1) n
"""
_ASKED = """
    select p.n, p.id as payment_id, uuidv7(p.created_at - now()) as id, p.created_at, p.updated_at, p.merchant_id,
        case when p.n < 20 then 'awaiting_return' when p.n < 100 then 'failed' when p.n % 25 = 0 then 'completed'
            when p.n > 95000 then 'awaiting_agent' when p.n > 80000 then 'awaiting_merchant'
            when p.n % 10 = 0 then 'refused' else 'withdrawn' end as state,
        case when p.n < 100 then 'return' when p.n % 10 = 0 and p.n % 25 <> 0 and p.n <= 80000 then null else 'automatic' end as route,
        case when p.n between 100 and 80000 and p.n % 10 = 0 and p.n % 25 <> 0 then 'window-closed' end as refusal,
        case when p.n between 1000 and 1100 then 'agent-gone' when p.n > 99900 then 'agent-new'
            when p.n > 95000 then 'agent-busy' end as assigned_to,
        case when p.waits then 'decline' end as on_deadline,
        case when p.waits then gen_random_uuid() end as clock_id,
        case when p.waits then p.created_at end as clock_started_at,
        case when p.waits then timestamptz '2026-10-31Z'
            + interval '1 day' * case when p.n < 20 then 35 when p.n <= 95000 then 20 when p.n < 96000 then 0 else 30 end
            end as deadline_at,
        null::text as client_reference
      from (select *, n < 20 or n > 80000 and n % 25 <> 0 as waits from made_payment) p where p.n % 5 = 0
"""
_CANCELLATION = f"""
    select c.*, r.refund_id, r.refund_created_at, r.refund_updated_at, r.refund_state,
        case when r.refund_id is not null then 1 end as refund_version, case when r.refund_id is not null then 100 end as refund_amount
      from ({_ASKED}) c left join lateral (
        select uuidv7(c.created_at - now()) as refund_id, c.created_at as refund_created_at, c.updated_at as refund_updated_at,
            case when c.n < 100 then 'failed' when c.n > 95000 then 'processing' else 'succeeded' end as refund_state
        ) r on c.state in ('failed', 'completed', 'withdrawn')
"""  # noqa: S608 -- our own words
_LEG = """
    select r.n, r.payment_id, r.id as cancellation_id, r.refund_id, l.id, l.position, r.created_at, r.refund_state as state,
        case when r.n < 5000 then 'olden' when l.position = 1 then 'wallet' else 'sandbox' end as provider,
        null::uuid as replaces
      from made_cancellation r, lateral (select position, gen_random_uuid() as id from generate_series(0, r.n % 2) position) l
     where r.refund_id is not null
"""
_RECORD = """
    select p.id as chain_id, s as sequence, uuidv7(p.created_at - now()) as id, p.id as payment_id, p.merchant_id,
        case when s = p.sequence then p.updated_at else p.created_at end as occurred_at,
        case when p.n < 30 then 'payment.charged_back' when s = 1 then 'payment.registered' when s = 2 then 'payment.completed'
            else 'leg.submitted' end as type,
        case when p.n < 30 then 'clerk' when s < 3 then 'backend' else 'worker' end as actor_id
      from made_payment p, generate_series(1, p.sequence) s
"""
# Most were resolved; what is open still, or was proposed, lies far down.
_ANOMALY = """
    select n, p.id as scope_id, p.id as payment_id, uuidv7(p.created_at - now()) as id, p.created_at, 'w-' || n as word,
        case when n < 40 then 'voided_late' when n % 2 = 0 then 'contradiction' else 'amount_mismatch' end as kind,
        case when n < 40 then 'olden' when n % 3 = 0 then null else 'sandbox' end as provider
      from made_payment p where n < 30 or n % 10 = 0
"""
_ANOMALY_STEP = """
    select n, scope_id, id as anomaly_id, n >= 20 as closes, case when n >= 20 then 'note' else 'refund' end as action, created_at as at
      from made_anomaly where n >= 10
"""
_STATEMENTS: tuple[tuple[str, Row, str], ...] = (
    ("payment", PAYMENT_ROW, _PAYMENT),
    ("cancellation", CANCELLATION_ROW, _CANCELLATION),
    ("leg", LEG_ROW, _LEG),
    ("record", RECORD_ROW, _RECORD),
    ("anomaly", ANOMALY_ROW, _ANOMALY),
    ("anomaly_step", ANOMALY_STEP_ROW, _ANOMALY_STEP),
)


async def fill(connection: Connection) -> None:
    """Payments, cancellations with their refunds, legs and records in believable proportions, then ANALYZE."""
    await connection.execute("set session_replication_role = replica")  # the foreign keys hold by the way the rows are made
    for table, row, made in _STATEMENTS:
        given = (PAYMENTS, payment_id(KNOWN), KNOWN) if table == "payment" else ()
        await connection.execute(f"create temp table made_{table} as {_literal(made, given)}")
        differ = {name for name, _ in await connection.fetch(_COLUMNS, f"made_{table}")}
        columns = await connection.fetch(_COLUMNS, table)
        values = ", ".join(f'{"m" if name in differ else "usual"}."{name}"::{type_}' for name, type_ in columns)
        usual = f"jsonb_populate_record(null::public.{table}, $1::jsonb) usual"
        await connection.execute(f"insert into {table} select {values} from made_{table} m, {usual}", json.dumps(row))  # noqa: S608 -- our own names
    await connection.execute("vacuum analyze payment, cancellation, leg, record, anomaly, anomaly_step")


_COLUMNS = """
select attname, format_type(atttypid, atttypmod) from pg_attribute
 where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum"""


def _literal(statement: str, given: tuple[object, ...]) -> str:
    """A statement that makes a table takes no arguments."""
    for number, value in enumerate(given, 1):
        statement = statement.replace(f"${number}", f"'{value}'")
    return statement
