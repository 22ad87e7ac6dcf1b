"""Cancellations and their refunds."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.domain.enums import (
    ASKS_FOR_OTHERS,
    CANCELLATION_CLOCKED,
    CANCELLATION_OPEN,
    CANCELLATION_OURS,
    CANCELLATION_UNFINISHED,
    CancellationState,
)
from workflows.domain.money import AMOUNT_MAX
from workflows.storage.tables.form import checked, guarded, listed, newest_first
from workflows.storage.tables.types import (
    ACTOR_ROLE,
    AMOUNT,
    AMOUNTS_OR_ZERO,
    CANCELLATION_STATE,
    CHANNEL,
    LEG_STATE,
    OFFERS,
    ON_DEADLINE,
    REASON,
    REFUSAL,
    REMINDERS,
    ROUTE,
    Time,
)

_FOR_NOTHING = (CancellationState.refused, CancellationState.completed)  # may be about no money
_REOPENED = (*CANCELLATION_UNFINISHED, CancellationState.completed, CancellationState.failed)
_RAISED = (CancellationState.awaiting_agent, CancellationState.needs_attention)

REFUND_COLUMNS = ("refund_id", "refund_version", "refund_state", "refund_amount", "refund_created_at", "refund_updated_at")
_REFUNDED = text("refund_id is not null")
_WAITS = text("deadline_at is not null")
_DUE_AT = text("least(first_response_due_at, resolution_due_at, deadline_at)")

# Four eyes: who asked, who approved and who approved second are three persons, whatever roles they hold. Nor does the merchant's
# person approve what he decided.
PERSONS_DIFFER = """
create function persons_differ(requester text, merchant jsonb, approvals jsonb) returns boolean
language plpgsql immutable parallel safe as $$
declare
  first pg_catalog.text;
  second pg_catalog.text;
  merchants pg_catalog.text;
begin
  if approvals = '[]' then
    return true;
  end if;
  first := approvals->0->>'by';
  second := approvals->1->>'by';
  merchants := merchant->>'decided_by';
  return pg_catalog.jsonb_array_length(approvals) <= 2
    and (first <> requester) is not false and (second <> requester) is not false and (second <> first) is not false
    and (merchants <> first) is not false and (merchants <> second) is not false;
