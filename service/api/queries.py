"""The query strings: which parameters each call takes, and in which form."""

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final, Literal, Self, TypeVar
from urllib.parse import parse_qsl, unquote
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from service.api.cursor import After, AfterUpdate, CursorMalformed, Kind, decode, decode_id
from service.api.field_errors import field_error, field_errors, pointer
from service.api.problems import RequestProblem
from service.api.schemas import AMOUNT_MAX, CURSOR, QUANTITY_MAX, Instant, Line, Provider, Pseudonym, Reference, problem
from workflows.domain import ids
from workflows.domain.enums import CancellationState, Channel, LegState, PaymentState, Reason, RecordType, Route
from workflows.domain.faults import Fault, FaultCode
from workflows.domain.model import ItemQuantity

LIMIT_MAX: Final = 200
LIMIT_DEFAULT: Final = 50
_PARAMETERS_MAX: Final = 50
_WHOLE: Final = re.compile(r"[0-9]{1,16}")
_REFERENCE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ufffd]{1,64}")  # as of an item; U+FFFD is what was not UTF-8

T = TypeVar("T")
Q = TypeVar("Q", bound="Query")


class Query(BaseModel):
    """A query string: known parameters only, each at most once."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _whole(text: object) -> object:
    """Digits and nothing else: no sign, space, underscore or point, which int() would take."""
    if not (isinstance(text, str) and _WHOLE.fullmatch(text)):
        raise problem(FaultCode.not_integer)
    return int(text)


def _flag(text: object) -> bool:
    if text not in ("true", "false"):
        raise problem(FaultCode.not_boolean)
    return text == "true"


def _public_id(prefix: ids.Prefix, text: object) -> UUID:
    found = ids.parse(prefix, text) if isinstance(text, str) else None
    if found is None:
        raise problem(FaultCode.invalid_id, prefix=prefix)
    return found


def _cursor(take: Callable[[Kind, str], T], kind: Kind, text: object) -> T:
    try:
        if isinstance(text, str):
            return take(kind, text)
    except CursorMalformed:
        pass
    raise problem(FaultCode.invalid_cursor)


def _list_cursor(kind: Kind, updated: Kind, text: object) -> After:
    """Of either order of a list; that it is the order asked for is checked with the whole."""
    try:
        if isinstance(text, str):
            after = decode(updated, text)
            return AfterUpdate(after.created_at, after.id)
    except CursorMalformed:
        pass
    return _cursor(decode, kind, text)


def _sort(text: object) -> str:
    if text != "updated":
        raise problem(FaultCode.unknown_value, allowed=("updated",))
    return "updated"


def _export_format(text: object) -> str:
    if text not in ("ndjson", "csv"):
        raise problem(FaultCode.unknown_value, allowed=("ndjson", "csv"))
    return str(text)


def _items(text: object) -> tuple[ItemQuantity, ...]:
    """`85123A:2,85124:1`; what follows the last colon of each is its quantity."""
    found: dict[str, ItemQuantity] = {}
    for entry in text.split(",") if isinstance(text, str) else []:
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
Amount = Annotated[int, Field(ge=1, le=AMOUNT_MAX), BeforeValidator(_whole)]
Items = Annotated[
    tuple[ItemQuantity, ...], PlainValidator(_items), WithJsonSchema({"type": "string", "minLength": 3, "examples": ["85123A:2,85124:1"]})
]
Flag = Annotated[bool, PlainValidator(_flag), WithJsonSchema({"type": "boolean"})]
PaymentId = Annotated[UUID, PlainValidator(partial(_public_id, "pay")), WithJsonSchema({"type": "string", "pattern": "^pay_[0-9a-f]{32}$"})]
CancellationId = Annotated[
    UUID, PlainValidator(partial(_public_id, "can")), WithJsonSchema({"type": "string", "pattern": "^can_[0-9a-f]{32}$"})
]
PaymentsCursor = Annotated[After, PlainValidator(partial(_list_cursor, "payments", "payments_updated")), _CURSOR_FORM]
CancellationsCursor = Annotated[After, PlainValidator(partial(_list_cursor, "cancellations", "cancellations_updated")), _CURSOR_FORM]
RefundsCursor = Annotated[After, PlainValidator(partial(_list_cursor, "refunds", "refunds_updated")), _CURSOR_FORM]
RecordsCursor = Annotated[After, PlainValidator(partial(_cursor, decode, "records")), _CURSOR_FORM]
PaymentRecordsCursor = Annotated[UUID, PlainValidator(partial(_cursor, decode_id, "payment_records")), _CURSOR_FORM]
Sort = Annotated[Literal["updated"], PlainValidator(_sort), WithJsonSchema({"type": "string", "enum": ["updated"]})]
ExportFormat = Annotated[
    Literal["ndjson", "csv"], PlainValidator(_export_format), WithJsonSchema({"type": "string", "enum": ["ndjson", "csv"]})
]

_FROM: Final = "Only what was made at this time or later."
_TO: Final = "Only what was made before this time."
_CURSOR: Final = "Where to go on: the `next_cursor` of the page before."


class NoQuery(Query):
    """No parameters."""


class _Page(Query):
    limit: Whole = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="How many at most.")


class _List(_Page):
    created_from: Instant | None = Field(None, description=_FROM)
    created_to: Instant | None = Field(None, description=_TO)
    updated_from: Instant | None = Field(None, description="Only what changed last at this time or later; oldest change first.")
    sort: Sort | None = Field(None, description="Oldest change first, for those who follow along; else newest first.")

    @property
    def by_update(self) -> bool:
        return self.sort is not None or self.updated_from is not None

    @model_validator(mode="after")
    def _goes_on(self) -> Self:
        after: After | None = getattr(self, "cursor", None)
        if after is not None and isinstance(after, AfterUpdate) != self.by_update:
            raise problem(FaultCode.invalid_cursor, "/cursor")
        return self


class ListPayments(_List):
    """Which payments, newest first."""

    cursor: PaymentsCursor | None = Field(None, description=_CURSOR)
    reference: Reference | None = Field(None, description="The wallet's name for the payment.")
    wallet_id: Pseudonym | None = Field(None, description="The user's wallet.")
    merchant_id: Pseudonym | None = Field(None, description="The merchant.")
    order_reference: Line | None = Field(None, description="The merchant's name for the order.")
    state: PaymentState | None = Field(None, description="The payment's state now.")


class ListCancellations(_List):
    """Which cancellations, newest first."""

    cursor: CancellationsCursor | None = Field(None, description=_CURSOR)
    state: CancellationState | None = Field(None, description="The cancellation's state now.")
    route: Route | None = Field(None, description="Who decides.")
    merchant_id: Pseudonym | None = Field(None, description="The merchant.")
    payment_id: PaymentId | None = Field(None, description="The payment.")
    assigned_to: Pseudonym | None = Field(None, description="The agent who took it.")
    overdue: Flag | None = Field(None, description="Whether its clock has run out.")
    wallet_id: Pseudonym | None = Field(None, description="The user's wallet.")


class ListRefunds(_List):
    """Which refunds, newest first."""

    cursor: RefundsCursor | None = Field(None, description=_CURSOR)
    payment_id: PaymentId | None = Field(None, description="The payment.")
    cancellation_id: CancellationId | None = Field(None, description="The cancellation.")
    state: LegState | None = Field(None, description="The refund's state now: its legs' worst.")
    provider: Provider | None = Field(None, description="A rail that one of its legs goes through.")
    wallet_id: Pseudonym | None = Field(None, description="The user's wallet.")


class _Span(Query):
    from_: Instant | None = Field(None, alias="from", description=_FROM)
    to: Instant | None = Field(None, description=_TO)


class SearchRecords(_Page, _Span):
    """Which records, newest first."""

    cursor: RecordsCursor | None = Field(None, description=_CURSOR)
    type: RecordType | None = Field(None, description="What happened.")
    payment_id: PaymentId | None = Field(None, description="The payment.")
    merchant_id: Pseudonym | None = Field(None, description="The payment's merchant.")
    actor: Line | None = Field(None, description="Who did it: the actor's id.")


class ListPaymentRecords(_Page):
    """A payment's records, oldest first."""

    cursor: PaymentRecordsCursor | None = Field(None, description=_CURSOR)


