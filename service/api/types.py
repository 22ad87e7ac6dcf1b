"""The field types that bodies and queries are made of: what a caller may write, and in which form."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Protocol, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, PlainValidator, StringConstraints, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import TupleSchema

from service.api.currencies import EXPONENTS
from workflows.domain import money
from workflows.domain.faults import FaultCode, FaultMember
from workflows.domain.times import TEXT_LENGTH_MAX, parse_rfc3339

T = TypeVar("T")

AMOUNT_MAX: Final = money.AMOUNT_MAX
QUANTITY_MAX: Final = 10**6
BODY_BYTES_MAX: Final = 256 * 1024
# More lines than a body can hold, since the least of them, {"reference":"a","quantity":1}, has 30 bytes: no second limit, but an
# array of a hundred thousand wrong entries is not read through.
ENTRIES_MAX: Final = BODY_BYTES_MAX // 30
NOTE_LENGTH_MAX: Final = 2000
METADATA_MAX: Final = 20
MEMBERS_MAX: Final = 250  # of one object: more than there are currencies
DEPTH_MAX: Final = 32  # of objects and arrays within each other
CONTAINERS_MAX: Final = 10_000  # objects and arrays of one body: more than the lines that it can hold

# Each pattern, and below it the fault of what does not match. `$` is the very end here: pydantic's engine knows no trailing newline.
REFERENCE: Final = r"^[A-Za-z0-9_.:-]+$"
VISIBLE: Final = r"^[!-~]+$"
ASCII: Final = r"^[ -~]+$"
LINE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
# Of what identifies something, moreover nothing that nobody sees: soft hyphens, zero widths, directions of text, fillers, variation
# selectors, tags (Unicode's Default_Ignorable_Code_Point, without those of musical notation), and the separators of lines.
INVISIBLE: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\ufffb" + "\U000e0000-\U000e0fff"
)
VISIBLE_LINE: Final = rf"^[^\x00-\x1f\x7f-\x9f{INVISIBLE}]*$"
LINES: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
SLUG: Final = r"^[a-z][a-z0-9_]*$"
WORD: Final = r"^[a-z_]+$"
DIGEST: Final = r"^[0-9a-f]{64}$"
# An email address as HTML has it (input type=email); a URL without a user and password, of the characters of RFC 3986.
EMAIL: Final = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$"
PHONE: Final = r"^\+?([ ()-]?[0-9]){3,20}$"
HTTPS_URL: Final = r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][A-Za-z0-9._~:/?#@!$&'()*+,;=%-]*)?$"
CURSOR: Final = r"^[A-Za-z0-9_-]+$"
# For the OpenAPI. RFC 3339 in UTC from 1970 on, with any number of digits of a second, and a leap second; `format` keeps out the 30th
# of February.
_INSTANT: Final = (
    r"^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"[Tt](([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]|23:59:60)(\.[0-9]+)?([Zz]|[+-]00:00)$"
)
_LINES_NOT_BLANK: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\s][^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
EXPECTED: Final[Mapping[str, FaultCode]] = MappingProxyType(
    {
        REFERENCE: FaultCode.invalid_reference,
        VISIBLE: FaultCode.not_visible_ascii,
        ASCII: FaultCode.not_printable_ascii,
        LINE: FaultCode.control_characters,
        VISIBLE_LINE: FaultCode.invisible_characters,
        LINES: FaultCode.control_characters_in_text,
        SLUG: FaultCode.invalid_slug,
        WORD: FaultCode.invalid_word,
        DIGEST: FaultCode.invalid_digest,
        EMAIL: FaultCode.invalid_email,
        PHONE: FaultCode.invalid_phone,
        HTTPS_URL: FaultCode.invalid_url,
        CURSOR: FaultCode.invalid_cursor,
    }
)


class Body(BaseModel):
    """A request body: known members only, each in its very type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _NotNull:
    """Takes the null out of what a member may be. Its place is `Optionally`."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema


# A member that may be left out, and is None then. Null is refused: leaving out says it already, and often means more ("all of it"),
# so that a client's null by accident would ask for what nobody meant.
Optionally = Annotated[T | None, _NotNull()]


class _StopsAtFirstFault:
    """Has pydantic stop at the first entry of an array that is wrong: it would collect the faults of ten thousand, some 10 µs each."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = cast(TupleSchema, handler(source))
        schema["fail_fast"] = True
        return schema


STOPS_AT_FIRST_FAULT: Final = _StopsAtFirstFault()


def problem(code: FaultCode, pointer: str = "", **members: FaultMember) -> PydanticCustomError:
    """A fault of ours, to be raised by a validator; `pointer` goes on from where the validator stands."""
    return PydanticCustomError("fault", "{code}", {"code": code.value, "pointer": pointer, "members": members})


def _instant(value: object) -> datetime:
    try:
        if isinstance(value, str):
            return parse_rfc3339(value)
    except ValueError:
        pass
    raise problem(FaultCode.invalid_time)


def _currency(code: str) -> str:
    if code not in EXPONENTS:
        raise problem(FaultCode.invalid_currency)
    return code


def not_blank(text: str) -> str:
    if not text.strip():
        raise problem(FaultCode.blank)
    return text


Instant = Annotated[
    datetime,
    PlainValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": _INSTANT, "maxLength": TEXT_LENGTH_MAX}),
]
Amount = Annotated[int, Field(ge=1, le=AMOUNT_MAX)]
LineAmount = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
Quantity = Annotated[int, Field(ge=1, le=QUANTITY_MAX)]
Currency = Annotated[str, AfterValidator(_currency), WithJsonSchema({"type": "string", "enum": sorted(EXPONENTS)})]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=REFERENCE)]
Pseudonym = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=VISIBLE)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=VISIBLE_LINE)]
LongLabel = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=VISIBLE_LINE)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=LINE)]
Note = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NOTE_LENGTH_MAX, pattern=LINES),
    AfterValidator(not_blank),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": NOTE_LENGTH_MAX, "pattern": _LINES_NOT_BLANK}),
]
Provider = Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=SLUG)]
ReasonCode = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=WORD)]
Digest = Annotated[str, StringConstraints(min_length=64, max_length=64, pattern=DIGEST)]
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=ASCII)],
        Annotated[str, StringConstraints(max_length=200, pattern=LINE)],
    ],
    Field(max_length=METADATA_MAX),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": METADATA_MAX,
            "propertyNames": {"pattern": "^[ -~]{1,40}$"},  # and not patternProperties: generators make an object without members of those
            "additionalProperties": {"type": "string", "maxLength": 200, "pattern": LINE},
        }
    ),
]


class CustomerChannel(StrEnum):
    """Where a customer can speak; `system` is for the service's own steps."""

    app = "app"
    hotline = "hotline"
    chat = "chat"
    social = "social"
    email = "email"
    bot = "bot"
    merchant = "merchant"


class _Referenced(Protocol):
    @property
    def reference(self) -> str: ...


def references_unique(items: Iterable[_Referenced]) -> None:
    """Raises a fault at `/items/<position>/reference` for the first line that names another's reference."""
    seen: set[str] = set()
    for position, line in enumerate(items):
        if line.reference in seen:
            raise problem(FaultCode.duplicate_item, f"/items/{position}/reference")
        seen.add(line.reference)
