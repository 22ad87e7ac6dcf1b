"""How far the goods have come: forwards, once, within the bounds; and corrections, by those who may."""

from datetime import datetime
from typing import Any

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, DAY, HOUR, MERCHANT, MINUTE, NOW, SUPERVISOR, WALLET
from workflows.domain.changes import Change
from workflows.domain.decisions.fulfilment import CLOCK_SKEW_MAX, FulfilmentTold, change_fulfilment
from workflows.domain.decisions.requests import policy_facts
from workflows.domain.enums import Anchor, Fulfilment, PaymentState
from workflows.domain.errors import Forbidden, Invalid, InvalidState
from workflows.domain.model import Actor, Snapshot

STATUSES = list(Fulfilment)
LATEST = NOW + CLOCK_SKEW_MAX
TICK = MINUTE / 60_000_000
MOMENTS = {"shipped": "shipped_at", "delivered": "delivered_at", "returned": "return_received_at"}


def tell(snapshot: Snapshot, status: str, at: datetime | None = None, *, actor: Actor = MERCHANT, **members: Any) -> Change | None:
    return change_fulfilment(snapshot, FulfilmentTold(status=Fulfilment(status), at=at, **members), make.context(NOW, actor))


def told(snapshot: Snapshot, status: str, at: datetime | None = None, **members: Any) -> Snapshot:
    change = tell(snapshot, status, at, **members)
    assert change is not None
    return change.after(snapshot)


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("status", STATUSES)
def test_goods_move_on_and_never_back(before: Fulfilment, status: Fulfilment) -> None:
    snapshot = make.completed(fulfilment=before)

    if STATUSES.index(status) < STATUSES.index(before):
        with pytest.raises(InvalidState) as refused:
            tell(snapshot, status)
        assert refused.value.state == "completed"
        return
    change = tell(snapshot, status)
    if status is before and status.value not in MOMENTS:
        assert change is None
        return
    assert change is not None
    payment = change.payment
    assert (payment.fulfilment, payment.state) == (status, "completed")
    for name, moment in MOMENTS.items():
        assert getattr(payment, moment) == (NOW if status == name else None)
    assert make.types(change) == ["payment.fulfilment_changed"]


@pytest.mark.parametrize("status", MOMENTS)
def test_the_same_again_only_fills_a_missing_time_and_else_changes_nothing(status: str) -> None:
    snapshot = told(make.completed(), status, NOW - MINUTE)

    assert tell(snapshot, status) is None
    assert tell(snapshot, status, NOW) is None, "a time that is known stays"
    missing = make.completed(fulfilment=Fulfilment(status))
    filled = told(missing, status, NOW - MINUTE)
    assert getattr(filled.payment, MOMENTS[status]) == NOW - MINUTE


def test_the_same_again_fills_a_missing_number_once() -> None:
    snapshot = told(make.completed(), "shipped")
    snapshot = told(snapshot, "shipped", tracking_number="SF1")

    assert tell(snapshot, "shipped", tracking_number="SF2") is None
    assert snapshot.text(snapshot.payment.id, "tracking_number") == "SF1"


def test_times_lie_between_the_authorisation_that_was_told_and_now() -> None:
    snapshot = make.completed(authorised_at=NOW - DAY)

    for at in (NOW - DAY, LATEST):
        assert told(snapshot, "shipped", at).payment.shipped_at == at
    for at in (NOW - DAY - TICK, LATEST + TICK, datetime.fromtimestamp(0, NOW.tzinfo)):
        for status in ("preparing", *MOMENTS):
            with pytest.raises(Invalid) as refused:
                tell(snapshot, status, at)
            assert refused.value.pointer == "/at"


def test_a_merchant_closes_no_window_with_a_date() -> None:
    """Paid twenty days ago, and the merchant says today that the goods came on that day. The customer hears of his window now."""
    paid = make.completed(authorised_at=NOW - 20 * DAY, completed_at=NOW - 20 * DAY)
    anchors = []
    for actor in (MERCHANT, WALLET):
        snapshot = told(paid, "delivered", NOW - 19 * DAY, actor=actor)
        assert snapshot.payment.delivered_at == NOW - 19 * DAY, "kept as it was told"
        anchors.append(policy_facts(snapshot, make.requested(), 300, NOW + DAY).anchors[Anchor.delivered_at])

    assert anchors == [NOW, NOW - 19 * DAY]
    corrected = told(
        told(paid, "delivered", NOW - 19 * DAY), "delivered", NOW - 2 * DAY, actor=AGENT, correction=True, note="the carrier says so"
    )
    assert policy_facts(corrected, make.requested(), 300, NOW + DAY).anchors[Anchor.delivered_at] == NOW - 2 * DAY


