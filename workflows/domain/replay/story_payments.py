"""What the records of a payment itself tell of it."""

from collections.abc import Callable
from typing import Any

from workflows.domain.replay.told import Body, Facts, Told

NO_ITEMS: list[Any] = []


def tell_origin(told: Told, body: Body) -> None:
    """The payment's state, and the one that it goes back to where a cancellation that is open comes to nothing."""
    before, now = body["from_state"], body["to_state"]
    told.payment["state"] = now
    if now != "cancel_requested":
        told.payment["origin_state"] = None
    elif before != now:
        told.payment["origin_state"] = "pending" if before == "pending" else "completed"


def _registered(told: Told, body: Body) -> None:
    data, at = body["data"], body["occurred_at"]
    names = ("reference", "uetr", "wallet_id", "merchant_id", "category", "fulfilment", "policy_version", "authorised_at", "completed_at")
    facts: Facts = {name: data[name] for name in names}
    facts |= {name: data.get(name) for name in ("merchant_rules_version", "order_reference")}
    facts |= {name: data[name] for name in ("shipped_at", "delivered_at", "earned") if name in data}
    facts |= dict.fromkeys(("failure_code", "return_received_at", "last_partial_at"))
    facts |= dict.fromkeys(("amount_charged_back", "disputes_open", "partial_refunds"), 0)
    facts |= {"amount": body["amount"], "currency": body["currency"], "created_at": at, "merchant_told_at": {}}
    told.payment |= facts
    _composition(told, body)


def _composition(told: Told, body: Body) -> None:
    """What the payment is made of: the sources, the items as a digest."""
    data = body["data"]
    told.payment |= {"funding": data["funding"], "items_digest": data.get("items_digest")}


def _completed(told: Told, body: Body) -> None:
    data, payment = body["data"], told.payment
    if "completed_at" in data:
        payment["completed_at"] = data["completed_at"]
    elif data.get("because") == "rail_had_captured":
        payment["completed_at"] = max(body["occurred_at"], payment["authorised_at"])
    if "funding" in data:
        payment["funding"] = data["funding"]
    if payment["origin_state"] is not None:
        payment["origin_state"] = "completed"


def _failed(told: Told, body: Body) -> None:
    told.payment["failure_code"] = body["data"]["code"]


def _modified(told: Told, body: Body) -> None:
    before = body["data"]["amount_before"]
    if before != told.payment["amount"]:
        told.contradictions.append(f"field=amount sequence={body['sequence']} records={told.payment['amount']} amount_before={before}")
    told.payment["amount"] = body["amount"]
    _composition(told, body)


def _fulfilled(told: Told, body: Body) -> None:
    data, payment = body["data"], told.payment
    payment["fulfilment"] = data["status"]
    payment |= {name: data[name] for name in ("shipped_at", "delivered_at", "return_received_at")}
    payment.pop("merchant_told_at", None)
    if "merchant_told_at" in data:
        payment["merchant_told_at"] = data["merchant_told_at"]


def _disputed(told: Told, _: Body) -> None:
    """Nothing of ours writes these yet: whatever they tell, it is no difference."""
    for name in ("amount_charged_back", "disputes_open"):
        told.payment.pop(name, None)


PAYMENT_TYPES: dict[str, Callable[[Told, Body], None]] = {
    "payment.registered": _registered,
    "payment.completed": _completed,
    "payment.failed": _failed,
    "payment.modified": _modified,
    "payment.fulfilment_changed": _fulfilled,
    "payment.dispute_opened": _disputed,
    "payment.dispute_closed": _disputed,
    "payment.charged_back": _disputed,
}
