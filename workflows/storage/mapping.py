"""Between the domain's values and the tables' rows.

A column holds the field of the same name, and a row is read as JSON that is made into the value in one step. So a new column is the
field, the column and its migration, and nothing here. What is named here is the rest: a part of a value that is several columns.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import LargeBinary, Table
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import SQLModel

from workflows.domain.enums import AnomalyState
from workflows.domain.legs import Leg
from workflows.domain.model import Anomaly, AnomalyStep, Cancellation, IdempotentResponse, Job, MerchantContact, Payment, PersonalText
from workflows.domain.records import Record, chain_id
from workflows.storage import tables
from workflows.storage.tables.types import parameter_type, stored_type

V = TypeVar("V", bound=msgspec.Struct)
Values = list[Any]  # one for each column, in the table's order: what asyncpg takes

_json = msgspec.json.Encoder().encode
_Read = Callable[[Any], Any]


def json_text(value: object) -> str:
    """As PostgreSQL takes a jsonb parameter from asyncpg."""
    return _json(value).decode()


@dataclass(frozen=True, slots=True)
class TableMapping(Generic[V]):
    """How values of one type are rows of one table."""

    value: type[V]
    table: Table
    parts: Mapping[str, str] = field(default_factory=dict)  # field -> SQL for it, with {0} for the row's alias
    columns_of: Mapping[str, str | _Read] = field(default_factory=dict)  # column -> where it is in the value
    payments: frozenset[str] = frozenset()  # columns that are copied from the payment, field by field of the same name

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.table.columns.keys())

    @property
    def types(self) -> tuple[str, ...]:
        """Of each column, as PostgreSQL names it."""
        return tuple(map(parameter_type, self.table.columns))

    def writer(self) -> Callable[[Any, Payment | None], Values]:
        """A function from a value, and the payment that it belongs to, to its row.

        One call reads all fields; what has to be made of one, or comes from elsewhere, is put in its place afterwards (until then any
        attribute that every value has stands there).
        """
        plain: list[str] = []
        made: list[tuple[int, _Read]] = []
        copied: list[tuple[int, _Read]] = []
        for position, column in enumerate(self.table.columns):
            where = self.columns_of.get(column.name, column.name)
            plain.append(where if isinstance(where, str) and column.name not in self.payments else "__class__")
            if column.name in self.payments:
                copied.append((position, attrgetter(column.name)))
            elif callable(where):
                made.append((position, where))
            elif isinstance(stored_type(column), JSONB):
                made.append((position, _written(attrgetter(where), json_text, optional=bool(column.nullable))))
            elif isinstance(stored_type(column), LargeBinary):
                made.append((position, _written(attrgetter(where), _bytes, optional=bool(column.nullable))))
        read = attrgetter(*plain)

        def row(value: V, payment: Payment | None) -> Values:
            values = list(read(value))
            for position, of_value in made:
                values[position] = of_value(value)
            for position, of_payment in copied:
                values[position] = None if payment is None else of_payment(payment)
            return values

        return row

    def json(self, alias: str) -> str:
        """SQL for the row with this alias as JSON, its members named as the value's fields. Others may be there too: nobody reads them."""
        fields = {each.name: each for each in msgspec.structs.fields(self.value)}
        binary = {column.name for column in self.table.columns if isinstance(stored_type(column), LargeBinary) and column.name in fields}
        if not self.parts and not binary:
            return f"to_json({alias})"
        selected = [f'{part.format(alias)} as "{name}"' for name, part in self.parts.items()]
        for name, each in fields.items():
            if name in binary:
                selected.append(f'{_text_of(f"{alias}.{name}", each.type)} as "{name}"')
            elif name not in self.parts:
                selected.append(f'{alias}."{name}"')
        return f"(select to_json(x) from (select {', '.join(selected)}) x)"


def _text_of(column: str, type_: Any) -> str:
    """SQL for a bytea as JSON holds it: base64, as msgspec reads bytes, without PostgreSQL's line breaks; hex where the field is a str."""
    return f"translate(encode({column}, 'base64'), E'\\n', '')" if type_ is bytes else f"encode({column}, 'hex')"


def _written(read: _Read, write: _Read, *, optional: bool) -> _Read:
    def of(value: Any) -> Any:
        found = read(value)
        return None if found is None and optional else write(found)

    return of


def _bytes(value: bytes | str) -> bytes:
    """The domain writes digests as hex."""
    return value if isinstance(value, bytes) else bytes.fromhex(value)


