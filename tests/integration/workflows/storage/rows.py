"""One valid row of every table, and a second one that may stand beside it: what the constraint tests start from.

Written as JSON, of which PostgreSQL itself makes the row; an id is a number below 256.
"""

import json
from typing import Any
from uuid import UUID

from workflows.storage.tables.cancellations import REFUND_COLUMNS

Connection = Any  # asyncpg ships no types
Row = dict[str, Any]

NOW = "2026-11-02T10:00:00Z"
EARLIER = "2026-11-02T09:59:59.999999Z"
DIGEST = "\\x" + "ab" * 32


def id_(number: int) -> str:
    return str(UUID(int=number))


PAYMENT, CANCELLATION, REFUND, LEG, NOBODY = 1, 2, 3, 4, 99

PAYMENT_ROW: Row = {
    "id": id_(PAYMENT), "version": 1, "reference": "order-1", "uetr": id_(200), "wallet_id": "w", "merchant_id": "m",
    "category": "general", "amount": 1000, "currency": "CNY", "funding": [{"amount": 1000}], "items": [["a", 2, 400], ["b", 1, 600]],
    "earned": [], "merchant_told_at": {}, "state": "completed",
    "fulfilment": "none", "authorised_at": NOW, "completed_at": NOW, "amount_refunded": 0, "amount_reserved": 0,
    "amount_charged_back": 0, "amount_forfeited": 0, "disputes_open": 0,
    "allocated": [0], "cancelled_quantities": [0, 0], "policy_version": "p",
    "partial_refunds": 0, "sequence": 1, "head": DIGEST, "created_at": NOW, "updated_at": NOW,
}  # fmt: skip
CANCELLATION_ROW: Row = {
    "payment_id": id_(PAYMENT), "id": id_(CANCELLATION), "version": 1, "state": "executing", "route": "automatic",
    "reason": "changed_mind", "amount": 100, "currency": "CNY", "items": [], "partial": True, "channel": "app",
    "requester_role": "wallet", "requester_id": "r", "client_reference": "c-1", "fingerprint": "f", "policy_version": "p", "facts": {},
    "refusal_next_steps": [], "second_approval": False, "approvals": [], "reopened": False, "reminders": 0, "offers": 0,
    "raised": False, "forfeited": [], "created_at": NOW, "updated_at": NOW,
    "merchant_id": "m", "refund_id": id_(REFUND), "refund_version": 1, "refund_state": "scheduled", "refund_amount": 100,
    "refund_created_at": NOW, "refund_updated_at": NOW,
}  # fmt: skip
NO_REFUND: Row = dict.fromkeys(REFUND_COLUMNS)
LEG_ROW: Row = {
    "payment_id": id_(PAYMENT), "id": id_(LEG), "cancellation_id": id_(CANCELLATION), "refund_id": id_(REFUND), "kind": "refund",
    "source": "balance", "position": 0, "provider": "sandbox", "provider_reference": "ok", "amount": 100, "currency": "CNY",
    "state": "scheduled", "attempts": 0, "replaces": id_(NOBODY), "created_at": NOW, "updated_at": NOW,
    "answers": [],
}  # fmt: skip
RECORD_ROW: Row = {
    "chain_id": id_(PAYMENT), "sequence": 1, "id": id_(5), "chain": "pay_1", "payment_id": id_(PAYMENT), "type": "payment.registered",
    "occurred_at": NOW, "actor_role": "wallet", "actor_id": "r", "body": "{}", "hash": DIGEST,
}  # fmt: skip
PERSONAL_TEXT_ROW: Row = {
    "payment_id": id_(PAYMENT), "id": id_(6), "subject_id": id_(CANCELLATION), "name": "note", "value": "hello", "salt": "\\x00",
}  # fmt: skip
KEPT_REPLY_ROW: Row = {
    "scope_id": id_(PAYMENT), "caller": "c", "key": "k", "fingerprint": "f", "status": 201, "body": "\\x7b7d", "headers": {},
    "created_at": NOW,
}  # fmt: skip
JOB_ROW: Row = {
    "payment_id": id_(PAYMENT),
    "id": id_(7),
    "kind": "move",
    "subject_id": id_(LEG),
    "run_at": NOW,
    "attempt": 0,
    "provider": "sandbox",
}
NOTIFICATION_ROW: Row = {
    "payment_id": id_(PAYMENT), "id": id_(8), "provider": "sandbox", "rail_id": "n-1", "body": "\\x7b7d", "received_at": NOW,
}  # fmt: skip
ANOMALY_ROW: Row = {
    "scope_id": id_(PAYMENT), "id": id_(12), "payment_id": id_(PAYMENT), "kind": "contradiction", "word": "w", "data": {},
    "created_at": NOW,
}  # fmt: skip
ANOMALY_STEP_ROW: Row = {
    "scope_id": id_(PAYMENT), "anomaly_id": id_(12), "number": 1, "action": "note", "by": "a-1", "role": "agent", "at": NOW,
    "closes": True,
}  # fmt: skip
POLICY_ROW: Row = {
    "version": "p", "ordinal": 101, "effective_from": NOW, "document": {}, "published_at": NOW, "published_by": "o",
}  # fmt: skip
MERCHANT_ROW: Row = {
    "merchant_id": "m", "version": 1, "name": "Shop", "contact": {}, "rules": [], "auto_accept_up_to": {}, "changed_at": NOW,
    "changed_by": "o",
}  # fmt: skip
WORKER_ROW: Row = {"id": id_(9), "beat_at": NOW, "rails": {}}

