"""The payment and its parts, as values.

Amounts are integers in the currency's minor unit (ISO 4217 exponent); times are aware and UTC.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from workflows.domain.agent_limits import AgentRequests
from workflows.domain.enums import (
    CANCELLATION_OPEN,
    ActorRole,
    AnomalyAction,
    AnomalyKind,
    AnomalyState,
    CancellationState,
    Category,
    Channel,
    EarnedKind,
    Fulfilment,
    JobKind,
    LegKind,
    LegState,
    MerchantDecision,
    OnDeadline,
    PaymentFailure,
    PaymentState,
    Reason,
    Refusal,
    ReturnCondition,
    Route,
    Source,
)
from workflows.domain.errors import Window
from workflows.domain.legs import Leg

DataValue = Any  # JSON that a record may hold: str, int, bool, None, and lists and objects of them; never a float


class Actor(Struct, frozen=True, kw_only=True):
    """Who did something, for the record. `id` is a pseudonym."""

    role: ActorRole
    id: str
    channel: Channel


class Funding(Struct, frozen=True, kw_only=True):
    """One source that a payment was paid from."""

    source: Source
    amount: int
    provider: str
    provider_reference: str
    funder: str | None = None


class Item(Struct, frozen=True, kw_only=True, array_like=True):
    """One line of the order; `amount` is the whole line's. In JSON, as it is stored, a list of the three."""

    reference: str
    quantity: int
    amount: int


class Earned(Struct, frozen=True, kw_only=True):
    """What the payment earned its user."""

    kind: EarnedKind
    amount: int
    provider: str
    provider_reference: str


class RegisteredContent(Struct, frozen=True, kw_only=True):
    """What a payment was registered with, of all that may change later: a repeated registration is compared with this."""

    amount: int
    funding: str  # SHA-256 in hex of its canonical form; so are the items
    items: str
    fulfilment: Fulfilment
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    completed_at: datetime | None = None
    authorised_at_said: bool  # False: the moment is ours, since nobody told one


class Payment(Struct, frozen=True, kw_only=True):
    """The one aggregate: its `version` is the lock, and the head of its chain of records stands with it."""

    id: UUID
    version: int
    reference: str
    uetr: UUID
    wallet_id: str
    merchant_id: str
    order_reference: str | None
    category: Category
    amount: int
    currency: str
    funding: tuple[Funding, ...]
    items: tuple[Item, ...]
    earned: tuple[Earned, ...]
    state: PaymentState
    origin_state: PaymentState | None  # where `keep` leads back to, while cancel_requested
    fulfilment: Fulfilment
    authorised_at: datetime
    completed_at: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None
    return_received_at: datetime | None = None
    failure_code: PaymentFailure | None
    amount_refunded: int
    amount_reserved: int
    amount_charged_back: int
    amount_forfeited: int = 0  # of promotions that policy did not give back
    disputes_open: int
    allocated: tuple[int, ...]  # by funding source: what refunds took, failed and returned legs too, and what was forfeited
    cancelled_quantities: tuple[int, ...]  # by item: what cancellations took, refused and declined ones not counted
    policy_version: str
    merchant_rules_version: str | None
    partial_refunds: int  # how many partial cancellations were granted
    last_partial_at: datetime | None
    sequence: int  # of the chain's last record; 0 before the first
    head: str  # hash of the chain's last record; 64 zeros before the first
    created_at: datetime
    updated_at: datetime
    registered: RegisteredContent | None = None  # None: registered before this was kept
    merchant_told_at: dict[str, datetime] = field(default_factory=dict)  # by the moment's name: when a merchant told it, if later

    @property
    def amount_refundable(self) -> int:
        taken = self.amount_refunded + self.amount_reserved + self.amount_charged_back + self.amount_forfeited
        return max(0, self.amount - taken)

    @property
    def amount_left(self) -> int:
        """What neither went back nor was charged back or forfeited: at zero the payment is refunded."""
        return max(0, self.amount - self.amount_refunded - self.amount_charged_back - self.amount_forfeited)


class ItemQuantity(Struct, frozen=True, kw_only=True, array_like=True):
    reference: str
    quantity: int