def _of(part: str, name: str, otherwise: Any = None) -> _Read:
    """A field of a part that may be missing."""
    read_part, read = attrgetter(part), attrgetter(name)

    def of(value: Any) -> Any:
        found = read_part(value)
        return otherwise if found is None else read(found)

    return of


def _table(model: type[SQLModel]) -> Table:
    return model.metadata.tables[str(model.__tablename__)]


def _object(members: Mapping[str, str]) -> str:
    return "json_build_object(" + ", ".join(f"'{name}', {column}" for name, column in members.items()) + ")"


_REFUND = ("id", "version", "state", "amount", "created_at", "updated_at")
_REFUND_SHARED = {"payment_id": "{0}.payment_id", "cancellation_id": "{0}.id", "currency": "{0}.currency"}

PAYMENT = TableMapping(Payment, _table(tables.PaymentRow))
CANCELLATION = TableMapping(
    Cancellation,
    _table(tables.CancellationRow),
    parts={
        "requested_by": _object({"role": "{0}.requester_role", "id": "{0}.requester_id", "channel": "{0}.channel"}),
        "clock": "case when {0}.clock_id is not null then "
        + _object({"id": "{0}.clock_id", "started_at": "{0}.clock_started_at", "reminders": "{0}.reminders"})
        + " end",
        "refund": "case when {0}.refund_id is not null then "
        + _object({**{name: f"{{0}}.refund_{name}" for name in _REFUND}, **_REFUND_SHARED})
        + " end",
    },
    columns_of={
        "requester_role": "requested_by.role",
        "requester_id": "requested_by.id",
        "clock_id": _of("clock", "id"),
        "clock_started_at": _of("clock", "started_at"),
        "reminders": _of("clock", "reminders", 0),
        **{f"refund_{name}": _of("refund", name) for name in _REFUND},
    },
    payments=frozenset({"merchant_id"}),
)
LEG = TableMapping(Leg, _table(tables.LegRow))
RECORD = TableMapping(
    Record,
    _table(tables.RecordRow),
    columns_of={
        "chain_id": lambda record: record.payment_id or chain_id(record.chain),
        "actor_role": "actor.role",
        "actor_id": "actor.id",
    },
    payments=frozenset({"merchant_id"}),
)
TEXT = TableMapping(PersonalText, _table(tables.PersonalTextRow))
ANOMALY_STEP = TableMapping(AnomalyStep, _table(tables.AnomalyStepRow))
_STEPS = "from anomaly_step s where s.scope_id = {0}.scope_id and s.anomaly_id = {0}.id"
ANOMALY = TableMapping(
    Anomaly,
    _table(tables.AnomalyRow),
    parts={
        "steps": f"coalesce((select json_agg({ANOMALY_STEP.json('s')} order by s.number) {_STEPS}), '[]')",
        "state": f"(select case when bool_or(s.closes) then '{AnomalyState.resolved}'"
        f" when count(*) > 0 then '{AnomalyState.awaiting_second_approval}' else '{AnomalyState.open}' end {_STEPS})",
    },
)
JOB = TableMapping(Job, _table(tables.JobRow), columns_of={"attempt": lambda _: 0, "leased_until": lambda _: None})


class PublishedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy as it is stored; `document` is its JSON form."""

    version: str
    ordinal: int
    effective_from: datetime
    document: dict[str, Any]
    published_at: datetime
    published_by: str


class MerchantVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of what is told of a merchant, as it is stored; `rules` is the JSON form of its own rules."""

    merchant_id: str
    version: int
    name: str
    contact: MerchantContact
    webhook: str | None
    rules: list[Any]
    auto_accept_up_to: dict[str, int]
    changed_at: datetime
    changed_by: str


MERCHANT = TableMapping(MerchantVersion, _table(tables.MerchantRow))
POLICY = TableMapping(PublishedPolicy, _table(tables.PolicyRow))


class ResponseToKeep(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to keep under the caller's idempotency key, together with its effect."""

    caller: str
    key: str
    reply: IdempotentResponse
    at: datetime


class KeptReply(msgspec.Struct, frozen=True):
    """A reply under the id of the payment, or of the collection, that its key belongs to."""

    scope_id: UUID
    keep: ResponseToKeep


REPLY = TableMapping(
    KeptReply,
    _table(tables.IdempotentResponseRow),
    columns_of={
        "caller": "keep.caller",
        "key": "keep.key",
        "created_at": "keep.at",
        **{name: f"keep.reply.{name}" for name in ("fingerprint", "status", "body", "headers")},
    },
)
