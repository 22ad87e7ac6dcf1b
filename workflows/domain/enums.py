"""The closed vocabularies of payments, cancellations and refunds.

A member's name equals its value wherever the value is a Python name. Members may be added, none is ever renamed or reused: they
stand in records that are kept for years.
"""

from enum import StrEnum


class PaymentState(StrEnum):
    """Where a payment is."""

    pending = "pending"  # authorised, not settled
    completed = "completed"  # settled; may be partly refunded
    cancel_requested = "cancel_requested"  # a cancellation is open and not yet approved, or its void is under way
    refunding = "refunding"  # a refund is approved and its money is moving, or is stuck and waits for a person
    refunded = "refunded"  # all of the amount went back
    cancelled = "cancelled"  # voided before settlement; final
    failed = "failed"  # the payment itself failed; final


class PaymentTrigger(StrEnum):
    complete = "complete"  # the rail settled the payment
    fail = "fail"  # the rail gave the payment up
    request_cancellation = "request_cancellation"
    keep = "keep"  # the cancellation came to nothing; back to where it came from
    confirm_void = "confirm_void"  # the rail released the authorisation
    start_refund = "start_refund"  # approved; money is about to move
    confirm_refund = "confirm_refund"  # every leg of the refund arrived
    abandon_refund = "abandon_refund"  # a person closed a refund that cannot be paid
    reopen_refund = "reopen_refund"  # the rail returned money that it had confirmed
    refund_late_capture = "refund_late_capture"  # a person gives back what the rail took on a payment that was already over
    lose_dispute = "lose_dispute"  # a chargeback took what was left


class CancellationState(StrEnum):
    """Where a cancellation is: who owes the next step, or how it ended."""

    awaiting_merchant = "awaiting_merchant"  # handed off; the merchant owes an answer
    offered = "offered"  # the merchant offered less; the customer owes an answer
    awaiting_return = "awaiting_return"  # the goods are to come back first
    awaiting_agent = "awaiting_agent"  # a support agent owes a decision
    awaiting_second_approval = "awaiting_second_approval"  # another person must approve
    executing = "executing"  # approved; voids or refunds are under way
    needs_attention = "needs_attention"  # the rail cannot do it; a person must choose how to go on
    completed = "completed"
    refused = "refused"  # policy said no
    declined = "declined"  # a person, or a deadline, said no
    withdrawn = "withdrawn"  # the customer took it back
    failed = "failed"  # closed unpaid by a person


class CancellationTrigger(StrEnum):
    accept = "accept"
    accept_with_return = "accept_with_return"
    offer = "offer"
    decline = "decline"
    escalate = "escalate"
    accept_offer = "accept_offer"
    decline_offer = "decline_offer"
    return_shipped = "return_shipped"
    return_received = "return_received"
    approve = "approve"
    deny = "deny"
    timeout = "timeout"
    withdraw = "withdraw"
    done = "done"
    stuck = "stuck"
    retry = "retry"
    redirect = "redirect"
    close = "close"
    reopen = "reopen"
    end_with_payment = "end_with_payment"  # the payment itself failed: there is nothing to undo


class LegState(StrEnum):
    """Where one movement of money is. A refund has the worst of its legs."""

    scheduled = "scheduled"  # to be sent
    held = "held"  # waits: wallet frozen or payment disputed
    submitted = "submitted"  # the intent to send is on record; the rail may or may not have it
    processing = "processing"  # the rail accepted it and will tell
    unknown = "unknown"  # the rail's answer was lost; only asking, or the same key again, may resolve it
    requires_action = "requires_action"  # the rail waits for somebody
    succeeded = "succeeded"  # the rail confirmed that the money arrived
    failed = "failed"  # the rail refused for good; final
    returned = "returned"  # confirmed earlier, then sent back by the rail; final


class LegTrigger(StrEnum):
    submit = "submit"
    process = "process"
    succeed = "succeed"
    fail = "fail"
    mark_unknown = "mark_unknown"  # the answer was lost on the way
    require_action = "require_action"
    hold = "hold"
    release = "release"
    mark_returned = "mark_returned"  # the rail returned what it had confirmed
    adopt = "adopt"  # a person takes a failed leg for paid, since the rail says so