class Approval(Struct, frozen=True, kw_only=True):
    by: str
    role: ActorRole
    at: datetime


class MerchantAnswer(Struct, frozen=True, kw_only=True):
    """The merchant's last word on a hand-off."""

    decision: MerchantDecision
    reason_code: str | None
    decided_at: datetime
    decided_by: str
    taken_by: str | None = None  # who took his offer for the customer


class ReturnedGoods(Struct, frozen=True, kw_only=True):
    """Goods on their way back; the carrier's number is a personal text."""

    carrier: str | None
    shipped_at: datetime | None
    received_at: datetime | None
    condition: ReturnCondition | None
    received_by: str | None = None


class Clock(Struct, frozen=True, kw_only=True):
    """The clock that runs while somebody owes the next step; each one that is started has an id of its own."""

    id: UUID
    started_at: datetime
    reminders: int = 0  # sent so far


class Refund(Struct, frozen=True, kw_only=True):
    """Money on its way back, in one leg per funding source. Its state is its legs' worst."""

    id: UUID
    payment_id: UUID
    cancellation_id: UUID
    version: int
    state: LegState
    amount: int
    currency: str
    created_at: datetime
    updated_at: datetime


class Cancellation(Struct, frozen=True, kw_only=True):
    """The wish to undo all or part of a payment, and everything that becomes of it."""

    id: UUID
    payment_id: UUID
    version: int
    state: CancellationState
    route: Route | None  # None when no rule opened one
    reason: Reason
    amount: int
    currency: str
    items: tuple[ItemQuantity, ...]
    partial: bool  # less than all that was refundable when asked, or not the first to take something
    channel: Channel
    requested_by: Actor
    client_reference: str | None
    fingerprint: str  # SHA-256 over what was asked, notes left out; a client_reference may be repeated with the same only
    rule: str | None
    policy_version: str
    window: Window | None
    facts: dict[str, DataValue]  # what the rule saw, so that the decision can be replayed
    refusal: Refusal | None
    refusal_next_steps: tuple[str, ...]
    deadline_at: datetime | None
    on_deadline: OnDeadline | None
    clock: Clock | None = None  # runs until deadline_at
    merchant: MerchantAnswer | None = None
    merchant_time_left_us: int | None = None  # microseconds that the merchant has left, while the customer thinks about an offer
    merchant_time_us: int | None = None  # of how many in all
    offers: int = 0  # made so far
    offer_amount: int | None = None  # of the last one, minor units
    goods: ReturnedGoods | None = None
    declined_by: ActorRole | None = None  # who said no: the merchant, one of ours, or (system) a clock
    tier: str | None = None  # how soon ours are to answer, by policy; None before it was theirs, and where policy has none
    first_response_due_at: datetime | None = None  # while the step is ours, and nobody has answered
    resolution_due_at: datetime | None = None  # while the step is ours
    first_responded_at: datetime | None = None
    raised: bool = False  # the agents' deadline has passed: a supervisor decides
    forfeited: tuple[int, ...] = ()  # by funding source: promotions that policy does not give back; () before anything is executed
    second_approval: bool  # needs a second person before it is executed
    override_ticket: str | None
    assigned_to: str | None
    approvals: tuple[Approval, ...]
    reopened: bool  # came back from completed; not counted by the one-open rule
    refund: Refund | None = None  # once money is to go back; a cancellation has one at most
    created_at: datetime
    updated_at: datetime


class Job(Struct, frozen=True, kw_only=True):
    """Work for a worker, due at `run_at`. `subject_id` is a leg's or a notification's id."""

    id: UUID
    payment_id: UUID
    kind: JobKind
    provider: str  # the rail that the worker must have; empty where it needs none
    subject_id: UUID
    run_at: datetime


class AnomalyStep(Struct, frozen=True, kw_only=True):
    """What a person did about an anomaly, counted from one. It is resolved by the step that closes it."""

    scope_id: UUID
    anomaly_id: UUID
    number: int
    action: AnomalyAction
    by: str
    role: ActorRole
    at: datetime
    closes: bool  # False: a refund that another person has to confirm


