"""Rows to values and back: the only place that knows how a payment and its parts are written down."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlmodel import SQLModel

from workflows.domain.errors import Window
from workflows.domain.model import (
    Actor,
    Approval,
    Cancellation,
    Earned,
    Funding,
    Item,
    ItemQuantity,
    Job,
    Leg,
    Payment,
    PersonalText,
    Refund,
)
from workflows.domain.records import Record, chain_id
from workflows.domain.times import rfc3339
from workflows.domain.words import (
    ActorRole,
    Anchor,
    CancellationState,
    Category,
    Channel,
    EarnedKind,
    Fulfilment,
    LegKind,
    LegState,
    OnDeadline,
    OutcomeSource,
    PaymentFailure,
    PaymentState,
    Reason,
    Refusal,
    Route,
    Source,
)
from workflows.storage import tables

Row = Mapping[str, Any]  # a database row: whatever the columns hold
Values = tuple[Any, ...]  # one value per column, in the table's order


def columns(table: type[SQLModel]) -> tuple[str, ...]:
    return tuple(table.metadata.tables[str(table.__tablename__)].columns.keys())


# Made once: `json.dumps` with arguments makes an encoder at every call.
json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


# --- values to rows ---


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


_Encoder = Callable[[Any], Any]  # from a value of the domain to what asyncpg takes for one column


def _encoders(table: type[SQLModel], special: dict[str, _Encoder]) -> tuple[_Encoder, ...]:
    return tuple(special.get(name) or attrgetter(name) for name in columns(table))


_PAYMENT = _encoders(
    tables.PaymentRow,
    {"funding": _funding_json, "items": _items_json, "earned": _earned_json, "head": lambda p: bytes.fromhex(p.head)},
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
        "approvals": lambda c: json_text([{"by": a.by, "role": a.role, "at": rfc3339(a.at)} for a in c.approvals]),
    },
)
_REFUND = _encoders(tables.RefundRow, {})
_LEG = _encoders(tables.LegRow, {})
_TEXT = _encoders(tables.PersonalTextRow, {"value": lambda t: json_text(t.value)})
_JOB = _encoders(tables.JobRow, {"attempt": lambda _: 0, "leased_until": lambda _: None})


def payment_values(payment: Payment) -> Values:
    return tuple([encode(payment) for encode in _PAYMENT])


def cancellation_values(cancellation: Cancellation) -> Values:
    return tuple([encode(cancellation) for encode in _CANCELLATION])


def refund_values(refund: Refund) -> Values:
    return tuple([encode(refund) for encode in _REFUND])


def leg_values(leg: Leg) -> Values:
    return tuple([encode(leg) for encode in _LEG])


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


# --- rows to values ---


def payment_from(row: Row) -> Payment:
    """From a row as asyncpg gives it: native types, JSON as text."""
    return Payment(
        id=row["id"],
        version=row["version"],
        reference=row["reference"],
        uetr=row["uetr"],
        wallet_id=row["wallet_id"],
        merchant_id=row["merchant_id"],
        order_reference=row["order_reference"],
        category=Category(row["category"]),
        amount=row["amount"],
        currency=row["currency"],
        funding=tuple(
            Funding(
                source=Source(f["source"]),
                amount=f["amount"],
                provider=f["provider"],
                provider_reference=f["provider_reference"],
                funder=f["funder"],
            )
            for f in json.loads(row["funding"])
        ),
        items=tuple(Item(reference=i[0], quantity=i[1], amount=i[2]) for i in json.loads(row["items"])),
        earned=tuple(
            Earned(
                kind=EarnedKind(e["kind"]),
                amount=e["amount"],
                provider=e["provider"],
                provider_reference=e["provider_reference"],
            )
            for e in json.loads(row["earned"])
        ),
        state=PaymentState(row["state"]),
        origin_state=_word(PaymentState, row["origin_state"]),
        fulfilment=Fulfilment(row["fulfilment"]),
        authorised_at=row["authorised_at"],
        completed_at=row["completed_at"],
        shipped_at=row["shipped_at"],
        delivered_at=row["delivered_at"],
        failure_code=_word(PaymentFailure, row["failure_code"]),
        amount_refunded=row["amount_refunded"],
        amount_reserved=row["amount_reserved"],
        amount_charged_back=row["amount_charged_back"],
        disputes_open=row["disputes_open"],
        allocated=tuple(row["allocated"]),
        cancelled_quantities=tuple(row["cancelled_quantities"]),
        policy_version=row["policy_version"],
        merchant_rules_version=row["merchant_rules_version"],
        partial_refunds=row["partial_refunds"],
        last_partial_at=row["last_partial_at"],
        sequence=row["sequence"],
        head=row["head"].hex(),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def cancellation_from(row: Row) -> Cancellation:
    """From a row as PostgreSQL's to_jsonb gives it: times and ids as text."""
    channel = Channel(row["channel"])
    return Cancellation(
        id=UUID(row["id"]),
        payment_id=UUID(row["payment_id"]),
        version=row["version"],
        state=CancellationState(row["state"]),
        route=_word(Route, row["route"]),
        reason=Reason(row["reason"]),
        amount=row["amount"],
        currency=row["currency"],
        items=tuple(ItemQuantity(reference=i[0], quantity=i[1]) for i in row["items"]),
        partial=row["partial"],
        channel=channel,
        requested_by=Actor(role=ActorRole(row["requester_role"]), id=row["requester_id"], channel=channel),
        client_reference=row["client_reference"],
        fingerprint=row["fingerprint"],
        rule=row["rule"],
        policy_version=row["policy_version"],
        window=_window(row["window"]),
        facts=row["facts"],
        refusal=_word(Refusal, row["refusal"]),
        refusal_next_steps=tuple(row["refusal_next_steps"]),
        deadline_at=_time(row["deadline_at"]),
        on_deadline=_word(OnDeadline, row["on_deadline"]),
        second_approval=row["second_approval"],
        override_ticket=row["override_ticket"],
        assigned_to=row["assigned_to"],
        approvals=tuple(Approval(by=a["by"], role=ActorRole(a["role"]), at=_moment(a["at"])) for a in row["approvals"]),
        reopened=row["reopened"],
        created_at=_moment(row["created_at"]),
        updated_at=_moment(row["updated_at"]),
    )


