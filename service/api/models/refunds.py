"""Refunds: which are listed, and how they are shown."""

from pydantic import Field

from service.api.models.base import CancellationId, CurrencyCode, EtaOut, LegId, Money, Out, PaymentId, RefundId, Time, Version
from service.api.queries import CURSOR_TEXT, ListQuery, RefundsCursor
from service.api.types import Provider, Pseudonym
from workflows.domain.enums import LegState, OutcomeSource, Source


class ListRefunds(ListQuery):
    """Which refunds, newest first."""

    cursor: RefundsCursor | None = Field(None, description=CURSOR_TEXT)
    payment_id: PaymentId | None = Field(None, description="The payment.")
    cancellation_id: CancellationId | None = Field(None, description="The cancellation.")
    state: LegState | None = Field(None, description="The refund's state now: its legs' worst.")
    provider: Provider | None = Field(None, description="A rail that one of its legs goes through.")
    wallet_id: Pseudonym | None = Field(None, description="The user's wallet.")


class LegOut(Out):
    """The part of a refund that goes back to one funding source."""

    id: LegId
    source: Source
    provider: str = Field(description="The rail that pays.", examples=["sandbox"])
    amount: Money
    state: LegState
    outcome_source: OutcomeSource | None = Field(description="How the outcome was learnt.")
    provider_refund_id: str | None = Field(description="The provider's name for the movement.", examples=["rf-88121"])
    rail_reference: str | None = Field(description="What the customer's bank can search for.")
    attempts: int = Field(description="How often it was sent or asked.", examples=[1])
    failure_code: str | None = Field(description="Why the rail refused it.")
    next_attempt_at: Time | None = Field(description="When it is sent or asked next.")
    replaces: LegId | None = Field(description="The failed leg that this one succeeds.")


class RefundOut(Out):
    """Money on its way back, in one leg per funding source."""

    id: RefundId
    version: Version
    payment_id: PaymentId
    cancellation_id: CancellationId
    state: LegState = Field(description="Its legs' worst.")
    amount: Money
    currency: CurrencyCode
    legs: list[LegOut] = Field(description="In the order of the funding sources.")
    eta: EtaOut | None = Field(description="Null while a part of it waits or is stuck.")
    created_at: Time = Field(description="When it was approved.")
    updated_at: Time = Field(description="When it changed last.")