class Anomaly(Struct, frozen=True, kw_only=True):
    """A rail's word, or the wallet's, that no transition allows: kept for a person to see, changes no state.

    `scope_id` is the payment's id, or that under which the words of a rail are kept that belong to no payment (`payment_id` None).
    """

    scope_id: UUID
    id: UUID
    payment_id: UUID | None
    kind: AnomalyKind
    word: str  # a digest of what was said; one word makes one anomaly
    provider: str | None
    leg_id: UUID | None
    data: dict[str, DataValue]
    created_at: datetime
    state: AnomalyState = AnomalyState.open
    steps: tuple[AnomalyStep, ...] = ()


class PersonalText(Struct, frozen=True, kw_only=True):
    """A text that may be erased; records hold only its salted digest. `value` is JSON."""

    id: UUID
    payment_id: UUID
    subject_id: UUID  # the payment, the cancellation or the anomaly that it belongs to
    name: str  # metadata, item_names, note, tracking_number, …
    value: DataValue
    salt: bytes


class IdempotentResponse(Struct, frozen=True, kw_only=True):
    """The first answer to a request, to be given again byte for byte."""

    fingerprint: str
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class MerchantContact(Struct, frozen=True, kw_only=True):
    """How a customer reaches a merchant; of a business, not of a person."""

    email: str | None = None
    phone: str | None = None
    url: str | None = None


class MerchantEntry(Struct, frozen=True, kw_only=True):
    """Who the merchant is, as it is known now."""

    name: str
    contact: MerchantContact


CANCELLATIONS_SHOWN = 20  # with a payment: the others are in the list of its cancellations


class Snapshot(Struct, frozen=True, kw_only=True):
    """All that one decision needs of a payment, as it stood at one moment.

    `cancellations` holds the unfinished ones and those that were asked for; `legs` are theirs.
    """

    payment: Payment
    cancellations: tuple[Cancellation, ...] = ()
    legs: tuple[Leg, ...] = ()
    texts: tuple[PersonalText, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()  # loaded where a rail's word, or the wallet's, is heard
    cancellation_ids: tuple[UUID, ...] = ()  # the newest CANCELLATIONS_SHOWN, oldest first; loaded where the payment itself is shown
    requests_last_day: int = 0  # without those that policy's limits refused
    requests_made: int = 0  # by whoever asks now, with them
    agent_requests: AgentRequests | None = None  # of whoever of ours asks; loaded where policy limits them
    reply: IdempotentResponse | None = None
    merchant: MerchantEntry | None = None  # None: nobody has described it

    @property
    def open_cancellation(self) -> Cancellation | None:
        """The one that the one-open rule counts."""
        return next((c for c in self.cancellations if c.state in CANCELLATION_OPEN and not c.reopened), None)

    def cancellation(self, id: UUID) -> Cancellation | None:
        return next((c for c in self.cancellations if c.id == id), None)

    @property
    def refunds(self) -> tuple[Refund, ...]:
        return tuple(c.refund for c in self.cancellations if c.refund is not None)

    def legs_of(self, cancellation_id: UUID, kind: LegKind) -> tuple[Leg, ...]:
        return tuple(leg for leg in self.legs if leg.cancellation_id == cancellation_id and leg.kind is kind)

    def current_legs(self, cancellation_id: UUID, kind: LegKind) -> tuple[Leg, ...]:
        """One for each source: the one that arrived, else the last of those that succeeded one another there."""
        legs = self.legs_of(cancellation_id, kind)
        replaced = {leg.replaces for leg in legs}
        arrived = {leg.position for leg in legs if leg.state is LegState.succeeded}
        return tuple(leg for leg in legs if leg.state is LegState.succeeded or (leg.id not in replaced and leg.position not in arrived))

    def leg(self, id: UUID) -> Leg | None:
        return next((leg for leg in self.legs if leg.id == id), None)

    def text(self, subject_id: UUID, name: str) -> DataValue:
        """The newest text of that name, or None."""
        found = [t for t in self.texts if t.subject_id == subject_id and t.name == name]
        return max(found, key=lambda t: t.id).value if found else None
