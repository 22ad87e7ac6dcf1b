"""What may be said of a payment: registered, completed, failed, modified, shipped."""

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import asdict, replace

from workflows.domain.canonical import canonical
from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.execution import end_with_payment
from workflows.domain.decisions.fulfilment import CLOCK_SKEW_MAX, check_order, said_authorised_at
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.voids import settle_open_cancellation
from workflows.domain.enums import PAYMENT_FINAL, AnomalyKind, Category, Fulfilment, PaymentFailure, PaymentState, PaymentTrigger, Source
from workflows.domain.errors import CancellationOpen, Invalid, InvalidState, PaymentReferenceConflict
from workflows.domain.faults import FaultCode
from workflows.domain.ids import payment_id
from workflows.domain.machines import PAYMENT, GuardFacts
from workflows.domain.model import DataValue, Earned, Funding, Item, Payment, RegisteredContent, Snapshot
from workflows.domain.record_types import RecordType
from workflows.domain.records import GENESIS, digest_text
from workflows.domain.times import rfc3339


class PaymentDetails(Struct, frozen=True, kw_only=True):
    """A payment as the wallet describes it. None means that the wallet did not say."""

    reference: str
    wallet_id: str
    merchant_id: str
    amount: int
    currency: str
    order_reference: str | None = None
    category: Category | None = None
    funding: tuple[Funding, ...] | None = None
    items: tuple[Item, ...] | None = None
    item_names: tuple[str | None, ...] | None = None
    earned: tuple[Earned, ...] | None = None
    fulfilment: Fulfilment | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    completed_at: datetime | None = None
    authorised_at: datetime | None = None
    metadata: dict[str, str] | None = None

    def authorised(self, now: datetime) -> datetime:
        return self.authorised_at or self.completed_at or now


def register(
    terms: PaymentDetails,
    *,
    policy_version: str,
    merchant_rules_version: str | None = None,
    uetr: UUID,
    default_provider: str,
    context: Context,
) -> Change:
    """A new payment under the terms that were in force when it was authorised. Raises Invalid for times that cannot be."""
    now, authorised_at = context.now, terms.authorised(context.now)
    _check_times(terms, authorised_at, now)
    funding = terms.funding or (default_funding(terms, default_provider),)
    payment = Payment(
        id=payment_id(terms.reference),
        version=0,
        reference=terms.reference,
        uetr=uetr,
        wallet_id=terms.wallet_id,
        merchant_id=terms.merchant_id,
        order_reference=terms.order_reference,
        category=terms.category or Category.general,
        amount=terms.amount,
        currency=terms.currency,
        funding=funding,
        items=terms.items or (),
        earned=terms.earned or (),
        state=PaymentState.completed if terms.completed_at else PaymentState.pending,
        origin_state=None,
        fulfilment=terms.fulfilment or Fulfilment.none,
        authorised_at=authorised_at,
        completed_at=terms.completed_at,
        shipped_at=terms.shipped_at,
        delivered_at=terms.delivered_at,
        failure_code=None,
        allocated=(0,) * len(funding),
        cancelled_quantities=(0,) * len(terms.items or ()),
        policy_version=policy_version,
        merchant_rules_version=merchant_rules_version,
        **_NOTHING_YET,
        sequence=0,
        head=GENESIS,
        created_at=now,
        updated_at=now,
    )
    payment = replace(payment, registered=_registered(payment, authorised_at_said=terms.authorised_at is not None))
    builder = ChangeBuilder(Snapshot(payment=payment), context, new=True)
    builder.record_payment(RecordType.payment_registered, _registered_data(payment) | _kept_texts(builder, terms))
    return builder.build()


_NOTHING_YET: dict[str, Any] = {
    "amount_refunded": 0,
    "amount_reserved": 0,
    "amount_charged_back": 0,
    "disputes_open": 0,
    "partial_refunds": 0,
    "last_partial_at": None,
}


def default_funding(terms: PaymentDetails, provider: str) -> Funding:
    """Where the wallet names no source: its own balance, at a rail that knows the payment by our reference."""
    return Funding(source=Source.balance, amount=terms.amount, provider=provider, provider_reference=terms.reference)


