"""Payments: what was paid, from which sources, and how much of it went back."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from workflows.domain.enums import (
    PaymentState,
)
from workflows.storage.tables.form import checked, guarded, listed, newest_first
from workflows.storage.tables.types import (
    AMOUNT,
    AMOUNT_OR_ZERO,
    CATEGORY,
    COUNTER,
    CURRENCY,
    DIGEST,
    FULFILMENT,
    ORDINAL,
    PAYMENT_FAILURE,
    PAYMENT_STATE,
    Time,
)

SOURCES_MAX = 10  # funding sources of one payment

_ORIGINS = (PaymentState.pending, PaymentState.completed)
_SETTLED = (PaymentState.completed, PaymentState.refunding, PaymentState.refunded)

# Without `set search_path`, which costs more than the rest at every call: nothing is looked up but in pg_catalog.
# Source by source, no more goes back than was paid, and nothing is unknown.
SHARES_WITHIN_FUNDING = f"""
create function shares_within_funding(shares bigint[], funding jsonb) returns boolean
language plpgsql immutable strict parallel safe as $$
declare
  sources constant integer := pg_catalog.jsonb_array_length(funding);
begin
  if sources not between 1 and {SOURCES_MAX} or pg_catalog.cardinality(shares) <> sources then
    return false;
  end if;
  for n in 1..sources loop
    if (shares[n] between 0 and (funding->(n - 1)->>'amount')::bigint) is not true then
      return false;
    end if;
  end loop;
  return true;
end
$$
"""
# Item by item, no more is cancelled than was bought.
QUANTITIES_WITHIN_ITEMS = """
create function quantities_within_items(quantities bigint[], items jsonb) returns boolean
language plpgsql immutable strict parallel safe as $$
begin
  if pg_catalog.cardinality(quantities) <> pg_catalog.jsonb_array_length(items) then
    return false;
  end if;
  for n in 1..pg_catalog.cardinality(quantities) loop
    if (quantities[n] between 0 and (items->(n - 1)->>1)::bigint) is not true then
      return false;
    end if;
  end loop;
  return true;
end
$$
"""


class PaymentRow(SQLModel, table=True):
    __tablename__ = "payment"
    __table_args__ = (
        *checked(
            "payment",
            CheckConstraint("amount_refunded + amount_reserved + amount_forfeited <= amount", name="refunds_within_amount"),
            CheckConstraint(
                "state <> 'refunded' or amount_refunded + amount_forfeited + amount_charged_back >= amount", name="refunded_means_all"
            ),
            CheckConstraint("(origin_state is not null) = (state = 'cancel_requested')", name="origin_while_requested"),
            CheckConstraint(f"origin_state = any ({listed(_ORIGINS, PAYMENT_STATE)})", name="origin_is_pending_or_completed"),
            CheckConstraint(f"completed_at is not null or state <> all ({listed(_SETTLED, PAYMENT_STATE)})", name="settled_has_a_time"),
            CheckConstraint("shares_within_funding(allocated, funding)", name="source_within_funding"),
            CheckConstraint("quantities_within_items(cancelled_quantities, items)", name="cancelled_by_item"),
        ),
        # Columns that never change: an update of a payment touches none of these indexes.
        newest_first("payment_newest", "created_at", "id"),
        Index("payment_wallet", "wallet_id", "created_at", "id"),
        Index("payment_merchant", "merchant_id", "created_at", "id"),
        Index("payment_order_created", "order_reference", "created_at", "id", postgresql_where=text("order_reference is not null")),
        # The one that changes: an update that changes the state writes to every index (it is not HOT), any other still to none. A
        # predicate on the state would cost the same and leave out the one state whose payments may all be old.
        Index("payment_state", "state", "created_at", "id"),
        {
            **guarded(
                "select insert update",
                refused="delete truncate",
                once="id reference uetr wallet_id merchant_id order_reference category currency earned policy_version "
                "merchant_rules_version authorised_at created_at registered",
            ),
            "postgresql_with": {"fillfactor": "80"},
        },
    )

    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=ORDINAL)
    reference: str = Field(sa_type=Text)
    uetr: UUID
    wallet_id: str = Field(sa_type=Text)
    merchant_id: str = Field(sa_type=Text)
    order_reference: str | None = Field(sa_type=Text)
    category: str = Field(sa_type=CATEGORY)
    amount: int = Field(sa_type=AMOUNT)
    currency: str = Field(sa_type=CURRENCY)
    funding: list[Any] = Field(sa_type=JSONB)
    items: list[Any] = Field(sa_type=JSONB)
    earned: list[Any] = Field(sa_type=JSONB)
    state: str = Field(sa_type=PAYMENT_STATE)
    origin_state: str | None = Field(sa_type=PAYMENT_STATE)
    fulfilment: str = Field(sa_type=FULFILMENT)
    authorised_at: datetime = Field(sa_type=Time)
    completed_at: datetime | None = Field(sa_type=Time)
    shipped_at: datetime | None = Field(sa_type=Time)
    delivered_at: datetime | None = Field(sa_type=Time)
    failure_code: str | None = Field(sa_type=PAYMENT_FAILURE)
    amount_refunded: int = Field(sa_type=AMOUNT_OR_ZERO)
    amount_reserved: int = Field(sa_type=AMOUNT_OR_ZERO)
    amount_charged_back: int = Field(sa_type=AMOUNT_OR_ZERO)
    disputes_open: int = Field(sa_type=COUNTER)
    allocated: list[int] = Field(sa_type=ARRAY(BigInteger))
    cancelled_quantities: list[int] = Field(sa_type=ARRAY(BigInteger))
    policy_version: str = Field(sa_type=Text)
    merchant_rules_version: str | None = Field(sa_type=Text)
    partial_refunds: int = Field(sa_type=COUNTER)
    last_partial_at: datetime | None = Field(sa_type=Time)
    sequence: int = Field(sa_type=ORDINAL)
    head: bytes = Field(sa_type=DIGEST)
    created_at: datetime = Field(sa_type=Time)
    updated_at: datetime = Field(sa_type=Time)
    return_received_at: datetime | None = Field(sa_type=Time)
    amount_forfeited: int = Field(sa_type=AMOUNT_OR_ZERO, sa_column_kwargs={"server_default": text("0")})
    registered: dict[str, Any] | None = Field(sa_type=JSONB)
    merchant_told_at: dict[str, str] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'")})