def test_shipped_then_delivered_then_returned() -> None:
    snapshot = told(make.completed(authorised_at=NOW - DAY), "shipped", NOW - HOUR)
    with pytest.raises(Invalid):
        tell(snapshot, "delivered", NOW - HOUR - TICK)
    snapshot = told(snapshot, "delivered", NOW - MINUTE)
    with pytest.raises(Invalid):
        tell(snapshot, "returned", NOW - MINUTE - TICK)

    assert told(snapshot, "returned", NOW).payment.return_received_at == NOW


def test_a_faster_clock_that_told_of_shipping_makes_no_later_step_impossible() -> None:
    snapshot = told(make.completed(), "shipped", LATEST)

    assert told(snapshot, "delivered").payment.delivered_at == LATEST


def test_a_wrong_time_is_corrected_by_agents_on_record_with_both_values() -> None:
    snapshot = told(make.completed(authorised_at=NOW - DAY), "delivered", NOW - 20 * HOUR)
    for actor in (AGENT, SUPERVISOR):
        change = tell(snapshot, "delivered", NOW - HOUR, actor=actor, correction=True, note="the carrier says so")
        assert change is not None
        data = make.body(change.records[0])["data"]
        assert change.payment.delivered_at == NOW - HOUR
        assert (data["corrected"], data["before"], data["after"]) == (
            "delivered_at", "2026-11-21T13:00:00.000000Z", "2026-11-22T08:00:00.000000Z",
        )  # fmt: skip
        assert "carrier says" not in change.records[0].body
        assert [text.value for text in change.texts] == ["the carrier says so"]


def test_nobody_else_corrects_and_agents_do_nothing_else() -> None:
    snapshot = told(make.completed(), "delivered")

    for actor in (MERCHANT, WALLET):
        with pytest.raises(Forbidden):
            tell(snapshot, "delivered", NOW - MINUTE, actor=actor, correction=True, note="n")
    with pytest.raises(Forbidden):
        tell(snapshot, "returned", actor=AGENT)


def test_a_correction_keeps_bounds_and_order_and_needs_something_to_correct() -> None:
    snapshot = told(told(make.completed(authorised_at=NOW - DAY), "shipped", NOW - HOUR), "delivered", NOW - MINUTE)

    def correct(status: str, at: datetime | None, note: str | None = "n") -> Change | None:
        return tell(snapshot, status, at, actor=AGENT, correction=True, note=note)

    for status, at in (
        ("delivered", NOW - 2 * HOUR),
        ("shipped", NOW),
        ("shipped", NOW - DAY - TICK),
        ("preparing", NOW),
        ("shipped", None),
    ):
        with pytest.raises(Invalid):
            correct(status, at)
    with pytest.raises(Invalid):
        correct("shipped", NOW - HOUR, None)
    with pytest.raises(InvalidState):
        correct("returned", NOW)
    confirmed = correct("shipped", NOW - HOUR)
    assert confirmed is not None, "a merchant's date counts from now on"
    snapshot = confirmed.after(snapshot)
    assert "shipped_at" not in snapshot.payment.merchant_told_at
    assert correct("shipped", NOW - HOUR) is None, "nothing is wrong with it"


def test_an_open_cancellation_is_shown_with_the_goods_and_its_version_moves_with_them() -> None:
    snapshot = make.asked(make.completed(merchant_id="merchant"))
    change = tell(snapshot, "shipped")

    assert change is not None
    assert [row.version for row in change.cancellations] == [2]


@pytest.mark.parametrize("state", list(PaymentState))
def test_goods_of_a_payment_that_came_to_nothing_do_not_move(state: PaymentState) -> None:
    snapshot = make.with_payment(make.completed(), state=state)

    if state in {PaymentState.failed, PaymentState.cancelled}:
        with pytest.raises(InvalidState):
            tell(snapshot, "shipped")
    else:
        assert told(snapshot, "shipped").payment.state is state


def test_a_tracking_number_is_personal_and_its_carrier_is_not() -> None:
    change = tell(make.completed(), "shipped", carrier="sf-express", tracking_number="SF1000")

    assert change is not None
    assert {text.name: text.value for text in change.texts} == {"carrier": "sf-express", "tracking_number": "SF1000"}
    data = make.body(change.records[0])["data"]
    assert data["carrier"] == "sf-express"
    assert "SF1000" not in change.records[0].body


def test_a_moment_ahead_of_us_counts_as_now_for_policy() -> None:
    """A wallet's clock is two minutes fast: its payment can be cancelled at once."""
    ahead = make.registered(replace(make.COMPLETED_TERMS, merchant_id="brief", authorised_at=NOW, completed_at=NOW + 2 * MINUTE), NOW)

    change = make.request(ahead)

    assert change.refusal is None
    assert change.payment.completed_at == NOW + 2 * MINUTE, "kept as it was given"
