"""Reads for the lists: keyset pages over the indexes, in one of three orders, never an offset.

Each filter has an index in the order of its list, or is answered by key, and no other index has that order: prepared statements are
soon planned without a look at their values, and a walk that is short for a frequent value reads everything for a rare one.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, any_, exists, func, literal_column, true, tuple_
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from workflows.domain import ids
from workflows.storage.list_filters import CancellationFilter, ListOrder, PaymentFilter, Place, RecordFilter, RefundFilter
from workflows.storage.tables import CancellationRow, LegRow, PaymentRow, RecordRow

# SQLAlchemy writes the statement, asyncpg runs it: one pool, and no session for a page of ids.
_DIALECT = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its constructor untyped


_Span = tuple[datetime | None, datetime | None]  # half-open


async def payments(pool: Any, wanted: PaymentFilter, after: Place | None, limit: int) -> list[tuple[UUID, Place]]:
    """Ids, each with its place in the list."""
    conditions = [
        # The id is made of the reference: the primary key answers.
        _is(PaymentRow.id, None if wanted.reference is None else ids.payment_id(wanted.reference)),
        _is(PaymentRow.reference, wanted.reference),
        _is(PaymentRow.wallet_id, wanted.wallet_id),
        _is(PaymentRow.merchant_id, wanted.merchant_id),
        _is(PaymentRow.order_reference, wanted.order_reference),
        _is(PaymentRow.state, wanted.state),
        *_span(PaymentRow.created_at, wanted.created_from, wanted.created_to),
    ]
    if wanted.order is ListOrder.updated:
        statement = _changed_payments(conditions, wanted.updated_from, after, limit)
    else:
        found: Any = select(PaymentRow.id, col(PaymentRow.created_at).label("at")).where(*_given([*conditions, _after(_PAYMENTS, after)]))
        statement = _newest(found, _PAYMENTS, limit, alone=_only_time(wanted))
    return [(row["id"], Place(row["at"], row["id"])) for row in await _fetch(pool, statement)]


def _changed_payments(conditions: list[ColumnElement[bool] | None], start: datetime | None, after: Place | None, limit: int) -> Any:
    """In the order of the last record of each, which changes no index of the payment: an index on `updated_at` would, at every update."""
    at = col(RecordRow.occurred_at)
    last = and_(col(PaymentRow.id) == col(RecordRow.payment_id), col(PaymentRow.sequence) == col(RecordRow.sequence))
    if after is not None:
        start = after.at
        conditions = [*conditions, tuple_(at, col(PaymentRow.id)) > tuple_(after.at, after.id)]
    found: Any = select(PaymentRow.id, at.label("at")).select_from(RecordRow).join(PaymentRow, last)
    found = found.where(*_given([*conditions, *_span(at, start, None)]))
    return found.order_by(at.nulls_first(), col(PaymentRow.id)).limit(_said(limit))


async def cancellations(
    pool: Any, wanted: CancellationFilter, after: Place | None, limit: int, *, now: datetime
) -> list[tuple[UUID, UUID, Place]]:
    """The payment's and the cancellation's id, and the place in the list. `now` decides what is overdue."""
    if wanted.overdue:
        statement = _late(wanted, after, limit, now=now)
    elif wanted.order is ListOrder.deadline:
        statement = _soonest(wanted, after, limit, now=now)
    else:
        statement = _by_creation_or_change(wanted, after, limit, now=now)
    return [(row["payment_id"], row["id"], Place(row["at"], row["id"])) for row in await _fetch(pool, statement)]


def _narrowed(rows: Any, wanted: CancellationFilter) -> list[ColumnElement[bool] | None]:
    """The conditions that no order begins with. `rows`: where the cancellation's columns are."""
    return [
        _is(rows.state, wanted.state),
        _is(rows.route, wanted.route),
        _is(rows.payment_id, wanted.payment_id),
        _is(rows.assigned_to, wanted.assigned_to),
        _is(rows.merchant_id, wanted.merchant_id),
        _of_wallet(rows.payment_id, wanted.wallet_id),
    ]


