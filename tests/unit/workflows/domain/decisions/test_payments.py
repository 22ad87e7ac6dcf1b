"""What may be said of a payment: registered, completed, failed, modified, shipped."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import BOTH, COMPLETED_TERMS, DAY, HOUR, LINES, MINUTE, NOW, PENDING_TERMS
from workflows.domain import ids
from workflows.domain.changes import Change
from workflows.domain.decisions import fulfilment, payments
from workflows.domain.decisions.fulfilment import FulfilmentTold
from workflows.domain.enums import (
    Category,
    EarnedKind,
    Fulfilment,
    PaymentFailure,
    PaymentState,
    Source,
)
from workflows.domain.errors import CancellationOpen, Invalid, InvalidState, PaymentReferenceConflict
from workflows.domain.model import Earned, Snapshot
from workflows.domain.records import GENESIS

LATEST = NOW + timedelta(minutes=5)
TICK = timedelta(microseconds=1)


def register(terms: payments.PaymentDetails) -> Change:
    return payments.register(terms, policy_version="v-1", uetr=make.UETR, default_provider="sandbox", context=make.context())


def complete(snapshot: Snapshot, at: datetime | None = None, reference: str | None = None) -> Change:
    return payments.complete(snapshot, completed_at=at, provider_reference=reference, terms=make.TERMS, context=make.context())


def fail(snapshot: Snapshot, detail: str | None = None) -> Change:
    return payments.fail(snapshot, code=PaymentFailure.network, detail=detail, context=make.context())


def modify(snapshot: Snapshot, **members: Any) -> Change:
    asked = {"amount": 200, "reason": "sold out", "funding": None, "items": None, "item_names": None, **members}
    return payments.modify(snapshot, context=make.context(), **asked)


def must(change: Change | None) -> Change:
    assert change is not None
    return change


def test_a_payment_needs_no_more_than_the_required_members() -> None:
    change = register(payments.PaymentDetails(reference="r", wallet_id="w", merchant_id="m", amount=7, currency="JPY"))

    payment = change.payment
    assert (change.expected_version, payment.version, payment.sequence) == (0, 1, 1)
    assert payment.id == ids.payment_id("r")
    assert (payment.state, payment.origin_state, payment.category, payment.fulfilment) == ("pending", None, "general", "none")
    assert (payment.authorised_at, payment.completed_at, payment.created_at, payment.updated_at) == (NOW, None, NOW, NOW)
    assert [(f.source, f.amount, f.provider, f.provider_reference) for f in payment.funding] == [(Source.balance, 7, "sandbox", "r")]
    assert (payment.items, payment.earned, payment.allocated, payment.cancelled_quantities) == ((), (), (0,), ())
    assert payment.amount_refundable == 7
    assert make.types(change) == ["payment.registered"]
    assert [change.texts, change.jobs, change.legs, change.cancellations] == [(), (), (), ()]


def test_its_record_is_the_first_of_its_chain() -> None:
    change = register(replace(COMPLETED_TERMS, order_reference="o", items=LINES))

    (record,) = change.records
    said = make.body(record)
    assert (record.sequence, record.previous_hash, record.hash) == (1, GENESIS, change.payment.head)
    assert (said["from_state"], said["to_state"], said["amount"], said["currency"]) == (None, "completed", 300, "CNY")
    assert said["data"]["order_reference"] == "o"
    assert said["data"]["policy_version"] == "v-1"
    assert len(said["data"]["items_digest"]) == 64


def test_a_payment_that_has_settled_was_authorised_then_at_the_latest() -> None:
    settled = register(
        payments.PaymentDetails(reference="r", wallet_id="w", merchant_id="m", amount=7, currency="JPY", completed_at=NOW - DAY)
    )

    assert settled.payment.state is PaymentState.completed
    assert settled.payment.authorised_at == settled.payment.completed_at == NOW - DAY


def test_personal_texts_are_kept_apart_and_only_digested() -> None:
    change = register(replace(PENDING_TERMS, items=LINES, item_names=("Mooncakes", None), metadata={"city": "杭州"}))

    assert {text.name: text.value for text in change.texts} == {"metadata": {"city": "杭州"}, "item_names": ["Mooncakes", None]}
    assert "Mooncakes" not in change.records[0].body
    assert "杭州" not in change.records[0].body
    assert {"metadata_digest", "item_names_digest"} <= make.body(change.records[0])["data"].keys()


@pytest.mark.parametrize(
    ("times", "pointer"),
    [
        ({"authorised_at": LATEST + TICK}, "/authorised_at"),
        ({"authorised_at": NOW, "completed_at": NOW - TICK}, "/completed_at"),
        ({"authorised_at": None, "completed_at": LATEST + TICK}, "/completed_at"),
        ({"authorised_at": NOW, "completed_at": LATEST + TICK}, "/completed_at"),
        ({"authorised_at": LATEST + TICK, "completed_at": LATEST + TICK}, "/authorised_at"),
        ({"shipped_at": LATEST + TICK}, "/shipped_at"),
        ({"delivered_at": LATEST + TICK}, "/delivered_at"),
    ],
)
def test_times_that_cannot_be(times: dict[str, datetime | None], pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        register(replace(PENDING_TERMS, **times))

    assert refused.value.pointer == pointer


@pytest.mark.parametrize("name", ["authorised_at", "completed_at", "shipped_at", "delivered_at"])
def test_clocks_may_differ_by_five_minutes(name: str) -> None:
    terms = replace(PENDING_TERMS, **{name: LATEST})

    assert getattr(register(terms).payment, name) == LATEST


FULL = replace(
    COMPLETED_TERMS,
    order_reference="o",
    category=Category.digital,
    funding=BOTH,
    items=LINES,
    item_names=("A", None),
    earned=(Earned(kind=EarnedKind.points, amount=3, provider="sandbox", provider_reference="e"),),
    fulfilment=Fulfilment.shipped,
    shipped_at=NOW - HOUR,
    delivered_at=NOW - MINUTE,
    metadata={"a": "1", "b": "2"},
)
OTHER: dict[str, Any] = {
    "wallet_id": "w-2",
    "merchant_id": "m-2",
    "amount": 301,
    "currency": "EUR",
    "order_reference": "p",
    "category": Category.general,
    "funding": BOTH[::-1],
    "items": LINES[:1],
    "item_names": ("A", "B"),
    "earned": (),
    "fulfilment": Fulfilment.none,
    "shipped_at": NOW - MINUTE,
    "delivered_at": NOW,
    "completed_at": NOW,
    "authorised_at": NOW,
    "metadata": {"a": "1"},
}


def test_the_same_again_is_the_same() -> None:
    snapshot = register(FULL).after(None)

    payments.check_same(snapshot, FULL)
    payments.check_same(snapshot, replace(FULL, metadata={"b": "2", "a": "1"}))


def test_times_are_compared_as_instants() -> None:
    shanghai = timezone(8 * HOUR)
    assert FULL.completed_at is not None

    payments.check_same(register(FULL).after(None), replace(FULL, completed_at=FULL.completed_at.astimezone(shanghai)))


@pytest.mark.parametrize("name", sorted(OTHER))
def test_another_value_of_any_member_is_a_conflict(name: str) -> None:
    snapshot = register(FULL).after(None)

    with pytest.raises(PaymentReferenceConflict):
        payments.check_same(snapshot, replace(FULL, **{name: OTHER[name]}))


@pytest.mark.parametrize("name", sorted(OTHER.keys() - {"wallet_id", "merchant_id", "amount", "currency"}))
def test_a_member_left_out_is_not_compared(name: str) -> None:
    payments.check_same(register(FULL).after(None), replace(FULL, **{name: None}))


@pytest.mark.parametrize(
    "given", [{"order_reference": "o"}, {"metadata": {"a": "1"}}, {"item_names": ("A", None)}, {"completed_at": NOW - HOUR}]
)
def test_a_member_given_that_is_not_stored_is_a_conflict(given: dict[str, Any]) -> None:
    snapshot = register(replace(PENDING_TERMS, items=LINES, item_names=(None, None))).after(None)

    with pytest.raises(PaymentReferenceConflict):
        payments.check_same(snapshot, replace(PENDING_TERMS, **given))


def test_nothing_given_equals_nothing_stored() -> None:
    payments.check_same(make.pending(), replace(PENDING_TERMS, items=(), earned=(), metadata={}, item_names=()))


def test_a_payment_completes_once() -> None:
    change = complete(make.pending())

    assert (change.payment.state, change.payment.origin_state, change.payment.completed_at) == ("completed", None, NOW)
    assert make.types(change) == ["payment.completed"]
    assert make.body(change.records[0])["from_state"] == "pending"
    with pytest.raises(InvalidState):
        complete(change.after(make.pending()))


def test_the_moment_of_completion_lies_between_authorisation_and_now() -> None:
    snapshot = make.pending()
    authorised_at = snapshot.payment.authorised_at

    assert complete(snapshot, authorised_at).payment.completed_at == authorised_at
    assert complete(snapshot, LATEST).payment.completed_at == LATEST
    for impossible in (authorised_at - TICK, LATEST + TICK):
        with pytest.raises(Invalid) as refused:
            complete(snapshot, impossible)
        assert refused.value.pointer == "/completed_at"


def test_a_payment_authorised_a_little_ahead_completes_no_earlier() -> None:
    ahead = make.registered(replace(PENDING_TERMS, authorised_at=NOW + MINUTE), now=NOW)

    assert complete(ahead).payment.completed_at == NOW + MINUTE


def test_the_rails_own_reference_replaces_the_sources() -> None:
    assert complete(make.pending(), reference="cap-1").payment.funding[0].provider_reference == "cap-1"
    with pytest.raises(Invalid) as refused:
        complete(make.pending(funding=BOTH), reference="cap-1")
    assert refused.value.pointer == "/provider_reference"


@pytest.mark.parametrize("state", sorted(set(PaymentState) - {PaymentState.pending, PaymentState.cancel_requested}))
def test_what_is_not_pending_neither_completes_nor_fails(state: PaymentState) -> None:
    snapshot = make.with_payment(make.pending(), state=state)

    late_capture = state in {PaymentState.cancelled, PaymentState.failed}
    for decide in (fail,) if late_capture else (complete, fail):
        with pytest.raises(InvalidState) as refused:
            decide(snapshot)
        assert refused.value.state == state


@pytest.mark.parametrize("state", [PaymentState.cancelled, PaymentState.failed])
def test_a_capture_that_comes_too_late_changes_nothing_and_is_kept(state: PaymentState) -> None:
    snapshot = make.with_payment(make.pending(), state=state)

    change = complete(snapshot)

    assert isinstance(change.refusal, InvalidState)
    assert change.payment.state is state
    assert make.types(change) == ["payment.anomaly"]


def test_a_settled_payment_with_an_open_cancellation_neither_completes_nor_fails() -> None:
    snapshot = make.asked(make.completed(merchant_id="merchant"))

    for decide in (complete, fail):
        with pytest.raises(InvalidState):
            decide(snapshot)


def test_a_pending_payment_is_lowered() -> None:
    snapshot = make.pending(items=LINES, item_names=("A", "B"))
    change = modify(snapshot, amount=100, items=LINES[:1], item_names=("A2",))

    payment = change.payment
    assert (payment.state, payment.amount, payment.items, payment.cancelled_quantities) == ("pending", 100, LINES[:1], (0,))
    assert ([f.amount for f in payment.funding], payment.allocated) == ([100], (0,))
    assert change.after(snapshot).text(payment.id, "item_names") == ["A2"]
    said = make.body(change.records[0])
    assert (said["type"], said["amount"], said["data"]["amount_before"]) == ("payment.modified", 100, 300)


def test_several_sources_are_given_anew() -> None:
    funding = tuple(replace(source, amount=50) for source in BOTH)
    change = modify(make.pending(funding=BOTH), amount=100, funding=funding)

    assert (change.payment.funding, change.payment.allocated) == (funding, (0, 0))


@pytest.mark.parametrize(
    ("terms", "members", "pointer"),
    [
        ({}, {"amount": 300}, "/amount"),
        ({}, {"amount": 301}, "/amount"),
        ({"funding": BOTH}, {}, "/funding"),
        ({"items": LINES}, {}, "/items"),
        ({"items": LINES}, {"items": ()}, "/items"),
    ],
)
def test_what_a_modification_must_say(terms: dict[str, Any], members: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        modify(make.pending(**terms), **members)

    assert refused.value.pointer == pointer


def test_only_a_pending_payment_without_a_cancellation_is_modified() -> None:
    snapshot = make.asked(make.pending())
    with pytest.raises(CancellationOpen) as refused:
        modify(snapshot)
    assert refused.value.cancellation_id == make.newest(snapshot).id

    for state in set(PaymentState) - {PaymentState.pending}:
        with pytest.raises(InvalidState):
            modify(make.with_payment(make.pending(), state=state))


def test_what_happened_since_makes_no_repeated_registration_another_one() -> None:
    terms = replace(PENDING_TERMS, amount=sum(line.amount for line in LINES), items=LINES, item_names=("A", None), authorised_at=NOW - HOUR)
    first = register(terms).after(None)
    lowered = tuple(replace(line, amount=0) if n else line for n, line in enumerate(LINES))
    changes: list[Callable[[Snapshot], Change]] = [
        lambda snapshot: payments.modify(
            snapshot,
            amount=LINES[0].amount,
            reason="sold out",
            funding=None,
            items=lowered,
            item_names=("A", "B"),
            context=make.context(NOW),
        ),
        lambda snapshot: payments.complete(
            snapshot, completed_at=None, provider_reference="cap-1", terms=make.TERMS, context=make.context(NOW)
        ),
        lambda snapshot: must(fulfilment.change_fulfilment(snapshot, FulfilmentTold(status=Fulfilment.shipped, at=NOW), make.context(NOW))),
    ]

    snapshot = first
    for change in changes:
        snapshot = change(snapshot).after(snapshot)
        payments.check_same(snapshot, terms)

    assert snapshot.payment.amount < terms.amount
    for other in (
        replace(terms, amount=snapshot.payment.amount),
        replace(terms, items=lowered),
        replace(terms, fulfilment=Fulfilment.shipped),
    ):
        with pytest.raises(PaymentReferenceConflict):
            payments.check_same(snapshot, other)


def test_a_payment_of_before_is_compared_with_what_it_is() -> None:
    snapshot = register(FULL).after(None)
    old = replace(snapshot, payment=replace(snapshot.payment, registered=None))

    payments.check_same(old, FULL)
    with pytest.raises(PaymentReferenceConflict):
        payments.check_same(old, replace(FULL, amount=FULL.amount + 1))


def test_an_authorisation_that_nobody_told_bounds_nobody() -> None:
    """A wallet's clock is two seconds slow, and it never said when the payment was authorised."""
    ours = register(payments.PaymentDetails(reference="r", wallet_id="w", merchant_id="m", amount=7, currency="CNY")).after(None)
    told = make.registered(replace(PENDING_TERMS, authorised_at=NOW), NOW)

    assert complete(ours, NOW - 2 * TICK).payment.completed_at == NOW - 2 * TICK
    with pytest.raises(Invalid):
        complete(told, NOW - 2 * TICK)


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"shipped_at": NOW - MINUTE, "delivered_at": NOW - HOUR}, "/delivered_at"),
        ({"authorised_at": NOW - HOUR, "shipped_at": NOW - HOUR - TICK}, "/shipped_at"),
        ({"authorised_at": NOW - HOUR, "delivered_at": NOW - DAY}, "/delivered_at"),
    ],
)
def test_goods_are_not_registered_out_of_order(members: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        register(payments.PaymentDetails(reference="r", wallet_id="w", merchant_id="m", amount=7, currency="CNY", **members))
    assert refused.value.pointer == pointer
