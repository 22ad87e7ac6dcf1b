"""The representations: what a caller is shown of payments, cancellations and refunds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.api.i18n import Advice, Failure
from workflows.domain import ids
from workflows.domain.decisions.eligibility import ReasonOutcome, Shares
from workflows.domain.enums import Route
from workflows.domain.errors import Window
from workflows.domain.eta import Eta
from workflows.domain.model import Actor, Approval, Cancellation, DataValue, Item, Leg, Payment, Refund
from workflows.domain.times import rfc3339

Answer = dict[str, object]  # JSON-able
Texts = Mapping[str, DataValue]  # the erasable texts of one payment or cancellation, by name; an erased one is not there

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibilityView:
    """What a request would come to, with its sentences in the caller's language. `refusal` is a policy's or a problem's slug."""

    allowed: bool
    route: Route | None
    rule: str | None
    policy_version: str | None
    window: Window | None
    amount_refundable: int
    allocation: Shares
    forfeited: Shares
    eta: Eta | None
    refusal: str | None
    by_reason: Sequence[ReasonOutcome]
    message: str
    next_steps: Sequence[Advice]


def to_json(answer: object) -> bytes:
    return _encode(answer).encode()


def etag(version: int) -> str:
    return f'"{version}"'


def payment_answer(  # noqa: PLR0913 -- all but the payment are named by the caller
    payment: Payment,
    *,
    texts: Texts,
    cancellations: Sequence[UUID],
    open_cancellation: UUID | None,
    available_actions: Sequence[str],
    frozen: bool,
    refundable_until: datetime | None,
    failure: Failure | None,
) -> Answer:
    """`texts`: `metadata`, `item_names` (by position), `carrier`, `tracking_number`. `frozen`: whether its wallet is on hold."""
    return {
        "id": ids.public("pay", payment.id),
        "version": payment.version,
        "reference": payment.reference,
        "uetr": str(payment.uetr),
        "state": payment.state.value,
        "wallet_id": payment.wallet_id,
        "merchant_id": payment.merchant_id,
        "order_reference": payment.order_reference,
        "category": payment.category.value,
        "amount": payment.amount,
        "currency": payment.currency,
        **_amounts(payment),
        "refundable_until": moment(refundable_until),
        "funding": _funding(payment),
        "items": _items(payment.items, texts),
        "earned": _earned(payment),
        "fulfilment": payment.fulfilment.value,
        **_moments(payment),
        "carrier": texts.get("carrier"),
        "tracking_number": texts.get("tracking_number"),
        "failure": None if failure is None else {**failure},
        "disputed": payment.disputes_open > 0,
        "frozen": frozen,
        "policy_version": payment.policy_version,
        "merchant_rules_version": payment.merchant_rules_version,
        "metadata": texts.get("metadata") or {},
        "open_cancellation": None if open_cancellation is None else ids.public("can", open_cancellation),
        "cancellations": [ids.public("can", one) for one in cancellations],
        "created_at": rfc3339(payment.created_at),
        "updated_at": rfc3339(payment.updated_at),
        "available_actions": list(available_actions),
    }


