"""Reads for the lists: keyset pages over the indexes, newest first, never an offset."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, tuple_
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlmodel import col, select

from workflows.storage.tables import CancellationRow, LegRow, PaymentRow, RecordRow, RefundRow

# SQLAlchemy writes the statement, asyncpg runs it: one pool, and no session for a page of ids.
_DIALECT = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its constructor untyped


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the list is ordered by time, then id."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFilter:
    reference: str | None = None
    wallet_id: str | None = None
    merchant_id: str | None = None
    order_reference: str | None = None
    state: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationFilter:
    state: str | None = None
    route: str | None = None
    merchant_id: str | None = None
    payment_id: UUID | None = None
    assigned_to: str | None = None
    overdue: bool | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFilter:
    payment_id: UUID | None = None
    cancellation_id: UUID | None = None
    state: str | None = None
    provider: str | None = None
    merchant_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    from_: datetime | None = None
    to: datetime | None = None
    type: str | None = None
    payment_id: UUID | None = None
    merchant_id: str | None = None
    actor: str | None = None


async def payments(pool: Any, wanted: PaymentFilter, after: Place | None, limit: int) -> list[UUID]:
    """Ids, newest first."""
    conditions = [
        _is(PaymentRow.reference, wanted.reference),
        _is(PaymentRow.wallet_id, wanted.wallet_id),
        _is(PaymentRow.merchant_id, wanted.merchant_id),
        _is(PaymentRow.order_reference, wanted.order_reference),
        _is(PaymentRow.state, wanted.state),
        *_span(PaymentRow.created_at, wanted.created_from, wanted.created_to),
        _after(PaymentRow, after),
    ]
    statement = select(PaymentRow.id).where(*_given(conditions))
    return [row["id"] for row in await _fetch(pool, _newest(statement, PaymentRow, limit))]


async def cancellations(
    pool: Any, wanted: CancellationFilter, after: Place | None, limit: int, *, now: datetime
) -> list[tuple[UUID, UUID]]:
    """Pairs of the payment's and the cancellation's id, newest first. `now` decides what is overdue."""
    conditions = [
        _is(CancellationRow.state, wanted.state),
        _is(CancellationRow.route, wanted.route),
        _is(CancellationRow.payment_id, wanted.payment_id),
        _is(CancellationRow.assigned_to, wanted.assigned_to),
        _overdue(wanted.overdue, now),
        *_span(CancellationRow.created_at, wanted.created_from, wanted.created_to),
        _of_merchant(CancellationRow, wanted.merchant_id),
        _after(CancellationRow, after),
    ]
    statement = select(CancellationRow.payment_id, CancellationRow.id).where(*_given(conditions))
    return [(row["payment_id"], row["id"]) for row in await _fetch(pool, _newest(statement, CancellationRow, limit))]


async def refunds(pool: Any, wanted: RefundFilter, after: Place | None, limit: int) -> list[tuple[UUID, UUID, UUID]]:
    """Triples of the payment's, the cancellation's and the refund's id, newest first."""
    conditions = [
        _is(RefundRow.state, wanted.state),
        _is(RefundRow.payment_id, wanted.payment_id),
        _is(RefundRow.cancellation_id, wanted.cancellation_id),
        _through(wanted.provider),
        _of_merchant(RefundRow, wanted.merchant_id),
        _after(RefundRow, after),
    ]
    statement = select(RefundRow.payment_id, RefundRow.cancellation_id, RefundRow.id).where(*_given(conditions))
    rows = await _fetch(pool, _newest(statement, RefundRow, limit))
    return [(row["payment_id"], row["cancellation_id"], row["id"]) for row in rows]


@dataclass(frozen=True, slots=True)
class RecordText:
    """A record as it is given out: the text that was hashed, and the hash."""

    id: UUID
    body: str
    hash: str


async def records(pool: Any, wanted: RecordFilter, before: UUID | None, limit: int) -> list[RecordText]:
    """Newest first, by id, since ids grow with time."""
    conditions = [
        *_span(RecordRow.occurred_at, wanted.from_, wanted.to),
        _is(RecordRow.type, wanted.type),
        _is(RecordRow.chain_id, wanted.payment_id),
        _is(RecordRow.merchant_id, wanted.merchant_id),
        _is(RecordRow.actor_id, wanted.actor),
        None if before is None else col(RecordRow.id) < before,
    ]
    statement = select(RecordRow.id, RecordRow.body, RecordRow.hash).where(*_given(conditions))
    return [_text(row) for row in await _fetch(pool, statement.order_by(col(RecordRow.id).desc()).limit(limit))]


async def chain(pool: Any, chain_id: UUID, after: UUID | None, limit: int) -> list[RecordText]:
    """One chain, oldest first."""
    conditions = [_is(RecordRow.chain_id, chain_id)]
    if after is not None:
        last = select(RecordRow.sequence).where(col(RecordRow.chain_id) == chain_id, col(RecordRow.id) == after).scalar_subquery()
        conditions.append(col(RecordRow.sequence) > last)
    statement = select(RecordRow.id, RecordRow.body, RecordRow.hash).where(*_given(conditions))
    return [_text(row) for row in await _fetch(pool, statement.order_by(col(RecordRow.sequence)).limit(limit))]


def _text(row: Any) -> RecordText:
    return RecordText(row["id"], row["body"], row["hash"].hex())


async def _fetch(pool: Any, statement: Any) -> list[Any]:
    compiled = statement.compile(dialect=_DIALECT)
    return list(await pool.fetch(str(compiled), *(compiled.params[name] for name in compiled.positiontup or ())))


def _newest(statement: Any, table: type[PaymentRow | CancellationRow | RefundRow], limit: int) -> Any:
    return statement.order_by(col(table.created_at).desc(), col(table.id).desc()).limit(limit)


def _is(column: object, value: object | None) -> ColumnElement[bool] | None:
    return None if value is None else col(column) == value


def _span(column: object, start: datetime | None, end: datetime | None) -> list[ColumnElement[bool] | None]:
    """Half-open."""
    return [None if start is None else col(column) >= start, None if end is None else col(column) < end]


def _after(table: type[PaymentRow | CancellationRow | RefundRow], place: Place | None) -> ColumnElement[bool] | None:
    if place is None:
        return None
    return tuple_(col(table.created_at), col(table.id)) < tuple_(place.created_at, place.id)


def _overdue(wanted: bool | None, now: datetime) -> ColumnElement[bool] | None:
    if wanted is None:
        return None
    late = and_(col(CancellationRow.deadline_at).is_not(None), col(CancellationRow.deadline_at) <= now)
    return late if wanted else ~late


def _of_merchant(table: type[CancellationRow | RefundRow], merchant_id: str | None) -> ColumnElement[bool] | None:
    if merchant_id is None:
        return None
    return exists().where(col(PaymentRow.id) == col(table.payment_id), col(PaymentRow.merchant_id) == merchant_id)


def _through(provider: str | None) -> ColumnElement[bool] | None:
    if provider is None:
        return None
    mine = and_(col(LegRow.payment_id) == col(RefundRow.payment_id), col(LegRow.refund_id) == col(RefundRow.id))
    return exists().where(mine, col(LegRow.provider) == provider)


def _given(conditions: list[ColumnElement[bool] | None]) -> list[ColumnElement[bool]]:
    return [condition for condition in conditions if condition is not None]
