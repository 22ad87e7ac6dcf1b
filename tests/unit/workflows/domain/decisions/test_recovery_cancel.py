"""What waits for somebody is cancelled at its rail first, and only a cancel that the rail confirmed lets anything follow."""

from itertools import product
from typing import Any

import pytest

from tests import factories as make
from tests.factories import AGENT, BOTH, RAIL, SUCCESSORS
from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes, permitted, recovery
from workflows.domain.enums import RailCall, Recovery
from workflows.domain.errors import InvalidState
from workflows.domain.legs import Leg
from workflows.domain.model import Snapshot
from workflows.domain.ports import Absent, Declined, Done, NeedsAction, Outcome, Pending, ProviderUnavailable, Returned, Settled, Unknown

NO = Declined("cancelled")
ORDERS = {Recovery.retry: recovery.retry, Recovery.redirect: recovery.redirect}


def waiting(start: Snapshot | None = None) -> Snapshot:
    """Every part waits for somebody at its rail."""
    snapshot = make.sent(make.asked(make.completed() if start is None else start))
    for leg in snapshot.legs:
        snapshot = make.told(snapshot, leg, NeedsAction())
    return snapshot


def ordered(how: Recovery, snapshot: Snapshot | None = None) -> Change:
    snapshot = waiting() if snapshot is None else snapshot
    row, context = make.newest(snapshot), make.context(actor=AGENT)
    if how is Recovery.close:
        return recovery.close(snapshot, row, context=context)
    return ORDERS[how](snapshot, row, successors=SUCCESSORS, context=context)


def waits(how: Recovery, start: Snapshot | None = None) -> Snapshot:
    snapshot = waiting(start)
    return ordered(how, snapshot).after(snapshot)


def answer(snapshot: Snapshot, said: Outcome, at: int = 0) -> Change | None:
    word, context = make.word(said, RailCall.cancel), make.context(actor=RAIL)
    return outcomes.learn(snapshot, snapshot.legs[at], word, terms=make.TERMS, successors=SUCCESSORS, context=context)


def cancelled(snapshot: Snapshot, said: Outcome = NO, at: int = 0) -> Snapshot:
    change = answer(snapshot, said, at)
    assert change is not None
    return change.after(snapshot)


def offered(snapshot: Snapshot) -> set[str]:
    names = {"retry", "redirect", "close", "record_outcome"}
    return names & set(permitted.actions(snapshot, make.newest(snapshot), make.TERMS, AGENT, make.NOW))


def legs(snapshot: Snapshot) -> list[tuple[str, Any]]:
    return [(leg.state.value, leg.recovery) for leg in snapshot.legs]


@pytest.mark.parametrize("how", Recovery)
def test_the_order_is_kept_and_the_rail_is_called_at_once(how: Recovery) -> None:
    snapshot = waiting()
    change = ordered(how, snapshot)
    after = change.after(snapshot)

    assert legs(after) == [("requires_action", how)]
    assert change.hastened == (snapshot.legs[0].id,)
    assert change.jobs == ()
    assert after.legs[0].next_attempt_at == make.NOW
    assert make.newest(after).state == ("needs_attention" if how is Recovery.close else "executing")
    assert offered(after) == ({"record_outcome"} if how is Recovery.close else set()), "nothing else until the rail has answered"


@pytest.mark.parametrize("how", [Recovery.retry, Recovery.redirect])
def test_a_confirmed_cancel_sends_the_successor(how: Recovery) -> None:
    snapshot = waits(how)
    change = answer(snapshot, NO)

    assert change is not None
    assert make.types(change) == ["refund.failed", "refund.scheduled"]
    first, second = change.after(snapshot).legs
    assert (first.state, first.recovery, first.failure_code) == ("failed", None, "cancelled")
    assert (second.state, second.replaces, second.recovery, second.attempts) == ("scheduled", first.id, None, 0)
    assert [job.subject_id for job in change.jobs] == [second.id]
    assert make.sums(change.payment) == ("refunding", 0, 300, (300,))


@pytest.mark.parametrize("how", [Recovery.retry, Recovery.redirect, Recovery.close])
def test_it_was_paid_instead(how: Recovery) -> None:
    snapshot = cancelled(waits(how), Done(300, "CNY"))

    assert legs(snapshot) == [("succeeded", None)]
    assert make.newest(snapshot).state == "completed"
    assert make.sums(snapshot.payment) == ("refunded", 300, 0, (300,))


@pytest.mark.parametrize("how", [Recovery.retry, Recovery.redirect, Recovery.close])
def test_it_goes_on_instead(how: Recovery) -> None:
    snapshot = cancelled(waits(how), Pending("re-9"))

    assert legs(snapshot) == [("processing", None)]
    assert make.newest(snapshot).state == ("needs_attention" if how is Recovery.close else "executing")
    assert offered(snapshot) == ({"record_outcome"} if how is Recovery.close else set())


