"""Apply: one statement writes a whole change, or nothing of it.

The statement is composed of one piece for each thing that it does to a table. All of them read `changed`, which has a row only where
the payment still had the version that was decided upon (and the job was still this worker's): where it has none, nothing is written
anywhere. The text depends on the pieces alone, so that PostgreSQL plans each composition once.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from workflows.domain.changes import Change
from workflows.domain.enums import JobKind
from workflows.domain.model import Anomaly, Payment
from workflows.storage.guards import IMMUTABLE
from workflows.storage.mapping import (
    ANOMALY,
    ANOMALY_STEP,
    CANCELLATION,
    JOB,
    LEG,
    MERCHANT,
    PAYMENT,
    POLICY,
    RECORD,
    REPLY,
    TEXT,
    KeptReply,
    ResponseToKeep,
    TableMapping,
    Values,
)


class Applied:
    """Written."""


class Conflict:
    """Somebody else was faster: load and decide again. Nothing was written."""


class Lost:
    """Another worker has taken the job over. Nothing was written."""


ApplyResult = type[Applied] | type[Conflict] | type[Lost]


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


class Piece(NamedTuple):
    """One part of the statement: what it does, to which table, in how many rows."""

    does: str
    table: str = ""
    rows: int = 1


@dataclass(slots=True)
class Statement:
    """Pieces in the making, with their arguments in the order in which they are numbered."""

    pieces: list[Piece] = field(default_factory=list)
    arguments: list[Any] = field(default_factory=list)

    def add(self, piece: Piece, *arguments: Any) -> None:
        self.pieces.append(piece)
        self.arguments.extend(arguments)

    def insert(self, table: TableMapping[Any], values: Sequence[Any], payment: Payment | None = None, *, does: str = "insert") -> None:
        if values:
            self.pieces.append(Piece(does, table.name, len(values)))
            for value in values:
                self.arguments.extend(_ROWS[table.name].row(value, payment))

    def write(self, table: TableMapping[Any], values: Sequence[Any], payment: Payment, *, known: Container[UUID]) -> None:
        """Insert those that are new, update the others."""
        self.insert(table, [value for value in values if value.id not in known], payment)
        for value in values:
            if value.id in known:
                self.update(table, value, payment)

    def update(self, table: TableMapping[Any], value: Any, payment: Payment | None = None) -> None:
        rows = _ROWS[table.name]
        row = rows.row(value, payment)
        self.add(Piece("update", table.name), value.payment_id, value.id, *(row[position] for position in rows.mutable))

    async def run(self, connection: Any) -> ApplyResult:
        """`connection`: `Connections`, or asyncpg's connection or pool."""
        try:
            row = await connection.fetchrow(_text(tuple(self.pieces)), *self.arguments)
        except asyncpg.UniqueViolationError as violation:
            if violation.constraint_name not in CONFLICT_CONSTRAINTS:
                raise
            return Conflict
        if row["changed"]:
            return Applied
        return Conflict if row["locked"] else Lost


async def apply(
    connection: Any,
    change: Change,
    *,
    keep: ResponseToKeep | None = None,
    scope_id: UUID | None = None,
    fence: Fence | None = None,
    mark: NotificationMark | None = None,
) -> ApplyResult:
    """Write the change with the kept reply, the job's fate and the fate of a rail's word. `connection`: see `Statement.run`.

    `scope_id`: what the reply is kept under; None: the payment.
    """
    statement, payment, before = Statement(), change.payment, change.before
    _lock(statement, fence)
    if before is None:
        statement.insert(PAYMENT, [payment], does="insert new")
    else:
        rows = _ROWS[PAYMENT.name]
        row = rows.row(payment, None)
        swap = Piece("swap" if fence is None else "swap fenced")
        statement.add(swap, payment.id, change.expected_version, *(row[position] for position in rows.mutable))
    statement.write(CANCELLATION, change.cancellations, payment, known={} if before is None else {c.id for c in before.cancellations})
    statement.write(LEG, change.legs, payment, known={} if before is None else {leg.id for leg in before.legs})
    statement.insert(RECORD, change.records, payment)
    statement.insert(TEXT, change.texts)
    statement.insert(JOB, change.jobs)
    for leg_id in change.hastened:
        statement.add(Piece("hasten"), payment.id, leg_id, payment.updated_at)
    statement.insert(ANOMALY, change.anomalies)
    statement.insert(ANOMALY_STEP, change.anomaly_steps)
    if keep is not None:
        statement.insert(REPLY, [KeptReply(scope_id or payment.id, keep)])
    _finish(statement, fence)
    _mark(statement, mark)
    return await statement.run(connection)


