"""What the records of a cancellation tell of it."""

from collections.abc import Callable
from typing import Any

from workflows.domain.replay.told import Body, Facts, Told, uuid_of

# What a record says of where a cancellation then is, where its type alone says it.
_STATES = {
    "cancellation.refused": "refused",
    "cancellation.handed_off": "awaiting_merchant",
    "cancellation.merchant_declined": "declined",
    "cancellation.offered": "offered",
    "cancellation.offer_declined": "awaiting_merchant",
    "cancellation.return_awaited": "awaiting_return",
    "cancellation.return_shipped": "awaiting_return",
    "cancellation.second_approval_awaited": "awaiting_second_approval",
    "cancellation.denied": "declined",
    "cancellation.withdrawn": "withdrawn",
    "cancellation.completed": "completed",
    "cancellation.needs_attention": "needs_attention",
    "cancellation.reopened": "needs_attention",
    "cancellation.failed": "failed",
    "refund.retried": "executing",
    "refund.redirected": "executing",
    "void.retried": "executing",
}
# After these the cancellation is in one of several states.
_OPEN_ENDED = frozenset(
    {
        "cancellation.merchant_accepted",
        "cancellation.offer_accepted",
        "cancellation.return_received",
        "cancellation.approved",
        "cancellation.timed_out",
        "cancellation.escalated",
    }
)
CANCELLATION_TYPES = (
    frozenset(_STATES)
    | _OPEN_ENDED
    | {
        "cancellation.requested",
        "cancellation.assigned",
        "cancellation.overridden",
        "cancellation.closed",
        "cancellation.reminded",
        "refund.forfeited",
    }
)
# What a record's `cancellation` tells whole: what it leaves out is null or false.
_STANDING: Facts = {
    "second_approval": False,
    "raised": False,
    **dict.fromkeys(("assigned_to", "on_deadline", "tier", "deadline_at"), None),
    **dict.fromkeys(("first_response_due_at", "resolution_due_at", "first_responded_at"), None),
}


def tell_cancellation(told: Told, body: Body) -> None:
    kind, data = body["type"], body["data"]
    cancellation_id = uuid_of("can", data["cancellation_id"])
    if kind in {"cancellation.requested", "cancellation.refused"}:
        told.cancellations[cancellation_id] = _asked(body)
    row = told.cancellations[cancellation_id]
    row |= {"reason": data["reason"], "rule": data["rule"], "policy_version": data["policy_version"], "amount": body["amount"] or 0}
    if kind in _STATES:
        row["state"] = _STATES[kind]
    elif kind in _OPEN_ENDED:
        row.pop("state", None)
    if row.get("state") == "declined":
        row["declined_by"] = body["actor"]["role"]
    elif kind in _OPEN_ENDED:
        row.pop("declined_by", None)
    _forget_standing(row)
    if (tell := _TELL.get(kind)) is not None:
        tell(row, body)
    if kind == "refund.forfeited":
        row["forfeited"] = row["forfeited"] + data["amount_forfeited"]
        told.start_refund(cancellation_id, body["occurred_at"])
    elif kind == "cancellation.failed":
        _give_back(told, cancellation_id)
    elif kind == "cancellation.requested" and data.get("because") == "captured_late" and told.payment["completed_at"] is None:
        told.payment["completed_at"] = max(body["occurred_at"], told.payment["authorised_at"])
    elif kind == "cancellation.return_received" and data["condition"] != "missing":
        told.payment["return_received_at"] = body["occurred_at"]


def tell_standing(told: Told, body: Body) -> None:
    """How the cancellation stands after the change whose last word about it this record is."""
    data = body["data"]
    row, now = told.cancellations[uuid_of("can", data["cancellation_id"])], data["cancellation"]
    state = now["state"]
    if row.get("state", state) != state:
        told.contradictions.append(f"field=cancellation.state sequence={body['sequence']} type={body['type']} state={state}")
    row |= _STANDING | now
    row["stands"] = True
    if state != "declined":
        row["declined_by"] = None
    elif row.get("declined_by") is None:
        row["declined_by"] = body["actor"]["role"]


