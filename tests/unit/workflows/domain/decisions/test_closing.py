"""A person gives up what did not arrive: what is kept, what is given back, and that nothing of it may still be on its way."""

from typing import Any

import pytest

from tests import factories as make
from tests.factories import AGENT, BOTH, SUCCESSORS, SUPERVISOR
from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes, payments, recovery
from workflows.domain.enums import CancellationState, RailCall, Recovery
from workflows.domain.errors import InvalidState
from workflows.domain.legs import Leg
from workflows.domain.model import Snapshot
from workflows.domain.ports import Declined, NeedsAction, Outcome, Pending, Returned, Settled

NO = Declined("account_closed")


def close(snapshot: Snapshot, at: int = -1, actor: Any = AGENT) -> Change:
    return recovery.close(snapshot, snapshot.cancellations[at], note="told", context=make.context(actor=actor))


def closed(snapshot: Snapshot, at: int = -1) -> Snapshot:
    return close(snapshot, at).after(snapshot)


def stuck(start: Snapshot, *words: Outcome | None, amount: int | None = None) -> Snapshot:
    """One word about each leg, in the order of the sources; None: it arrived."""
    snapshot = make.sent(make.asked(start, make.requested(amount=amount)))
    for leg, said in zip(snapshot.legs, words, strict=True):
        snapshot = make.told(snapshot, leg, make.done(leg) if said is None else said)
    return snapshot


def cancelled(snapshot: Snapshot, leg: Leg, said: Outcome) -> Snapshot:
    current = snapshot.leg(leg.id)
    assert current is not None
    word = make.word(said, RailCall.cancel)
    change = outcomes.learn(snapshot, current, word, terms=make.TERMS, successors=SUCCESSORS, context=make.context(actor=make.RAIL))
    assert change is not None
    return change.after(snapshot)


def states(snapshot: Snapshot) -> list[str]:
    return [leg.state.value for leg in snapshot.legs]


@pytest.mark.parametrize(("said", "state"), [(Pending(), "processing"), (NeedsAction(), "requires_action")])
def test_it_stays_open_while_the_rail_has_not_cancelled_every_part(said: Outcome, state: str) -> None:
    for first, last in ((0, 1), (1, 0)):
        snapshot = closed(stuck(make.completed(funding=BOTH), NeedsAction(), NeedsAction()))
        snapshot = cancelled(snapshot, snapshot.legs[first], said)
        snapshot = cancelled(snapshot, snapshot.legs[last], NO)

        assert sorted(states(snapshot)) == sorted(["failed", state])
        assert make.newest(snapshot).state == "needs_attention"
        assert make.sums(snapshot.payment) == ("refunding", 0, 300, (100, 200))


def test_a_successor_that_waits_is_dropped_when_the_close_is_ordered() -> None:
    snapshot = stuck(make.completed(funding=BOTH), NeedsAction(), NO)
    snapshot = recovery.retry(snapshot, snapshot.cancellations[0], successors=SUCCESSORS, context=make.context(actor=SUPERVISOR)).after(
        snapshot
    )
    snapshot = cancelled(snapshot, snapshot.legs[0], NeedsAction())
    snapshot = make.with_cancellation(snapshot, snapshot.cancellations[0], state=CancellationState.needs_attention)
    change = close(snapshot)

    assert states(change.after(snapshot)) == ["requires_action", "failed", "failed"]
    assert change.after(snapshot).legs[2].failure_code == "closed"
    assert make.newest(change.after(snapshot)).state == "needs_attention"
    assert change.hastened == (snapshot.legs[0].id,)
    assert [leg.recovery for leg in change.legs if leg.recovery] == [Recovery.close]


def test_a_refund_half_paid_keeps_what_arrived() -> None:
    snapshot = stuck(make.completed(funding=BOTH), None, NO)
    change = close(snapshot)

    assert make.sums(change.payment) == ("completed", 100, 0, (100, 0))
    assert make.types(change) == ["cancellation.closed", "cancellation.failed"]
    assert [c.state for c in change.cancellations] == ["failed"]
    again = make.asked(change.after(snapshot))
    assert [(leg.position, leg.amount) for leg in again.legs[2:]] == [(1, 200)]
    assert make.sums(make.arrived(again).payment) == ("refunded", 300, 0, (100, 200))


