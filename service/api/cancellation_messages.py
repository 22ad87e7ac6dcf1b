"""What to tell the customer about a cancellation, made of its state, its legs, and what is possible now."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from service.api.i18n import Language, amount_text, join, moment, refusal_message, sentence, words
from workflows.domain.decisions.eligibility import would_forfeit
from workflows.domain.decisions.handoffs import escalate_until, may_escalate, may_reserve
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import CANCELLATION_WAITING, ActorRole, CancellationState, LegKind, LegState, OnDeadline, PaymentState
from workflows.domain.model import Cancellation, Leg, Snapshot

_STUCK = frozenset({LegState.failed, LegState.returned, LegState.requires_action})
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
    return join(spoken, [*_carried_out(snapshot, cancellation, spoken), *_forfeited(cancellation, spoken)])


def current_legs(snapshot: Snapshot, cancellation: Cancellation, kind: LegKind) -> tuple[Leg, ...]:
    """A leg that was replaced no longer counts."""
    legs = snapshot.legs_of(cancellation.id, kind)
    replaced = {leg.replaces for leg in legs}
    return tuple(leg for leg in legs if leg.id not in replaced)


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
    legs = current_legs(snapshot, cancellation, LegKind.refund)
    if legs:
        return _refund(snapshot, cancellation, legs, spoken)
    if (void := _void_key(snapshot, cancellation)) is not None:
        return [sentence("voiding", void, spoken, amount=_text(cancellation, cancellation.amount, spoken))]
    state, back = cancellation.state, cancellation.amount - sum(cancellation.forfeited)
    if state is CancellationState.completed and back == 0:
        key = "nothing_back" if cancellation.amount else "worth_nothing"
        return [words(spoken, "cancellation")[key]]
    return [sentence("cancellation", state, spoken, amount=_text(cancellation, back, spoken))]


def _void_key(snapshot: Snapshot, cancellation: Cancellation) -> str | None:
    """The sentence about a cancellation that moves no money; None where it is, or may become, a refund alone."""
    payment, state = snapshot.payment, cancellation.state
    if state is CancellationState.completed:
        # Its void's legs are released one and all, or nothing had moved when the payment itself failed.
        if payment.state is PaymentState.failed:
            return "payment_failed"
        return "completed" if current_legs(snapshot, cancellation, LegKind.void) else None
    if state is CancellationState.failed:
        return "failed" if payment.state is PaymentState.pending else None
    if payment.origin_state is PaymentState.pending:
        return state.value
    if not current_legs(snapshot, cancellation, LegKind.void):
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
        back_home = all(leg.source is snapshot.payment.funding[leg.position].source for leg in legs)
        told.append(sentence("refunding" if back_home else "refund_lead", "succeeded", spoken, amount=_text(cancellation, whole, spoken)))
        return told
    given_up = cancellation.state is CancellationState.failed
    amounts = {LegState.failed: whole - arrived} if given_up else _amounts_by_state(legs)
    alone = not arrived and len(amounts) == 1
    if not alone:
        values = {"amount": _text(cancellation, whole, spoken), "arrived": _text(cancellation, arrived, spoken)}
        told.append(sentence("refund_lead", "arrived" if arrived else "in_parts", spoken, **values))
    for state, amount in amounts.items():
        key = "given_up" if given_up else _leg_key(snapshot, state)
        told.append(sentence("refunding" if alone else "refund_part", key, spoken, amount=_text(cancellation, amount, spoken)))
    if cancellation.state is CancellationState.needs_attention and not _STUCK.isdisjoint(amounts):
        told.append(words(spoken, "refund_lead")["working"])
    return told


def _amounts_by_state(legs: Iterable[Leg]) -> dict[LegState, int]:
    """What has not arrived, by where it is; what was sent and what the rail has accepted are the same to a customer."""
    found: dict[LegState, int] = {}
    for leg in legs:
        state = LegState.processing if leg.state is LegState.submitted else leg.state
        found[state] = found.get(state, 0) + leg.amount
    return {state: found[state] for state in _PART_ORDER if state in found}


def _leg_key(snapshot: Snapshot, state: LegState) -> str:
    return "held_disputed" if state is LegState.held and snapshot.payment.disputes_open else state.value


def _forfeited(cancellation: Cancellation, spoken: Language) -> list[str]:
    lost = sum(cancellation.forfeited)
    return [sentence("forfeited", "done", spoken, forfeited=_text(cancellation, lost, spoken))] if lost else []


def _sum(legs: Iterable[Leg]) -> int:
    return sum(leg.amount for leg in legs)


def _text(cancellation: Cancellation, amount: int, spoken: Language) -> str:
    return amount_text(amount, cancellation.currency, spoken)