def _late(wanted: CancellationFilter, after: Place | None, limit: int, *, now: datetime) -> Any:
    """All that is late, by one index, then narrowed and sorted: few are, since workers strike the clocks and agents see to the rest.
    What it is narrowed by is looked at last: an index that has a state or an assignee has all that ever had it."""
    columns = [getattr(CancellationRow, name) for name in _LATE]
    late = select(*columns).where(_is_late(now)).cte("late").prefix_with("materialized")
    rows = late.c
    at = {ListOrder.created: rows.created_at, ListOrder.updated: rows.updated_at, ListOrder.deadline: rows.deadline_at}[wanted.order]
    place, ascending = tuple_(at, rows.id), wanted.order is not ListOrder.created
    conditions = [
        *_narrowed(rows, wanted),
        *_span(rows.created_at, wanted.created_from, wanted.created_to),
        *_span(rows.updated_at, wanted.updated_from, None),
    ]
    if after is not None:
        last = tuple_(after.at, after.id)
        conditions.append(place > last if ascending else place < last)
    order = [at, rows.id] if ascending else [at.desc(), rows.id.desc()]
    return select(rows.payment_id, rows.id, at.label("at")).where(*_given(conditions)).order_by(*order).limit(limit)


_LATE = ("payment_id", "id", "state", "route", "assigned_to", "merchant_id", "created_at", "updated_at", "deadline_at")


def _by_creation_or_change(wanted: CancellationFilter, after: Place | None, limit: int, *, now: datetime) -> Any:
    conditions = [*_narrowed(CancellationRow, wanted), None if wanted.overdue is None else _is_late(now).is_not(true())]
    made = _span(CancellationRow.created_at, wanted.created_from, wanted.created_to)
    if wanted.order is ListOrder.updated:
        found = _cancellations_by(CancellationRow.updated_at).where(*_given([*conditions, *made]))
        return _changed(found, _CANCELLATIONS, wanted.updated_from, after, limit)
    found = _cancellations_by(CancellationRow.created_at).where(*_given(conditions))
    if wanted.wallet_id is not None:
        return _sorted(found, after, limit, span=(wanted.created_from, wanted.created_to))
    found = found.where(*_given([*made, _after(_CANCELLATIONS, after)]))
    return _newest(found, _CANCELLATIONS, limit, alone=_only_time(wanted))


def _soonest(wanted: CancellationFilter, after: Place | None, limit: int, *, now: datetime) -> Any:
    """Oldest deadline first. What waits is a small part of all, and only that is walked: by merchant, or all of it.

    State, route and assignee are looked at within the index. A span of creation is written so that no index has it: else PostgreSQL
    would take a long one for short, and sort all that was made in it.
    """
    at, id_ = col(CancellationRow.deadline_at), col(CancellationRow.id)
    made = col(CancellationRow.created_at).op("+")(literal_column("interval '0'"))
    conditions = [
        *_narrowed(CancellationRow, wanted),
        at.is_not(None),
        *([] if wanted.overdue is None else [at > now, _is_late(now).is_not(true())]),  # the walk begins at the first deadline to come
        None if wanted.created_from is None else made >= wanted.created_from,
        None if wanted.created_to is None else made < wanted.created_to,
    ]
    found = _cancellations_by(CancellationRow.deadline_at).where(*_given(conditions))
    if wanted.wallet_id is not None:
        return _sorted(found, after, limit, ascending=True)
    if after is not None:
        found = found.where(tuple_(at, id_) > tuple_(after.at, after.id))
    # Each of the two orders is that of one index (see `newest_first`).
    order = [at, id_] if wanted.merchant_id is not None else [at.nulls_first(), id_.nulls_first()]
    return found.order_by(*order).limit(_said(limit))


def _cancellations_by(at: Any) -> Any:
    return select(CancellationRow.payment_id, CancellationRow.id, col(at).label("at"))


def _sorted(found: Any, after: Place | None, limit: int, *, ascending: bool = False, span: _Span = (None, None)) -> Any:
    """All of them, then sorted: few are one wallet's. Looking for them in the list's order could find none. Where the page begins, and
    the span of its times, are looked at last: an index that has them is taken for a short way, and read to its end."""
    few = found.cte("few").prefix_with("materialized")
    start, end = span
    at, place = few.c.at, tuple_(few.c.at, few.c.id)
    inside = [None if start is None else at >= start, None if end is None else at < end]
    if after is not None:
        last = tuple_(after.at, after.id)
        inside.append(place > last if ascending else place < last)
    order = [at, few.c.id] if ascending else [at.desc(), few.c.id.desc()]
    return select(few).where(*_given(inside)).order_by(*order).limit(limit)


