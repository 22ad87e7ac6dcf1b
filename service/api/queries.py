"""The query strings: which parameters each call takes, and in which form."""

import re
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final, Self, TypeVar
from urllib.parse import parse_qsl, unquote
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from service.api.field_errors import ERRORS_MAX, field_error, pointer
from service.api.pagination import After, CursorMalformed, Kind, decode, decode_id, decode_number, decode_text
from service.api.problems import RequestProblem
from service.api.types import AMOUNT_MAX, CURSOR, QUANTITY_MAX, Instant, problem
from workflows.domain.faults import Fault, FaultCode
from workflows.domain.model import ItemQuantity
from workflows.storage.list_filters import ListOrder

LIMIT_MAX: Final = 200
LIMIT_DEFAULT: Final = 50
_PARAMETERS_MAX: Final = 50
_WHOLE: Final = re.compile(r"[0-9]{1,16}")
_REFERENCE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ufffd]{1,64}")  # as of an item; U+FFFD is what was not UTF-8

T = TypeVar("T")


class Query(BaseModel):
    """A query string: known parameters only, each at most once."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SortOrder(StrEnum):
    """The order of a list, where it is not newest first."""

    updated = "updated"  # oldest change first


class CancellationSortOrder(StrEnum):
    """The order of the list of cancellations, where it is not newest first."""

    updated = "updated"  # oldest change first
    deadline = "deadline"  # oldest deadline first


class ExportFormat(StrEnum):
    """The forms of an export."""

    ndjson = "ndjson"
    csv = "csv"


def _whole(text: object) -> object:
    """Digits and nothing else: no sign, space, underscore or point, which int() would take."""
    if not (isinstance(text, str) and _WHOLE.fullmatch(text)):
        raise problem(FaultCode.not_integer)
    return int(text)


def _flag(text: object) -> bool:
    if text not in ("true", "false"):
        raise problem(FaultCode.not_boolean)
    return text == "true"


def _cursor(take: Callable[[Kind, str], T], kind: Kind, text: object) -> T:
    try:
        if isinstance(text, str):
            return take(kind, text)
    except CursorMalformed:
        pass
    raise problem(FaultCode.invalid_cursor)


def _list_cursor(*kinds: Kind) -> PlainValidator:
    """Of any order of a list; that it is the order asked for is checked with the whole."""

    def read(text: object) -> After:
        for kind in kinds:
            with suppress(CursorMalformed):
                if isinstance(text, str):
                    return decode(kind, text)
        raise problem(FaultCode.invalid_cursor)

    return PlainValidator(read)


def _item_text(text: str) -> str:
    item_quantities(text)
    return text


def item_quantities(text: str) -> tuple[ItemQuantity, ...]:
    """`85123A:2,85124:1`; what follows the last colon of each is its quantity."""
    found: dict[str, ItemQuantity] = {}
    for entry in text.split(","):
        written, _, quantity = entry.rpartition(":")
        reference = unquote(written, errors="replace")
        if not _REFERENCE.fullmatch(reference) or not _WHOLE.fullmatch(quantity) or not 1 <= int(quantity) <= QUANTITY_MAX:
            raise problem(FaultCode.invalid_items)
        if reference in found:
            raise problem(FaultCode.duplicate_item)
        found[reference] = ItemQuantity(reference=reference, quantity=int(quantity))
    return tuple(found.values())


_CURSOR_FORM: Final = WithJsonSchema({"type": "string", "pattern": CURSOR, "maxLength": 200})

Whole = Annotated[int, BeforeValidator(_whole)]
QueryAmount = Annotated[int, Field(ge=1, le=AMOUNT_MAX), BeforeValidator(_whole)]
Items = Annotated[str, AfterValidator(_item_text), WithJsonSchema({"type": "string", "minLength": 3, "examples": ["85123A:2,85124:1"]})]
Flag = Annotated[bool, PlainValidator(_flag), WithJsonSchema({"type": "boolean"})]
PaymentsCursor = Annotated[After, _list_cursor("payments", "payments_updated"), _CURSOR_FORM]
CancellationsCursor = Annotated[After, _list_cursor("cancellations", "cancellations_updated", "cancellations_deadline"), _CURSOR_FORM]
RefundsCursor = Annotated[After, _list_cursor("refunds", "refunds_updated"), _CURSOR_FORM]
AnomaliesCursor = Annotated[After, PlainValidator(partial(_cursor, decode, "anomalies")), _CURSOR_FORM]
RecordsCursor = Annotated[After, PlainValidator(partial(_cursor, decode, "records")), _CURSOR_FORM]
PoliciesCursor = Annotated[int, PlainValidator(partial(_cursor, decode_number, "policies")), _CURSOR_FORM]
MerchantsCursor = Annotated[str, PlainValidator(partial(_cursor, decode_text, "merchants")), _CURSOR_FORM]
PaymentRecordsCursor = Annotated[UUID, PlainValidator(partial(_cursor, decode_id, "payment_records")), _CURSOR_FORM]

_FROM: Final = "Only what was made at this time or later."
_TO: Final = "Only what was made before this time."
CURSOR_TEXT: Final = "Where to go on: the `next_cursor` of the page before."


class PageQuery(Query):
    limit: Whole = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="How many at most.")


class CreatedQuery(PageQuery):
    """A query for a list of what was made within a span of time."""

    created_from: Instant | None = Field(None, description=_FROM)
    created_to: Instant | None = Field(None, description=_TO)


class OrderedQuery(CreatedQuery):
    """A query for a list that can be ordered. What it is given as `sort` is the list's own."""

    updated_from: Instant | None = Field(None, description="Only what changed last at this time or later; oldest change first.")

    @property
    def order(self) -> ListOrder:
        sort: StrEnum | None = getattr(self, "sort", None)
        if sort is not None:
            return ListOrder(sort)
        return ListOrder.created if self.updated_from is None else ListOrder.updated

    def filters(self, **other: object) -> dict[str, Any]:
        """What the search narrows by; `other` in place of what was asked."""
        asked = {name: value for name, value in self if name not in ("limit", "cursor", "sort")}
        return {**asked, "order": self.order, **other}

    @model_validator(mode="after")
    def _goes_on(self) -> Self:
        after: After | None = getattr(self, "cursor", None)
        if self.updated_from is not None and self.order is not ListOrder.updated:
            raise problem(FaultCode.allowed_only_when, "/updated_from", member="sort", value=SortOrder.updated)
        if after is not None and after.order is not self.order:
            raise problem(FaultCode.invalid_cursor, "/cursor")
        return self


