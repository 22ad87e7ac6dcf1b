"""What a caller is shown of a snapshot: the answers with their sentences, and the steps open to this caller now."""

from collections.abc import Sequence
from uuid import UUID

from service.api.attention import attention
from service.api.cancellation_messages import cancellation_message
from service.api.context import RequestContext
from service.api.i18n import NextStep, eligibility_message, failure, next_steps
from service.api.models.cancellations import (
    ApprovalOut,
    CancellationOut,
    DeliveryOut,
    EligibilityOut,
    MerchantOut,
    OverrideOut,
    ReturnOut,
    ShareOut,
)
from service.api.models.payments import ItemOut, PaymentOut
from service.api.models.refunds import RefundOut
from service.api.problems import slug_of
from workflows.domain import ids
from workflows.domain.decisions import permitted
from workflows.domain.decisions.eligibility import Outlook, Shares, refundable_until
from workflows.domain.decisions.execution import reopened_only
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.response import needs_investigation
from workflows.domain.enums import (
    PAYMENT_FINAL,
    ActorRole,
    CancellationTrigger,
    Fulfilment,
    LegKind,
    LegState,
    PaymentState,
    PaymentTrigger,
)
from workflows.domain.errors import NotFound
from workflows.domain.eta import Eta, estimate
from workflows.domain.legs import Leg
from workflows.domain.machines import CANCELLATION, PAYMENT, GuardFacts
from workflows.domain.model import Approval, Cancellation, DataValue, Payment, Refund, Snapshot
from workflows.domain.policies.verdicts import Allowed, Denied
from workflows.domain.times import rfc3339

# Free texts are for those who decide: a customer is shown none of them, a merchant those that concern it.
_OURS = frozenset({"approval_note", "denial", "justification", "recovery_note", "outcome_note"})
_HIDDEN = {ActorRole.merchant: _OURS, ActorRole.wallet: _OURS | {"note", "merchant_note", "evidence", "return_note"}}
_NO_ETA = frozenset({LegState.held, LegState.requires_action, LegState.failed, LegState.returned})
_WALLETS_FROZEN = False  # no wallet can be put on hold yet, so none is


def payment_out(snapshot: Snapshot, policy: PolicyContext, context: RequestContext) -> PaymentOut:
    """The snapshot must have been loaded to be shown: metadata and the carrier's number are texts."""
    payment, open_one = snapshot.payment, snapshot.open_cancellation
    texts = {text.name: snapshot.text(payment.id, text.name) for text in snapshot.texts if text.subject_id == payment.id}
    names = texts.get("item_names")
    code = payment.failure_code
    return PaymentOut.of(
        payment,
        items=[ItemOut.of(item, name=_nth(names, position)) for position, item in enumerate(payment.items)],
        cancellations=snapshot.cancellation_ids,
        cancellations_url=f"/v1/cancellations?payment_id={ids.public('pay', payment.id)}",
        open_cancellation=None if open_one is None else open_one.id,
        available_actions=context.available(payment_actions(context.struck(snapshot, policy))),
        carrier=texts.get("carrier"),
        tracking_number=texts.get("tracking_number"),
        metadata=texts.get("metadata") or {},
        disputed=payment.disputes_open > 0,
        frozen=_WALLETS_FROZEN,
        refundable_until=refundable_until(snapshot, policy, context.now()),
        failure=None if code is None else failure(code, texts.get("failure_detail"), context.language, snapshot.merchant),
    )