def check_same(snapshot: Snapshot, terms: PaymentDetails) -> None:
    """Registered before: every member given now must equal what was registered then, whatever happened to the payment since.

    Raises PaymentReferenceConflict.
    """
    payment = snapshot.payment
    first = payment.registered or _registered(payment)
    stored: dict[str, DataValue] = {
        "wallet_id": payment.wallet_id,
        "merchant_id": payment.merchant_id,
        "amount": first.amount,
        "currency": payment.currency,
        "order_reference": payment.order_reference,
        "category": payment.category,
        "funding": first.funding,
        "items": first.items,
        "earned": payment.earned,
        "fulfilment": first.fulfilment,
        "shipped_at": first.shipped_at,
        "delivered_at": first.delivered_at,
        "completed_at": first.completed_at,
        "authorised_at": payment.authorised_at,
        "metadata": snapshot.text(payment.id, "metadata") or {},
        "item_names": tuple(_first_text(snapshot, "item_names") or (None,) * len(terms.items or ())),
    }
    for name, value in stored.items():
        given = getattr(terms, name)
        if given is not None and name in _DIGESTED:
            given = _digest(given)
        if given is not None and given != value:
            raise PaymentReferenceConflict


_DIGESTED = frozenset({"funding", "items"})


def _registered(payment: Payment, *, authorised_at_said: bool = True) -> RegisteredContent:
    return RegisteredContent(
        authorised_at_said=authorised_at_said,
        amount=payment.amount,
        funding=_digest(payment.funding),
        items=_digest(payment.items),
        fulfilment=payment.fulfilment,
        shipped_at=payment.shipped_at,
        delivered_at=payment.delivered_at,
        completed_at=payment.completed_at,
    )


def _digest(parts: Iterable[Funding | Item]) -> str:
    return sha256(canonical([asdict(part) for part in parts])).hexdigest()


def _first_text(snapshot: Snapshot, name: str) -> DataValue:
    """The oldest of the payment's texts of that name, or None: later ones came with its modifications."""
    found = [text for text in snapshot.texts if text.subject_id == snapshot.payment.id and text.name == name]
    return min(found, key=lambda text: text.id).value if found else None


def complete(
    snapshot: Snapshot, *, completed_at: datetime | None, provider_reference: str | None, terms: PolicyContext, context: Context
) -> Change:
    """The payment settled. A void of it that was not sent yet becomes a refund; one under way is waited for.

    A capture that comes after the payment was voided or had failed changes nothing, but is kept for a person to see.
    """
    payment = snapshot.payment
    if payment.state in PAYMENT_FINAL:
        builder, refusal = ChangeBuilder(snapshot, context), InvalidState(state=payment.state.value)
        said = "captured"
        if not builder.note_anomaly(AnomalyKind.captured_late, said, provider=None, leg=None, data={"said": said}):
            raise refusal
        return builder.build(refusal=refusal)
    state = PAYMENT.step(payment.state, PaymentTrigger.complete, GuardFacts(origin=payment.origin_state))
    at = completed_at or max(context.now, payment.authorised_at)
    earliest = said_authorised_at(payment)
    if (earliest is not None and at < earliest) or at > context.now + CLOCK_SKEW_MAX:
        raise Invalid("/completed_at", FaultCode.out_of_bounds)
    builder = ChangeBuilder(snapshot, context)
    builder.set_payment(
        replace(
            payment,
            state=state,
            origin_state=None if payment.origin_state is None else PaymentState.completed,
            completed_at=at,
            funding=_with_reference(payment.funding, provider_reference),
        )
    )
    data: dict[str, DataValue] = {"completed_at": rfc3339(at)}
    if provider_reference is not None:
        data["funding"] = _funding_data(builder.payment.funding)
    builder.record_payment(RecordType.payment_completed, data)
    settle_open_cancellation(builder, terms)
    if (open_one := builder.now.open_cancellation) is not None:
        builder.put_cancellation(open_one)  # what its customer is told depends on whether the payment has settled
    return builder.build()


def fail(
    snapshot: Snapshot,
    *,
    code: PaymentFailure,
    detail: str | None,
    context: Context,
    terms: PolicyContext | None = None,  # noqa: ARG001 -- every decision on a payment is called alike
) -> Change:
    """The payment itself failed. A cancellation of it has nothing left to undo, and is completed."""
    payment = snapshot.payment
    state = PAYMENT.step(payment.state, PaymentTrigger.fail, GuardFacts(origin=payment.origin_state))
    builder = ChangeBuilder(snapshot, context)
    builder.set_payment(replace(payment, state=state, origin_state=None, failure_code=code))
    data: dict[str, DataValue] = {"code": code.value}
    if detail is not None:
        data |= builder.keep_text(payment.id, "failure_detail", detail)
    builder.record_payment(RecordType.payment_failed, data)
    if (open_one := snapshot.open_cancellation) is not None:
        end_with_payment(builder, open_one)
    return builder.build()