def cancellation_answer(  # noqa: PLR0913 -- all but the two rows are named by the caller
    cancellation: Cancellation,
    payment: Payment,
    *,
    texts: Texts,
    approval_notes: Mapping[tuple[str, str], str],
    refund: Answer | None,
    message: str,
    available_actions: Sequence[str],
) -> Answer:
    """`texts`: the newest of each name that this caller may read, `approval_notes`: by person and time."""
    return {
        "id": ids.public("can", cancellation.id),
        "version": cancellation.version,
        "payment_id": ids.public("pay", cancellation.payment_id),
        "state": cancellation.state.value,
        "route": None if cancellation.route is None else cancellation.route.value,
        "reason": cancellation.reason.value,
        "amount": cancellation.amount,
        "currency": cancellation.currency,
        "items": [{"reference": line.reference, "quantity": line.quantity} for line in cancellation.items],
        "channel": cancellation.channel.value,
        "client_reference": cancellation.client_reference,
        "requested_by": _person(cancellation.requested_by),
        "decision": _decision(cancellation),
        "refusal": None if cancellation.refusal is None else cancellation.refusal.value,
        "deadline_at": moment(cancellation.deadline_at),
        "on_deadline": None if cancellation.on_deadline is None else cancellation.on_deadline.value,
        "tier": None,
        "first_response_due_at": None,
        "resolution_due_at": None,
        "assigned_to": cancellation.assigned_to,
        "raised": cancellation.raised,
        "merchant": _merchant(cancellation, texts),
        "return": _return(cancellation, texts),
        "fulfilment": _delivery(payment),
        "approvals": [_approval(one, approval_notes) for one in cancellation.approvals],
        "declined_by": None if cancellation.declined_by is None else cancellation.declined_by.value,
        "denial": texts.get("denial"),
        "override": _override(cancellation, texts),
        "note": texts.get("note"),
        "evidence": texts.get("evidence") or [],
        "forfeited": _forfeited(cancellation, payment),
        "refund": refund,
        "message": message,
        "created_at": rfc3339(cancellation.created_at),
        "updated_at": rfc3339(cancellation.updated_at),
        "available_actions": list(available_actions),
    }


def _decision(cancellation: Cancellation) -> Answer:
    return {
        "rule": cancellation.rule,
        "policy_version": cancellation.policy_version,
        "window": window_answer(cancellation.window),
        "facts": cancellation.facts,
    }


def _merchant(cancellation: Cancellation, texts: Texts) -> Answer | None:
    said = cancellation.merchant
    if said is None:
        return None
    return {
        "decision": said.decision.value,
        "amount": cancellation.offer_amount,
        "offers": cancellation.offers,
        "reason_code": said.reason_code,
        "note": texts.get("merchant_note"),
        "decided_at": rfc3339(said.decided_at),
    }


def _return(cancellation: Cancellation, texts: Texts) -> Answer | None:
    goods = cancellation.goods
    if goods is None:
        return None
    return {
        "carrier": goods.carrier,
        "tracking_number": texts.get("return_tracking_number"),
        "shipped_at": moment(goods.shipped_at),
        "received_at": moment(goods.received_at),
        "condition": None if goods.condition is None else goods.condition.value,
        "note": texts.get("return_note"),
    }


def _delivery(payment: Payment) -> Answer:
    return {
        "status": payment.fulfilment.value,
        "shipped_at": moment(payment.shipped_at),
        "delivered_at": moment(payment.delivered_at),
    }


def _approval(approval: Approval, notes: Mapping[tuple[str, str], str]) -> Answer:
    at = rfc3339(approval.at)
    return {"by": approval.by, "role": approval.role.value, "at": at, "note": notes.get((approval.by, at))}


def _override(cancellation: Cancellation, texts: Texts) -> Answer | None:
    if cancellation.override_ticket is None:
        return None
    return {"ticket": cancellation.override_ticket, "justification": texts.get("justification")}


def _forfeited(cancellation: Cancellation, payment: Payment) -> list[Answer]:
    """By funding source; nothing before anything is executed."""
    shares = zip(payment.funding, cancellation.forfeited, strict=False)
    return _shares(tuple((funding.source, amount) for funding, amount in shares if amount))


def refund_answer(refund: Refund, legs: Sequence[Leg], eta: Eta | None) -> Answer:
    return {
        "id": ids.public("rfd", refund.id),
        "version": refund.version,
        "payment_id": ids.public("pay", refund.payment_id),
        "cancellation_id": ids.public("can", refund.cancellation_id),
        "state": refund.state.value,
        "amount": refund.amount,
        "currency": refund.currency,
        "legs": [_leg(leg) for leg in legs],
        "eta": eta_answer(eta),
        "created_at": rfc3339(refund.created_at),
        "updated_at": rfc3339(refund.updated_at),
    }


