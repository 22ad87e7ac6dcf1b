"""What to tell the customer about a cancellation, made of its state, its legs, and what is possible now."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from service.api.i18n import Language, amount_text, join, moment, refusal_message, sentence, words
from workflows.domain.decisions.eligibility import would_forfeit
from workflows.domain.decisions.handoffs import escalate_until, may_escalate, may_reserve
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import (
    CANCELLATION_WAITING,
    LEG_FINAL,
    ActorRole,
    CancellationState,
    LegKind,
    LegState,
    OnDeadline,
    PaymentState,
    Recovery,
    Source,
)
from workflows.domain.legs import Leg
from workflows.domain.model import Cancellation, Snapshot

_PART_ORDER = (
    LegState.processing,
    LegState.scheduled,
    LegState.unknown,
    LegState.held,
    LegState.requires_action,
    LegState.returned,
    LegState.failed,
)


def cancellation_message(snapshot: Snapshot, cancellation: Cancellation, terms: PolicyContext, *, spoken: Language, now: datetime) -> str:
    """What to tell the customer now; dates in the policy's zone."""
    state, zone = cancellation.state, terms.policy.zone
    if state is CancellationState.refused:
        if cancellation.refusal is None:
            return words(spoken, "blocked")["other"]
        return refusal_message(cancellation.refusal, cancellation.window, spoken, zone)
    if state in CANCELLATION_WAITING:
        return join(spoken, [*_waiting(snapshot, cancellation, terms, spoken), *_clock(snapshot, cancellation, terms, spoken)])
    if state is CancellationState.declined:
        return _declined(snapshot, cancellation, terms, spoken=spoken, now=now)
    if state is CancellationState.withdrawn:
        return words(spoken, "cancellation")["withdrawn"]
    told = [*_carried_out(snapshot, cancellation, spoken), *_forfeited(cancellation, spoken)]
    return join(spoken, [*told, *_clock(snapshot, cancellation, terms, spoken)])


def _waiting(snapshot: Snapshot, cancellation: Cancellation, terms: PolicyContext, spoken: Language) -> list[str]:
    """Somebody must decide first. Nothing was taken of a payment that has not settled, so that there is nothing to pay back either."""
    payment, state = snapshot.payment, cancellation.state
    if payment.origin_state is PaymentState.pending:
        return [sentence("waiting_void", state, spoken, amount=_text(cancellation, cancellation.amount, spoken))]
    offered = (cancellation.offer_amount if state is CancellationState.offered else None) or cancellation.amount
    lost = would_forfeit(payment, offered, terms.effective_terms(cancellation))
    told = sentence(
        "cancellation",
        state,
        spoken,
        amount=_text(cancellation, cancellation.amount, spoken),
        back=_text(cancellation, offered - lost, spoken),
    )
    return [told, sentence("forfeited", "ahead", spoken, forfeited=_text(cancellation, lost, spoken))] if lost else [told]


def _clock(snapshot: Snapshot, cancellation: Cancellation, terms: PolicyContext, spoken: Language) -> list[str]:
    """Until when somebody has time, and what happens then. A deadline that was missed promises nothing."""
    if cancellation.deadline_at is None or cancellation.raised:
        return []
    at = moment(cancellation.deadline_at, terms.policy.zone, spoken)
    state, then = cancellation.state, cancellation.on_deadline
    told = [words(spoken, "deadline").get(state)]
    if then is not None:
        told.append(words(spoken, f"on_deadline.{state}").get(_then(snapshot, cancellation, then)) if state in _THEN else None)
    return [text.format(at=at) for text in told if text is not None]


def _then(snapshot: Snapshot, cancellation: Cancellation, then: OnDeadline) -> str:
    """A yes by silence is no refund yet where a second person must agree, and none at all where nothing has settled."""
    if then is not OnDeadline.accept:
        return then
    if cancellation.second_approval:
        return "second_approval"
    return "void" if snapshot.payment.origin_state is PaymentState.pending else then


_THEN = frozenset({CancellationState.awaiting_merchant, CancellationState.offered, CancellationState.awaiting_return})


def _declined(snapshot: Snapshot, cancellation: Cancellation, terms: PolicyContext, *, spoken: Language, now: datetime) -> str:
    by = {ActorRole.merchant: "merchant", ActorRole.system: "system"}.get(cancellation.declined_by or ActorRole.agent, "person")
    told = [sentence("declined", by, spoken, amount=_text(cancellation, cancellation.amount, spoken))]
    until = escalate_until(cancellation)
    if until is not None and may_escalate(cancellation, now) and may_reserve(snapshot, cancellation):
        told.append(sentence("declined", "escalate", spoken, at=moment(until, terms.policy.zone, spoken)))
    else:
        told.append(words(spoken, "declined")["contact"])
    return join(spoken, told)


def _carried_out(snapshot: Snapshot, cancellation: Cancellation, spoken: Language) -> list[str]:
    """What was approved, and how far it is."""
    legs = snapshot.current_legs(cancellation.id, LegKind.refund)
    if legs:
        return _refund(snapshot, cancellation, legs, spoken)
    if (void := _void_key(snapshot, cancellation)) is not None:
        return _voiding(snapshot, cancellation, void, spoken)
    state, back = cancellation.state, cancellation.amount - sum(cancellation.forfeited)
    if state is CancellationState.completed and back == 0:
        key = "nothing_back" if cancellation.amount else "worth_nothing"
        return [words(spoken, "cancellation")[key]]
    return [sentence("cancellation", state, spoken, amount=_text(cancellation, back, spoken))]


