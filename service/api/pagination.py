"""Keyset pages: where a list goes on, as opaque text that only the list that gave it will take."""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol
from uuid import UUID

from workflows.storage.list_filters import ListOrder, Place

Kind = Literal[
    "payments",
    "payments_updated",
    "cancellations",
    "cancellations_updated",
    "cancellations_deadline",
    "refunds",
    "refunds_updated",
    "anomalies",
    "records",
    "payment_records",
    "policies",
    "merchants",
]

_VERSION: Final = 1
_NUMBER_END: Final = 2**31  # as the database keeps one
_LENGTH_MAX: Final = 200
_HEX: Final = re.compile(r"[0-9a-f]{32}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class After:
    """The last entry of the page before, in a list of this order: the time that the order goes by, and the id."""

    at: datetime
    id: UUID
    order: ListOrder = ListOrder.created


class CursorMalformed(ValueError):
    """No list of this kind gave this cursor."""


class _Ordered(Protocol):
    @property
    def limit(self) -> int: ...

    @property
    def order(self) -> ListOrder: ...


def place(after: After | None) -> Place | None:
    return None if after is None else Place(after.at, after.id)


def next_cursor(resource: Literal["payments", "cancellations", "refunds"], query: _Ordered, places: list[Place]) -> str | None:
    """Where the next page begins: after the last place of this one, as the search found it; it may have changed since.

    `places`: of one entry more than the page has, if there is one.
    """
    if len(places) <= query.limit:
        return None
    last = places[query.limit - 1]
    return encode(_KINDS[resource, query.order], After(last.at, last.id))


_KINDS: Final[dict[tuple[str, ListOrder], Kind]] = {
    ("payments", ListOrder.created): "payments",
    ("payments", ListOrder.updated): "payments_updated",
    ("cancellations", ListOrder.created): "cancellations",
    ("cancellations", ListOrder.updated): "cancellations_updated",
    ("cancellations", ListOrder.deadline): "cancellations_deadline",
    ("refunds", ListOrder.created): "refunds",
    ("refunds", ListOrder.updated): "refunds_updated",
}
_ORDERS: Final[dict[Kind, ListOrder]] = {kind: order for (_, order), kind in _KINDS.items()}


def encode(kind: Kind, after: After) -> str:
    return _pack([_VERSION, kind, (after.at - _EPOCH) // _MICROSECOND, after.id.hex])


def decode(kind: Kind, text: str) -> After:
    """The entry that `text` names; CursorMalformed unless `encode` of this kind made it."""
    match _unpack(text):
        case [int(), str(), int(microseconds), str(digits)] if _HEX.fullmatch(digits):
            try:
                after = After(_EPOCH + timedelta(microseconds=microseconds), UUID(hex=digits), _ORDERS.get(kind, ListOrder.created))
            except OverflowError:
                raise CursorMalformed from None
            if encode(kind, after) == text:
                return after
    raise CursorMalformed


def encode_id(kind: Kind, last: UUID) -> str:
    return _pack([_VERSION, kind, last.hex])


def decode_id(kind: Kind, text: str) -> UUID:
    """The id that `text` names, in a list ordered by id alone; CursorMalformed unless `encode_id` of this kind made it."""
    match _unpack(text):
        case [int(), str(), str(digits)] if _HEX.fullmatch(digits):
            last = UUID(hex=digits)
            if encode_id(kind, last) == text:
                return last
    raise CursorMalformed


def encode_number(kind: Kind, last: int) -> str:
    return _pack([_VERSION, kind, last])


def decode_number(kind: Kind, text: str) -> int:
    """The number that `text` names, in a list ordered by one; CursorMalformed unless `encode_number` of this kind made it."""
    match _unpack(text):
        case [int(), str(), int(last)] if 0 <= last < _NUMBER_END and encode_number(kind, last) == text:
            return last
    raise CursorMalformed


def encode_text(kind: Kind, last: str) -> str:
    return _pack([_VERSION, kind, last])


def decode_text(kind: Kind, text: str) -> str:
    """The text that `text` names, in a list ordered by one; CursorMalformed unless `encode_text` of this kind made it."""
    match _unpack(text):
        case [int(), str(), str(last)] if encode_text(kind, last) == text:
            return last
    raise CursorMalformed


def _pack(parts: list[int | str]) -> str:
    return urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")


def _unpack(text: str) -> object:
    """Whatever JSON is in there. That the text is its only spelling is checked by packing it again."""
    if len(text) > _LENGTH_MAX:
        raise CursorMalformed
    try:
        unpacked: object = json.loads(b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise CursorMalformed from None
    return unpacked
