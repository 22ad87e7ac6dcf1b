"""One realistic example of each answer, for the OpenAPI document."""

from typing import Final

from pydantic import JsonValue

Example = dict[str, JsonValue]

_PAYMENT_ID: Final = "pay_5682a66734fd856b9f6aa68dfca7b81f"
_CANCELLATION_ID: Final = "can_019ab2f0c4d17e2f8a6b1c2d3e4f5062"
_REFUND_ID: Final = "rfd_019ab2f0c4d37e2f8a6b1c2d3e4f5063"
_MADE: Final[Example] = {"version": 3, "created_at": "2026-11-22T08:26:01.204117Z", "updated_at": "2026-11-22T09:10:44.018322Z"}
_WINDOW: Final[Example] = {
    "anchor": "completed_at",
    "opens_at": "2026-11-22T08:26:00.000000Z",
    "closes_at": "2026-12-07T08:26:00.000000Z",
}
_ETA: Final[Example] = {
    "earliest": "2026-11-22T09:10:00.000000Z",
    "latest": "2026-11-22T09:20:00.000000Z",
    "basis": "provider_guideline",
}

PAYMENT: Final[Example] = {
    **_MADE,
    "id": _PAYMENT_ID,
    "reference": "order-20261122-0042",
    "uetr": "5f0c8c1e-2f64-4b19-9f4e-0f6f8f0c2a11",
    "state": "refunding",
    "wallet_id": "wallet-17850",
    "merchant_id": "north-bakery",
    "order_reference": None,
    "category": "general",
    "amount": 13912,
    "currency": "CNY",
    "amount_refunded": 0,
    "amount_reserved": 6956,
    "amount_charged_back": 0,
    "amount_forfeited": 0,
    "amount_refundable": 6956,
    "refundable_until": "2027-12-22T08:26:00.000000Z",
    "funding": [{"source": "balance", "amount": 13912, "provider": "sandbox", "provider_reference": "ok", "funder": None}],
    "items": [{"reference": "85123A", "name": "Moon cakes, box of six", "quantity": 2, "amount": 13912}],
    "earned": [],
    "fulfilment": "none",
    "authorised_at": "2026-11-22T08:26:00.000000Z",
    "completed_at": "2026-11-22T08:26:00.000000Z",
    "shipped_at": None,
    "delivered_at": None,
    "return_received_at": None,
    "carrier": None,
    "tracking_number": None,
    "failure": None,
    "disputed": False,
    "frozen": False,
    "policy_version": "2026-11-a",
    "merchant_rules_version": None,
    "metadata": {"city": "Hangzhou"},
    "open_cancellation": _CANCELLATION_ID,
    "cancellations": [_CANCELLATION_ID],
    "available_actions": [],
}

REFUND: Final[Example] = {
    **_MADE,
    "id": _REFUND_ID,
    "payment_id": _PAYMENT_ID,
    "cancellation_id": _CANCELLATION_ID,
    "state": "processing",
    "amount": 6956,
    "currency": "CNY",
    "legs": [
        {
            "id": "leg_019ab2f0c4d47e2f8a6b1c2d3e4f5064",
            "source": "balance",
            "provider": "sandbox",
            "amount": 6956,
            "state": "processing",
            "outcome_source": None,
            "provider_refund_id": "rf-88121",
            "rail_reference": None,
            "attempts": 1,
            "failure_code": None,
            "next_attempt_at": "2026-11-22T09:10:46.018322Z",
            "replaces": None,
        }
    ],
    "eta": {**_ETA},
}

CANCELLATION: Final[Example] = {
    **_MADE,
    "id": _CANCELLATION_ID,
    "payment_id": _PAYMENT_ID,
    "state": "executing",
    "route": "automatic",
    "reason": "changed_mind",
    "amount": 6956,
    "currency": "CNY",
    "items": [{"reference": "85123A", "quantity": 1}],
    "channel": "app",
    "client_reference": "cancel-0042-1",
    "requested_by": {"role": "wallet", "id": "wallet-backend"},
    "decision": {
        "rule": "second-thoughts",
        "policy_version": "2026-11-a",
        "window": {**_WINDOW},
        "facts": {"state": "completed", "fulfilment": "none"},
    },
    "refusal": None,
    "deadline_at": None,
    "on_deadline": None,
    "tier": None,
    "first_response_due_at": None,
    "resolution_due_at": None,
    "assigned_to": None,
    "raised": False,
    "merchant": None,
    "return": None,
    "fulfilment": {"status": "none", "shipped_at": None, "delivered_at": None},
    "approvals": [],
    "declined_by": None,
    "denial": None,
    "override": None,
    "note": None,
    "evidence": [],
    "forfeited": [],
    "refund": {**REFUND},
    "message": "Your refund of CNY 69.56 is on its way.",
    "available_actions": [],
}

ELIGIBILITY: Final[Example] = {
    "allowed": True,
    "route": "merchant",
    "rule": "ask-the-merchant",
    "policy_version": "2026-11-a",
    "window": {**_WINDOW},
    "amount_refundable": 13912,
    "allocation": [{"source": "balance", "amount": 13912}],
    "forfeited": [],
    "eta": {**_ETA},
    "refusal": None,
    "by_reason": [
        {
            "reasons": ["changed_mind", "not_received", "not_as_described", "damaged", "merchant_request", "other"],
            "route": "merchant",
            "refusal": None,
        },
        {"reasons": ["duplicate", "wrong_amount", "unauthorised", "technical"], "route": "agent", "refusal": None},
    ],
    "message": (
        "A refund of CNY 139.12 can be requested. The merchant decides about it. What is possible depends on the reason. "
        "This is possible until 7 December 2026 at 16:26 (Beijing time)."
    ),
    "next_steps": [{"action": "request_cancellation", "message": "Please request a cancellation."}],
}

RECORD: Final[Example] = {
    "id": "rec_019ab2f0c4d57e2f8a6b1c2d3e4f5065",
    "chain": _PAYMENT_ID,
    "payment_id": _PAYMENT_ID,
    "sequence": 1,
    "type": "payment.registered",
    "occurred_at": "2026-11-22T08:26:01.204117Z",
    "actor": {"role": "wallet", "id": "wallet-backend", "channel": "app"},
    "from_state": None,
    "to_state": "completed",
    "amount": 13912,
    "currency": "CNY",
    "data": {"policy_version": "2026-11-a"},
    "request_id": "0af7651916cd43dd8448eb211c80319c",
    "previous_hash": "0" * 64,
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "log_index": 1041,
}

IMPORT: Final[Example] = {
    "accepted": 9657,
    "duplicates": 1,
    "rejected": 1,
    "errors": [{"line": 17, "code": "validation-failed", "detail": "/amount: Must be at least 1."}],
}

META: Final[Example] = {
    "name": "refundry",
    "version": "0.1.0",
    "providers": ["sandbox"],
    "default_provider": "sandbox",
    "sandbox_url": "http://127.0.0.1:8090",
}

PROBLEM: Final[Example] = {
    "type": "/problems/validation-failed",
    "title": "Validation failed",
    "status": 422,
    "detail": "Some values in the request are not valid. Correct the fields named in errors and send the request again.",
    "instance": "/v1/payments",
    "code": "validation-failed",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "errors": [{"pointer": "/amount", "code": "below_minimum", "detail": "Must be at least 1."}],
}