def refund_from(row: Row) -> Refund:
    return Refund(
        id=UUID(row["id"]),
        payment_id=UUID(row["payment_id"]),
        cancellation_id=UUID(row["cancellation_id"]),
        version=row["version"],
        state=LegState(row["state"]),
        amount=row["amount"],
        currency=row["currency"],
        created_at=_moment(row["created_at"]),
        updated_at=_moment(row["updated_at"]),
    )


def leg_from(row: Row) -> Leg:
    return Leg(
        id=UUID(row["id"]),
        payment_id=UUID(row["payment_id"]),
        cancellation_id=UUID(row["cancellation_id"]),
        refund_id=UUID(row["refund_id"]) if row["refund_id"] else None,
        kind=LegKind(row["kind"]),
        source=Source(row["source"]),
        position=row["position"],
        provider=row["provider"],
        provider_reference=row["provider_reference"],
        amount=row["amount"],
        currency=row["currency"],
        state=LegState(row["state"]),
        rail_key=row["rail_key"],
        outcome_source=_word(OutcomeSource, row["outcome_source"]),
        provider_refund_id=row["provider_refund_id"],
        rail_reference=row["rail_reference"],
        attempts=row["attempts"],
        failure_code=row["failure_code"],
        next_attempt_at=_time(row["next_attempt_at"]),
        sent_at=_time(row["sent_at"]),
        replaces=UUID(row["replaces"]) if row["replaces"] else None,
        created_at=_moment(row["created_at"]),
        updated_at=_moment(row["updated_at"]),
    )


def text_from(row: Row) -> PersonalText:
    return PersonalText(
        id=UUID(row["id"]),
        payment_id=UUID(row["payment_id"]),
        subject_id=UUID(row["subject_id"]),
        name=row["name"],
        value=row["value"],
        salt=bytes.fromhex(row["salt"].removeprefix("\\x")),
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _time(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


def _window(data: Row | None) -> Window | None:
    if data is None:
        return None
    return Window(anchor=_word(Anchor, data["anchor"]), opens_at=_time(data["opens_at"]), closes_at=_time(data["closes_at"]))


def _word(vocabulary: Callable[[str], Any], text: str | None) -> Any:
    """The member of a vocabulary, or None; the caller's field says which."""
    return None if text is None else vocabulary(text)
