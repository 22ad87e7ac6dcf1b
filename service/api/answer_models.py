"""The representations' form, for the OpenAPI document; a test holds the answers against it."""

from typing import Generic, TypeVar

from pydantic import ConfigDict, Field

from service.api import examples
from service.api.answer_parts import (
    FREE_TEXT,
    CancellationId,
    EarnedForm,
    EtaForm,
    FailureForm,
    Form,
    FundingForm,
    Hash,
    ItemForm,
    LegId,
    NextStepForm,
    PaymentId,
    RecordId,
    RefundId,
    Sum,
    Time,
    Times,
    WindowForm,
)
from workflows.domain.enums import (
    ActorRole,
    CancellationState,
    Category,
    Channel,
    Fulfilment,
    LegState,
    MerchantDecision,
    OnDeadline,
    OutcomeSource,
    PaymentState,
    Reason,
    RecordType,
    Refusal,
    ReturnCondition,
    Route,
    Source,
)

T = TypeVar("T")


class PaymentAnswer(Times):
    """A payment as it now is."""

    model_config = ConfigDict(json_schema_extra={"example": examples.PAYMENT})

    id: PaymentId
    reference: str = Field(description="The wallet's own name for it.")
    uetr: str = Field(description="Its unique end-to-end reference in ISO 20022 messages: a UUID of version 4.")
    state: PaymentState
    wallet_id: str = Field(description="A pseudonym.")
    merchant_id: str = Field(description="A pseudonym.")
    order_reference: str | None
    category: Category
    amount: int = Field(description="In the currency's minor unit.")
    currency: str = Field(description="ISO 4217.")
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
    funding: list[FundingForm]
    items: list[ItemForm]
    earned: list[EarnedForm]
    fulfilment: Fulfilment
    authorised_at: Time
    completed_at: Time | None
    shipped_at: Time | None
    delivered_at: Time | None
    return_received_at: Time | None = Field(description="When the merchant had the goods back.")
    carrier: str | None = Field(description="Who brings the goods; null once erased.")
    tracking_number: str | None = Field(description="The carrier's number; null once erased.")
    failure: FailureForm | None = Field(description="Why the payment failed, and what can be done.")
    disputed: bool = Field(description="A dispute is open; nothing goes out.")
    frozen: bool = Field(description="The wallet is on hold; refunds to it wait.")
    policy_version: str = Field(description="The policy in force when it was authorised.")
    merchant_rules_version: str | None = Field(description="The merchant's own rules then.")
    metadata: dict[str, str] = Field(description="As it came; empty once erased.")
    open_cancellation: CancellationId | None
    cancellations: list[CancellationId]
    available_actions: list[str] = Field(description="What this caller may do now.")


class PersonForm(Form):
    role: ActorRole
    id: str = Field(description="A pseudonym.")


class DecisionForm(Form):
    rule: str | None = Field(description="The rule that decided.")
    policy_version: str
    window: WindowForm | None
    facts: dict[str, object] = Field(description="What the rule saw.")


class ApprovalForm(Form):
    by: str = Field(description="A pseudonym.")
    role: ActorRole
    at: Time
    note: str | None = Field(description=FREE_TEXT)


class QuantityForm(Form):
    reference: str
    quantity: int


class EvidenceForm(Form):
    name: str
    sha256: Hash


class MerchantForm(Form):
    """The merchant's last answer."""

    decision: MerchantDecision
    amount: int | None = Field(description="Of the last offer, in the currency's minor unit.")
    offers: int = Field(ge=0, description="Made so far.")
    reason_code: str | None
    note: str | None = Field(description=FREE_TEXT)
    decided_at: Time


class ReturnForm(Form):
    """The goods on their way back."""

    carrier: str | None
    tracking_number: str | None = Field(description="Null once erased.")
    shipped_at: Time | None
    received_at: Time | None
    condition: ReturnCondition | None = Field(description="What the merchant found.")
    note: str | None = Field(description=FREE_TEXT)


class DeliveryForm(Form):
    status: Fulfilment
    shipped_at: Time | None
    delivered_at: Time | None


class OverrideForm(Form):
    ticket: str = Field(description="A pseudonym.")
    justification: str | None = Field(description=FREE_TEXT)


class DenialForm(Form):
    reason_code: str
    note: str


class AllocationForm(Form):
    source: Source
    amount: int


class LegForm(Form):
    id: LegId
    source: Source
    provider: str
    amount: int
    state: LegState
    outcome_source: OutcomeSource | None = Field(description="How the outcome was learnt.")
    provider_refund_id: str | None = Field(description="The provider's name for the movement.")
    rail_reference: str | None = Field(description="What the customer's bank can search for.")
    attempts: int
    failure_code: str | None
    next_attempt_at: Time | None
    replaces: LegId | None = Field(description="The failed leg that this one succeeds.")


class RefundAnswer(Times):
    """Money on its way back, in one leg per funding source."""

    model_config = ConfigDict(json_schema_extra={"example": examples.REFUND})

    id: RefundId
    payment_id: PaymentId
    cancellation_id: CancellationId
    state: LegState = Field(description="Its legs' worst.")
    amount: int
    currency: str
    legs: list[LegForm]
    eta: EtaForm | None