# In the order in which they can be inserted.
FIRST: dict[str, Row] = {
    "payment": PAYMENT_ROW,
    "cancellation": CANCELLATION_ROW,
    "leg": LEG_ROW,
    "record": RECORD_ROW,
    "personal_text": PERSONAL_TEXT_ROW,
    "kept_reply": KEPT_REPLY_ROW,
    "job": JOB_ROW,
    "notification": NOTIFICATION_ROW,
    "anomaly": ANOMALY_ROW,
    "anomaly_step": ANOMALY_STEP_ROW,
    "policy": POLICY_ROW,
    "merchant": MERCHANT_ROW,
    "worker": WORKER_ROW,
}
ANOTHER, FREE, UNRESOLVED = 11, 12, 13
SECOND: dict[str, Row] = {
    "payment": {**PAYMENT_ROW, "id": id_(ANOTHER)},
    "cancellation": {
        **CANCELLATION_ROW,
        "id": id_(ANOTHER),
        "client_reference": None,
        "state": "withdrawn",
        "refund_id": id_(ANOTHER),
    },
    "leg": {**LEG_ROW, "id": id_(ANOTHER), "position": 1, "replaces": None},
    "record": {**RECORD_ROW, "id": id_(ANOTHER), "sequence": 2},
    "personal_text": {**PERSONAL_TEXT_ROW, "id": id_(ANOTHER)},
    "kept_reply": {**KEPT_REPLY_ROW, "key": "k-2"},
    "job": {**JOB_ROW, "id": id_(ANOTHER), "kind": "notification"},
    "notification": {**NOTIFICATION_ROW, "id": id_(ANOTHER), "rail_id": "n-2"},
    "anomaly": {**ANOMALY_ROW, "id": id_(ANOTHER), "word": "w-2"},
    "anomaly_step": {**ANOMALY_STEP_ROW, "anomaly_id": id_(UNRESOLVED), "action": "refund", "closes": False},
    "policy": {**POLICY_ROW, "version": "p-2", "ordinal": 102},
    "merchant": {**MERCHANT_ROW, "version": 2},
    "worker": {**WORKER_ROW, "id": id_(ANOTHER)},
}


async def insert(connection: Connection, table: str, row: Row) -> None:
    """Insert one row; members that are left out are null."""
    await connection.execute(f"insert into {table} select * from jsonb_populate_record(null::public.{table}, $1::jsonb)", json.dumps(row))  # noqa: S608 -- our own names


async def insert_first(connection: Connection, *, without: str = "") -> None:
    for table, row in FIRST.items():
        if table != without:
            await insert(connection, table, row)
    await insert(connection, "payment", {**PAYMENT_ROW, "id": id_(FREE)})  # one without any cancellation
    await insert(connection, "anomaly", {**ANOMALY_ROW, "id": id_(UNRESOLVED), "word": "w-3"})
