"""Policies: the rules that decide, as they are published."""

from typing import Literal

from pydantic import Field

from service.api.models.base import Out, PseudonymText, Time
from workflows.domain.enums import Allocation, Anchor, Category, Channel, Fulfilment, OnDeadline, PaymentState, Reason, Role, Route, Source

Length = str  # a number and a unit: minutes, hours, days, business_days, months

_AMOUNTS = "By currency, in minor units."


class UntilOut(Out):
    """An end that is no length."""

    end_of_day: str = Field(description="So long after the end of the anchor's local day.", examples=["+15 minutes"])


class PolicyWindowOut(Out):
    """When a rule's window is open, counted from a moment of the payment."""

    anchor: Anchor
    length: Length | None = Field(None, description="A number and `minutes hours days business_days months`.", examples=["7 days"])
    until: UntilOut | None = Field(None, description="Instead of a length.")
    count_from: Literal["next_day"] | None = Field(None, description="Count from the beginning of the local day after the anchor.")
    requires_anchor: bool | None = Field(None, description="True: closed as long as the anchor has not happened.")


class WhenOut(Out):
    """The conditions of a rule; all of them must hold. `…_not`: none of these."""

    state: list[PaymentState] | None = None
    state_not: list[PaymentState] | None = None
    fulfilment: list[Fulfilment] | None = None
    fulfilment_not: list[Fulfilment] | None = None
    category: list[Category] | None = None
    category_not: list[Category] | None = None
    merchant_id: list[str] | None = None
    merchant_id_not: list[str] | None = None
    currency: list[str] | None = None
    currency_not: list[str] | None = None
    amount: list[int] | None = None
    amount_not: list[int] | None = None
    amount_above: int | None = None
    amount_up_to: int | None = None
    role: list[Role] | None = None
    role_not: list[Role] | None = None
    channel: list[Channel] | None = None
    channel_not: list[Channel] | None = None
    reason: list[Reason] | None = None
    reason_not: list[Reason] | None = None
    source: list[Source] | None = None
    source_not: list[Source] | None = None


class TimeoutOut(Out):
    """How long somebody has, and what happens then."""

    length: Length = Field(description="How long.", examples=["48 hours"])
    then: OnDeadline


class LimitsOut(Out):
    """How often."""

    partial_refunds_max: int | None = Field(None, description="Partial refunds of one payment.", examples=[50])
    partial_interval: Length | None = Field(None, description="Between two partial refunds.", examples=["1 minutes"])
    requests_per_day: int | None = Field(None, description="For one payment, in the 24 hours before.")


class RuleOut(Out):
    """One rule. The first whose `when` holds and whose window is open decides."""

    name: str = Field(description="Unique within the policy.", examples=["second-thoughts"])
    when: WhenOut
    window: PolicyWindowOut | None = Field(None, description="Left out: always open.")
    route: Route
    merchant_deadline: TimeoutOut | None = Field(None, description="The merchant's time to answer.")
    return_deadline: TimeoutOut | None = Field(None, description="Until the goods are sent.")
    inspection_deadline: TimeoutOut | None = Field(None, description="Until the merchant says what came.")
    second_approval_above: dict[str, int] | None = Field(None, description=_AMOUNTS)
    allocation: Allocation | None = Field(None, description="How a partial refund is spread over the sources; `pro_rata` where left out.")
    forfeit: list[Source] | None = Field(None, description="Promotions that are not given back.")
    verification: list[Channel] | None = Field(None, description="Where an agent must say how the customer was verified.")
    limits: LimitsOut | None = Field(None, description="In place of the policy's.")


class DeadlinesOut(Out):
    """The policy's own deadlines, where a rule has none."""

    merchant: TimeoutOut
    returned: TimeoutOut = Field(alias="return")
    inspection: TimeoutOut
    offer: TimeoutOut
    second_approval: Length = Field(description="Then it goes back to the agents.", examples=["24 hours"])
    agent: Length = Field(description="Then it is raised to a supervisor.", examples=["5 business_days"])


class RefusalStepsOut(Out):
    """What to tell the customer instead."""

    next_steps: list[str] = Field(description="In this order.", examples=[["contact_merchant", "contact_support"]])


class PolicyDocumentOut(Out):
    """A policy as data."""

    version: str = Field(description="Its name.", examples=["2026-11-a"])
    effective_from: Time = Field(description="Payments authorised from then on are decided by it.")
    timezone: str = Field(description="IANA name.", examples=["Asia/Shanghai"])
    calendar: str = Field(description="Whose business days count; `none`: every day.", examples=["CN"])
    rules: list[RuleOut] = Field(description="The first whose `when` holds and whose window is open decides.")
    deadlines: DeadlinesOut
    second_approval_above: dict[str, int] = Field(description=_AMOUNTS, examples=[{"CNY": 500000}])
    verification: list[Channel] = Field(description="Channels on which an agent must say how the customer was verified.")
    limits: LimitsOut
    refusals: dict[str, RefusalStepsOut] = Field(description="By refusal; `default` for all others.")


class PolicyOut(Out):
    """One published version of the policy; it never changes again."""

    policy: PolicyDocumentOut
    published_at: Time = Field(description="When it was published.")
    published_by: PseudonymText


class PolicyEntryOut(Out):
    """One of the published versions."""

    version: str = Field(description="Its name.", examples=["2026-11-a"])
    effective_from: Time = Field(description="Payments authorised from then on are decided by it.")
    published_at: Time = Field(description="When it was published.")
    published_by: PseudonymText