async def refunds(pool: Any, wanted: RefundFilter, after: Place | None, limit: int) -> list[tuple[UUID, UUID, UUID, Place]]:
    """The payment's, the cancellation's and the refund's id, and the place in the list."""
    conditions = [
        col(CancellationRow.refund_id).is_not(None),
        _is(CancellationRow.refund_state, wanted.state),
        _is(CancellationRow.payment_id, wanted.payment_id),
        *_of_cancellation(wanted.cancellation_id),
        _is(CancellationRow.merchant_id, wanted.merchant_id),
        _of_wallet(CancellationRow.payment_id, wanted.wallet_id),
    ]
    made = _span(CancellationRow.refund_created_at, wanted.created_from, wanted.created_to)
    at = _REFUNDS.updated_at if wanted.order is ListOrder.updated else _REFUNDS.created_at
    found: Any = select(
        CancellationRow.payment_id,
        col(CancellationRow.id).label("cancellation_id"),
        col(CancellationRow.refund_id).label("id"),
        col(at).label("at"),
    ).where(*_given(conditions))
    if wanted.order is ListOrder.updated:
        statement = _changed(found.where(*_given([*made, _uses(wanted.provider)])), _REFUNDS, wanted.updated_from, after, limit)
    elif wanted.provider is not None:
        statement = _through(found.where(*_given(made)), wanted.provider, after, limit)
    elif wanted.wallet_id is not None:
        statement = _sorted(found, after, limit, span=(wanted.created_from, wanted.created_to))
    else:
        statement = _newest(found.where(*_given([*made, _after(_REFUNDS, after)])), _REFUNDS, limit, alone=_only_time(wanted))
    rows = await _fetch(pool, statement)
    return [(row["payment_id"], row["cancellation_id"], row["id"], Place(row["at"], row["id"])) for row in rows]


def _of_cancellation(cancellation_id: UUID | None) -> list[ColumnElement[bool] | None]:
    """The payment is looked up first, since a cancellation's key begins with it."""
    if cancellation_id is None:
        return []
    known = aliased(CancellationRow)
    payment_id = select(known.payment_id).where(col(known.id) == cancellation_id).scalar_subquery()
    return [col(CancellationRow.payment_id) == payment_id, _is(CancellationRow.id, cancellation_id)]


def _through(found: Any, provider: str, after: Place | None, limit: int) -> Any:
    """Refunds of which a leg goes through this rail. Newest first by id, which grows with time: so they stand in the legs' index."""
    legs = [
        _is(LegRow.provider, provider),
        col(LegRow.refund_id).is_not(None),
        None if after is None else col(LegRow.refund_id) < after.id,
    ]
    # Looked up leg by leg, in their order: `offset 0` keeps PostgreSQL from joining all legs of the rail with all refunds.
    refund = found.where(_LEG_OF_REFUND).correlate(LegRow).offset(literal_column("0")).lateral("of_leg")
    joined = select(refund).select_from(LegRow).join(refund, true()).where(*_given(legs))
    return joined.ext(distinct_on(col(LegRow.refund_id))).order_by(col(LegRow.refund_id).desc().nulls_last()).limit(limit)


def _uses(provider: str | None) -> ColumnElement[bool] | None:
    return None if provider is None else exists().where(_LEG_OF_REFUND, col(LegRow.provider) == provider)


_LEG_OF_REFUND = and_(
    col(LegRow.payment_id) == col(CancellationRow.payment_id),
    col(LegRow.cancellation_id) == col(CancellationRow.id),
    col(LegRow.refund_id) == col(CancellationRow.refund_id),
)


@dataclass(frozen=True, slots=True)
class RecordText:
    """A record as it is given out: the text that was hashed, and the hash."""

    id: UUID
    occurred_at: datetime
    body: str
    hash: str


async def records(pool: Any, wanted: RecordFilter, after: Place | None, limit: int) -> list[RecordText]:
    """Newest first."""
    conditions = [
        *_span(RecordRow.occurred_at, wanted.from_, wanted.to),
        _is(RecordRow.type, wanted.type),
        _is(RecordRow.chain_id, wanted.payment_id),
        _is(RecordRow.merchant_id, wanted.merchant_id),
        _is(RecordRow.actor_id, wanted.actor),
        None if after is None else tuple_(col(RecordRow.occurred_at), col(RecordRow.id)) < tuple_(after.at, after.id),
    ]
    order = _descending(RecordRow.occurred_at, RecordRow.id, alone=_only_time(wanted))
    statement = _record_text(conditions).order_by(*order).limit(limit)
    return [_text(row) for row in await _fetch(pool, statement)]


