"""What all answers share: the base model, ids, times, and the page of a list."""

from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from operator import attrgetter
from typing import Annotated, Final, Generic, Literal, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from service.api.types import problem
from workflows.domain import ids
from workflows.domain.enums import Anchor
from workflows.domain.faults import FaultCode
from workflows.domain.times import rfc3339

T = TypeVar("T")

FREE_TEXT: Final = "For those who decide; null for others, where there is none, and once erased."
EXAMPLE_DIGITS: Final = "019ab2f0c4d17e2f8a6b1c2d3e4f5062"


class Out(BaseModel):
    """An answer. Members are always there unless they are marked optional; what is not known is null. New ones may be added."""

    model_config = ConfigDict(
        from_attributes=True,
        frozen=True,
        serialize_by_alias=True,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,  # what a person wrote stands in no log
    )

    @classmethod
    def of(cls, row: object, **more: object) -> Self:
        """The answer about `row`, a part of the domain; `more` is what the row does not say, or says otherwise."""
        names, read = _reader(cls, frozenset(more))
        return cls.model_validate({**dict(zip(names, read(row), strict=True)), **more})


@cache
def _reader(model: type[BaseModel], given: frozenset[str]) -> tuple[tuple[str, ...], Callable[[object], tuple[object, ...]]]:
    """The members that a row of the domain has to bring, and what reads them from it."""
    names = tuple(name for name in model.model_fields if name not in given)
    if len(names) > 1:
        return names, attrgetter(*names)
    return names, lambda row: tuple(getattr(row, name) for name in names)


def to_json(answer: BaseModel) -> bytes:
    return answer.model_dump_json().encode()


def _public_id(prefix: ids.Prefix, value: object) -> UUID:
    found = value if isinstance(value, UUID) else ids.parse(prefix, value) if isinstance(value, str) else None
    if found is None:
        raise problem(FaultCode.invalid_id, prefix=prefix)
    return found


def _id_schema(prefix: ids.Prefix, whose: str) -> WithJsonSchema:
    pattern, example = f"^{prefix}_[0-9a-f]{{32}}$", f"{prefix}_{EXAMPLE_DIGITS}"
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": f"The {whose}'s id.", "examples": [example]})


# Ids are UUIDs inside and a prefix with 32 hex digits outside, both ways.
PaymentId = Annotated[
    UUID, BeforeValidator(partial(_public_id, "pay")), PlainSerializer(partial(ids.public, "pay")), _id_schema("pay", "payment")
]
CancellationId = Annotated[
    UUID, BeforeValidator(partial(_public_id, "can")), PlainSerializer(partial(ids.public, "can")), _id_schema("can", "cancellation")
]
RefundId = Annotated[
    UUID, BeforeValidator(partial(_public_id, "rfd")), PlainSerializer(partial(ids.public, "rfd")), _id_schema("rfd", "refund")
]
LegId = Annotated[UUID, BeforeValidator(partial(_public_id, "leg")), PlainSerializer(partial(ids.public, "leg")), _id_schema("leg", "leg")]
AnomalyId = Annotated[
    UUID, BeforeValidator(partial(_public_id, "ano")), PlainSerializer(partial(ids.public, "ano")), _id_schema("ano", "anomaly")
]
RecordId = Annotated[str, Field(description="The record's id.", pattern=r"^rec_[0-9a-f]{32}$", examples=[f"rec_{EXAMPLE_DIGITS}"])]

Time = Annotated[
    datetime,
    PlainSerializer(rfc3339),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
            "examples": ["2026-11-22T09:05:00.018322Z"],
        }
    ),
]
Sum = Annotated[int, Field(ge=0, description="In the currency's minor unit.", examples=[6956])]
Money = Annotated[int, Field(description="In the currency's minor unit.", examples=[13912])]
CurrencyCode = Annotated[str, Field(description="ISO 4217.", examples=["CNY"])]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])]
PseudonymText = Annotated[str, Field(description="A pseudonym.", examples=["wallet-17850"])]
Version = Annotated[int, Field(description="Grows with every change; the `ETag`.", examples=[3])]
Actions = Annotated[list[str], Field(description="What this caller may do now.", examples=[["withdraw"]])]


class Page(Out, Generic[T]):
    """One page of a list."""

    data: list[T] = Field(description="The entries of this page.")
    next_cursor: str | None = Field(description="For `?cursor=`; null on the last page.", examples=[None])


class WindowOut(Out):
    """The window of the rule that decided: open at `opens_at`, closed at `closes_at`."""

    anchor: Anchor | None = Field(description="The moment from which it counts.")
    opens_at: Time | None = Field(description="Null: open from the beginning.")
    closes_at: Time | None = Field(description="The first moment at which it is closed.")


class EtaOut(Out):
    """When the money will have arrived."""

    earliest: Time = Field(description="Not before.")
    latest: Time = Field(description="Not later, as a rule.")
    basis: Literal["table"] = Field(description="How it is known: `table` is the usual time of each kind of source.")


class ContactOut(Out):
    """How to reach a merchant."""

    name: str = Field(description="The merchant's name.", examples=["Sunny Shop"])
    email: str | None = Field(description="Null: not told.", examples=["help@sunny.example"])
    phone: str | None = Field(description="Null: not told.", examples=["+86 21 5555 0100"])
    url: str | None = Field(description="Null: not told.", examples=["https://sunny.example/help"])


class NextStepOut(Out):
    """What the customer, or the one who helps, can do next."""

    action: str = Field(description="What to do, as a word. New ones may be added.", examples=["contact_support"])
    message: str = Field(description="The same as a sentence.", examples=["Please contact our customer support. We are happy to help."])
    contact: ContactOut | None = Field(description="Of `contact_merchant`: where, if it is known.", examples=[None])