def _voiding(snapshot: Snapshot, cancellation: Cancellation, key: str, spoken: Language) -> list[str]:
    legs = snapshot.current_legs(cancellation.id, LegKind.void)
    released = _sum(leg for leg in legs if leg.state is LegState.succeeded)
    if key == "failed" and released:
        return [sentence("voiding", "failed_in_part", spoken, amount=_text(cancellation, released, spoken))]
    return [sentence("voiding", key, spoken, amount=_text(cancellation, cancellation.amount, spoken))]


def _void_key(snapshot: Snapshot, cancellation: Cancellation) -> str | None:
    """The sentence about a cancellation that moves no money; None where it is, or may become, a refund alone."""
    payment, state = snapshot.payment, cancellation.state
    if state is CancellationState.completed:
        # Its void's legs are released one and all, or nothing had moved when the payment itself failed.
        if payment.state is PaymentState.failed:
            return "payment_failed"
        return "completed" if snapshot.current_legs(cancellation.id, LegKind.void) else None
    if state is CancellationState.failed:
        return "failed" if payment.state is PaymentState.pending or snapshot.current_legs(cancellation.id, LegKind.void) else None
    if payment.origin_state is PaymentState.pending:
        return state.value
    if not snapshot.current_legs(cancellation.id, LegKind.void):
        return None
    return "settled" if state is CancellationState.executing else state.value


def _refund(snapshot: Snapshot, cancellation: Cancellation, legs: Sequence[Leg], spoken: Language) -> list[str]:
    """How much has arrived, and where each part of the rest is."""
    whole, arrived = _sum(legs), _sum(leg for leg in legs if leg.state is LegState.succeeded)
    released = _sum(leg for leg in snapshot.legs_of(cancellation.id, LegKind.void) if leg.state is LegState.succeeded)
    told = []
    if released:
        told.append(sentence("refund_lead", "released", spoken, amount=_text(cancellation, released, spoken)))
    if arrived == whole:
        away = [_is_redirected(snapshot, leg) for leg in legs]
        section, key = ("refund_lead", "to_balance") if all(away) else ("refund_lead" if any(away) else "refunding", "succeeded")
        told.append(sentence(section, key, spoken, amount=_text(cancellation, whole, spoken)))
        return told
    given_up = cancellation.state is CancellationState.failed
    amounts = {"given_up": whole - arrived} if given_up else _amounts_by_key(snapshot, legs)
    alone = not arrived and len(amounts) == 1
    if not alone:
        values = {"amount": _text(cancellation, whole, spoken), "arrived": _text(cancellation, arrived, spoken)}
        told.append(sentence("refund_lead", "arrived" if arrived else "in_parts", spoken, **values))
    for key, amount in amounts.items():
        told.append(sentence("refunding" if alone else "refund_part", key, spoken, amount=_text(cancellation, amount, spoken)))
    if cancellation.state is CancellationState.needs_attention:
        told.append(words(spoken, "refund_lead")["working"])
        if any(leg.state in LEG_FINAL and leg.source in _ELSEWHERE for leg in legs):
            told.append(words(spoken, "refund_lead")["choose"])
    return told


def _amounts_by_key(snapshot: Snapshot, legs: Iterable[Leg]) -> dict[str, int]:
    """What has not arrived, by the sentence about where it is."""
    found: dict[str, int] = {}
    for leg in sorted((leg for leg in legs if leg.state is not LegState.succeeded), key=lambda leg: _PART_ORDER.index(_shown_state(leg))):
        key = _leg_key(snapshot, leg)
        found[key] = found.get(key, 0) + leg.amount
    return found


def _shown_state(leg: Leg) -> LegState:
    """What was sent and what the rail has accepted are the same to a customer."""
    return LegState.processing if leg.state is LegState.submitted else leg.state


def _leg_key(snapshot: Snapshot, leg: Leg) -> str:
    state = _shown_state(leg)
    if state is LegState.held and snapshot.payment.disputes_open:
        return "held_disputed"
    if state is LegState.scheduled and leg.replaces is not None:
        return "scheduled_to_balance" if _is_redirected(snapshot, leg) else "scheduled_again"
    return "arranged_anew" if leg.recovery in _GOES_ON else state.value


def _is_redirected(snapshot: Snapshot, leg: Leg) -> bool:
    return leg.source is not snapshot.payment.funding[leg.position].source


_ELSEWHERE = frozenset({Source.card, Source.bank})  # whose money can be paid into the balance instead
_GOES_ON = frozenset({Recovery.retry, Recovery.redirect})


def _forfeited(cancellation: Cancellation, spoken: Language) -> list[str]:
    lost = sum(cancellation.forfeited)
    return [sentence("forfeited", "done", spoken, forfeited=_text(cancellation, lost, spoken))] if lost else []


def _sum(legs: Iterable[Leg]) -> int:
    return sum(leg.amount for leg in legs)


def _text(cancellation: Cancellation, amount: int, spoken: Language) -> str:
    return amount_text(amount, cancellation.currency, spoken)