def cancellation_out(snapshot: Snapshot, cancellation: Cancellation, policy: PolicyContext, context: RequestContext) -> CancellationOut:
    """The snapshot must have been loaded to be shown: notes and the carrier's number are texts."""
    refund, now, actor = cancellation.refund, context.now(), context.actor()
    found_then = context.struck(snapshot, policy)  # what is said and offered is what whoever acts now will find
    acting = found_then.cancellation(cancellation.id) or cancellation
    hidden = _HIDDEN.get(actor.role, frozenset())
    found = [text for text in snapshot.texts if text.subject_id == cancellation.id and text.name not in hidden]
    texts = {text.name: text.value for text in sorted(found, key=lambda text: text.id)}  # the newest of each name
    notes = {(note["by"], note["at"]): note["note"] for note in (text.value for text in found if text.name == "approval_note")}
    return CancellationOut.of(
        cancellation,
        decision=cancellation,
        investigation=needs_investigation(cancellation, policy),
        merchant=_merchant(cancellation, texts),
        returned=_returned(cancellation, texts),
        fulfilment=DeliveryOut.of(snapshot.payment, status=snapshot.payment.fulfilment),
        approvals=[_approval(approval, notes) for approval in cancellation.approvals],
        denial=texts.get("denial"),
        override=_override(cancellation, texts),
        note=texts.get("note"),
        evidence=_of_last_answer(cancellation, texts, "evidence", "files") or [],
        forfeited=_forfeited(cancellation, snapshot.payment),
        recovery_note=texts.get("recovery_note"),
        outcome_note=texts.get("outcome_note"),
        attention=attention(snapshot, cancellation, actor.role, context.language),
        refund=None if refund is None else refund_out(snapshot, refund, policy),
        message=cancellation_message(found_then, acting, policy, spoken=context.language, now=now),
        available_actions=context.available(permitted.actions(found_then, acting, policy, actor, now)),
    )


def refund_out(snapshot: Snapshot, refund: Refund, policy: PolicyContext) -> RefundOut:
    legs = sorted(snapshot.legs_of(refund.cancellation_id, LegKind.refund), key=lambda leg: (leg.position, leg.id))
    return RefundOut.of(refund, legs=legs, eta=_eta(refund, snapshot.current_legs(refund.cancellation_id, LegKind.refund), policy))


def find_refund(snapshot: Snapshot, refund_id: UUID) -> Refund:
    found = next((refund for refund in snapshot.refunds if refund.id == refund_id), None)
    if found is None:
        raise NotFound
    return found


def eligibility_out(snapshot: Snapshot, outlook: Outlook, policy: PolicyContext, context: RequestContext) -> EligibilityOut:
    payment, zone = snapshot.payment, policy.policy.zone
    verdict = outlook.assessment.verdict if outlook.assessment else None
    refusal, steps = _refusal(snapshot, outlook)
    sources = [source for source, _ in outlook.allocation]
    return EligibilityOut(
        allowed=refusal is None,
        route=verdict.route if isinstance(verdict, Allowed) else None,
        rule=verdict.rule if verdict else None,
        window=verdict.window if verdict else None,
        policy_version=verdict.policy_version if verdict else payment.policy_version,
        amount_refundable=payment.amount_refundable,
        allocation=_shares(outlook.allocation),
        forfeited=_shares(outlook.forfeited),
        eta=estimate(sources, context.now(), policy.calendar, zone) if sources and not outlook.is_void else None,
        refusal=refusal,
        by_reason=list(outlook.by_reason),
        message=eligibility_message(outlook, payment, refusal=refusal, spoken=context.language, zone=zone),
        next_steps=next_steps(steps, context.language, snapshot.merchant),
    )


def payment_actions(snapshot: Snapshot) -> tuple[str, ...]:
    """What the payment's state allows now, whoever asks."""
    payment = snapshot.payment
    facts = GuardFacts(origin=payment.origin_state, reopened_only=reopened_only(snapshot))
    actions = [trigger.value for trigger in (PaymentTrigger.complete, PaymentTrigger.fail) if PAYMENT.may(payment.state, trigger, facts)]
    if payment.state is PaymentState.pending and not payment.amount_refunded:
        actions.append("modify")
    if payment.state not in PAYMENT_FINAL and payment.fulfilment is not Fulfilment.returned:
        actions.append("fulfilment")
    if payment.state not in PAYMENT_FINAL and (payment.shipped_at or payment.delivered_at or payment.return_received_at):
        actions.append("correct_fulfilment")
    if PAYMENT.may(payment.state, PaymentTrigger.request_cancellation, facts) and payment.amount_refundable and not payment.disputes_open:
        actions.append(PaymentTrigger.request_cancellation.value)
    return tuple(actions)


