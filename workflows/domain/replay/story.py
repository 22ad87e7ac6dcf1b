"""The records of one payment, folded one after the other into the facts that they tell.

A fact stands under the name of its row's column. What no record tells is not there: then nothing is known of it, and nothing compared.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from workflows.domain.replay.story_cancellations import CANCELLATION_TYPES, tell_cancellation, tell_standing
from workflows.domain.replay.story_payments import PAYMENT_TYPES, tell_origin
from workflows.domain.replay.told import Body, Facts, Told, uuid_of

# The words by which records of legs say where a leg is.
LEG_STATES = frozenset({"scheduled", "held", "submitted", "processing", "unknown", "requires_action", "succeeded", "failed", "returned"})
UNREADABLE_MAX = 5  # of one payment that are named


class Story(Struct, kw_only=True):
    """What the records of `payment_id` have told so far."""

    payment_id: UUID
    told: Told = field(default_factory=Told)
    unreadable: list[int] = field(default_factory=list)  # the sequence of records whose form is not that of their type

    def see(self, sequence: int, body: Body) -> None:
        """The next record's members. Of one that cannot be understood nothing is taken but that it is there."""
        try:
            self._see(body)
        except (TypeError, ValueError, AttributeError, LookupError):
            if len(self.unreadable) < UNREADABLE_MAX:
                self.unreadable.append(sequence)

    def _see(self, body: Body) -> None:
        kind, data, told = body["type"], body["data"], self.told
        told.updated_at = body["occurred_at"]
        told.sequence = body["sequence"]
        tell_origin(told, body)
        family, _, word = kind.partition(".")
        if family in {"refund", "void"} and word in LEG_STATES:
            _tell_leg(told, body, family, word)
        elif (of_payment := PAYMENT_TYPES.get(kind)) is not None:
            of_payment(told, body)
        elif kind in CANCELLATION_TYPES:
            tell_cancellation(told, body)
        elif family == "anomaly":
            _tell_step(told, body)
        if "cancellation" in data:
            tell_standing(told, body)
        _keep_digests(told, self.payment_id, kind, data)


def _tell_leg(told: Told, body: Body, kind: str, state: str) -> None:
    data, at = body["data"], body["occurred_at"]
    leg_id = uuid_of("leg", data["leg_id"])
    first = leg_id not in told.legs
    facts = told.legs.setdefault(leg_id, {})
    facts |= _leg_facts(data) | {"kind": kind, "state": state, "amount": body["amount"], "currency": body["currency"]}
    # Before it was told under its own name, an order was.
    facts["recovery"] = data.get("recovery", data.get("ordered"))
    if first:
        facts |= {"created_at": at, "first_sent_at": None}
    if state == "submitted" and facts.get("first_sent_at") is None:
        facts["first_sent_at"] = at
    if first and "refund_id" in data and "replaces" not in data:
        told.start_refund(facts["cancellation_id"], at, refund_id=facts["refund_id"])


def _leg_facts(data: Mapping[str, Any]) -> Facts:
    facts: Facts = {name: data[name] for name in ("rail_key", "source", "provider", "provider_reference")}
    facts |= {name: data.get(name) for name in ("provider_refund_id", "rail_reference", "outcome_source", "failure_code")}
    facts["cancellation_id"] = uuid_of("can", data["cancellation_id"])
    facts["refund_id"] = uuid_of("rfd", data["refund_id"]) if "refund_id" in data else None
    facts["replaces"] = uuid_of("leg", data["replaces"]) if "replaces" in data else None
    if "position" in data:
        facts["position"] = data["position"]
    return facts


def _tell_anomaly(told: Told, body: Body) -> None:
    """A word that was kept, and the leg that it is about as it is now."""
    data = body["data"]
    leg_id = uuid_of("leg", data["leg_id"]) if "leg_id" in data else None
    facts: Facts = {"kind": data["kind"], "leg_id": leg_id, "created_at": body["occurred_at"], "steps": []}
    told.anomalies[uuid_of("ano", data["anomaly_id"])] = facts
    if leg_id is not None and leg_id in told.legs:
        told.legs[leg_id] |= _leg_facts(data) | {"state": data["leg_state"]}


def _tell_step(told: Told, body: Body) -> None:
    data, actor = body["data"], body["actor"]
    anomaly = told.anomalies.get(uuid_of("ano", data["anomaly_id"]))
    if anomaly is not None:
        closes = body["type"] == "anomaly.resolved"
        step = {"action": data["action"], "by": actor["id"], "role": actor["role"], "at": body["occurred_at"], "closes": closes}
        anomaly["steps"] = [*anomaly["steps"], step]


def _keep_digests(told: Told, payment_id: UUID, kind: str, data: Mapping[str, Any]) -> None:
    """Digests of personal texts, under whatever they belong to."""
    for name, digest in data.items():
        if name.endswith("_digest") and name != "items_digest":
            told.digests.add((_subject(payment_id, kind, data), name.removesuffix("_digest"), digest))
    if kind == "payment.fulfilment_changed" and "carrier" in data:
        told.digests.add((str(payment_id), "carrier", data["carrier"]))  # a company's name, told as it is


def _subject(payment_id: UUID, kind: str, data: Mapping[str, Any]) -> str:
    if kind.startswith("anomaly."):
        return uuid_of("ano", data["anomaly_id"])
    return uuid_of("can", data["cancellation_id"]) if "cancellation_id" in data else str(payment_id)


PAYMENT_TYPES["payment.anomaly"] = _tell_anomaly