async def chain(pool: Any, chain_id: UUID, after: UUID | None, limit: int) -> list[RecordText]:
    """One chain, oldest first."""
    conditions = [_is(RecordRow.chain_id, chain_id)]
    if after is not None:
        last = select(RecordRow.sequence).where(col(RecordRow.chain_id) == chain_id, col(RecordRow.id) == after).scalar_subquery()
        conditions.append(col(RecordRow.sequence) > last)
    return [_text(row) for row in await _fetch(pool, _record_text(conditions).order_by(col(RecordRow.sequence)).limit(limit))]


def _record_text(conditions: list[ColumnElement[bool] | None]) -> Any:
    return select(RecordRow.id, RecordRow.occurred_at, RecordRow.body, RecordRow.hash).where(*_given(conditions))


def _text(row: Any) -> RecordText:
    return RecordText(row["id"], row["occurred_at"], row["body"], row["hash"].hex())


async def _fetch(pool: Any, statement: Any) -> list[Any]:
    compiled = statement.compile(dialect=_DIALECT)
    return list(await pool.fetch(str(compiled), *(compiled.params[name] for name in compiled.positiontup or ())))


class _Listed(NamedTuple):
    """The columns by which rows of a list are ordered."""

    created_at: Any
    updated_at: Any
    id: Any


_PAYMENTS = _Listed(PaymentRow.created_at, PaymentRow.updated_at, PaymentRow.id)
_CANCELLATIONS = _Listed(CancellationRow.created_at, CancellationRow.updated_at, CancellationRow.id)
_REFUNDS = _Listed(CancellationRow.refund_created_at, CancellationRow.refund_updated_at, CancellationRow.refund_id)


def _newest(statement: Any, rows: _Listed, limit: int, *, alone: bool) -> Any:
    return statement.order_by(*_descending(rows.created_at, rows.id, alone=alone)).limit(limit)


def _changed(found: Any, rows: _Listed, start: datetime | None, after: Place | None, limit: int) -> Any:
    """Oldest change first."""
    at, id_ = col(rows.updated_at), col(rows.id)
    further = None if after is None else tuple_(at, id_) > tuple_(after.at, after.id)
    return found.where(*_given([*_span(at, start, None), further])).order_by(at, id_).limit(_said(limit))


def _said(limit: int) -> Any:
    """In the statement's text: told as a parameter, a tenth of the table is expected, and read at once instead of in order."""
    return literal_column(str(int(limit)))


def _descending(*columns: object, alone: bool) -> list[Any]:
    """`alone`: in the order of the index that is of nothing but time (see `newest_first`)."""
    orders = [col(column).desc() for column in columns]
    return [order.nulls_last() for order in orders] if alone else orders


def _only_time(wanted: PaymentFilter | CancellationFilter | RefundFilter | RecordFilter) -> bool:
    return all(getattr(wanted, name) in {None, False} for name in wanted.__slots__ if name not in _TIMES)


_TIMES = frozenset({"created_from", "created_to", "updated_from", "order", "from_", "to"})


def _is(column: object, value: object | None) -> ColumnElement[bool] | None:
    return None if value is None else col(column) == value


def _span(column: object, start: datetime | None, end: datetime | None) -> list[ColumnElement[bool] | None]:
    """Half-open."""
    return [None if start is None else col(column) >= start, None if end is None else col(column) < end]


def _after(rows: _Listed, place: Place | None) -> ColumnElement[bool] | None:
    if place is None:
        return None
    return tuple_(col(rows.created_at), col(rows.id)) < tuple_(place.at, place.id)


def _of_wallet(payment_id: Any, wallet_id: str | None) -> ColumnElement[bool] | None:
    """Through the wallet's payments, which are not many: no copy of the wallet, no index of its own."""
    if wallet_id is None:
        return None
    mine = func.array(select(PaymentRow.id).where(col(PaymentRow.wallet_id) == wallet_id).scalar_subquery())
    return col(payment_id) == any_(mine)


def _is_late(now: datetime) -> ColumnElement[bool]:
    """Null for what waits for nobody. Its negation is `is not true`, which no index has: most of all is not late."""
    return now >= _DUE_AT


# The first that is due: a first answer, a resolution, or what the clock leads to. As the index `cancellation_due` has it.
_DUE_AT = func.least(col(CancellationRow.first_response_due_at), col(CancellationRow.resolution_due_at), col(CancellationRow.deadline_at))


def _given(conditions: list[ColumnElement[bool] | None]) -> list[ColumnElement[bool]]:
    return [condition for condition in conditions if condition is not None]