def _refusal(snapshot: Snapshot, outlook: Outlook) -> tuple[str | None, tuple[str, ...]]:
    """Why a request would be refused, as a policy's refusal or a problem's slug, and what to do instead."""
    verdict = outlook.assessment.verdict if outlook.assessment else None
    if outlook.refused is not None:
        slug = slug_of(outlook.refused)
        return slug, _steps(slug, snapshot)
    if isinstance(verdict, Denied):
        return verdict.refusal.value, verdict.next_steps
    return None, (NextStep.request_cancellation,)


def _steps(slug: str, snapshot: Snapshot) -> tuple[str, ...]:
    """What can be done instead, where the payment itself allows no request: only what is possible now."""
    payment, open_one = snapshot.payment, snapshot.open_cancellation
    match slug:
        case "cancellation-open" if open_one is not None and CANCELLATION.may(open_one.state, CancellationTrigger.withdraw):
            return NextStep.wait, NextStep.withdraw
        case "cancellation-open":
            return (NextStep.wait,)
        case "amount-exceeds-refundable":
            return (NextStep.request_cancellation if payment.amount_refundable else NextStep.contact_support,)
        case "invalid-state" if payment.state is PaymentState.refunding:
            return (NextStep.wait,)
        case _:
            return _STEPS.get(slug, ())


_STEPS: dict[str, tuple[str, ...]] = {
    "partial-not-supported": (NextStep.modifications,),
    "payment-disputed": (NextStep.wait, NextStep.contact_support),
    "wallet-frozen": (NextStep.contact_support,),
}


def _eta(refund: Refund, legs: Sequence[Leg], policy: PolicyContext) -> Eta | None:
    """None while a part of it waits or is stuck: nobody knows then when it will arrive."""
    if refund.state in _NO_ETA:
        return None
    start = max((leg.created_at for leg in legs), default=refund.created_at)  # of one that was retried, since then
    return estimate({leg.source for leg in legs}, start, policy.calendar, policy.policy.zone)


def _merchant(cancellation: Cancellation, texts: dict[str, DataValue]) -> MerchantOut | None:
    said = cancellation.merchant
    if said is None:
        return None
    return MerchantOut.of(
        said,
        amount=cancellation.offer_amount,
        offers=cancellation.offers,
        note=_of_last_answer(cancellation, texts, "merchant_note", "note"),
    )


def _of_last_answer(cancellation: Cancellation, texts: dict[str, DataValue], name: str, member: str) -> DataValue:
    """A text that came with the merchant's last answer, none of an earlier one."""
    found = texts.get(name)
    if found is None or cancellation.merchant is None:
        return None
    if not isinstance(found, dict):  # kept before texts named their answer
        return found
    return found[member] if found["at"] == rfc3339(cancellation.merchant.decided_at) else None


def _returned(cancellation: Cancellation, texts: dict[str, DataValue]) -> ReturnOut | None:
    goods = cancellation.goods
    if goods is None:
        return None
    return ReturnOut.of(goods, tracking_number=texts.get("return_tracking_number"), note=texts.get("return_note"))


def _approval(approval: Approval, notes: dict[tuple[str, str], str]) -> ApprovalOut:
    return ApprovalOut.of(approval, note=notes.get((approval.by, rfc3339(approval.at))))


def _override(cancellation: Cancellation, texts: dict[str, DataValue]) -> OverrideOut | None:
    if cancellation.override_ticket is None:
        return None
    return OverrideOut.of(None, ticket=cancellation.override_ticket, justification=texts.get("justification"))


def _forfeited(cancellation: Cancellation, payment: Payment) -> list[ShareOut]:
    """By funding source; nothing before anything is executed."""
    shares = zip(payment.funding, cancellation.forfeited, strict=False)
    return _shares(tuple((funding.source, amount) for funding, amount in shares if amount))


def _shares(shares: Shares) -> list[ShareOut]:
    return [ShareOut.of(None, source=source, amount=amount) for source, amount in shares]


def _nth(texts: DataValue, position: int) -> str | None:
    """The text at `position` of a list of texts, which may have been erased."""
    found = texts[position] if isinstance(texts, list | tuple) and position < len(texts) else None
    return found if isinstance(found, str) else None
