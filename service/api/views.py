"""What a caller sees of a snapshot: the representations with their sentences and the actions open to this caller now."""

from datetime import datetime

from service.api import answers
from service.api.answers import Answer, Texts
from service.api.calls import Call
from service.api.cancellation_messages import cancellation_message
from service.api.i18n import failure
from service.api.rights import available
from workflows.domain.decisions import permitted
from workflows.domain.decisions.eligibility import refundable_until
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import PAYMENT_FINAL, ActorRole, Fulfilment, LegKind, LegState, PaymentState, PaymentTrigger
from workflows.domain.errors import NotFound
from workflows.domain.eta import Eta, estimate
from workflows.domain.machines import PAYMENT, GuardFacts
from workflows.domain.model import Actor, Cancellation, Leg, Refund, Snapshot

# Free texts are for those who decide: a customer is shown none of them, a merchant those that concern it.
_OURS = frozenset({"approval_note", "denial", "justification"})
_HIDDEN = {ActorRole.merchant: _OURS, ActorRole.wallet: _OURS | {"note", "merchant_note", "evidence", "return_note"}}
_NO_ETA = frozenset({LegState.held, LegState.requires_action, LegState.failed, LegState.returned})
WALLETS_FROZEN = False  # no wallet can be put on hold yet, so none is


def payment_view(snapshot: Snapshot, terms: PolicyContext, call: Call) -> Answer:
    """The snapshot must have been loaded to be shown: metadata and the carrier's number are texts."""
    payment, open_one = snapshot.payment, snapshot.open_cancellation
    names = {text.name for text in snapshot.texts if text.subject_id == payment.id}
    texts: Texts = {name: snapshot.text(payment.id, name) for name in names}
    return answers.payment_answer(
        payment,
        texts=texts,
        cancellations=snapshot.cancellation_ids,
        open_cancellation=open_one.id if open_one else None,
        available_actions=available(payment_actions(snapshot), call.principal),
        frozen=WALLETS_FROZEN,
        refundable_until=refundable_until(snapshot, terms, call.now()),
        failure=None if payment.failure_code is None else failure(payment.failure_code, texts.get("failure_detail"), call.language),
    )


def cancellation_view(snapshot: Snapshot, cancellation: Cancellation, terms: PolicyContext, call: Call) -> Answer:
    """The snapshot must have been loaded to be shown: notes and the carrier's number are texts."""
    refund, now = snapshot.refund_of(cancellation), call.now()
    hidden = _HIDDEN.get(call.actor().role, frozenset())
    texts = [text for text in snapshot.texts if text.subject_id == cancellation.id and text.name not in hidden]
    notes = [text.value for text in texts if text.name == "approval_note"]
    return answers.cancellation_answer(
        cancellation,
        snapshot.payment,
        texts={text.name: text.value for text in sorted(texts, key=lambda text: text.id)},
        approval_notes={(note["by"], note["at"]): note["note"] for note in notes},
        refund=None if refund is None else refund_view(snapshot, refund, terms),
        message=cancellation_message(snapshot, cancellation, terms, spoken=call.language, now=now),
        available_actions=available(cancellation_actions(snapshot, cancellation, call.actor(), now), call.principal),
    )


def refund_view(snapshot: Snapshot, refund: Refund, terms: PolicyContext) -> Answer:
    legs = legs_of(snapshot, refund)
    return answers.refund_answer(refund, legs, refund_eta(refund, legs, terms))


def refund_eta(refund: Refund, legs: tuple[Leg, ...], terms: PolicyContext) -> Eta | None:
    """None while a part of it waits or is stuck: nobody knows then when it will arrive."""
    if refund.state in _NO_ETA:
        return None
    replaced = {leg.replaces for leg in legs}
    return estimate({leg.source for leg in legs if leg.id not in replaced}, refund.created_at, terms.calendar, terms.policy.zone)


def legs_of(snapshot: Snapshot, refund: Refund) -> tuple[Leg, ...]:
    """In the order of the funding sources."""
    legs = snapshot.legs_of(refund.cancellation_id, LegKind.refund)
    return tuple(sorted(legs, key=lambda leg: (leg.position, leg.id)))


def must_have_refund(snapshot: Snapshot, refund_id: object) -> Refund:
    found = next((refund for refund in snapshot.refunds if refund.id == refund_id), None)
    if found is None:
        raise NotFound
    return found


def payment_actions(snapshot: Snapshot) -> tuple[str, ...]:
    """What the payment's state allows now, whoever asks."""
    payment = snapshot.payment
    facts = GuardFacts(origin=payment.origin_state)
    actions = [trigger.value for trigger in (PaymentTrigger.complete, PaymentTrigger.fail) if PAYMENT.may(payment.state, trigger, facts)]
    if payment.state is PaymentState.pending:
        actions.append("modify")
    if payment.state not in PAYMENT_FINAL and payment.fulfilment is not Fulfilment.returned:
        actions.append("fulfilment")
    if payment.state not in PAYMENT_FINAL and (payment.shipped_at or payment.delivered_at or payment.return_received_at):
        actions.append("correct_fulfilment")
    if PAYMENT.may(payment.state, PaymentTrigger.request_cancellation) and payment.amount_refundable and not payment.disputes_open:
        actions.append(PaymentTrigger.request_cancellation.value)
    return tuple(actions)


def cancellation_actions(snapshot: Snapshot, cancellation: Cancellation, actor: Actor, now: datetime) -> tuple[str, ...]:
    """What this person may do to it now."""
    return permitted.actions(snapshot, cancellation, actor, now)