class CancellationAnswer(Times):
    """A cancellation as it now is."""

    model_config = ConfigDict(json_schema_extra={"example": examples.CANCELLATION})

    id: CancellationId
    payment_id: PaymentId
    state: CancellationState
    route: Route | None = Field(description="Who decides; null where policy refused.")
    reason: Reason
    amount: int = Field(description="In the currency's minor unit.")
    currency: str
    items: list[QuantityForm]
    channel: Channel
    client_reference: str | None
    requested_by: PersonForm
    decision: DecisionForm
    refusal: Refusal | None
    deadline_at: Time | None = Field(description="Whichever clock is running.")
    on_deadline: OnDeadline | None = Field(description="What happens then.")
    tier: str | None
    first_response_due_at: Time | None
    resolution_due_at: Time | None
    assigned_to: str | None = Field(description="Whose case it is: a pseudonym.")
    raised: bool = Field(description="The agents' deadline has passed; a supervisor decides.")
    merchant: MerchantForm | None
    returned: ReturnForm | None = Field(alias="return")
    fulfilment: DeliveryForm = Field(description="How far the delivery is.")
    approvals: list[ApprovalForm]
    declined_by: ActorRole | None = Field(description="Who said no; `system` where a deadline did.")
    denial: DenialForm | None = Field(description=f"Why an agent or a supervisor said no. {FREE_TEXT}")
    override: OverrideForm | None = Field(description="A supervisor passed what policy refused.")
    note: str | None = Field(description=f"What came with the request. {FREE_TEXT}")
    evidence: list[EvidenceForm] = Field(description="Documents that bear the merchant's answer out; empty like a note that is null.")
    forfeited: list[AllocationForm] = Field(description="Promotions that the rule does not give back.")
    refund: RefundAnswer | None
    message: str = Field(description="What to tell the customer.")
    available_actions: list[str] = Field(description="What this caller may do now.")


class ReasonOutcomeForm(Form):
    """What these reasons would lead to."""

    reasons: list[Reason]
    route: Route | None = Field(description="Who decides; null where policy refuses.")
    refusal: Refusal | None


class EligibilityAnswer(Form):
    """What a request for cancellation would come to now."""

    model_config = ConfigDict(json_schema_extra={"example": examples.ELIGIBILITY})

    allowed: bool
    route: Route | None
    rule: str | None
    policy_version: str | None
    window: WindowForm | None
    amount_refundable: Sum
    allocation: list[AllocationForm] = Field(description="What each funding source would get back.")
    forfeited: list[AllocationForm] = Field(description="Promotions that the rule would not give back; the refund is smaller by them.")
    eta: EtaForm | None = Field(description="When a refund would arrive; null for a void, which moves no money.")
    refusal: str | None = Field(description="A refusal of policy, or a problem's slug.")
    by_reason: list[ReasonOutcomeForm] = Field(
        description="Where no `reason` was given and reasons differ: what each leads to, the best first. Else empty."
    )
    message: str = Field(description="What to tell the customer.")
    next_steps: list[NextStepForm]


class ActorForm(PersonForm):
    channel: Channel


class RecordAnswer(Form):
    """One entry of an audit trail; never changed, never removed."""

    model_config = ConfigDict(json_schema_extra={"example": examples.RECORD})

    id: RecordId
    chain: str = Field(description="The payment's id, `wallet:<id>`, or `service`.")
    payment_id: PaymentId | None
    sequence: int = Field(ge=1, description="From 1, without a gap.")
    type: RecordType
    occurred_at: Time
    actor: ActorForm
    from_state: PaymentState | None
    to_state: PaymentState | None
    amount: int | None
    currency: str | None
    data: dict[str, object] = Field(description="What the step decided or learnt.")
    request_id: str | None
    previous_hash: Hash = Field(description="64 zeros for the first of its chain.")
    hash: Hash = Field(description="SHA-256 of byte 0x00 and the RFC 8785 form of the record without `hash` and `log_index`.")
    log_index: int | None = Field(None, description="Its place in the log, once the log has taken it in.")


class Page(Form, Generic[T]):
    """One page of a list."""

    data: list[T]
    next_cursor: str | None = Field(description="For `?cursor=`; null on the last page.")


class ImportErrorForm(Form):
    line: int = Field(ge=1)
    code: str = Field(description="A problem's slug.")
    detail: str


class ImportAnswer(Form):
    """What became of the lines."""

    model_config = ConfigDict(json_schema_extra={"example": examples.IMPORT})

    accepted: int
    duplicates: int = Field(description="Already there with the same content.")
    rejected: int
    errors: list[ImportErrorForm] = Field(description="The first 1,000.")


class MetaAnswer(Form):
    """What this service is."""

    model_config = ConfigDict(json_schema_extra={"example": examples.META})

    name: str
    version: str
    providers: list[str] = Field(description="The rails that it can reach.")
    default_provider: str
    sandbox_url: str | None = Field(description="The sandbox rail's own address, where there is one.")


class FieldErrorForm(Form):
    pointer: str = Field(description="RFC 6901; `/query/<name>` for a parameter.")
    code: str = Field(description="What is wrong, as one word.")
    detail: str


class ProblemAnswer(Form):
    """An RFC 9457 problem, with the members that its type names."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": examples.PROBLEM})

    type: str
    title: str
    status: int
    detail: str = Field(description="What to do next.")
    instance: str = Field(description="The path that was called.")
    code: str = Field(description="The slug in `type`.")
    trace_id: str = Field(description="Names this answer in our logs and records.")
    errors: list[FieldErrorForm] | None = None
