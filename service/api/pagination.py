"""Keyset pages: where a list goes on, as opaque text that only the list that gave it will take."""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol
from uuid import UUID

from workflows.storage.search import Place

Kind = Literal[
    "payments",
    "payments_updated",
    "cancellations",
    "cancellations_updated",
    "refunds",
    "refunds_updated",
    "records",
    "payment_records",
]

_VERSION: Final = 1
_LENGTH_MAX: Final = 200
_HEX: Final = re.compile(r"[0-9a-f]{32}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class After:
    """The last entry of the page before, in a list ordered by time and id. `created_at` is the time of its last change where the list
    is ordered by that."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class AfterUpdate(After):
    """In a list that is ordered by the last change."""


class CursorMalformed(ValueError):
    """No list of this kind gave this cursor."""


class _ByTime(Protocol):
    @property
    def limit(self) -> int: ...

    @property
    def by_update(self) -> bool: ...


def place(after: After | None) -> Place | None:
    return None if after is None else Place(after.created_at, after.id)


def next_cursor(resource: Literal["payments", "cancellations", "refunds"], query: _ByTime, places: list[Place]) -> str | None:
    """Where the next page begins: after the last place of this one, as the search found it; it may have changed since.

    `places`: of one entry more than the page has, if there is one.
    """
    if len(places) <= query.limit:
        return None
    last = places[query.limit - 1]
    return encode(_UPDATED[resource] if query.by_update else resource, After(last.at, last.id))


_UPDATED: Final[dict[str, Kind]] = {
    "payments": "payments_updated",
    "cancellations": "cancellations_updated",
    "refunds": "refunds_updated",
}


def encode(kind: Kind, after: After) -> str:
    return _pack([_VERSION, kind, (after.created_at - _EPOCH) // _MICROSECOND, after.id.hex])


def decode(kind: Kind, text: str) -> After:
    """The entry that `text` names; CursorMalformed unless `encode` of this kind made it."""
    match _unpack(text):
        case [int(), str(), int(microseconds), str(digits)] if _HEX.fullmatch(digits):
            try:
                after = After(_EPOCH + timedelta(microseconds=microseconds), UUID(hex=digits))
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
