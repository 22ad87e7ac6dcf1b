"""How far the goods have come: shipped, delivered, returned; and the correction of a wrong time."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import CANCELLATION_OPEN, PAYMENT_FINAL, ActorRole, Fulfilment
from workflows.domain.errors import Forbidden, Invalid, InvalidState
from workflows.domain.faults import FaultCode
from workflows.domain.model import DataValue, Payment, Snapshot
from workflows.domain.record_types import RecordType
from workflows.domain.times import rfc3339

CLOCK_SKEW_MAX = timedelta(minutes=5)  # how far ahead of ours a caller's clock may run
_ORDER = (Fulfilment.none, Fulfilment.preparing, Fulfilment.shipped, Fulfilment.delivered, Fulfilment.returned)
# The payment's moment of each status that has one, in the order in which they happen.
_Moment = Literal["shipped_at", "delivered_at", "return_received_at"]
_MOMENTS: dict[Fulfilment, _Moment] = {
    Fulfilment.shipped: "shipped_at",
    Fulfilment.delivered: "delivered_at",
    Fulfilment.returned: "return_received_at",
}
_CORRECTORS = frozenset({ActorRole.agent, ActorRole.supervisor})


class FulfilmentTold(Struct, frozen=True, kw_only=True):
    """What somebody says of the goods. `at`: when it came to that; now unless told."""

    status: Fulfilment
    at: datetime | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    correction: bool = False
    note: str | None = None  # why it is corrected


def change_fulfilment(
    snapshot: Snapshot,
    told: FulfilmentTold,
    context: Context,
    terms: PolicyContext | None = None,  # noqa: ARG001 -- every decision on a payment is called alike
) -> Change | None:
    """The goods moved on, never backwards. The same status again only fills in what was missing; None where nothing was.

    A wrong time is corrected by an agent or a supervisor, and by nobody else. A window that counts from what a merchant told counts from
    when he told it: with a date alone he closes no customer's window.
    Raises InvalidState, Invalid, Forbidden.
    """
    payment = snapshot.payment
    if told.correction is not (context.actor.role in _CORRECTORS):
        raise Forbidden
    if payment.state in PAYMENT_FINAL:
        raise InvalidState(state=payment.state.value)
    if told.correction:
        return _correct(snapshot, told, context)
    if _ORDER.index(told.status) < _ORDER.index(payment.fulfilment):
        raise InvalidState(state=payment.state.value)
    name = _MOMENTS.get(told.status)
    after = replace(payment, fulfilment=told.status)
    if name is not None and getattr(payment, name) is None:
        after = _with_moment(after, name, told.at or _now_or_later(payment, name, context.now))
        _check_times(after, name, context.now)
        if context.actor.role is ActorRole.merchant and told.at is not None and told.at < context.now:
            after = replace(after, merchant_told_at=after.merchant_told_at | {name: context.now})
    elif told.at is not None:
        _check_moment(payment, told.at, context.now)
    texts = _missing_texts(snapshot, told)
    if after == payment and not texts:
        return None
    return _change(snapshot, after, texts, {"status_before": payment.fulfilment.value}, context)


def said_authorised_at(payment: Payment) -> datetime | None:
    """When the payment was authorised, if the wallet said so. A moment that is ours alone bounds nobody: other clocks may be slower."""
    return payment.authorised_at if payment.registered is None or payment.registered.authorised_at_said else None


def check_order(moments: list[tuple[str, datetime | None]]) -> None:
    """Raises Invalid, by the moment's name, where one lies before one that must come earlier."""
    known = [(name, at) for name, at in moments if at is not None]
    for (_, earlier), (name, later) in pairwise(known):
        if later < earlier:
            raise Invalid(f"/{name}", FaultCode.out_of_order)


def _correct(snapshot: Snapshot, told: FulfilmentTold, context: Context) -> Change | None:
    payment = snapshot.payment
    name = _MOMENTS.get(told.status)
    if name is None or told.at is None or told.note is None:
        raise Invalid("/correction", FaultCode.incomplete_correction)
    if getattr(payment, name) is None:
        raise InvalidState(state=payment.state.value)
    after = _with_moment(payment, name, told.at)
    after = replace(after, merchant_told_at={each: at for each, at in payment.merchant_told_at.items() if each != name})
    _check_times(after, name, context.now)
    if after == payment:
        return None
    data: dict[str, DataValue] = {"corrected": name, "before": rfc3339(getattr(payment, name)), "after": rfc3339(told.at)}
    return _change(snapshot, after, {"correction_note": told.note}, data, context)


def _change(snapshot: Snapshot, after: Payment, texts: dict[str, str], data: dict[str, DataValue], context: Context) -> Change:
    builder = ChangeBuilder(snapshot, context)
    builder.set_payment(after)
    data = {"status": after.fulfilment.value, **data}
    for name in _MOMENTS.values():
        at: datetime | None = getattr(after, name)
        data[name] = None if at is None else rfc3339(at)
    data["merchant_told_at"] = {name: rfc3339(at) for name, at in after.merchant_told_at.items()}
    for text, value in texts.items():
        digest = builder.keep_text(after.id, text, value)
        data |= {text: value} if text == "carrier" else digest  # a company's name is nobody's secret
    builder.record_payment(RecordType.payment_fulfilment_changed, data)
    for cancellation in snapshot.cancellations:
        if cancellation.state in CANCELLATION_OPEN:
            builder.put_cancellation(cancellation)  # it is shown with how far the goods have come
    return builder.build()


def _missing_texts(snapshot: Snapshot, told: FulfilmentTold) -> dict[str, str]:
    """Of the carrier and its number what is new: with a new status whatever is told, with the same one only what was not known."""
    moved = told.status is not snapshot.payment.fulfilment
    found = {}
    for name, value in (("carrier", told.carrier), ("tracking_number", told.tracking_number)):
        known = snapshot.text(snapshot.payment.id, name)
        if value is not None and value != known and (moved or known is None):
            found[name] = value
    return found


def _with_moment(payment: Payment, name: _Moment, at: datetime) -> Payment:
    match name:
        case "shipped_at":
            return replace(payment, shipped_at=at)
        case "delivered_at":
            return replace(payment, delivered_at=at)
        case "return_received_at":
            return replace(payment, return_received_at=at)


def _now_or_later(payment: Payment, name: _Moment, now: datetime) -> datetime:
    """The present moment, and no earlier than what a faster clock than ours told of the steps before."""
    names = list(_MOMENTS.values())
    known: list[datetime | None] = [getattr(payment, each) for each in names[: names.index(name)]]
    return max([now, *(at for at in known if at is not None)])


def _check_times(payment: Payment, name: _Moment, now: datetime) -> None:
    """The new moment of that name must lie within the bounds, and keep the order with those that are known."""
    _check_moment(payment, getattr(payment, name), now)
    try:
        check_order([(each, getattr(payment, each)) for each in _MOMENTS.values()])
    except Invalid as wrong:
        raise Invalid("/at", wrong.code) from None


def _check_moment(payment: Payment, at: datetime, now: datetime) -> None:
    earliest = said_authorised_at(payment)
    if at > now + CLOCK_SKEW_MAX or (earliest is not None and at < earliest):
        raise Invalid("/at", FaultCode.out_of_bounds)
