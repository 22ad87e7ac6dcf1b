"""Anomalies as they are listed, shown and resolved: found by what they are, with the steps and notes of people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

from msgspec.json import Decoder

from workflows.domain.enums import AnomalyKind, AnomalyState
from workflows.domain.model import Anomaly, IdempotentResponse, PersonalText
from workflows.storage.list_filters import AnomalyFilter, Place
from workflows.storage.mapping import ANOMALY, TEXT
from workflows.storage.service_chain import HEAD_COLUMNS, SERVICE_CHAIN_ID, ChainHead, chain_head, head_of
from workflows.storage.snapshot import REPLY_COLUMNS, kept_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAnomaly:
    """An anomaly as it is shown. `cancellation_id`: of its leg; `late`: all late captures of its payment, where it is one."""

    anomaly: Anomaly
    texts: tuple[PersonalText, ...]
    cancellation_id: UUID | None
    late: tuple[Anomaly, ...]


async def page(pool: Any, wanted: AnomalyFilter, after: Place | None, limit: int) -> list[Place]:
    """Newest first."""
    statement, arguments = _page(wanted, after, limit)
    return [Place(row["created_at"], row["id"]) for row in await pool.fetch(statement, *arguments)]


async def load(pool: Any, ids: Sequence[UUID]) -> list[FoundAnomaly]:
    """Those that are there, in the order of `ids`."""
    found = {row["id"]: _found(row) for row in await pool.fetch(_LOAD, list(ids))}
    return [found[id_] for id_ in ids if id_ in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyQuery:
    """An anomaly without a payment, to be resolved; `scope_id`, `caller` and `key`: where the reply would be kept."""

    id: UUID
    scope_id: UUID
    caller: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyResolutionState:
    """What its resolution is decided upon; `found` is None where there is no such anomaly."""

    found: FoundAnomaly | None
    head: ChainHead
    reply: IdempotentResponse | None


async def load_for_resolution(connection: Any, wanted: AnomalyQuery) -> AnomalyResolutionState:
    """One statement, one snapshot. `connection`: `Connections`, or asyncpg's connection or pool."""
    row = await connection.fetchrow(_LOAD_FOR_RESOLUTION, SERVICE_CHAIN_ID, wanted.id, wanted.scope_id, wanted.caller, wanted.key)
    found = None if row["id"] is None else _found(row)
    return AnomalyResolutionState(found=found, head=chain_head(row), reply=kept_reply(row))


def _page(wanted: AnomalyFilter, after: Place | None, limit: int) -> tuple[str, list[Any]]:
    """The statement, in the order of the index that answers it: an index has no other order than its list (see `newest_first`)."""
    conditions, arguments = _conditions(wanted, after)
    where = f"where {' and '.join(conditions)}" if conditions else ""
    if wanted.payment_id is not None or wanted.state == AnomalyState.awaiting_second_approval:
        few = f"with few as materialized (select a.created_at, a.id from anomaly a {where})"
        return f"{few} select created_at, id from few order by created_at desc, id desc limit {limit}", arguments
    last = "" if wanted.kind or wanted.provider else " nulls last"
    order = f"a.created_at desc{last}, a.id desc{last}"
    return f"select a.created_at, a.id from anomaly a {where} order by {order} limit {limit}", arguments


def _conditions(wanted: AnomalyFilter, after: Place | None) -> tuple[list[str], list[Any]]:
    arguments: list[Any] = []
    conditions: list[str] = []
    for condition, values in _asked(wanted, after):
        numbers = count(len(arguments) + 1)
        conditions.append(condition.format(*(f"${next(numbers)}" for _ in values)))
        arguments.extend(values)
    return conditions, arguments


def _asked(wanted: AnomalyFilter, after: Place | None) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Each condition, with a brace for each of its values."""
    if wanted.payment_id is not None:
        yield "a.scope_id = {} and a.payment_id is not null", (wanted.payment_id,)
    if wanted.kind is not None:
        yield "a.kind = {}::anomaly_kind", (wanted.kind,)
    if wanted.provider is not None:
        yield "a.provider = {}", (wanted.provider,)
    if wanted.state is not None:
        yield _STATES[AnomalyState(wanted.state)], ()
    if wanted.created_from is not None:
        yield "a.created_at >= {}", (wanted.created_from,)
    if wanted.created_to is not None:
        yield "a.created_at < {}", (wanted.created_to,)
    if after is not None:
        yield "(a.created_at, a.id) < ({}, {})", (after.at, after.id)


_STEPS = "from anomaly_step s where s.scope_id = a.scope_id and s.anomaly_id = a.id"
_CLOSED = f"exists (select {_STEPS} and s.closes)"
# Proposals are few, and stand in an index of their own.
_PROPOSED = "(a.scope_id, a.id) in (select s.scope_id, s.anomaly_id from anomaly_step s where not s.closes)"
_STATES = {
    # Counted, and so looked up row by row in the list's order: for `not exists` PostgreSQL reads all steps that were ever taken.
    AnomalyState.open: f"(select count(*) {_STEPS}) = 0",
    AnomalyState.awaiting_second_approval: f"{_PROPOSED} and not {_CLOSED}",
    AnomalyState.resolved: _CLOSED,
}

_LATE = f"""
    (select json_agg({ANOMALY.json("o")}) from anomaly o
      where o.scope_id = a.scope_id and o.payment_id is not null and o.kind = '{AnomalyKind.captured_late}')"""
_COLUMNS = f"""
    a.id, {ANOMALY.json("a")} as anomaly,
    (select json_agg({TEXT.json("t")}) from personal_text t where t.payment_id = a.scope_id and t.subject_id = a.id) as texts,
    (select l.cancellation_id from leg l where l.payment_id = a.payment_id and l.id = a.leg_id) as cancellation_id,
    case when a.kind = '{AnomalyKind.captured_late}' then {_LATE} end as late"""
_LOAD = f"select {_COLUMNS} from anomaly a where a.id = any($1)"
_LOAD_FOR_RESOLUTION = f"""
    select {HEAD_COLUMNS}, {REPLY_COLUMNS}, f.*
      from (select 1) as one
      {head_of("$1")}
      left join lateral (select {_COLUMNS} from anomaly a where a.id = $2) f on true
      left join kept_reply k on k.scope_id = $3 and k.caller = $4 and k.key = $5"""

_anomaly = Decoder(Anomaly).decode
_anomalies = Decoder(tuple[Anomaly, ...]).decode
_texts = Decoder(tuple[PersonalText, ...]).decode


def _found(row: Any) -> FoundAnomaly:
    return FoundAnomaly(
        anomaly=_anomaly(row["anomaly"]),
        texts=_texts(row["texts"]) if row["texts"] else (),
        cancellation_id=row["cancellation_id"],
        late=_anomalies(row["late"]) if row["late"] else (),
    )