end
$$
"""


class CancellationRow(SQLModel, table=True):
    __tablename__ = "cancellation"
    __table_args__ = (
        *checked(
            "cancellation",
            CheckConstraint(
                f"amount between 0 and {AMOUNT_MAX} and (amount > 0 or state = any ({listed(_FOR_NOTHING, CANCELLATION_STATE)}))",
                name="amount_in_range",
            ),
            CheckConstraint("(state = 'refused') = (refusal is not null)", name="refused_says_why"),
            CheckConstraint("state = 'refused' or route is not null", name="has_a_route"),
            CheckConstraint("(deadline_at is null) = (on_deadline is null)", name="deadline_says_what_then"),
            CheckConstraint(
                f"clock_id is not null or raised or state <> all ({listed(CANCELLATION_CLOCKED, CANCELLATION_STATE)})",
                name="waits_with_a_clock",
            ),
            CheckConstraint(
                "(clock_id is null) = (clock_started_at is null) and (clock_id is null or deadline_at >= clock_started_at)",
                name="clock_has_an_end",
            ),
            CheckConstraint(
                f"not raised or (state = any ({listed(_RAISED, CANCELLATION_STATE)}) and clock_id is null)", name="raised_once"
            ),
            CheckConstraint(
                "num_nonnulls(first_response_due_at, resolution_due_at) = 0"
                f" or state = any ({listed(CANCELLATION_OURS, CANCELLATION_STATE)})",
                name="due_from_us",
            ),
            CheckConstraint("offer_amount is null or (offers > 0 and offer_amount between 1 and amount)", name="offer_is_no_more"),
            CheckConstraint("state <> 'offered' or offer_amount < amount", name="offered_is_less"),
            CheckConstraint("(state = 'declined') = (declined_by is not null)", name="declined_by_somebody"),
            CheckConstraint(
                "(merchant is null or merchant->>'taken_by' is null"
                " or not approvals @> jsonb_build_array(jsonb_build_object('by', merchant->>'taken_by')))"
                " and (goods is null or goods->>'received_by' is null"
                " or not approvals @> jsonb_build_array(jsonb_build_object('by', goods->>'received_by')))",
                name="helpers_do_not_approve",
            ),
            CheckConstraint("persons_differ(requester_id, merchant, approvals)", name="three_persons"),
            CheckConstraint(
                f"not second_approval or state <> all ({listed(CANCELLATION_UNFINISHED, CANCELLATION_STATE)})"
                " or coalesce(approvals->-1->>'role' = 'supervisor', false)",
                name="second_is_a_supervisor",
            ),
            CheckConstraint(
                f"route <> 'agent' or state <> all ({listed(CANCELLATION_UNFINISHED, CANCELLATION_STATE)}) or approvals <> '[]'",
                name="agent_has_approved",
            ),
            CheckConstraint(f"not reopened or state = any ({listed(_REOPENED, CANCELLATION_STATE)})", name="reopened_later"),
            CheckConstraint(f"num_nonnulls({', '.join(REFUND_COLUMNS)}) = any ('{{0,6}}')", name="refund_is_whole"),
        ),
        Index("cancellation_id", "id"),
        # The refunds' lists. A refund writes to its cancellation three or four times in its life, and each of these then to all.
        # By id first, which is what is known of a refund; unique within its payment, so that a payment's rows may lie on one shard.
        Index("refund_id", "refund_id", "payment_id", unique=True, postgresql_where=_REFUNDED),
        newest_first("refund_newest", "refund_created_at", "refund_id", where=_REFUNDED),
        Index("refund_updated", "refund_updated_at", "refund_id", postgresql_where=_REFUNDED),
        Index("refund_state", "refund_state", "refund_created_at", "refund_id", postgresql_where=_REFUNDED),
        Index("refund_merchant", "merchant_id", "refund_created_at", "refund_id", postgresql_where=_REFUNDED),
        newest_first("cancellation_newest", "created_at", "id"),
        Index(
            "one_open_cancellation_per_payment",
            "payment_id",
            unique=True,
            postgresql_where=text(f"not reopened and state = any ({listed(CANCELLATION_OPEN, CANCELLATION_STATE)})"),
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
        # What waits for somebody, by its deadline: no entry for a request that is carried out at once, nor for one that is over. What a
        # queue is narrowed by stands in the index, so that what is left out is not fetched. The first has its nulls first to have
        # another order than the second: else PostgreSQL takes it for a merchant, too.
        Index(
            "cancellation_soonest",
            text("deadline_at nulls first"),
            text("id nulls first"),
            "state",
            "route",
            "assigned_to",
            postgresql_where=_WAITS,
        ),
        Index("cancellation_merchant_soonest", "merchant_id", "deadline_at", "id", "state", "route", postgresql_where=_WAITS),
        # What is late, whichever of its times has come. By its own words, so that it is taken for nothing but that.
        Index("cancellation_due", _DUE_AT, postgresql_where=text(f"{_DUE_AT} is not null")),
        # The cases that nobody has, most urgent first: those of agents, stuck money, the raised ones, the second approvals.
        Index(
            "cancellation_next",
            "state",
            "raised",
            _DUE_AT,
            "id",
            postgresql_where=text(f"assigned_to is null and state = any ({listed(CANCELLATION_OURS, CANCELLATION_STATE)})"),
        ),
        # How much each of ours has asked for lately.
        Index(
            "cancellation_by_agents",
            "requester_id",
            "created_at",
            postgresql_where=text(f"requester_role = any ({listed(ASKS_FOR_OTHERS, ACTOR_ROLE)})"),
        ),
        {
            **guarded(
                "select insert update",
                refused="delete truncate",
                once="payment_id id reason currency channel requester_role requester_id client_reference fingerprint "
                "created_at merchant_id",
            ),
            "postgresql_with": {"fillfactor": "80"},
        },
    )

    payment_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=Integer)
    state: str = Field(sa_type=CANCELLATION_STATE)
    route: str | None = Field(sa_type=ROUTE)
    reason: str = Field(sa_type=REASON)
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    items: list[Any] = Field(sa_type=JSONB)
    partial: bool
    channel: str = Field(sa_type=CHANNEL)
    requester_role: str = Field(sa_type=ACTOR_ROLE)
    requester_id: str = Field(sa_type=Text)
    client_reference: str | None = Field(sa_type=Text)
    fingerprint: str = Field(sa_type=Text)
    rule: str | None = Field(sa_type=Text)
    policy_version: str = Field(sa_type=Text)
    window: dict[str, Any] | None = Field(sa_type=JSONB)
    facts: dict[str, Any] = Field(sa_type=JSONB)
    refusal: str | None = Field(sa_type=REFUSAL)
    refusal_next_steps: list[Any] = Field(sa_type=JSONB)
    deadline_at: datetime | None = Field(sa_type=Time)
    on_deadline: str | None = Field(sa_type=ON_DEADLINE)
    second_approval: bool
    override_ticket: str | None = Field(sa_type=Text)
    assigned_to: str | None = Field(sa_type=Text)
    approvals: list[Any] = Field(sa_type=JSONB)
    reopened: bool
    created_at: datetime = Field(sa_type=Time)
    updated_at: datetime = Field(sa_type=Time)
    clock_id: UUID | None
    clock_started_at: datetime | None = Field(sa_type=Time)
    reminders: int = Field(sa_type=REMINDERS, sa_column_kwargs={"server_default": text("0")})
    merchant: dict[str, Any] | None = Field(sa_type=JSONB)
    merchant_time_left_us: int | None = Field(sa_type=BigInteger)
    offers: int = Field(sa_type=OFFERS, sa_column_kwargs={"server_default": text("0")})
    offer_amount: int | None = Field(sa_type=BigInteger)
    goods: dict[str, Any] | None = Field(sa_type=JSONB)
    declined_by: str | None = Field(sa_type=ACTOR_ROLE)
    raised: bool = Field(sa_column_kwargs={"server_default": text("false")})
    forfeited: list[int] = Field(sa_type=AMOUNTS_OR_ZERO, sa_column_kwargs={"server_default": text("'{}'")})
    merchant_id: str = Field(sa_type=Text)  # the payment's, copied: a merchant's cancellations in order are one index's entries

    # The refund, where there is one: all of these or none. Its currency and its merchant are the cancellation's. What it was made with
    # (id, amount, time) never changes: the rule `cancellation_refund_once` refuses it.
    refund_id: UUID | None
    refund_version: int | None = Field(sa_type=Integer)
    refund_state: str | None = Field(sa_type=LEG_STATE)
    refund_amount: int | None = Field(sa_type=AMOUNT)
    refund_created_at: datetime | None = Field(sa_type=Time)
    refund_updated_at: datetime | None = Field(sa_type=Time)

    merchant_time_us: int | None = Field(sa_type=BigInteger)
    # How soon ours are to answer.
    tier: str | None = Field(sa_type=Text)
    first_response_due_at: datetime | None = Field(sa_type=Time)
    resolution_due_at: datetime | None = Field(sa_type=Time)
    first_responded_at: datetime | None = Field(sa_type=Time)