async def keep_response(connection: Any, scope_id: UUID, keep: ResponseToKeep) -> bool:
    """Keep the reply to a request that changed nothing; False where one is kept under its key already."""
    statement = Statement()
    statement.insert(REPLY, [KeptReply(scope_id, keep)], does="insert new")
    return await statement.run(connection) is Applied


async def finish_job(connection: Any, fence: Fence) -> bool:
    """End or put off a job without a change; False where another worker has taken it over."""
    statement = Statement()
    _lock(statement, fence)
    statement.add(Piece("held"))
    _finish(statement, fence)
    return await statement.run(connection) is Applied


async def settle_notification(connection: Any, mark: NotificationMark, fence: Fence, anomaly: Anomaly | None) -> bool:
    """Say what became of a rail's word that changes nothing of a payment, keep it as an anomaly where it is one, and end its job.

    False where another worker has taken the job over: nothing was written.
    """
    statement = Statement()
    _lock(statement, fence)
    statement.add(Piece("held"))
    statement.insert(ANOMALY, [] if anomaly is None else [anomaly], does="insert once")
    _finish(statement, fence)
    _mark(statement, mark)
    return await statement.run(connection) is Applied


async def insert(connection: Any, *rows: tuple[TableMapping[Any], Sequence[Any]]) -> ApplyResult:
    """Write rows that belong to no payment, a record among them: its place in its chain is the lock."""
    statement = Statement([Piece("anyway")])
    for table, values in rows:
        statement.insert(table, values)
    return await statement.run(connection)


# What must never happen twice. Two at once is no error: the one who comes second decides again, upon what the first has done.
CONFLICT_CONSTRAINTS = frozenset(
    {
        "payment_pkey",
        "one_open_cancellation_per_payment",
        "one_cancellation_per_client_reference",
        "one_live_leg_per_source",
        "one_successor_per_leg",
        "one_job_per_subject",
        "one_anomaly_per_word",
        "anomaly_step_pkey",
        "one_resolution_per_anomaly",
        "record_pkey",
        "kept_reply_pkey",
        "policy_pkey",
        "policy_ordinal",
        "merchant_pkey",
    }
)


def _lock(statement: Statement, fence: Fence | None) -> None:
    if fence is not None:
        statement.add(Piece("lock"), fence.payment_id, fence.id, fence.attempt)


def _finish(statement: Statement, fence: Fence | None) -> None:
    if fence is None or fence.leased:
        return
    if fence.run_at is None:
        statement.add(Piece("job done"))
    else:
        statement.add(Piece("job again"), fence.run_at)


def _mark(statement: Statement, mark: NotificationMark | None) -> None:
    if mark is not None:
        statement.add(Piece("mark"), mark.payment_id, mark.id, mark.at, mark.verdict)


class _Rows(NamedTuple):
    """A table as the statement's pieces need it."""

    row: Callable[[Any, Payment | None], Values]
    columns: tuple[str, ...]  # quoted
    types: tuple[str, ...]
    mutable: tuple[int, ...]  # positions of the columns that may change


def _rows(table: TableMapping[Any]) -> _Rows:
    fixed = IMMUTABLE.get(table.name, frozenset())
    mutable = tuple(position for position, name in enumerate(table.columns) if name not in fixed)
    return _Rows(table.writer(), tuple(f'"{name}"' for name in table.columns), table.types, mutable)


_ROWS = {
    table.name: _rows(table) for table in (PAYMENT, CANCELLATION, LEG, RECORD, TEXT, JOB, ANOMALY, ANOMALY_STEP, REPLY, POLICY, MERCHANT)
}


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
def _text(pieces: tuple[Piece, ...]) -> str:
    numbers = _Numbers()
    parts = [_PIECES[piece.does](piece, numbers, f"part_{position}") for position, piece in enumerate(pieces)]
    locked = "(select count(*) from locked)" if pieces[0].does == "lock" else "1"
    return f"with {', '.join(parts)} select (select count(*) from changed) as changed, {locked} as locked"


