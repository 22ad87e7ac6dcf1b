"""Load: one statement, one snapshot.

Every table is filtered by the payment's id itself, so that a sharded database asks one shard.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from workflows.domain.enums import CANCELLATION_OPEN
from workflows.domain.model import IdempotentResponse, Snapshot
from workflows.storage import codec, rows, tables
from workflows.storage.rows import Row

_PAYMENT = ", ".join(f"p.{name}" for name in codec.columns(tables.PaymentRow))
_OPEN = ", ".join(f"'{state}'" for state in sorted(CANCELLATION_OPEN))

_NO_ID = UUID(int=0)


def _parts(payment: str, wanted: str) -> str:
    """The unfinished cancellations and the wanted one, with their refunds and legs, as JSON."""
    mine = f"select c.id from cancellation c where c.payment_id = {payment} and {wanted}"
    return f"""
        (select jsonb_agg(to_jsonb(c)) from cancellation c where c.payment_id = {payment} and {wanted}) as cancellations,
        (select jsonb_agg(to_jsonb(r)) from refund r where r.payment_id = {payment} and r.cancellation_id in ({mine})) as refunds,
        (select jsonb_agg(to_jsonb(l)) from leg l where l.payment_id = {payment} and l.cancellation_id in ({mine})) as legs"""


_ANOMALIES = "(select jsonb_agg(to_jsonb(a)) from anomaly a where a.scope_id = $1) as anomalies"


def _shown(payment: str) -> str:
    """What only showing a payment needs."""
    return f"""
        (select jsonb_agg(to_jsonb(t)) from personal_text t where t.payment_id = {payment}) as texts,
        array(select c.id from cancellation c where c.payment_id = {payment} order by c.created_at, c.id) as cancellation_ids"""


_OF_LEG = "(select l.cancellation_id from leg l where l.payment_id = $1 and l.id = $7)"
_WANTED = f"(c.state in ({_OPEN}) or c.id = $2 or c.client_reference = $3 or c.id = {_OF_LEG})"
_REPLY = """
        k.fingerprint as reply_fingerprint, k.status as reply_status, k.body as reply_body, k.headers as reply_headers"""
_FROM_REPLY = "left join kept_reply k on k.scope_id = $1 and k.caller = $4 and k.key = $5"
_REQUESTS = """
        (select count(*) from cancellation c where c.payment_id = $1 and c.created_at > $6
           and c.refusal is distinct from 'limit-reached') as requests_last_day"""


def _one(*also: str) -> str:
    """The statement over one payment, with these further columns."""
    columns = ", ".join((_PAYMENT, _parts("$1", _WANTED), _REPLY, _REQUESTS, *also))
    return f"select {columns} from payment p {_FROM_REPLY} where p.id = $1"


# The wallet's word on a payment that is over may be an anomaly too, and one word makes one. Nobody else's request asks for them.
DECIDE = _one(f"case when p.state in ('cancelled', 'failed') then {_ANOMALIES.removesuffix(' as anomalies')} end as anomalies")
LEARN = _one(_ANOMALIES)
SHOW = _one(_shown("$1"), _ANOMALIES)
MANY = (
    f"select {_PAYMENT}, {_parts('p.id', f'(c.state in ({_OPEN}) or c.id = any($2))')}, {_shown('p.id')}"
    " from payment p where p.id = any($1)"
)
REGISTER = f"""
    select coalesce(
        (select version from policy where effective_from <= $2 order by effective_from desc, ordinal desc limit 1),
        (select version from policy order by ordinal limit 1)) as policy_in_force,
    {_PAYMENT}, {_shown("$1")} from (select 1) as one left join payment p on p.id = $1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotQuery:
    """What to load beside the payment and its unfinished cancellations."""

    payment_id: UUID
    cancellation_id: UUID | None = None
    leg_id: UUID | None = None  # its cancellation is loaded, and the payment's anomalies
    client_reference: str | None = None
    caller: str | None = None
    key: str | None = None
    requests_since: datetime | None = None
    shown: bool = False  # with texts and the ids of all cancellations


async def load(connection: Any, wanted: SnapshotQuery) -> Snapshot | None:
    """The snapshot, or None where there is no such payment. `connection`: an asyncpg pool or connection."""
    row = await connection.fetchrow(
        SHOW if wanted.shown else DECIDE if wanted.leg_id is None else LEARN,
        wanted.payment_id,
        wanted.cancellation_id or _NO_ID,
        wanted.client_reference,
        wanted.caller,
        wanted.key,
        wanted.requests_since,
        wanted.leg_id or _NO_ID,
    )
    return None if row is None else _snapshot(row)


async def load_many(connection: Any, payment_ids: Sequence[UUID], cancellation_ids: Sequence[UUID] = ()) -> dict[UUID, Snapshot]:
    """The snapshots of a page, by the payment's id, with those cancellations among them."""
    rows = await connection.fetch(MANY, list(payment_ids), list(cancellation_ids))
    return {row["id"]: _snapshot(row) for row in rows}


async def load_for_registration(connection: Any, payment_id: UUID, authorised_at: datetime) -> tuple[str | None, Snapshot | None]:
    """The version of the policy in force at that moment, and the payment if it exists already."""
    row = await connection.fetchrow(REGISTER, payment_id, authorised_at)
    return row["policy_in_force"], None if row["id"] is None else _snapshot(row)


def _snapshot(row: Row) -> Snapshot:
    return Snapshot(
        payment=rows.payment_from(row),
        cancellations=tuple(map(rows.cancellation_from, _list(row, "cancellations"))),
        refunds=tuple(map(rows.refund_from, _list(row, "refunds"))),
        legs=tuple(map(rows.leg_from, _list(row, "legs"))),
        texts=tuple(map(rows.text_from, _list(row, "texts"))),
        anomalies=tuple(map(rows.anomaly_from, _list(row, "anomalies"))),
        cancellation_ids=tuple(row.get("cancellation_ids") or ()),
        requests_last_day=row.get("requests_last_day") or 0,
        reply=_reply(row),
    )


def _list(row: Row, name: str) -> list[Row]:
    text = row.get(name)
    return json.loads(text) if text else []


def _reply(row: Row) -> IdempotentResponse | None:
    if row.get("reply_fingerprint") is None:
        return None
    return IdempotentResponse(
        fingerprint=row["reply_fingerprint"],
        status=row["reply_status"],
        body=row["reply_body"],
        headers=json.loads(row["reply_headers"]),
    )