def eligibility_answer(view: EligibilityView) -> Answer:
    return {
        "allowed": view.allowed,
        "route": None if view.route is None else view.route.value,
        "rule": view.rule,
        "policy_version": view.policy_version,
        "window": window_answer(view.window),
        "amount_refundable": view.amount_refundable,
        "allocation": _shares(view.allocation),
        "forfeited": _shares(view.forfeited),
        "eta": eta_answer(view.eta),
        "refusal": view.refusal,
        "by_reason": [
            {
                "reasons": [reason.value for reason in one.reasons],
                "route": None if one.route is None else one.route.value,
                "refusal": None if one.refusal is None else one.refusal.value,
            }
            for one in view.by_reason
        ],
        "message": view.message,
        "next_steps": [dict(step) for step in view.next_steps],
    }


def _shares(shares: Shares) -> list[Answer]:
    return [{"source": source.value, "amount": amount} for source, amount in shares]


def page_answer(data: Sequence[Answer], next_cursor: str | None) -> Answer:
    return {"data": list(data), "next_cursor": next_cursor}


def import_answer(*, accepted: int, duplicates: int, rejected: int, errors: Sequence[tuple[int, str, str]]) -> Answer:
    """`errors`: line (from 1), code, detail."""
    return {
        "accepted": accepted,
        "duplicates": duplicates,
        "rejected": rejected,
        "errors": [{"line": line, "code": code, "detail": detail} for line, code, detail in errors],
    }


def window_answer(window: Window | None) -> Answer | None:
    if window is None:
        return None
    anchor = None if window.anchor is None else window.anchor.value
    return {"anchor": anchor, "opens_at": moment(window.opens_at), "closes_at": moment(window.closes_at)}


def eta_answer(eta: Eta | None) -> Answer | None:
    return None if eta is None else {"earliest": rfc3339(eta.earliest), "latest": rfc3339(eta.latest), "basis": eta.basis}


def moment(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def _amounts(payment: Payment) -> Answer:
    return {
        "amount_refunded": payment.amount_refunded,
        "amount_reserved": payment.amount_reserved,
        "amount_charged_back": payment.amount_charged_back,
        "amount_forfeited": payment.amount_forfeited,
        "amount_refundable": payment.amount_refundable,
    }


def _funding(payment: Payment) -> list[Answer]:
    return [
        {
            "source": source.source.value,
            "amount": source.amount,
            "provider": source.provider,
            "provider_reference": source.provider_reference,
            "funder": source.funder,
        }
        for source in payment.funding
    ]


def _earned(payment: Payment) -> list[Answer]:
    return [
        {"kind": one.kind.value, "amount": one.amount, "provider": one.provider, "provider_reference": one.provider_reference}
        for one in payment.earned
    ]


def _moments(payment: Payment) -> Answer:
    return {
        "authorised_at": rfc3339(payment.authorised_at),
        "completed_at": moment(payment.completed_at),
        "shipped_at": moment(payment.shipped_at),
        "delivered_at": moment(payment.delivered_at),
        "return_received_at": moment(payment.return_received_at),
    }


def _items(items: Sequence[Item], texts: Texts) -> list[Answer]:
    names = texts.get("item_names")
    return [
        {"reference": item.reference, "name": _nth(names, position), "quantity": item.quantity, "amount": item.amount}
        for position, item in enumerate(items)
    ]


def _leg(leg: Leg) -> Answer:
    return {
        "id": ids.public("leg", leg.id),
        "source": leg.source.value,
        "provider": leg.provider,
        "amount": leg.amount,
        "state": leg.state.value,
        "outcome_source": None if leg.outcome_source is None else leg.outcome_source.value,
        "provider_refund_id": leg.provider_refund_id,
        "rail_reference": leg.rail_reference,
        "attempts": leg.attempts,
        "failure_code": leg.failure_code,
        "next_attempt_at": moment(leg.next_attempt_at),
        "replaces": None if leg.replaces is None else ids.public("leg", leg.replaces),
    }


def _person(actor: Actor) -> Answer:
    return {"role": actor.role.value, "id": actor.id}


def _nth(texts: DataValue, position: int) -> str | None:
    """The text at `position` of a list of texts, which may have been erased."""
    found = texts[position] if isinstance(texts, list | tuple) and position < len(texts) else None
    return found if isinstance(found, str) else None