def _lock_sql(_: Piece, numbers: _Numbers, __: str) -> str:
    """Before the payment is touched: whoever took the job over meanwhile has raised `attempt`, and no row is found."""
    payment, id_, attempt = numbers.take(("uuid", "uuid", "integer"))
    found = f"payment_id = {payment} and id = {id_} and attempt = {attempt}"
    return f"locked as materialized (select payment_id, id from job where {found} for update)"


def _swap_sql(piece: Piece, numbers: _Numbers, _: str) -> str:
    key, version = numbers.take(("uuid", "integer"))
    fenced = " and exists (select from locked)" if piece.does == "swap fenced" else ""
    return f"changed as (update payment set {_sets('payment', numbers)} where id = {key} and version = {version}{fenced} returning 1)"


def _insert_new_sql(piece: Piece, numbers: _Numbers, _: str) -> str:
    """What everything else depends on: a row that nobody has written yet."""
    rows = _ROWS[piece.table]
    given = ", ".join(numbers.take(rows.types))
    return f"changed as (insert into {piece.table} ({', '.join(rows.columns)}) values ({given}) on conflict do nothing returning 1)"


def _insert_sql(piece: Piece, numbers: _Numbers, name: str) -> str:
    rows = _ROWS[piece.table]
    given = ", ".join(f"({', '.join(numbers.take(rows.types))})" for _ in range(piece.rows))
    listed = ", ".join(rows.columns)
    once = " on conflict do nothing" if piece.does == "insert once" else ""
    return f"{name} as (insert into {piece.table} ({listed}) select v.* from (values {given}) as v ({listed}), changed{once})"


def _update_sql(piece: Piece, numbers: _Numbers, name: str) -> str:
    payment, id_ = numbers.take(("uuid", "uuid"))
    sets = _sets(piece.table, numbers)
    return f"{name} as (update {piece.table} set {sets} from changed where payment_id = {payment} and id = {id_})"


def _sets(table: str, numbers: _Numbers) -> str:
    rows = _ROWS[table]
    given = numbers.take(rows.types[position] for position in rows.mutable)
    return ", ".join(f"{rows.columns[position]} = {value}" for position, value in zip(rows.mutable, given, strict=True))


_MY_JOB = "changed, locked where job.payment_id = locked.payment_id and job.id = locked.id"


def _again_sql(_: Piece, numbers: _Numbers, name: str) -> str:
    due = numbers.take(("timestamptz",))[0]
    return f"{name} as (update job set run_at = {due}, leased_until = null from {_MY_JOB})"


def _hasten_sql(_: Piece, numbers: _Numbers, name: str) -> str:
    payment, leg, at = numbers.take(("uuid", "uuid", "timestamptz"))
    its_job = f"payment_id = {payment} and kind = '{JobKind.move}' and subject_id = {leg} and leased_until is null"
    return f"{name} as (update job set run_at = least(run_at, {at}) from changed where {its_job})"


def _mark_sql(_: Piece, numbers: _Numbers, name: str) -> str:
    payment, id_, at, verdict = numbers.take(("uuid", "uuid", "timestamptz", "text"))
    heard = f"payment_id = {payment} and id = {id_} and handled_at is null"
    return f"{name} as (update notification set handled_at = {at}, verdict = {verdict} from changed where {heard})"


_PIECES: dict[str, Callable[[Piece, _Numbers, str], str]] = {
    "lock": _lock_sql,
    "insert new": _insert_new_sql,
    "swap": _swap_sql,
    "swap fenced": _swap_sql,
    "held": lambda *_: "changed as (select from locked)",
    "anyway": lambda *_: "changed as (select)",
    "insert": _insert_sql,
    "insert once": _insert_sql,
    "update": _update_sql,
    "job done": lambda _, __, name: f"{name} as (delete from job using {_MY_JOB})",
    "job again": _again_sql,
    "hasten": _hasten_sql,
    "mark": _mark_sql,
}
