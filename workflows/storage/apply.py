"""Apply: one statement writes a whole change, or nothing of it.

The statement is composed of one piece per table, each of which reads the compare-and-swap on the payment's version: where that
found no row, nothing is written anywhere. Its text depends only on how many rows of which table there are, so that PostgreSQL
plans each shape once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from uuid import UUID

import asyncpg
from sqlalchemy.dialects import postgresql
from sqlmodel import SQLModel

from workflows.domain.changes import Change
from workflows.domain.model import IdempotentResponse
from workflows.storage import codec, tables
from workflows.storage.guards import IMMUTABLE

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its constructor untyped


class Applied:
    """Written."""


class Conflict:
    """Somebody else was faster: load and decide again. Nothing was written."""


class Lost:
    """Another worker has taken the job over. Nothing was written."""


ApplyResult = type[Applied] | type[Conflict] | type[Lost]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseToKeep:
    """The reply to keep under the caller's idempotency key, together with its effect."""

    caller: str
    key: str
    reply: IdempotentResponse
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The job on whose behalf a change is made; it is written only while `attempt` is still this worker's."""

    payment_id: UUID
    id: UUID
    attempt: int
    run_at: datetime | None  # None: the job is done; else when it is due again
    leased: bool = False  # stay the holder, and go on


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationMark:
    """What became of a rail's stored word, written together with what it led to."""

    payment_id: UUID
    id: UUID
    verdict: str
    at: datetime


class _Shape(NamedTuple):
    new: bool
    cancellations: int
    refunds: int
    legs: int
    records: int
    texts: int
    jobs: int
    anomalies: int
    reply: bool
    fence: Literal["none", "done", "again", "held"]
    mark: bool


class _Table(NamedTuple):
    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    upsert: bool


def _table(model: type[SQLModel], *, upsert: bool = False) -> _Table:
    table = model.metadata.tables[str(model.__tablename__)]
    return _Table(
        name=table.name,
        columns=tuple(f'"{column.name}"' for column in table.columns),
        types=tuple(column.type.compile(_DIALECT) for column in table.columns),
        upsert=upsert,
    )


_PAYMENT = _table(tables.PaymentRow)
_CHILDREN = (
    _table(tables.CancellationRow, upsert=True),
    _table(tables.RefundRow, upsert=True),
    _table(tables.LegRow, upsert=True),
    _table(tables.RecordRow),
    _table(tables.PersonalTextRow),
    _table(tables.JobRow),
    _table(tables.AnomalyRow),
)
_REPLY = _table(tables.IdempotentResponseRow)
# What never changes is neither sent nor set.
_PAYMENT_UPDATED = tuple(i for i, name in enumerate(_PAYMENT.columns) if name.strip('"') not in IMMUTABLE["payment"])


async def apply(
    connection: Any, change: Change, *, keep: ResponseToKeep | None = None, fence: Fence | None = None, mark: NotificationMark | None = None
) -> ApplyResult:
    """Write the change with the kept reply, the job's fate and the fate of a rail's word. `connection`: an asyncpg pool or connection."""
    payment = change.payment
    new = change.expected_version == 0
    rows: list[list[codec.Values]] = [
        [codec.cancellation_values(row, payment.merchant_id) for row in change.cancellations],
        [codec.refund_values(row, payment.merchant_id) for row in change.refunds],
        [codec.leg_values(row) for row in change.legs],
        [codec.record_values(record, payment.merchant_id) for record in change.records],
        [codec.text_values(text) for text in change.texts],
        [codec.job_values(job) for job in change.jobs],
        [codec.anomaly_values(anomaly) for anomaly in change.anomalies],
    ]
    values = codec.payment_values(payment)
    arguments: list[Any] = list(values) if new else [payment.id, change.expected_version, *(values[i] for i in _PAYMENT_UPDATED)]
    for group in rows:
        for row in group:
            arguments.extend(row)
    if keep is not None:
        arguments.extend(_reply_values(payment.id, keep))
    if fence is not None:
        arguments.extend((fence.payment_id, fence.id, fence.attempt))
        if fence.run_at is not None:
            arguments.append(fence.run_at)
    if mark is not None:
        arguments.extend((mark.payment_id, mark.id, mark.at, mark.verdict))
    cancellations, refunds, legs, records, texts, jobs, anomalies = map(len, rows)
    shape = _Shape(new, cancellations, refunds, legs, records, texts, jobs, anomalies, keep is not None, _fate(fence), mark is not None)
    try:
        row = await connection.fetchrow(_statement(shape), *arguments)
    except asyncpg.UniqueViolationError as violation:
        if violation.constraint_name not in CONFLICT_CONSTRAINTS:
            raise
        return Conflict
    if row["changed"]:
        return Applied
    return Lost if fence is not None and not row["locked"] else Conflict


# What must never happen twice. Two at once is no error: the one who comes second decides again, upon what the first has done.
CONFLICT_CONSTRAINTS = frozenset(
    {
        "payment_pkey",
        "one_open_cancellation_per_payment",
        "one_cancellation_per_client_reference",
        "one_refund_per_cancellation",
        "one_live_leg_per_source",
        "one_successor_per_leg",
        "one_job_per_subject",
        "one_anomaly_per_word",
        "record_pkey",
        "kept_reply_pkey",
    }
)


