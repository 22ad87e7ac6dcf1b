"""Payments: what is registered and told of them, which are listed, and how they are shown."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from service.api.models.base import (
    EXAMPLE_DIGITS,
    Actions,
    CancellationId,
    CurrencyCode,
    Money,
    NextStepOut,
    Out,
    PaymentId,
    PseudonymText,
    Sum,
    Time,
    Version,
)
from service.api.queries import CURSOR_TEXT, ListQuery, PaymentsCursor
from service.api.types import (
    ENTRIES_MAX,
    STOPS_AT_FIRST_FAULT,
    Amount,
    Body,
    Currency,
    Instant,
    Label,
    Line,
    LineAmount,
    LongLabel,
    Metadata,
    Note,
    Optionally,
    Provider,
    Pseudonym,
    Quantity,
    Reference,
    problem,
    references_unique,
)
from workflows.domain.enums import Category, EarnedKind, Fulfilment, PaymentFailure, PaymentState, Source
from workflows.domain.faults import FaultCode

ProviderReference = Annotated[
    LongLabel, Field(description="The provider's own name for its part of the payment; on the sandbox, its behaviour.")
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


FundingList = Annotated[tuple[FundingBody, ...], Field(min_length=1, max_length=10), STOPS_AT_FIRST_FAULT]
ItemList = Annotated[tuple[ItemBody, ...], Field(max_length=ENTRIES_MAX), STOPS_AT_FIRST_FAULT]
EarnedList = Annotated[tuple[EarnedBody, ...], Field(max_length=10), STOPS_AT_FIRST_FAULT]


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
    order_reference: Optionally[LongLabel] = Field(
        None, description="The merchant's name for the order. Must be a pseudonym: it stands in records."
    )
    category: Optionally[Category] = Field(None, description="What kind of goods; policies may exclude some. `general` unless told.")
    funding: Optionally[FundingList] = Field(None, description="Sums to `amount`. One `balance` leg of the default provider unless told.")
    items: Optionally[ItemList] = Field(None, description="The order's lines; they sum to `amount`.")
    earned: Optionally[EarnedList] = Field(None, description="What the payment earned its user.")
    fulfilment: Optionally[Fulfilment] = Field(None, description="How far the goods have come; `none` unless told.")
    shipped_at: Optionally[Instant] = Field(None, description="When the goods were sent.")
    delivered_at: Optionally[Instant] = Field(None, description="When the goods arrived.")
    completed_at: Optionally[Instant] = Field(None, description="When it settled; given, the payment starts `completed`.")
    authorised_at: Optionally[Instant] = Field(None, description="`completed_at` unless told, else now.")
    metadata: Optionally[Metadata] = Field(None, description="Short texts, given back as they came.")

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


class ListPayments(ListQuery):
    """Which payments, newest first."""

    cursor: PaymentsCursor | None = Field(None, description=CURSOR_TEXT)
    reference: Reference | None = Field(None, description="The wallet's name for the payment.")
    wallet_id: Pseudonym | None = Field(None, description="The user's wallet.")
    merchant_id: Pseudonym | None = Field(None, description="The merchant.")
    order_reference: Line | None = Field(None, description="The merchant's name for the order.")
    state: PaymentState | None = Field(None, description="The payment's state now.")


class FundingOut(Out):
    """One source that the payment was paid from."""

    source: Source
    amount: Money
    provider: str = Field(description="The rail that took the money.", examples=["sandbox"])
    provider_reference: str = Field(description="The provider's own name for its part of the payment.", examples=["ok"])
    funder: str | None = Field(description="Who bears a coupon, points or cashback: a pseudonym.", examples=[None])


class ItemOut(Out):
    """One line of the order."""

    reference: str = Field(description="The article's code.", examples=["85123A"])
    name: str | None = Field(description="Null once erased.", examples=["Moon cakes, box of six"])
    quantity: int = Field(description="How many pieces.", examples=[2])
    amount: Money


class EarnedOut(Out):
    """What the payment earned its user."""

    kind: EarnedKind
    amount: int = Field(description="In minor units, or points.", examples=[139])
    provider: str = Field(description="The rail that gave it.", examples=["sandbox"])
    provider_reference: str = Field(description="The provider's own name for it.", examples=["ok"])


class FailureOut(Out):
    """Why a payment failed, and what can be done."""

    code: PaymentFailure
    message: str = Field(description="What happened, for the customer.")
    next_steps: list[NextStepOut] = Field(description="What the customer can do about it.")
    detail: str | None = Field(description="Null where none was given, and once erased.")


class PaymentOut(Out):
    """A payment as it now is."""

    id: PaymentId
    version: Version
    reference: str = Field(description="The wallet's own name for it.", examples=["order-20261122-0042"])
    uetr: UUID = Field(description="Its unique end-to-end reference in ISO 20022 messages: a UUID of version 4.")
    state: PaymentState
    wallet_id: PseudonymText
    merchant_id: PseudonymText
    order_reference: str | None = Field(description="The merchant's name for the order.")
    category: Category
    amount: Money
    currency: CurrencyCode
    amount_refunded: Sum = Field(description="What went back.")
    amount_reserved: Sum = Field(description="What open cancellations hold.")
    amount_charged_back: Sum = Field(description="What lost disputes took.")
    amount_forfeited: Sum = Field(description="What of promotions a rule did not give back.")
    amount_refundable: Sum = Field(description="What a new cancellation could still take.")
    refundable_until: Time | None = Field(
        description="Until when its own customer may ask for anything, by the pinned policy as things stand: the latest end of a window "
        "that is open or known to open. Another cancellation or a dispute does not move it. Null where nothing can be asked for any more, "
        "and where no window that is open has an end."
    )
    funding: list[FundingOut] = Field(description="What it was paid from.")
    items: list[ItemOut] = Field(description="The order's lines.")
    earned: list[EarnedOut] = Field(description="What it earned its user.")
    fulfilment: Fulfilment
    authorised_at: Time = Field(description="When the rail granted the money.")
    completed_at: Time | None = Field(description="When it settled.")
    shipped_at: Time | None = Field(description="When the goods were sent.")
    delivered_at: Time | None = Field(description="When the goods arrived.")
    return_received_at: Time | None = Field(description="When the merchant had the goods back.")
    carrier: str | None = Field(description="Who brings the goods; null once erased.")
    tracking_number: str | None = Field(description="The carrier's number; null once erased.")
    failure: FailureOut | None = Field(description="Why the payment failed, and what can be done.")
    disputed: bool = Field(description="A dispute is open; nothing goes out.")
    frozen: bool = Field(description="The wallet is on hold; refunds to it wait.")
    policy_version: str = Field(description="The policy in force when it was authorised.", examples=["2026-11-a"])
    merchant_rules_version: str | None = Field(
        description="The merchant's own terms in force then, as `merchant@version`; null: it had not been described.", examples=["shop-1@3"]
    )
    metadata: dict[str, str] = Field(description="As it came; empty once erased.", examples=[{"city": "Hangzhou"}])
    open_cancellation: CancellationId | None = Field(description="The one that is open.")
    cancellations: list[CancellationId] = Field(description="The last 20, newest last.")
    cancellations_url: str = Field(
        description="Where all of them are listed.", examples=[f"/v1/cancellations?payment_id=pay_{EXAMPLE_DIGITS}"]
    )
    created_at: Time = Field(description="When it was registered here.")
    updated_at: Time = Field(description="When it changed last.")
    available_actions: Actions


class ImportErrorOut(Out):
    """A line that was not taken."""

    line: int = Field(description="From 1.", ge=1, examples=[17])
    code: str = Field(description="A problem's slug.", examples=["validation-failed"])
    detail: str = Field(description="Where in the line, and what to fix.", examples=["/amount: Must be at least 1."])


class ImportOut(Out):
    """What became of the lines."""

    accepted: int = Field(description="Registered now.", examples=[9657])
    duplicates: int = Field(description="Already there with the same content.", examples=[1])
    rejected: int = Field(description="Not taken; see `errors`.", examples=[1])
    errors: list[ImportErrorOut] = Field(description="The first 1,000.")


def _funding_sums(funding: Iterable[FundingBody] | None, amount: int) -> None:
    if funding is not None and sum(source.amount for source in funding) != amount:
        raise problem(FaultCode.funding_sum, "/funding")


def _lines_sum(items: Sequence[ItemBody] | None, amount: int) -> None:
    if not items:
        return
    if sum(line.amount for line in items) != amount:
        raise problem(FaultCode.items_sum, "/items")
    references_unique(items)
