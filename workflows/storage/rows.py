"""Rows to values: how a payment and its parts are read back from what `codec.py` wrote."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from workflows.domain.enums import (
    ActorRole,
    Anchor,
    AnomalyKind,
    CancellationState,
    Category,
    Channel,
    EarnedKind,
    Fulfilment,
    LegKind,
    LegState,
    MerchantDecision,
    OnDeadline,
    OutcomeSource,
    PaymentFailure,
    PaymentState,
    Reason,
    Refusal,
    ReturnCondition,
    Route,
    Source,
)
from workflows.domain.errors import Window
from workflows.domain.model import (
    Actor,
    Anomaly,
    Approval,
    Cancellation,
    Clock,
    Earned,
    Funding,
    Item,
    ItemQuantity,
    Leg,
    MerchantAnswer,
    Payment,
    PersonalText,
    Refund,
    RegisteredContent,
    ReturnedGoods,
)

Row = Mapping[str, Any]  # a database row: whatever the columns hold


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
        return_received_at=row["return_received_at"],
        failure_code=_word(PaymentFailure, row["failure_code"]),
        amount_refunded=row["amount_refunded"],
        amount_reserved=row["amount_reserved"],
        amount_charged_back=row["amount_charged_back"],
        amount_forfeited=row["amount_forfeited"],
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
        registered=_registered(row["registered"]),
        merchant_told_at={name: _moment(at) for name, at in json.loads(row["merchant_told_at"]).items()},
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
        clock=_clock(row),
        merchant=_merchant(row["merchant"]),
        merchant_time_left_us=row["merchant_time_left_us"],
        offers=row["offers"],
        offer_amount=row["offer_amount"],
        goods=_goods(row["goods"]),
        declined_by=_word(ActorRole, row["declined_by"]),
        raised=row["raised"],
        forfeited=tuple(row["forfeited"]),
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


def anomaly_from(row: Row) -> Anomaly:
    return Anomaly(
        scope_id=UUID(row["scope_id"]),
        id=UUID(row["id"]),
        payment_id=UUID(row["payment_id"]) if row["payment_id"] else None,
        kind=AnomalyKind(row["kind"]),
        word=row["word"],
        provider=row["provider"],
        leg_id=UUID(row["leg_id"]) if row["leg_id"] else None,
        data=row["data"],
        created_at=_moment(row["created_at"]),
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


def _registered(text: str | None) -> RegisteredContent | None:
    if text is None:
        return None
    data = json.loads(text)
    return RegisteredContent(
        amount=data["amount"],
        funding=data["funding"],
        items=data["items"],
        fulfilment=Fulfilment(data["fulfilment"]),
        shipped_at=_time(data.get("shipped_at")),
        delivered_at=_time(data.get("delivered_at")),
        completed_at=_time(data.get("completed_at")),
        authorised_at_said=data["authorised_at_said"],
    )


def _clock(row: Row) -> Clock | None:
    if row["clock_id"] is None:
        return None
    return Clock(id=UUID(row["clock_id"]), started_at=_moment(row["clock_started_at"]), reminders=row["reminders"])


def _merchant(data: Row | None) -> MerchantAnswer | None:
    if data is None:
        return None
    return MerchantAnswer(
        decision=MerchantDecision(data["decision"]),
        reason_code=data["reason_code"],
        decided_at=_moment(data["decided_at"]),
        decided_by=data["decided_by"],
    )


def _goods(data: Row | None) -> ReturnedGoods | None:
    if data is None:
        return None
    return ReturnedGoods(
        carrier=data["carrier"],
        shipped_at=_time(data["shipped_at"]),
        received_at=_time(data["received_at"]),
        condition=_word(ReturnCondition, data["condition"]),
    )


def _word(vocabulary: Callable[[str], Any], text: str | None) -> Any:
    """The member of a vocabulary, or None; the caller's field says which."""
    return None if text is None else vocabulary(text)