@pytest.mark.parametrize("how", [Recovery.retry, Recovery.redirect, Recovery.close])
def test_it_waits_as_before(how: Recovery) -> None:
    snapshot = cancelled(waits(how), NeedsAction())

    assert legs(snapshot) == [("requires_action", None)]
    assert snapshot.legs[0].failure_code == "not_cancelled"
    assert make.newest(snapshot).state == "needs_attention"
    assert offered(snapshot) == {"retry", "redirect", "close", "record_outcome"}


def test_that_it_waits_is_no_news_where_the_rail_tells_it_unasked() -> None:
    for how in Recovery:
        snapshot = waits(how)
        assert make.learn(snapshot, snapshot.legs[0], NeedsAction()) is None


@pytest.mark.parametrize("said", [Unknown("timeout"), ProviderUnavailable(), Absent()])
def test_silence_is_no_answer_and_after_the_whole_schedule_a_person_chooses_anew(said: Outcome) -> None:
    for how in Recovery:
        snapshot = waits(how)
        assert answer(snapshot, said) is None
        leg = snapshot.legs[0]
        change = outcomes.give_up_recovery(snapshot, leg, terms=make.TERMS, context=make.context(actor=RAIL))

        after = change.after(snapshot)
        assert legs(after) == [("requires_action", None)]
        assert make.newest(after).state == "needs_attention"
        called = [] if how is Recovery.close else ["cancellation.needs_attention"]
        assert make.types(change) == ["refund.requires_action", *called]


WORDS = {"amount_mismatch": Done(299, "CNY"), "contradiction": Settled()}  # nobody captured a refund
KEPT = [(how, said, kind) for how, (kind, said) in product(Recovery, WORDS.items())]


@pytest.mark.parametrize(("how", "said", "kind"), KEPT)
def test_a_word_that_settles_nothing_is_kept_and_gives_the_order_up(how: Recovery, said: Outcome, kind: str) -> None:
    snapshot = waits(how)
    after = cancelled(snapshot, said)

    assert [one.kind.value for one in after.anomalies] == [kind]
    assert legs(after) == [("requires_action", None)]
    assert after.legs[0].failure_code == kind
    assert make.newest(after).state == "needs_attention"
    assert make.sums(after.payment) == make.sums(snapshot.payment)


@pytest.mark.parametrize(("said", "code"), [(NO, "cancelled"), (Returned("closed"), "returned_closed")])
def test_a_close_that_the_rail_made_possible_ends_it(said: Outcome, code: str) -> None:
    snapshot = waits(Recovery.close)
    change = answer(snapshot, said)

    assert change is not None
    assert make.types(change) == ["refund.failed", "cancellation.closed", "cancellation.failed"]
    assert make.sums(change.payment) == ("completed", 0, 0, (0,))
    assert change.after(snapshot).legs[0].failure_code == code


def test_a_void_that_waits_is_cancelled_before_it_is_sent_anew() -> None:
    snapshot = waits(Recovery.retry, make.pending(funding=BOTH))
    assert make.newest(snapshot).state == "executing"
    snapshot = cancelled(snapshot)
    assert [leg.state.value for leg in snapshot.legs] == ["failed", "requires_action", "scheduled"]
    snapshot = cancelled(snapshot, at=1)

    assert [(leg.kind.value, leg.state.value) for leg in snapshot.legs[2:]] == [("void", "scheduled")] * 2
    assert make.arrived(snapshot).payment.state == "cancelled"


def test_a_void_cannot_be_redirected() -> None:
    snapshot = waiting(make.pending())
    assert offered(snapshot) == {"retry", "close", "record_outcome"}
    with pytest.raises(InvalidState):
        ordered(Recovery.redirect, snapshot)


def test_a_void_that_was_captured_while_it_was_being_cancelled_is_refunded() -> None:
    snapshot = cancelled(waits(Recovery.retry, make.pending()), Settled())

    assert [(leg.kind.value, leg.state.value) for leg in snapshot.legs] == [("void", "failed"), ("refund", "scheduled")]
    assert make.sums(snapshot.payment) == ("refunding", 0, 300, (300,))


def test_nothing_is_ordered_of_what_may_still_arrive() -> None:
    snapshot = waiting()
    states = {"submitted", "processing", "unknown"}
    for state, how in product(states, Recovery):
        one: Leg = snapshot.legs[0]
        open_one = make.with_leg(snapshot, one, state=type(one.state)(state))
        assert offered(open_one) == {"record_outcome"}
        with pytest.raises(InvalidState):
            ordered(how, open_one)
