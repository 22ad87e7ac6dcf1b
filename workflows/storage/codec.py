"""Values to rows: how a payment and its parts are written down. `rows.py` reads them back."""

import json
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from sqlmodel import SQLModel

from workflows.domain.model import (
    Anomaly,
    Cancellation,
    Job,
    Leg,
    Payment,
    PersonalText,
    Refund,
)
from workflows.domain.records import Record, chain_id
from workflows.domain.times import rfc3339
from workflows.storage import tables

Values = tuple[Any, ...]  # one value per column, in the table's order


def columns(table: type[SQLModel]) -> tuple[str, ...]:
    return tuple(table.metadata.tables[str(table.__tablename__)].columns.keys())


# Made once: `json.dumps` with arguments makes an encoder at every call.
json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def _funding_json(payment: Payment) -> str:
    return json_text(
        [
            {
                "source": f.source,
                "amount": f.amount,
                "provider": f.provider,
                "provider_reference": f.provider_reference,
                "funder": f.funder,
            }
            for f in payment.funding
        ]
    )


def _items_json(payment: Payment) -> str:
    return json_text([[item.reference, item.quantity, item.amount] for item in payment.items])


def _earned_json(payment: Payment) -> str:
    return json_text(
        [{"kind": e.kind, "amount": e.amount, "provider": e.provider, "provider_reference": e.provider_reference} for e in payment.earned]
    )


def _registered_json(payment: Payment) -> str | None:
    first = payment.registered
    if first is None:
        return None
    times = {"shipped_at": first.shipped_at, "delivered_at": first.delivered_at, "completed_at": first.completed_at}
    return json_text(
        {
            "amount": first.amount,
            "funding": first.funding,
            "items": first.items,
            "fulfilment": first.fulfilment,
            "authorised_at_said": first.authorised_at_said,
            **{name: rfc3339(at) for name, at in times.items() if at is not None},
        }
    )


def _window_json(cancellation: Cancellation) -> str | None:
    window = cancellation.window
    if window is None:
        return None
    return json_text(
        {
            "anchor": window.anchor,
            "opens_at": rfc3339(window.opens_at) if window.opens_at else None,
            "closes_at": rfc3339(window.closes_at) if window.closes_at else None,
        }
    )


def _merchant_json(cancellation: Cancellation) -> str | None:
    said = cancellation.merchant
    if said is None:
        return None
    return json_text(
        {
            "decision": said.decision,
            "reason_code": said.reason_code,
            "decided_at": rfc3339(said.decided_at),
            "decided_by": said.decided_by,
        }
    )


def _goods_json(cancellation: Cancellation) -> str | None:
    goods = cancellation.goods
    if goods is None:
        return None
    return json_text(
        {
            "carrier": goods.carrier,
            "shipped_at": rfc3339(goods.shipped_at) if goods.shipped_at else None,
            "received_at": rfc3339(goods.received_at) if goods.received_at else None,
            "condition": goods.condition,
        }
    )


_Encoder = Callable[[Any], Any]  # from a value of the domain to what asyncpg takes for one column


def _encoders(table: type[SQLModel], special: dict[str, _Encoder], *, beside: int = 0) -> tuple[_Encoder, ...]:
    """One for each column but the last, `beside`, which are not the value's own."""
    names = columns(table)
    return tuple(special.get(name) or attrgetter(name) for name in names[: len(names) - beside])


_PAYMENT = _encoders(
    tables.PaymentRow,
    {
        "funding": _funding_json,
        "items": _items_json,
        "earned": _earned_json,
        "head": lambda p: bytes.fromhex(p.head),
        "registered": _registered_json,
        "merchant_told_at": lambda p: json_text({name: rfc3339(at) for name, at in p.merchant_told_at.items()}),
    },
)
_CANCELLATION = _encoders(
    tables.CancellationRow,
    {
        "items": lambda c: json_text([[item.reference, item.quantity] for item in c.items]),
        "requester_role": lambda c: c.requested_by.role,
        "requester_id": lambda c: c.requested_by.id,
        "window": _window_json,
        "facts": lambda c: json_text(c.facts),
        "refusal_next_steps": lambda c: json_text(c.refusal_next_steps),
        "clock_id": lambda c: c.clock.id if c.clock else None,
        "clock_started_at": lambda c: c.clock.started_at if c.clock else None,
        "reminders": lambda c: c.clock.reminders if c.clock else 0,
        "merchant": _merchant_json,
        "goods": _goods_json,
        "approvals": lambda c: json_text([{"by": a.by, "role": a.role, "at": rfc3339(a.at)} for a in c.approvals]),
    },
    beside=1,
)
_REFUND = _encoders(tables.RefundRow, {}, beside=1)
_LEG = _encoders(tables.LegRow, {})
_ANOMALY = _encoders(tables.AnomalyRow, {"data": lambda a: json_text(a.data)})
_TEXT = _encoders(tables.PersonalTextRow, {"value": lambda t: json_text(t.value)})
_JOB = _encoders(tables.JobRow, {"attempt": lambda _: 0, "leased_until": lambda _: None})


def payment_values(payment: Payment) -> Values:
    return tuple([encode(payment) for encode in _PAYMENT])


def cancellation_values(cancellation: Cancellation, merchant_id: str) -> Values:
    """The merchant is the payment's, and stands last."""
    return (*[encode(cancellation) for encode in _CANCELLATION], merchant_id)


def refund_values(refund: Refund, merchant_id: str) -> Values:
    return (*[encode(refund) for encode in _REFUND], merchant_id)


def leg_values(leg: Leg) -> Values:
    return tuple([encode(leg) for encode in _LEG])


def anomaly_values(anomaly: Anomaly) -> Values:
    return tuple([encode(anomaly) for encode in _ANOMALY])


def text_values(text: PersonalText) -> Values:
    return tuple([encode(text) for encode in _TEXT])


def job_values(job: Job) -> Values:
    return tuple([encode(job) for encode in _JOB])


def record_values(record: Record, merchant_id: str | None) -> Values:
    """In the order of the record table's columns; the merchant stands beside the body, so that exports can be cut by it."""
    return (
        record.payment_id or chain_id(record.chain),
        record.sequence,
        record.id,
        record.chain,
        record.payment_id,
        merchant_id,
        record.type,
        record.occurred_at,
        record.actor.role,
        record.actor.id,
        record.body,
        bytes.fromhex(record.hash),
    )