class LegKind(StrEnum):
    """What a leg is part of: a refund moves money, a void releases what was never taken."""

    refund = "refund"
    void = "void"


class Route(StrEnum):
    """Who decides about a cancellation."""

    void = "void"  # nothing settled yet: release the authorisation
    automatic = "automatic"  # policy approves at once
    merchant = "merchant"  # the merchant decides
    return_ = "return"  # the goods come back first
    agent = "agent"  # a support agent decides


class Role(StrEnum):
    """The roles of callers."""

    wallet = "wallet"
    agent = "agent"
    supervisor = "supervisor"
    merchant = "merchant"
    auditor = "auditor"
    operator = "operator"


class ActorRole(StrEnum):
    """Who did a step: a caller's role, or one of ours."""

    wallet = "wallet"
    agent = "agent"
    supervisor = "supervisor"
    merchant = "merchant"
    auditor = "auditor"
    operator = "operator"
    system = "system"  # a worker, or a deadline
    provider = "provider"  # a rail's own word


class Channel(StrEnum):
    """How a step reached the service."""

    app = "app"
    hotline = "hotline"
    chat = "chat"
    social = "social"
    email = "email"
    bot = "bot"
    merchant = "merchant"
    system = "system"


class Reason(StrEnum):
    """Why a cancellation is asked for."""

    changed_mind = "changed_mind"
    duplicate = "duplicate"
    wrong_amount = "wrong_amount"
    not_received = "not_received"
    not_as_described = "not_as_described"
    damaged = "damaged"
    unauthorised = "unauthorised"
    technical = "technical"
    merchant_request = "merchant_request"
    other = "other"


class Refusal(StrEnum):
    """Why policy says no."""

    window_closed = "window-closed"
    window_not_open = "window-not-open"
    no_rule = "no-rule"
    category_excluded = "category-excluded"
    channel_not_allowed = "channel-not-allowed"
    limit_reached = "limit-reached"


class Source(StrEnum):
    """What kind of money a payment was paid from."""

    balance = "balance"
    card = "card"
    bank = "bank"
    coupon = "coupon"
    points = "points"
    cashback = "cashback"


class EarnedKind(StrEnum):
    """What a payment can earn its user."""

    cashback = "cashback"
    points = "points"


class Category(StrEnum):
    """What kind of goods was paid for."""

    general = "general"
    digital = "digital"
    perishable = "perishable"
    custom_made = "custom_made"
    service = "service"
    transfer = "transfer"
    travel = "travel"


class Fulfilment(StrEnum):
    """How far the goods have come."""

    none = "none"
    preparing = "preparing"
    shipped = "shipped"
    delivered = "delivered"
    returned = "returned"


class Anchor(StrEnum):
    """The moment of a payment from which a window counts."""

    authorised_at = "authorised_at"
    completed_at = "completed_at"
    shipped_at = "shipped_at"
    delivered_at = "delivered_at"
    return_received_at = "return_received_at"


class Allocation(StrEnum):
    """How a partial refund is spread over the funding sources."""

    pro_rata = "pro_rata"
    cash_first = "cash_first"
    promotions_first = "promotions_first"


class OnDeadline(StrEnum):
    """What a clock does when it runs out."""

    accept = "accept"
    agent = "agent"
    decline = "decline"


class MerchantDecision(StrEnum):
    """The merchant's answer to a hand-off."""

    accept = "accept"
    accept_with_return = "accept_with_return"  # once the goods are back
    offer = "offer"  # less than what was asked for
    decline = "decline"


class ReturnCondition(StrEnum):
    """What came back, as the merchant found it."""

    intact = "intact"
    damaged = "damaged"
    missing = "missing"


class OutcomeSource(StrEnum):
    """How a leg's outcome was learnt."""

    reply = "reply"
    notification = "notification"
    query = "query"
    reconciliation = "reconciliation"
    person = "person"


