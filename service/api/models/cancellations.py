"""Cancellations: what is asked, which are listed, what would come of a request, and how they are shown."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from service.api.models.attention import AttentionOut
from service.api.models.base import (
    FREE_TEXT,
    Actions,
    CancellationId,
    CurrencyCode,
    EtaOut,
    Hash,
    Money,
    NextStepOut,
    Out,
    PaymentId,
    PseudonymText,
    Sum,
    Time,
    Version,
    WindowOut,
)
from service.api.models.refunds import RefundOut
from service.api.queries import CURSOR_TEXT, CancellationsCursor, CancellationSortOrder, Flag, Items, OrderedQuery, Query, QueryAmount
from service.api.types import (
    AMOUNT_MAX,
    ENTRIES_MAX,
    STOPS_AT_FIRST_FAULT,
    Amount,
    Body,
    CustomerChannel,
    Label,
    Note,
    Optionally,
    Pseudonym,
    Quantity,
    problem,
    references_unique,
)
from workflows.domain.enums import (
    ActorRole,
    CancellationState,
    Channel,
    Fulfilment,
    MerchantDecision,
    OnDeadline,
    Reason,
    Refusal,
    ReturnCondition,
    Route,
    Source,
)
from workflows.domain.faults import FaultCode
from workflows.domain.policies.policy import VerificationMethod


class ItemQuantityBody(Body):
    """So many pieces of one line."""

    reference: Label = Field(description="The line's reference.")
    quantity: Quantity = Field(description="How many pieces of it to cancel.")


class Verification(Body):
    """How the caller made sure that the customer is who they say."""

    method: VerificationMethod = Field(description="The means.")
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
    items: Optionally[Annotated[tuple[ItemQuantityBody, ...], Field(min_length=1, max_length=ENTRIES_MAX), STOPS_AT_FIRST_FAULT]] = Field(
        None, description="Which lines; computes the amount. Not together with `amount`."
    )
    channel: Optionally[CustomerChannel] = Field(
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
        references_unique(self.items or ())
        return self


class EligibilityQuery(Query):
    """What would be asked for."""

    amount: QueryAmount | None = Field(None, description="In minor units; all that is refundable unless told. Not together with `items`.")
    items: Items | None = Field(
        None,
        description=(
            "Which lines, as `reference:quantity` with commas between them: `85123A:2,85124:1`. Within a reference a comma is "
            "written `%2C` and a percent sign `%25`; the whole is then percent-encoded like any parameter."
        ),
    )
    reason: Reason | None = Field(None, description="Why; without it, the best that any reason would bring.")
    channel: CustomerChannel | None = Field(None, description="Where the customer would ask.")
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


class ListCancellations(OrderedQuery):
    """Which cancellations, newest first unless told."""

    sort: CancellationSortOrder | None = Field(
        None,
        description=(
            "`updated`: oldest change first, for those who follow along. `deadline`: oldest `deadline_at` first, only those that have "
            "one; whose deadline has passed comes first. Not together with `updated_from`. The time that is left is `deadline_at` less the "
            "answer's `Date`. Else newest first."
        ),
    )
    cursor: CancellationsCursor | None = Field(None, description=CURSOR_TEXT)
    state: CancellationState | None = Field(None, description="The cancellation's state now.")
    route: Route | None = Field(None, description="Who decides.")
    merchant_id: Pseudonym | None = Field(None, description="The merchant.")
    payment_id: PaymentId | None = Field(None, description="The payment.")
    assigned_to: Pseudonym | None = Field(None, description="The agent who took it.")
    overdue: Flag | None = Field(
        None, description="Whether something is late: `deadline_at`, the first answer or the resolution that is due."
    )
    wallet_id: Pseudonym | None = Field(None, description="The user's wallet.")


class PersonOut(Out):
    """Somebody who acted."""

    role: ActorRole
    id: PseudonymText


class DecisionOut(Out):
    """What policy decided, and on which facts."""

    rule: str | None = Field(description="The rule that decided.", examples=["second-thoughts"])
    policy_version: str = Field(
        description="The policy by which it was decided; `shop-1@3` where it was version 3 of the merchant's own rules.",
        examples=["2026-11-a"],
    )
    window: WindowOut | None = Field(description="The rule's window.")
    facts: dict[str, object] = Field(description="What the rule saw.", examples=[{"state": "completed", "fulfilment": "none"}])


class ApprovalOut(Out):
    """One person's yes."""

    by: PseudonymText
    role: ActorRole
    at: Time = Field(description="When.")
    note: str | None = Field(description=FREE_TEXT)


class QuantityOut(Out):
    """So many pieces of one line."""

    reference: str = Field(description="The line's reference.", examples=["85123A"])
    quantity: int = Field(description="How many pieces of it.", examples=[1])


class EvidenceOut(Out):
    """A document that the merchant keeps."""

    name: str = Field(description="What a person calls it.")
    sha256: Hash = Field(description="SHA-256 of its bytes.")


class MerchantOut(Out):
    """The merchant's last answer."""

    decision: MerchantDecision
    amount: int | None = Field(description="Of the last offer, in the currency's minor unit.")
    offers: int = Field(ge=0, description="Made so far.", examples=[0])
    reason_code: str | None = Field(description="Why, as one word of the merchant's.")
    note: str | None = Field(description=FREE_TEXT)
    decided_at: Time = Field(description="When the merchant answered.")