def test_what_a_void_released_stays_released_and_a_later_one_takes_the_rest() -> None:
    snapshot = closed(stuck(make.pending(funding=BOTH), None, NO))

    assert make.sums(snapshot.payment) == ("pending", 100, 0, (100, 0))
    again = make.asked(snapshot)
    assert [(leg.kind, leg.position, leg.amount) for leg in again.legs[2:]] == [("void", 1, 200)]
    after = make.arrived(again)
    assert (after.payment.state, make.newest(after).state) == ("cancelled", "completed")


def test_a_payment_that_completes_after_a_void_was_closed_half_done_refunds_the_rest() -> None:
    snapshot = closed(stuck(make.pending(funding=BOTH), None, NO))
    snapshot = payments.complete(snapshot, completed_at=None, provider_reference=None, terms=make.TERMS, context=make.context()).after(
        snapshot
    )

    assert make.sums(snapshot.payment) == ("completed", 100, 0, (100, 0))
    after = make.refunded(snapshot)
    assert make.sums(after.payment) == ("refunded", 300, 0, (100, 200))
    assert [(leg.kind, leg.position) for leg in after.legs[2:]] == [("refund", 1)]


def test_with_nothing_paid_the_items_are_given_back() -> None:
    start = make.completed(amount=300, items=make.LINES)
    snapshot = make.sent(make.asked(start, make.requested(items=make.pieces(a=2))))
    assert snapshot.payment.cancelled_quantities == (2, 0)
    snapshot = closed(make.told(snapshot, snapshot.legs[0], NO))

    assert snapshot.payment.cancelled_quantities == (0, 0)
    assert make.sums(snapshot.payment) == ("completed", 0, 0, (0,))


def test_what_comes_back_after_the_close_is_refundable_again() -> None:
    snapshot = closed(stuck(make.completed(funding=BOTH), None, NO))
    change = make.learn(snapshot, snapshot.legs[0], Returned("closed"))

    assert change is not None
    assert make.sums(change.payment) == ("completed", 0, 0, (0, 0))
    assert make.anomalies(change) == ["returned_after_close"]
    assert [c.state for c in change.cancellations] == ["failed"]


def test_a_capture_that_is_found_while_the_close_waits_does_not_start_a_refund() -> None:
    snapshot = closed(stuck(make.pending(), NeedsAction()))
    snapshot = cancelled(snapshot, snapshot.legs[0], Settled())

    assert make.newest(snapshot).state == "failed"
    assert make.sums(snapshot.payment) == ("completed", 0, 0, (0,))
    assert len(snapshot.legs) == 1


def test_a_close_that_waits_is_carried_out_though_the_payment_settled_meanwhile() -> None:
    for first, last in ((Settled(), NO), (NO, Settled())):
        snapshot = closed(stuck(make.pending(funding=BOTH), NeedsAction(), NeedsAction()))
        snapshot = cancelled(snapshot, snapshot.legs[0], first)
        snapshot = cancelled(snapshot, snapshot.legs[1], last)

        assert make.newest(snapshot).state == "failed"
        assert make.sums(snapshot.payment) == ("completed", 0, 0, (0, 0))


def test_nothing_is_closed_while_an_outcome_is_open() -> None:
    snapshot = stuck(make.completed(funding=BOTH), Pending(), NO)
    snapshot = make.with_cancellation(snapshot, snapshot.cancellations[0], state=CancellationState.needs_attention)
    with pytest.raises(InvalidState):
        close(snapshot)


def test_of_two_refunds_that_came_back_the_other_still_waits() -> None:
    snapshot = make.refunded(make.refunded(make.completed(), 100), 50)
    for leg in snapshot.legs:
        snapshot = make.told(snapshot, leg, Returned())
    assert make.sums(snapshot.payment) == ("refunding", 0, 150, (150,))

    first = closed(snapshot, 0)
    assert make.sums(first.payment) == ("refunding", 0, 50, (50,))
    assert make.sums(closed(first, 1).payment) == ("completed", 0, 0, (0,))


def test_what_was_released_before_the_rest_was_captured_counts_as_given_back() -> None:
    snapshot = stuck(make.pending(funding=BOTH), None, Settled())

    assert make.sums(snapshot.payment) == ("refunding", 100, 200, (100, 200))
    assert [(leg.kind, leg.position, leg.amount) for leg in snapshot.legs[2:]] == [("refund", 1, 200)]