class RailCall(StrEnum):
    """How a word about a leg came about."""

    send = "send"  # the order was sent, or sent again under its own key
    ask = "ask"  # the rail was asked what became of it
    cancel = "cancel"  # the rail was told to cancel what waits for somebody
    notification = "notification"  # the rail told it unasked
    person = "person"  # somebody of ours read it off the rail's own books


class Recovery(StrEnum):
    """What a person orders for a refund that is stuck."""

    retry = "retry"  # the same source again
    redirect = "redirect"  # the wallet's balance instead
    close = "close"  # give it up


class AnomalyState(StrEnum):
    """Whether people have seen to an anomaly."""

    open = "open"
    awaiting_second_approval = "awaiting_second_approval"  # a refund was proposed; a supervisor must confirm it
    resolved = "resolved"


class AnomalyAction(StrEnum):
    """What a person does about an anomaly."""

    note = "note"  # it was looked into; nothing moves
    adopt = "adopt"  # the leg that the rail paid after all counts as paid
    refund = "refund"  # what was captured late goes back; two persons


class AnomalyKind(StrEnum):
    """What is odd about a word that no transition allows."""

    amount_mismatch = "amount_mismatch"  # another amount or currency than was sent
    captured_late = "captured_late"  # the rail took the money of a payment that was already cancelled or had failed
    voided_late = "voided_late"  # the rail released a payment that the wallet had reported as completed, or that is over
    paid_after_failure = "paid_after_failure"  # a leg that had failed was paid after all, and nothing replaced it
    paid_twice = "paid_twice"  # a leg that had failed was paid after all, and so was its successor
    contradiction = "contradiction"  # another word that the state does not allow
    unknown_key = "unknown_key"  # a key that belongs to no leg
    unreadable = "unreadable"  # nobody can tell what was said


class PaymentFailure(StrEnum):
    """Why a payment failed."""

    insufficient_funds = "insufficient_funds"
    network = "network"
    provider_outage = "provider_outage"
    limit_exceeded = "limit_exceeded"
    instrument_invalid = "instrument_invalid"
    merchant_error = "merchant_error"
    other = "other"


class JobKind(StrEnum):
    move = "move"  # carry one leg on: send it, ask after it
    notification = "notification"  # act on a rail's stored word
    deadline = "deadline"  # strike a clock: remind, or do what silence leads to
    recheck = "recheck"  # ask a rail again of money that it has confirmed: it may have come back


PAYMENT_FINAL = frozenset({PaymentState.cancelled, PaymentState.failed})
CANCELLATION_OPEN = frozenset(
    {
        CancellationState.awaiting_merchant,
        CancellationState.offered,
        CancellationState.awaiting_return,
        CancellationState.awaiting_agent,
        CancellationState.awaiting_second_approval,
        CancellationState.executing,
        CancellationState.needs_attention,
    }
)
CANCELLATION_UNFINISHED = frozenset({CancellationState.executing, CancellationState.needs_attention})  # approved; money is to move
CANCELLATION_WAITING = CANCELLATION_OPEN - CANCELLATION_UNFINISHED  # for somebody to decide
CANCELLATION_DECIDED_BY_US = frozenset({CancellationState.awaiting_agent, CancellationState.awaiting_second_approval})
CANCELLATION_OURS = CANCELLATION_DECIDED_BY_US | {CancellationState.needs_attention}  # somebody who works for us owes a step
CANCELLATION_CLOCKED = CANCELLATION_WAITING | {CancellationState.needs_attention}  # somebody owes a step, and a clock runs
ASKS_FOR_OTHERS = frozenset({ActorRole.agent, ActorRole.supervisor})  # ours, on a customer's behalf
LEG_IN_FLIGHT = frozenset({LegState.submitted, LegState.processing, LegState.unknown})
LEG_ON_ITS_WAY = LEG_IN_FLIGHT | {LegState.scheduled, LegState.requires_action}  # a job carries it on
LEG_FINAL = frozenset({LegState.failed, LegState.returned})