class ListQuery(OrderedQuery):
    """A query for a list that is ordered by creation or by the last change."""

    sort: SortOrder | None = Field(None, description="Oldest change first, for those who follow along; else newest first.")


class SpanQuery(Query):
    from_: Instant | None = Field(None, alias="from", description=_FROM)
    to: Instant | None = Field(None, description=_TO)


def check_query(raw: bytes, *, known: bool) -> None:
    """Raises RequestProblem `validation-failed` unless each parameter is given once, in UTF-8, and where none is `known`, for any."""
    values, errors = _parameters(raw)
    if not known:
        errors += [field_error("/query" + pointer([name]), FaultCode.unknown_member) for name in values]
    if errors:
        raise RequestProblem("validation-failed", members={"errors": errors[:ERRORS_MAX]})


def _parameters(raw: bytes) -> tuple[dict[str, str], list[Fault]]:
    if not raw.isascii():
        return {}, [field_error("/query", FaultCode.query_not_utf8)]
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_PARAMETERS_MAX)
    except UnicodeDecodeError:
        return {}, [field_error("/query", FaultCode.query_not_utf8)]
    except ValueError:
        return {}, [field_error("/query", FaultCode.too_many_parameters, maximum=_PARAMETERS_MAX)]
    values = dict(pairs)
    twice = {name for name in values if sum(name == other for other, _ in pairs) > 1}
    return values, [field_error("/query" + pointer([name]), FaultCode.given_twice) for name in sorted(twice)]
