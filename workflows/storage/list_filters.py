"""What the lists may be narrowed by, and in which order they come."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID


class ListOrder(StrEnum):
    """The time by which a list is ordered; rows of one time by id."""

    created = "created"  # newest first
    updated = "updated"  # oldest change first; the only one for `updated_from`
    deadline = "deadline"  # what must be decided first comes first; only cancellations that have a deadline


AnyListOrder = Literal[ListOrder.created, ListOrder.updated]  # of a list of anything


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the time that its order goes by, and the id."""

    at: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFilter:
    reference: str | None = None
    wallet_id: str | None = None
    merchant_id: str | None = None
    order_reference: str | None = None
    state: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    updated_from: datetime | None = None
    order: AnyListOrder = ListOrder.created


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationFilter:
    state: str | None = None
    route: str | None = None
    merchant_id: str | None = None
    payment_id: UUID | None = None
    assigned_to: str | None = None
    overdue: bool | None = None
    wallet_id: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    updated_from: datetime | None = None
    order: ListOrder = ListOrder.created


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFilter:
    payment_id: UUID | None = None
    cancellation_id: UUID | None = None
    state: str | None = None
    provider: str | None = None
    merchant_id: str | None = None
    wallet_id: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    updated_from: datetime | None = None
    order: AnyListOrder = ListOrder.created


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyFilter:
    kind: str | None = None
    payment_id: UUID | None = None
    provider: str | None = None
    state: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    from_: datetime | None = None
    to: datetime | None = None
    type: str | None = None
    payment_id: UUID | None = None
    merchant_id: str | None = None
    actor: str | None = None
