"""The request bodies: what a caller may say about a payment."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from service.api.currencies import valid_at
from service.api.field_errors import field_error
from service.api.schemas import (
    AMOUNT_MAX,
    ENTRIES_MAX,
    Amount,
    Body,
    Currency,
    Instant,
    Label,
    Line,
    LineAmount,
    MetadataKey,
    MetadataValue,
    Note,
    Optionally,
    Provider,
    Pseudonym,
    Quantity,
    Reference,
    problem,
)
from workflows.domain.decisions.fulfilment import CLOCK_SKEW_MAX
from workflows.domain.enums import Category, Channel, EarnedKind, Fulfilment, PaymentFailure, Reason, Source
from workflows.domain.faults import Fault, FaultCode

_MOMENTS: Final = ("authorised_at", "completed_at", "shipped_at", "delivered_at", "at")

ProviderReference = Annotated[
    Line, Field(description="The provider's own name for its part of the payment; on the sandbox, its behaviour.")
]


class FundingBody(Body):
    """One source that the payment is paid from."""

    source: Source = Field(description="What kind of money it is.")
    amount: Amount = Field(description="What this source pays, in minor units.")
    provider: Provider = Field(description="The rail that took the money and can give it back.")
    provider_reference: ProviderReference
    funder: Optionally[Pseudonym] = Field(None, description="Who bears a coupon, points or cashback: a pseudonym.")


class ItemBody(Body):
    """One line of the order."""

    reference: Label = Field(description="The article's code, unique within the payment; spaces are allowed. It stands in records.")
    name: Line = Field(description="What a person calls it. Kept apart, so that it can be erased.")
    quantity: Quantity = Field(description="How many pieces the line has.")
    amount: LineAmount = Field(description="The whole line's amount in minor units; 0 for a gift.")


class EarnedBody(Body):
    """What the payment earned its user; kept, and not yet taken back after a refund."""

    kind: EarnedKind = Field(description="Cashback or points.")
    amount: Amount = Field(description="How much was earned, in minor units or points.")
    provider: Provider = Field(description="The rail that gave it.")
    provider_reference: ProviderReference


FundingList = Annotated[tuple[FundingBody, ...], Field(min_length=1, max_length=10)]
ItemList = Annotated[tuple[ItemBody, ...], Field(max_length=ENTRIES_MAX)]


class RegisterPayment(Body):
    """A payment that the wallet authorised, or already settled. `reference` is its natural key."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "reference": "order-20261122-0042",
                "wallet_id": "wallet-17850",
                "merchant_id": "north-bakery",
                "amount": 13912,
                "currency": "CNY",
                "funding": [
                    {"source": "balance", "amount": 12912, "provider": "sandbox", "provider_reference": "ok"},
                    {"source": "coupon", "amount": 1000, "provider": "sandbox", "provider_reference": "ok|cpn-9", "funder": "north-bakery"},
                ],
                "items": [{"reference": "85123A", "name": "Moon cakes, box of six", "quantity": 2, "amount": 13912}],
                "completed_at": "2026-11-22T08:26:00Z",
                "metadata": {"city": "Hangzhou"},
            }
        }
    )

    reference: Reference = Field(description="The wallet's own name for the payment, never used twice.")
    wallet_id: Pseudonym = Field(description="The user's wallet. Must be a pseudonym: it stands in records that cannot be erased.")
    merchant_id: Pseudonym = Field(description="The merchant. Must be a pseudonym: it stands in records that cannot be erased.")
    amount: Amount = Field(description="What was paid, in the currency's minor unit.")
    currency: Currency = Field(
        description="ISO 4217, alphabetic, with a minor unit; one that was withdrawn must have been valid at `authorised_at`."
    )
    order_reference: Optionally[Line] = Field(
        None, description="The merchant's name for the order. Must be a pseudonym: it stands in records."
    )
    category: Category = Field(Category.general, description="What kind of goods; policies may exclude some.")
    funding: Optionally[FundingList] = Field(None, description="Sums to `amount`. One `balance` leg of the default provider unless told.")
    items: Optionally[ItemList] = Field(None, description="The order's lines; they sum to `amount`.")
    earned: Optionally[tuple[EarnedBody, ...]] = Field(None, max_length=10, description="What the payment earned its user.")
    fulfilment: Fulfilment = Field(Fulfilment.none, description="How far the goods have come.")
    shipped_at: Optionally[Instant] = Field(None, description="When the goods were sent.")
    delivered_at: Optionally[Instant] = Field(None, description="When the goods arrived.")
    completed_at: Optionally[Instant] = Field(None, description="When it settled; given, the payment starts `completed`.")
    authorised_at: Optionally[Instant] = Field(None, description="`completed_at` unless told, else now.")
    metadata: Optionally[dict[MetadataKey, MetadataValue]] = Field(None, max_length=20, description="Short texts, given back as they came.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _funding_sums(self.funding, self.amount)
        _lines_sum(self.items, self.amount)
        if self.authorised_at and self.completed_at and self.authorised_at > self.completed_at:
            raise problem(FaultCode.after_completed_at, "/authorised_at")
        return self


class CompletePayment(Body):
    """The rail settled the payment."""

    model_config = ConfigDict(json_schema_extra={"example": {"completed_at": "2026-11-22T08:26:00Z", "provider_reference": "cap-5521"}})

    completed_at: Optionally[Instant] = Field(None, description="When it settled; now unless told.")
    provider_reference: Optionally[ProviderReference] = None


class FailPayment(Body):
    """The rail gave the payment up."""

    model_config = ConfigDict(json_schema_extra={"example": {"code": "insufficient_funds"}})

    code: PaymentFailure = Field(description="Why it failed.")
    detail: Optionally[Note] = Field(None, description="More, for a person. Kept apart, so that it can be erased.")


class ModifyPayment(Body):
    """The wallet lowered a pending payment at its rail."""

    model_config = ConfigDict(json_schema_extra={"example": {"amount": 9900, "reason": "one article was sold out"}})

    amount: Amount = Field(description="The new amount in minor units, lower than the old.")
    reason: Note = Field(description="Why. Kept apart, so that it can be erased.")
    funding: Optionally[FundingList] = Field(None, description="Anew where there is more than one source; sums to `amount`.")
    items: Optionally[ItemList] = Field(None, description="Anew where the payment has lines; they sum to `amount`.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _funding_sums(self.funding, self.amount)
        _lines_sum(self.items, self.amount)
        return self


class ChangeFulfilment(Body):
    """How far the goods have come; never backwards. A wrong time is corrected by an agent or a supervisor."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"status": "shipped", "at": "2026-11-22T16:00:00Z", "carrier": "sf-express", "tracking_number": "SF1000"}
        }
    )

    status: Fulfilment = Field(description="The new status, or the same again to fill a missing time.")
    at: Optionally[Instant] = Field(None, description="When it came to that; now unless told.")
    carrier: Optionally[Label] = Field(None, description="Who carries the goods: a company. It stands in records.")
    tracking_number: Optionally[Label] = Field(None, description="The carrier's number. Kept apart, so that it can be erased.")
    correction: Optionally[bool] = Field(None, description="True: `at` is the right time of a status whose time was wrong.")
    note: Optionally[Note] = Field(None, description="Why it is corrected. Kept apart, so that it can be erased.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for name in ("at", "note"):
            if self.correction and getattr(self, name) is None:
                raise problem(FaultCode.required_when, f"/{name}", member="correction", value="true")
        if self.note is not None and not self.correction:
            raise problem(FaultCode.allowed_only_when, "/note", member="correction", value="true")
        return self


class ItemQuantityBody(Body):
    """So many pieces of one line."""

    reference: Label = Field(description="The line's reference.")
    quantity: Quantity = Field(description="How many pieces of it to cancel.")


class Verification(Body):
    """How the caller made sure that the customer is who they say."""

    method: Literal["otp", "callback", "document", "app_session"] = Field(description="The means.")
    reference: Pseudonym = Field(description="Where its proof is kept: a pseudonym, never the proof.")


class Override(Body):
    """A supervisor passes a refusal; a second person must approve."""

    justification: Note = Field(description="Why. Kept apart, so that it can be erased.")
    ticket: Pseudonym = Field(description="The case. Must be a pseudonym: it stands in records that cannot be erased.")


class RequestCancellation(Body):
    """The wish to undo all or part of a payment."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "reason": "changed_mind",
                "items": [{"reference": "85123A", "quantity": 1}],
                "channel": "app",
                "client_reference": "cancel-0042-1",
                "expected_refundable": 13912,
            }
        }
    )

    reason: Reason = Field(description="Why; `other` needs a note.")
    amount: Optionally[Amount] = Field(None, description="How much, in minor units; all that is refundable unless told.")
    items: Optionally[tuple[ItemQuantityBody, ...]] = Field(
        None, min_length=1, max_length=ENTRIES_MAX, description="Which lines; computes the amount. Not together with `amount`."
    )
    channel: Optionally[Channel] = Field(
        None, description="Where the customer asked; `app` for a wallet, `merchant` for a merchant unless told."
    )
    note: Optionally[Note] = Field(None, description="In the customer's words. Kept apart, so that it can be erased.")
    client_reference: Optionally[Pseudonym] = Field(None, description="The caller's own key, unique within the payment for ever.")
    expected_refundable: Optionally[int] = Field(
        None, ge=0, le=AMOUNT_MAX, description="What the caller believes is refundable, in minor units."
    )
    verification: Optionally[Verification] = Field(None, description="How the customer was verified.")
    override: Optionally[Override] = Field(None, description="Supervisors only: pass a refusal of policy.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.items is not None and self.amount is not None:
            raise problem(FaultCode.not_with_amount, "/items")
        if self.reason is Reason.other and self.note is None:
            raise problem(FaultCode.required_when, "/note", member="reason", value="other")
        _references_unique(self.items or ())
        return self


def check_times(body: Body, now: datetime) -> list[Fault]:
    """The moments of `body` that lie further ahead of `now` than clocks may differ."""
    latest = now + CLOCK_SKEW_MAX
    moments = ((name, getattr(body, name, None)) for name in _MOMENTS)
    return [field_error(f"/{name}", FaultCode.in_future) for name, at in moments if isinstance(at, datetime) and at > latest]


def check_currency(body: RegisterPayment, now: datetime) -> list[Fault]:
    """Of a currency that was withdrawn before the payment was authorised."""
    authorised_at = body.authorised_at or body.completed_at or now
    if valid_at(body.currency, authorised_at):
        return []
    return [field_error("/currency", FaultCode.currency_withdrawn)]


def _funding_sums(funding: Iterable[FundingBody] | None, amount: int) -> None:
    if funding is not None and sum(source.amount for source in funding) != amount:
        raise problem(FaultCode.funding_sum, "/funding")


def _lines_sum(items: Sequence[ItemBody] | None, amount: int) -> None:
    if not items:
        return
    if sum(line.amount for line in items) != amount:
        raise problem(FaultCode.items_sum, "/items")
    _references_unique(items)


def _references_unique(items: Iterable[ItemBody | ItemQuantityBody]) -> None:
    seen: set[str] = set()
    for position, line in enumerate(items):
        if line.reference in seen:
            raise problem(FaultCode.duplicate_item, f"/items/{position}/reference")
        seen.add(line.reference)