async def keep_response(connection: Any, scope_id: UUID, keep: ResponseToKeep) -> bool:
    """Keep the reply to a request that changed nothing; False where one is kept under its key already."""
    found = await connection.fetchrow(_KEEP, *_reply_values(scope_id, keep))
    return found is not None


async def finish_job(connection: Any, fence: Fence) -> bool:
    """End or put off a job without a change; False where another worker has taken it over."""
    if fence.run_at is None:
        sql, extra = "delete from job where payment_id = $1 and id = $2 and attempt = $3 returning 1", ()
    else:
        sql = "update job set run_at = $4, leased_until = null where payment_id = $1 and id = $2 and attempt = $3 returning 1"
        extra = (fence.run_at,)  # type: ignore[assignment]  # a longer tuple in this branch
    return await connection.fetchrow(sql, fence.payment_id, fence.id, fence.attempt, *extra) is not None


def _fate(fence: Fence | None) -> Literal["none", "done", "again", "held"]:
    if fence is None:
        return "none"
    if fence.leased:
        return "held"
    return "done" if fence.run_at is None else "again"


def _reply_values(scope_id: UUID, keep: ResponseToKeep) -> codec.Values:
    reply = keep.reply
    headers = codec.json_text(reply.headers)
    return (scope_id, keep.caller, keep.key, reply.fingerprint, reply.status, reply.body, headers, keep.at)


class _Numbers:
    """Hands out $1, $2, … in the order in which the arguments are given."""

    def __init__(self) -> None:
        self._last = 0

    def take(self, types: Iterable[str]) -> list[str]:
        taken = []
        for type_ in types:
            self._last += 1
            taken.append(f"${self._last}::{type_}")
        return taken


@lru_cache(maxsize=512)
def _statement(shape: _Shape) -> str:
    numbers = _Numbers()
    pieces = [f"changed as ({_swap(shape, numbers)} returning 1)"]
    counts = (shape.cancellations, shape.refunds, shape.legs, shape.records, shape.texts, shape.jobs, shape.anomalies)
    for table, count in zip(_CHILDREN, counts, strict=True):
        if count:
            pieces.append(f"{table.name}_rows as ({_insert(table, count, numbers)})")
    if shape.reply:
        pieces.append(f"reply_rows as ({_insert(_REPLY, 1, numbers)})")
    locked = "1"
    if shape.fence != "none":
        job = "payment_id = {} and id = {} and attempt = {}".format(*numbers.take(("uuid", "uuid", "integer")))
        # Locked before the payment is touched: whoever took the job over meanwhile has raised `attempt`, and no row is found.
        pieces.insert(0, f"locked as materialized (select 1 from job where {job} for update)")
        locked = "(select count(*) from locked)"
        if shape.fence == "done":
            pieces.append(f"job_done as (delete from job using changed where {job})")
        elif shape.fence == "again":
            due = numbers.take(("timestamptz",))[0]
            pieces.append(f"job_again as (update job set run_at = {due}, leased_until = null from changed where {job})")
    if shape.mark:
        payment, id_, at, verdict = numbers.take(("uuid", "uuid", "timestamptz", "text"))
        told = f"payment_id = {payment} and id = {id_} and handled_at is null"
        pieces.append(f"marked as (update notification set handled_at = {at}, verdict = {verdict} from changed where {told})")
    return f"with {', '.join(pieces)} select (select count(*) from changed) as changed, {locked} as locked"


def _swap(shape: _Shape, numbers: _Numbers) -> str:
    if shape.new:
        return (
            f"insert into payment ({', '.join(_PAYMENT.columns)}) values ({', '.join(numbers.take(_PAYMENT.types))}) on conflict do nothing"
        )
    key, version = numbers.take(("uuid", "integer"))
    names = [_PAYMENT.columns[i] for i in _PAYMENT_UPDATED]
    given = numbers.take(_PAYMENT.types[i] for i in _PAYMENT_UPDATED)
    sets = ", ".join(f"{name} = {value}" for name, value in zip(names, given, strict=True))
    fenced = " and exists (select 1 from locked)" if shape.fence != "none" else ""
    return f"update payment set {sets} where id = {key} and version = {version}{fenced}"


def _insert(table: _Table, count: int, numbers: _Numbers) -> str:
    rows = ", ".join(f"({', '.join(numbers.take(table.types))})" for _ in range(count))
    listed = ", ".join(table.columns)
    sql = f"insert into {table.name} ({listed}) select v.* from (values {rows}) as v ({listed}), changed"
    if table.upsert:
        sets = ", ".join(f"{name} = excluded.{name}" for name in table.columns if name.strip('"') not in IMMUTABLE[table.name])
        sql += f" on conflict (payment_id, id) do update set {sets}"
    return sql


def _keep_statement(numbers: _Numbers) -> str:
    given = ", ".join(numbers.take(_REPLY.types))
    return f"insert into kept_reply ({', '.join(_REPLY.columns)}) values ({given}) on conflict do nothing returning 1"


_KEEP = _keep_statement(_Numbers())
