"""The payment and its cancellations as tables: the aggregate's own rows, with every constraint that holds them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, DateTime, ForeignKeyConstraint, Index, Integer, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.domain.enums import (
    CANCELLATION_OPEN,
    CANCELLATION_WAITING,
    ActorRole,
    CancellationState,
    Category,
    Channel,
    Fulfilment,
    OnDeadline,
    PaymentFailure,
    PaymentState,
    Reason,
    Refusal,
    Route,
)
from workflows.domain.money import AMOUNT_MAX
from workflows.storage.constraints import checked, listed, newest_first, one_of

Time = DateTime(timezone=True)
SOURCES_MAX = 10  # funding sources of one payment


class PaymentRow(SQLModel, table=True):
    __tablename__ = "payment"
    __table_args__ = (
        *checked(
            "payment",
            CheckConstraint(f"amount between 1 and {AMOUNT_MAX}", name="amount_in_range"),
            CheckConstraint(
                "amount_refunded >= 0 and amount_reserved >= 0 and amount_forfeited >= 0"
                " and amount_refunded + amount_reserved + amount_forfeited <= amount",
                name="refunds_within_amount",
            ),
            CheckConstraint("amount_charged_back >= 0", name="charged_back_positive"),
            CheckConstraint(
                "state <> 'refunded' or amount_refunded + amount_forfeited + amount_charged_back >= amount", name="refunded_means_all"
            ),
            CheckConstraint("(origin_state is not null) = (state = 'cancel_requested')", name="origin_while_requested"),
            CheckConstraint("origin_state is null or origin_state in ('pending', 'completed')", name="origin_state_is_a_word"),
            CheckConstraint("state not in ('completed', 'refunding', 'refunded') or completed_at is not null", name="settled_has_a_time"),
            CheckConstraint("version >= 1 and sequence >= 1 and octet_length(head) = 32", name="chain_has_a_head"),
            CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_is_a_code"),
            CheckConstraint("cardinality(allocated) = jsonb_array_length(funding)", name="allocated_by_source"),
            CheckConstraint("cardinality(cancelled_quantities) = jsonb_array_length(items)", name="cancelled_by_item"),
            CheckConstraint("0 <= all (allocated) and 0 <= all (cancelled_quantities)", name="shares_positive"),
            CheckConstraint(
                "array_position(allocated, null) is null and array_position(cancelled_quantities, null) is null", name="shares_known"
            ),
            # Source by source, no more goes back than was paid; an array that is shorter gives nulls, which pass.
            CheckConstraint(
                " and ".join(f"allocated[{n + 1}] <= (funding->{n}->>'amount')::bigint" for n in range(SOURCES_MAX)),
                name="source_within_funding",
            ),
            CheckConstraint(f"jsonb_array_length(funding) between 1 and {SOURCES_MAX}", name="sources_in_range"),
            CheckConstraint("disputes_open >= 0 and partial_refunds >= 0", name="counts_positive"),
            one_of("state", PaymentState),
            one_of("fulfilment", Fulfilment),
            one_of("category", Category),
            one_of("failure_code", PaymentFailure, null=True),
        ),
        # Columns that never change: an update of a payment touches none of these indexes.
        newest_first("payment_newest", "created_at", "id"),
        Index("payment_wallet", "wallet_id", "created_at", "id"),
        Index("payment_merchant", "merchant_id", "created_at", "id"),
        Index("payment_order_created", "order_reference", "created_at", "id", postgresql_where=text("order_reference is not null")),
        # The one that changes: an update that changes the state writes to every index (it is not HOT), any other still to none. A
        # predicate on the state would cost the same and leave out the one state whose payments may all be old.
        Index("payment_state", "state", "created_at", "id"),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=Integer)
    reference: str = Field(sa_type=Text)
    uetr: UUID
    wallet_id: str = Field(sa_type=Text)
    merchant_id: str = Field(sa_type=Text)
    order_reference: str | None = Field(sa_type=Text)
    category: str = Field(sa_type=Text)
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    funding: list[Any] = Field(sa_type=JSONB)
    items: list[Any] = Field(sa_type=JSONB)
    earned: list[Any] = Field(sa_type=JSONB)
    state: str = Field(sa_type=Text)
    origin_state: str | None = Field(sa_type=Text)
    fulfilment: str = Field(sa_type=Text)
    authorised_at: datetime = Field(sa_type=Time)
    completed_at: datetime | None = Field(sa_type=Time)
    shipped_at: datetime | None = Field(sa_type=Time)
    delivered_at: datetime | None = Field(sa_type=Time)
    failure_code: str | None = Field(sa_type=Text)
    amount_refunded: int = Field(sa_type=BigInteger)
    amount_reserved: int = Field(sa_type=BigInteger)
    amount_charged_back: int = Field(sa_type=BigInteger)
    disputes_open: int = Field(sa_type=Integer)
    allocated: list[int] = Field(sa_type=ARRAY(BigInteger))
    cancelled_quantities: list[int] = Field(sa_type=ARRAY(BigInteger))
    policy_version: str = Field(sa_type=Text)
    merchant_rules_version: str | None = Field(sa_type=Text)
    partial_refunds: int = Field(sa_type=Integer)
    last_partial_at: datetime | None = Field(sa_type=Time)
    sequence: int = Field(sa_type=Integer)
    head: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=Time)
    updated_at: datetime = Field(sa_type=Time)
    return_received_at: datetime | None = Field(sa_type=Time)
    amount_forfeited: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})
    registered: dict[str, Any] | None = Field(sa_type=JSONB)
    merchant_told_at: dict[str, str] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'")})


class CancellationRow(SQLModel, table=True):
    __tablename__ = "cancellation"
    __table_args__ = (
        ForeignKeyConstraint(["payment_id"], ["payment.id"], name="cancellation_of_a_payment"),
        *checked(
            "cancellation",
            CheckConstraint(
                f"amount between 0 and {AMOUNT_MAX} and (amount > 0 or state in ('refused', 'completed'))", name="amount_in_range"
            ),
            CheckConstraint("(state = 'refused') = (refusal is not null)", name="refused_says_why"),
            CheckConstraint("state = 'refused' or route is not null", name="has_a_route"),
            CheckConstraint("(deadline_at is null) = (on_deadline is null)", name="deadline_says_what_then"),
            CheckConstraint(f"state not in ({listed(CANCELLATION_WAITING)}) or clock_id is not null or raised", name="waits_with_a_clock"),
            CheckConstraint(
                "(clock_id is null) = (clock_started_at is null) and (clock_id is null or deadline_at >= clock_started_at)",
                name="clock_has_an_end",
            ),
            CheckConstraint("not raised or (state = 'awaiting_agent' and clock_id is null)", name="raised_once"),
            CheckConstraint("reminders between 0 and 2", name="reminders_in_range"),
            CheckConstraint("offers between 0 and 3", name="offers_at_most_three"),
            CheckConstraint("offer_amount is null or (offers > 0 and offer_amount between 1 and amount)", name="offer_is_no_more"),
            CheckConstraint("state <> 'offered' or offer_amount < amount", name="offered_is_less"),
            CheckConstraint("(state = 'declined') = (declined_by is not null)", name="declined_by_somebody"),
            CheckConstraint("array_position(forfeited, null) is null and 0 <= all (forfeited)", name="forfeited_positive"),
            # Four eyes: who asked, who approved and who approved second are three persons, whatever roles they hold.
            CheckConstraint(
                "jsonb_array_length(approvals) <= 2 and coalesce(approvals->0->>'by' <> requester_id, true)"
                " and coalesce(approvals->1->>'by' <> requester_id, true) and coalesce(approvals->1->>'by' <> approvals->0->>'by', true)"
                " and coalesce(merchant->>'decided_by' <> approvals->0->>'by', true)"
                " and coalesce(merchant->>'decided_by' <> approvals->1->>'by', true)",
                name="three_persons",
            ),
            CheckConstraint(
                "not second_approval or state not in ('executing', 'needs_attention')"
                " or coalesce(approvals->-1->>'role' = 'supervisor', false)",
                name="second_is_a_supervisor",
            ),
            CheckConstraint(
                "route <> 'agent' or state not in ('executing', 'needs_attention') or jsonb_array_length(approvals) > 0",
                name="agent_has_approved",
            ),
            CheckConstraint("not reopened or state in ('needs_attention', 'executing', 'completed', 'failed')", name="reopened_later"),
            one_of("state", CancellationState),
            one_of("route", Route, null=True),
            one_of("reason", Reason),
            one_of("channel", Channel),
            one_of("requester_role", ActorRole),
            one_of("refusal", Refusal, null=True),
            one_of("on_deadline", OnDeadline, null=True),
            one_of("declined_by", ActorRole, null=True),
        ),
        Index("cancellation_id", "id"),
        newest_first("cancellation_newest", "created_at", "id"),
        Index(
            "one_open_cancellation_per_payment",
            "payment_id",
            unique=True,
            postgresql_where=text(f"not reopened and state in ({listed(CANCELLATION_OPEN)})"),
        ),
        Index(
            "one_cancellation_per_client_reference",
            "payment_id",
            "client_reference",
            unique=True,
            postgresql_where=text("client_reference is not null"),
        ),
        # The lists. A change of state is not HOT anyway, since one_open_cancellation_per_payment knows it; each of these costs it
        # one entry more. Route and assignee change with people's decisions only, the deadline is there while somebody is waited for.
        Index("cancellation_state", "state", "created_at", "id"),
        Index("cancellation_route", "route", "created_at", "id", postgresql_where=text("route is not null")),
        Index("cancellation_merchant", "merchant_id", "created_at", "id"),
        Index("cancellation_assigned", "assigned_to", "created_at", "id", postgresql_where=text("assigned_to is not null")),
        # For those who follow along. Every update writes to it, and so to all: a cancellation changes a dozen times in its life at most.
        Index("cancellation_updated", "updated_at", "id"),
        Index("cancellation_deadline", "deadline_at", postgresql_where=text("deadline_at is not null")),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=Integer)
    state: str = Field(sa_type=Text)
    route: str | None = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    items: list[Any] = Field(sa_type=JSONB)
    partial: bool
    channel: str = Field(sa_type=Text)
    requester_role: str = Field(sa_type=Text)
    requester_id: str = Field(sa_type=Text)
    client_reference: str | None = Field(sa_type=Text)
    fingerprint: str = Field(sa_type=Text)
    rule: str | None = Field(sa_type=Text)
    policy_version: str = Field(sa_type=Text)
    window: dict[str, Any] | None = Field(sa_type=JSONB)
    facts: dict[str, Any] = Field(sa_type=JSONB)
    refusal: str | None = Field(sa_type=Text)
    refusal_next_steps: list[Any] = Field(sa_type=JSONB)
    deadline_at: datetime | None = Field(sa_type=Time)
    on_deadline: str | None = Field(sa_type=Text)
    second_approval: bool
    override_ticket: str | None = Field(sa_type=Text)
    assigned_to: str | None = Field(sa_type=Text)
    approvals: list[Any] = Field(sa_type=JSONB)
    reopened: bool
    created_at: datetime = Field(sa_type=Time)
    updated_at: datetime = Field(sa_type=Time)
    clock_id: UUID | None
    clock_started_at: datetime | None = Field(sa_type=Time)
    reminders: int = Field(sa_type=Integer, sa_column_kwargs={"server_default": text("0")})
    merchant: dict[str, Any] | None = Field(sa_type=JSONB)
    merchant_time_left_us: int | None = Field(sa_type=BigInteger)
    offers: int = Field(sa_type=Integer, sa_column_kwargs={"server_default": text("0")})
    offer_amount: int | None = Field(sa_type=BigInteger)
    goods: dict[str, Any] | None = Field(sa_type=JSONB)
    declined_by: str | None = Field(sa_type=Text)
    raised: bool = Field(sa_column_kwargs={"server_default": text("false")})
    forfeited: list[int] = Field(sa_type=ARRAY(BigInteger), sa_column_kwargs={"server_default": text("'{}'")})
    merchant_id: str = Field(sa_type=Text)  # the payment's, copied: a merchant's cancellations in order are one index's entries