class ReturnOut(Out):
    """The goods on their way back."""

    carrier: str | None = Field(description="Who carries the goods.")
    tracking_number: str | None = Field(description="Null once erased.")
    shipped_at: Time | None = Field(description="When they were sent back.")
    received_at: Time | None = Field(description="When the merchant had them.")
    condition: ReturnCondition | None = Field(description="What the merchant found.")
    note: str | None = Field(description=FREE_TEXT)


class DeliveryOut(Out):
    """How far the delivery is."""

    status: Fulfilment
    shipped_at: Time | None = Field(description="When the goods were sent.")
    delivered_at: Time | None = Field(description="When they arrived.")


class OverrideOut(Out):
    """A supervisor passed what policy refused."""

    ticket: PseudonymText
    justification: str | None = Field(description=FREE_TEXT)


class DenialOut(Out):
    """Why an agent or a supervisor said no."""

    reason_code: str = Field(description="Why, as one word.")
    note: str = Field(description="Why, for a person.")


class ShareOut(Out):
    """What one funding source gets, or does not get."""

    source: Source
    amount: Money


class CancellationOut(Out):
    """A cancellation as it now is."""

    id: CancellationId
    version: Version
    payment_id: PaymentId
    state: CancellationState
    route: Route | None = Field(description="Who decides; null where policy refused.")
    reason: Reason
    amount: Money
    currency: CurrencyCode
    items: list[QuantityOut] = Field(description="The lines that were asked for; empty where an amount was.")
    channel: Channel
    client_reference: str | None = Field(description="The caller's own key for it.", examples=["cancel-0042-1"])
    requested_by: PersonOut
    decision: DecisionOut
    refusal: Refusal | None = Field(description="Why policy refused; null where it did not.")
    deadline_at: Time | None = Field(description="When the time of whoever must act now is over.")
    on_deadline: OnDeadline | None = Field(description="What happens then.")
    tier: str | None = Field(description="How soon ours are to answer, by policy; null before the case was theirs.", examples=["simple"])
    investigation: bool = Field(description="Whether somebody has to look into it first, by its tier.")
    first_response_due_at: Time | None = Field(
        description="Until when one of ours is to take the case or decide it; null once that is done, and while the step is not ours."
    )
    first_responded_at: Time | None = Field(description="When one of ours first took the case, or decided.")
    resolution_due_at: Time | None = Field(description="Until when ours are to decide; null while the step is not ours.")
    assigned_to: str | None = Field(description="Whose case it is: a pseudonym.")
    raised: bool = Field(description="The agents' deadline has passed; a supervisor decides.")
    merchant: MerchantOut | None = Field(description="The merchant's last answer; null before there is one.")
    returned: ReturnOut | None = Field(description="The goods on their way back; null where none have to come.", alias="return")
    fulfilment: DeliveryOut
    approvals: list[ApprovalOut] = Field(description="Who has approved, in their order.")
    declined_by: ActorRole | None = Field(description="Who said no; `system` where a deadline did.")
    denial: DenialOut | None = Field(description=f"Why an agent or a supervisor said no. {FREE_TEXT}")
    override: OverrideOut | None = Field(description="Where a supervisor passed a refusal; else null.")
    note: str | None = Field(description=f"What came with the request. {FREE_TEXT}")
    evidence: list[EvidenceOut] = Field(description="Documents that support the merchant's answer; empty where a note would be null.")
    forfeited: list[ShareOut] = Field(description="Promotions that the rule does not give back.")
    attention: list[AttentionOut] = Field(
        description="While it needs attention, for those who work on it: each part that has not arrived, with all that was heard of it."
        " Else empty."
    )
    recovery_note: str | None = Field(description=f"Why it was last retried, redirected or closed. {FREE_TEXT}")
    outcome_note: str | None = Field(description=f"What a supervisor last read in a rail's own books. {FREE_TEXT}")
    refund: RefundOut | None = Field(description="The money on its way back; null before it is approved, and for a void.")
    message: str = Field(description="What to tell the customer.", examples=["Your refund of CNY 69.56 is on its way."])
    created_at: Time = Field(description="When it was asked for.")
    updated_at: Time = Field(description="When it changed last, its refund too.")
    available_actions: Actions


class ReasonOutcomeOut(Out):
    """What these reasons would lead to."""

    reasons: list[Reason] = Field(description="Reasons with the same outcome.")
    route: Route | None = Field(description="Who decides; null where policy refuses.")
    refusal: Refusal | None = Field(description="Why policy refuses; null where it does not.")


class EligibilityOut(Out):
    """What a request for cancellation would come to now."""

    allowed: bool = Field(description="Whether a request would be taken.")
    route: Route | None = Field(description="Who would decide; null where it is refused.")
    rule: str | None = Field(description="The rule that would decide.", examples=["ask-the-merchant"])
    policy_version: str | None = Field(
        description="The policy by which it would be decided; `shop-1@3` for version 3 of the merchant's own rules.", examples=["2026-11-a"]
    )
    window: WindowOut | None = Field(description="The rule's window.")
    amount_refundable: Sum
    allocation: list[ShareOut] = Field(description="What each funding source would get back.")
    forfeited: list[ShareOut] = Field(description="Promotions that the rule would not give back; the refund is smaller by them.")
    eta: EtaOut | None = Field(description="When a refund would arrive; null for a void, which moves no money.")
    refusal: str | None = Field(description="A refusal of policy, or a problem's slug.")
    by_reason: list[ReasonOutcomeOut] = Field(
        description="Where no `reason` was given and reasons differ: what each leads to, the best first. Else empty."
    )
    message: str = Field(description="What to tell the customer.")
    next_steps: list[NextStepOut] = Field(description="What the customer can do now.")