class ExportRecords(_Span):
    """Which records to export."""

    format: ExportFormat = Field("ndjson", description="One JSON object a line, with a signed trailer; or CSV.")
    merchant_id: Pseudonym | None = Field(None, description="Only this merchant's.")
    bom: Flag = Field(False, description="CSV only: begin with a byte order mark, by which Excel knows UTF-8.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.bom and self.format != "csv":
            raise problem(FaultCode.allowed_only_when, "/bom", member="format", value="csv")
        return self


class Eligibility(Query):
    """What would be asked for."""

    amount: Amount | None = Field(None, description="In minor units; all that is refundable unless told. Not together with `items`.")
    items: Items | None = Field(
        None,
        description=(
            "Which lines, as `reference:quantity` with commas between them: `85123A:2,85124:1`. Within a reference a comma is "
            "written `%2C` and a percent sign `%25`; the whole is then percent-encoded like any parameter."
        ),
    )
    reason: Reason | None = Field(None, description="Why; without it, the best that any reason would bring.")
    channel: Channel | None = Field(None, description="Where the customer would ask.")
    as_: Literal["customer"] | None = Field(
        None, alias="as", description="`customer`: what the customer could do himself, for an agent on the line."
    )

    @property
    def as_customer(self) -> bool:
        return self.as_ is not None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.items is not None and self.amount is not None:
            raise problem(FaultCode.not_with_amount, "/items")
        return self


def read_query(raw: bytes, model: type[Q]) -> Q:
    """The query string as `model`; RequestProblem `validation-failed` for anything that it does not take."""
    values, errors = _parameters(raw)
    if not errors:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            errors = field_errors(error, "/query")
    raise RequestProblem("validation-failed", members={"errors": errors})


def openapi_parameters(model: type[Query]) -> list[dict[str, JsonValue]]:
    """The parameters as OpenAPI wants them, each schema complete in itself."""
    document = model.model_json_schema()
    shared = document.get("$defs", {})
    members = document.get("properties", {}).items()
    return [
        {"name": name, "in": "query", "required": False, "description": form["description"], "schema": _schema(form, shared)}
        for name, form in members
    ]


def _schema(form: dict[str, JsonValue], shared: dict[str, dict[str, JsonValue]]) -> dict[str, JsonValue]:
    """A member's schema without pydantic's titles, references and null: a parameter that says nothing is left out instead."""
    match form:
        case {"anyOf": [{"$ref": str(where)}, *_]}:
            form = shared[where.rpartition("/")[2]]
        case {"anyOf": [dict(given), *_]}:
            form = given
    said = {key: value for key, value in form.items() if key not in ("title", "description")}
    return {key: value for key, value in said.items() if (key, value) != ("default", None)}


def _parameters(raw: bytes) -> tuple[dict[str, str], list[Fault]]:
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_PARAMETERS_MAX)
    except UnicodeDecodeError:
        return {}, [field_error("/query", FaultCode.query_not_utf8)]
    except ValueError:
        return {}, [field_error("/query", FaultCode.too_many_parameters, maximum=_PARAMETERS_MAX)]
    values = dict(pairs)
    twice = {name for name in values if sum(name == other for other, _ in pairs) > 1}
    return values, [field_error("/query" + pointer([name]), FaultCode.given_twice) for name in sorted(twice)]
