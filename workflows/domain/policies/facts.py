"""What a policy may look at, as values, and as the data that is kept with each decision."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from workflows.domain.enums import ActorRole, Anchor, Category, Channel, Fulfilment, PaymentState, Reason, Role, Source
from workflows.domain.model import DataValue
from workflows.domain.times import parse_rfc3339, rfc3339


class PolicyFacts(Struct, frozen=True, kw_only=True):
    """All that a policy may look at. Kept with each decision, so that it can be replayed."""

    state: PaymentState
    fulfilment: Fulfilment
    category: Category
    merchant_id: str
    currency: str
    amount: int  # asked for, in minor units
    role: Role | ActorRole
    channel: Channel
    reason: Reason | None  # None: somebody only asks what would happen
    sources: tuple[Source, ...]
    anchors: Mapping[Anchor, datetime | None]  # an anchor that is left out has not happened
    partial: bool  # less than all that is refundable, or not the first to take something
    partial_refunds: int = 0  # partial cancellations granted so far
    last_partial_at: datetime | None = None
    taken: int = 0  # of the payment, before this request: refunded, reserved or charged back, in minor units
    requests_last_day: int = 0  # requests for this payment in the 24 hours before this one


def facts_data(facts: PolicyFacts) -> dict[str, DataValue]:
    """The JSON form in which facts are kept with a decision; times are RFC 3339 in UTC."""
    return {
        "state": str(facts.state),
        "fulfilment": str(facts.fulfilment),
        "category": str(facts.category),
        "merchant_id": facts.merchant_id,
        "currency": facts.currency,
        "amount": facts.amount,
        "role": str(facts.role),
        "channel": str(facts.channel),
        "reason": None if facts.reason is None else str(facts.reason),
        "sources": [str(source) for source in facts.sources],
        "anchors": {str(anchor): _time_data(at) for anchor, at in facts.anchors.items()},
        "partial": facts.partial,
        "partial_refunds": facts.partial_refunds,
        "last_partial_at": _time_data(facts.last_partial_at),
        "taken": facts.taken,
        "requests_last_day": facts.requests_last_day,
    }


def facts_from(data: Mapping[str, DataValue]) -> PolicyFacts:
    """The facts that `facts_data` wrote; members that it did not write are passed over."""
    return PolicyFacts(
        state=PaymentState(data["state"]),
        fulfilment=Fulfilment(data["fulfilment"]),
        category=Category(data["category"]),
        merchant_id=data["merchant_id"],
        currency=data["currency"],
        amount=data["amount"],
        role=ActorRole(data["role"]),
        channel=Channel(data["channel"]),
        reason=None if data["reason"] is None else Reason(data["reason"]),
        sources=tuple(Source(source) for source in data["sources"]),
        anchors={Anchor(name): _time_from(text) for name, text in data["anchors"].items()},
        partial=data["partial"],
        partial_refunds=data["partial_refunds"],
        last_partial_at=_time_from(data["last_partial_at"]),
        taken=data.get("taken", 0),
        requests_last_day=data["requests_last_day"],
    )


def _time_data(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def _time_from(text: str | None) -> datetime | None:
    return None if text is None else parse_rfc3339(text)