def _forget_standing(row: Facts) -> None:
    """Where nothing tells how a cancellation stands, every step may have changed it."""
    if not row.get("stands"):
        for name in _STANDING:
            row.pop(name, None)


def _asked(body: Body) -> Facts:
    data, actor = body["data"], body["actor"]
    facts: Facts = {
        "created_at": body["occurred_at"],
        "requester_role": data.get("role", actor["role"]),
        "requester_id": data.get("by", actor["id"]),
        "channel": actor["channel"],
        "currency": body["currency"],
        "items": [[item["reference"], item["quantity"]] for item in data.get("items", ())],
        "refusal": data.get("refusal"),
        "client_reference": data.get("client_reference"),
        "route": "agent" if data.get("because") == "captured_late" else data["route"],
        "window": data.get("window"),
        "facts": data.get("facts", {}),
        "forfeited": 0,
        "approvals": [],
        "offers": 0,
        "reopened": False,
        **dict.fromkeys(("merchant", "goods", "offer_amount", "declined_by", "refund_id", "refund_created_at")),
    }
    if "facts" in data:
        facts["partial"] = data["facts"]["partial"]
    if body["type"] == "cancellation.requested":
        facts["override_ticket"] = None
    return facts


def _give_back(told: Told, cancellation_id: str) -> None:
    """Where nothing of a refund that is closed arrived, the promotions that it had forfeited are given back too."""
    legs = [leg for leg in told.legs.values() if leg["cancellation_id"] == cancellation_id]
    if not any(leg["state"] == "succeeded" for leg in legs):
        told.cancellations[cancellation_id]["forfeited"] = 0


def _answered(row: Facts, body: Body) -> None:
    """The merchant's word on a hand-off."""
    data = body["data"]
    row["merchant"] = {
        "decision": data["decision"],
        "reason_code": data["reason_code"],
        "decided_at": body["occurred_at"],
        "decided_by": body["actor"]["id"],
    }
    if "offer" in data:
        row |= {"offers": data["offer"], "offer_amount": data["offer_amount"]}


def _offer_taken(row: Facts, body: Body) -> None:
    row |= {"merchant": {**row["merchant"], "taken_by": body["actor"]["id"]}, "partial": True}


def _approved(row: Facts, body: Body) -> None:
    actor = body["actor"]
    row["approvals"] = [*row["approvals"], {"by": actor["id"], "role": actor["role"], "at": body["occurred_at"]}]


def _timed_out(row: Facts, body: Body) -> None:
    if body["data"]["clock"] == "awaiting_second_approval":
        row["approvals"] = []  # the agents begin anew


def _overridden(row: Facts, body: Body) -> None:
    row["override_ticket"] = body["data"]["ticket"]


def _reopened(row: Facts, _: Body) -> None:
    row["reopened"] = True


def _shipped(row: Facts, body: Body) -> None:
    row["goods"] = {"shipped_at": body["occurred_at"], **(row["goods"] or {}), "carrier": body["data"]["carrier"]}


def _received(row: Facts, body: Body) -> None:
    said: dict[str, Any] = {"received_at": body["occurred_at"], "received_by": body["actor"]["id"], "condition": body["data"]["condition"]}
    row["goods"] = {**(row["goods"] or {}), **said}


_TELL: dict[str, Callable[[Facts, Body], None]] = {
    "cancellation.merchant_accepted": _answered,
    "cancellation.merchant_declined": _answered,
    "cancellation.offered": _answered,
    "cancellation.offer_accepted": _offer_taken,
    "cancellation.approved": _approved,
    "cancellation.timed_out": _timed_out,
    "cancellation.overridden": _overridden,
    "cancellation.reopened": _reopened,
    "cancellation.return_shipped": _shipped,
    "cancellation.return_received": _received,
}
