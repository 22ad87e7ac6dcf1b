"""Goods on their way back: what the customer and the merchant say of them, and which clock then runs."""

from datetime import datetime

import pytest

from tests import factories as make
from tests.factories import AGENT, DAY, HOUR, MERCHANT, NOW, TERMS
from workflows.domain.changes import Change
from workflows.domain.decisions import returns
from workflows.domain.enums import CancellationState, ReturnCondition
from workflows.domain.errors import InvalidState
from workflows.domain.model import Actor, Snapshot


def awaited(actor: Actor = make.WALLET, **members: object) -> Snapshot:
    return make.asked(make.completed(merchant_id="return", **members), make.requested(actor=actor))


def ship(snapshot: Snapshot, now: datetime = NOW, *, carrier: str = "sf", number: str = "SF1") -> Change:
    row = make.newest(snapshot)
    return returns.ship(snapshot, row, carrier=carrier, tracking_number=number, terms=TERMS, context=make.context(now))


def receive(snapshot: Snapshot, condition: ReturnCondition, now: datetime = NOW, note: str | None = None) -> Change:
    row = make.newest(snapshot)
    return returns.receive(snapshot, row, condition=condition, note=note, terms=TERMS, context=make.context(now, MERCHANT))


def test_once_the_goods_are_sent_the_merchants_time_runs() -> None:
    change = ship(awaited(), NOW + DAY)

    (row,) = change.cancellations
    assert (row.state, row.deadline_at, row.on_deadline) == ("awaiting_return", NOW + 8 * DAY, "accept")
    assert row.goods is not None
    assert (row.goods.carrier, row.goods.shipped_at, row.goods.received_at) == ("sf", NOW + DAY, None)
    assert make.types(change) == ["cancellation.return_shipped"]
    assert [(text.name, text.value) for text in change.texts] == [("return_tracking_number", "SF1")]
    assert "SF1" not in change.records[0].body


def test_said_again_it_corrects_the_number_and_the_clock_goes_on() -> None:
    snapshot = awaited()
    snapshot = ship(snapshot, NOW + DAY).after(snapshot)
    before = make.newest(snapshot)

    change = ship(snapshot, NOW + 2 * DAY, carrier="yto", number="YT2")

    (row,) = change.cancellations
    assert (row.clock, row.deadline_at) == (before.clock, NOW + 8 * DAY)
    assert row.goods is not None
    assert (row.goods.carrier, row.goods.shipped_at) == ("yto", NOW + DAY)
    assert change.jobs == ()
    assert change.after(snapshot).text(row.id, "return_tracking_number") == "YT2"


def test_intact_goods_are_paid() -> None:
    change = receive(awaited(), ReturnCondition.intact, NOW + DAY)

    (row,) = change.cancellations
    assert (row.state, row.clock, row.deadline_at) == ("executing", None, None)
    assert change.payment.return_received_at == NOW + DAY
    assert make.sums(change.payment) == ("refunding", 0, 300, (300,))
    assert "cancellation.return_received" in make.types(change)


def test_intact_goods_above_the_limit_await_a_second_person_where_one_of_ours_asked() -> None:
    change = receive(awaited(AGENT, amount=20_000), ReturnCondition.intact)

    assert (change.cancellations[0].state, change.legs) == ("awaiting_second_approval", ())
    assert make.types(change) == ["cancellation.return_received", "cancellation.second_approval_awaited"]


@pytest.mark.parametrize("condition", [ReturnCondition.damaged, ReturnCondition.missing])
def test_damaged_or_missing_goods_are_an_agents_to_judge(condition: ReturnCondition) -> None:
    change = receive(awaited(), condition, NOW + HOUR, note="a dent")

    (row,) = change.cancellations
    assert (row.state, row.on_deadline) == ("awaiting_agent", "agent")
    assert row.goods is not None
    assert row.goods.condition is condition
    assert change.payment.return_received_at == (None if condition == "missing" else NOW + HOUR)
    assert change.payment.amount_reserved == 300
    assert change.legs == ()
    assert [(text.name, text.value) for text in change.texts] == [("return_note", "a dent")]


@pytest.mark.parametrize("state", [state for state in CancellationState if state is not CancellationState.awaiting_return])
def test_goods_are_sent_and_received_only_where_they_are_awaited(state: CancellationState) -> None:
    snapshot = awaited()
    other = make.with_cancellation(snapshot, make.newest(snapshot), state=state)

    with pytest.raises(InvalidState):
        ship(other)
    with pytest.raises(InvalidState):
        receive(other, ReturnCondition.intact)