def modify(  # noqa: PLR0913 -- the members of the request
    snapshot: Snapshot,
    *,
    amount: int,
    reason: str,
    funding: tuple[Funding, ...] | None,
    items: tuple[Item, ...] | None,
    item_names: tuple[str | None, ...] | None,
    context: Context,
) -> Change:
    """The wallet lowered a pending payment at its rail."""
    payment = snapshot.payment
    if (open_one := snapshot.open_cancellation) is not None:
        raise CancellationOpen(open_one.id)
    if payment.state is not PaymentState.pending or payment.amount_refunded:
        raise InvalidState(state=payment.state.value)
    if amount >= payment.amount:
        raise Invalid("/amount", FaultCode.amount_not_lower)
    if funding is None:
        if len(payment.funding) > 1:
            raise Invalid("/funding", FaultCode.funding_required)
        funding = (replace(payment.funding[0], amount=amount),)
    if not items and payment.items:
        raise Invalid("/items", FaultCode.items_required)
    items = items or ()
    builder = ChangeBuilder(snapshot, context)
    builder.set_payment(
        replace(
            payment,
            amount=amount,
            funding=funding,
            items=items,
            allocated=(0,) * len(funding),
            cancelled_quantities=(0,) * len(items),
        )
    )
    data: dict[str, DataValue] = {"amount_before": payment.amount, "funding": _funding_data(funding)}
    if items:
        data["items_digest"] = _items_digest(items)
    data |= builder.keep_text(payment.id, "modification_reason", reason)
    if item_names and any(item_names):
        data |= builder.keep_text(payment.id, "item_names", list(item_names))
    builder.record_payment(RecordType.payment_modified, data)
    return builder.build()


def _check_times(terms: PaymentDetails, authorised_at: datetime, now: datetime) -> None:
    latest = now + CLOCK_SKEW_MAX
    if terms.authorised_at is not None and authorised_at > latest:
        raise Invalid("/authorised_at", FaultCode.in_future)
    if terms.completed_at is not None and not authorised_at <= terms.completed_at <= latest:
        raise Invalid("/completed_at", FaultCode.out_of_bounds)
    for name in ("shipped_at", "delivered_at"):
        moment: datetime | None = getattr(terms, name)
        if moment is not None and moment > latest:
            raise Invalid(f"/{name}", FaultCode.in_future)
        if moment is not None and terms.authorised_at is not None and moment < terms.authorised_at:
            raise Invalid(f"/{name}", FaultCode.out_of_bounds)
    check_order([("shipped_at", terms.shipped_at), ("delivered_at", terms.delivered_at)])


def _with_reference(funding: tuple[Funding, ...], provider_reference: str | None) -> tuple[Funding, ...]:
    if provider_reference is None:
        return funding
    if len(funding) > 1:
        raise Invalid("/provider_reference", FaultCode.ambiguous_source)
    return (replace(funding[0], provider_reference=provider_reference),)


def _registered_data(payment: Payment) -> dict[str, DataValue]:
    data: dict[str, DataValue] = {
        "reference": payment.reference,
        "uetr": str(payment.uetr),
        "wallet_id": payment.wallet_id,
        "merchant_id": payment.merchant_id,
        "category": payment.category.value,
        "fulfilment": payment.fulfilment.value,
        "policy_version": payment.policy_version,
        "authorised_at": rfc3339(payment.authorised_at),
        "completed_at": rfc3339(payment.completed_at) if payment.completed_at else None,
        "shipped_at": rfc3339(payment.shipped_at) if payment.shipped_at else None,
        "delivered_at": rfc3339(payment.delivered_at) if payment.delivered_at else None,
        "funding": _funding_data(payment.funding),
        "earned": [asdict(one) | {"kind": one.kind.value} for one in payment.earned],
    }
    if payment.merchant_rules_version is not None:
        data["merchant_rules_version"] = payment.merchant_rules_version
    if payment.order_reference is not None:
        data["order_reference"] = payment.order_reference
    if payment.items:
        data["items_digest"] = _items_digest(payment.items)
    return data


def _kept_texts(builder: ChangeBuilder, terms: PaymentDetails) -> dict[str, DataValue]:
    data: dict[str, DataValue] = {}
    if terms.metadata:
        data |= builder.keep_text(builder.payment.id, "metadata", terms.metadata)
    if terms.item_names and any(terms.item_names):
        data |= builder.keep_text(builder.payment.id, "item_names", list(terms.item_names))
    return data


def _items_digest(items: tuple[Item, ...]) -> str:
    """The lines as one digest: an order may have a thousand, and none of them is personal."""
    return digest_text([[item.reference, item.quantity, item.amount] for item in items], b"")


def _funding_data(funding: tuple[Funding, ...]) -> list[DataValue]:
    return [asdict(each) | {"source": each.source.value} for each in funding]
