"""What a rail paid although it had said that it failed: nothing is paid a second time while nobody has looked into it."""

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, SUCCESSORS
from workflows.domain.changes import Change
from workflows.domain.decisions import permitted, recovery, successors
from workflows.domain.enums import AnomalyState, RailCall
from workflows.domain.errors import InvalidState
from workflows.domain.legs import Leg
from workflows.domain.model import Snapshot
from workflows.domain.ports import Absent, Declined, Done, NeedsAction, Outcome, Pending, ProviderUnavailable, Returned, Settled, Unknown

NO = Declined("account_closed")


def retried(snapshot: Snapshot) -> Snapshot:
    row = make.newest(snapshot)
    return recovery.retry(snapshot, row, successors=SUCCESSORS, context=make.context(actor=AGENT)).after(snapshot)


def failed(snapshot: Snapshot | None = None) -> Snapshot:
    snapshot = make.sent(make.asked(make.completed()) if snapshot is None else snapshot)
    return make.told(snapshot, snapshot.legs[-1], NO)


def offered(snapshot: Snapshot) -> set[str]:
    return set(permitted.actions(snapshot, make.newest(snapshot), make.TERMS, AGENT, make.NOW)) - {"timeout", "end_with_payment"}


def heard(snapshot: Snapshot, outcome: Outcome) -> Change | None:
    before, leg = snapshot.legs
    word = make.word(outcome, RailCall.ask)
    return successors.learn_of_predecessor(snapshot, leg, before, word, terms=make.TERMS, context=make.context(actor=make.RAIL))


def refuses(snapshot: Snapshot) -> None:
    for order in (recovery.retry, recovery.redirect):
        with pytest.raises(InvalidState):
            order(snapshot, make.newest(snapshot), successors=SUCCESSORS, context=make.context(actor=AGENT))
    assert offered(snapshot) == {"assign"}, "nor can it be closed: what it had reserved might be paid once more"


def paid(snapshot: Snapshot, leg: Leg) -> Snapshot:
    return make.told(snapshot, leg, make.done(leg))


def test_no_successor_while_the_rail_says_that_it_paid_after_all() -> None:
    snapshot = failed()
    assert offered(snapshot) >= {"retry", "redirect", "close"}
    snapshot = paid(snapshot, snapshot.legs[0])

    assert [one.kind for one in snapshot.anomalies] == ["paid_after_failure"]
    refuses(snapshot)


def test_nor_where_it_says_so_of_what_the_failed_leg_had_replaced() -> None:
    snapshot = failed(retried(failed()))
    snapshot = paid(snapshot, snapshot.legs[0])

    assert [one.kind for one in snapshot.anomalies] == ["paid_after_failure"]
    refuses(snapshot)


def test_once_somebody_has_looked_into_it_a_person_may_choose_again() -> None:
    snapshot = failed()
    snapshot = paid(snapshot, snapshot.legs[0])
    resolved = tuple(replace(one, state=AnomalyState.resolved) for one in snapshot.anomalies)

    assert offered(replace(snapshot, anomalies=resolved)) >= {"retry", "redirect", "close"}


def test_the_rail_says_before_the_successor_is_sent_that_it_paid() -> None:
    snapshot = retried(failed())
    change = heard(snapshot, make.done(snapshot.legs[0]))

    assert change is not None
    assert make.types(change) == ["payment.anomaly", "refund.failed", "cancellation.needs_attention"]
    after = change.after(snapshot)
    assert [(leg.state, leg.failure_code) for leg in after.legs] == [("failed", "account_closed"), ("failed", "predecessor_paid")]
    assert [(one.kind, one.leg_id) for one in after.anomalies] == [("paid_after_failure", snapshot.legs[0].id)]
    assert make.sums(after.payment) == ("refunding", 0, 300, (300,))
    refuses(after)


@pytest.mark.parametrize("outcome", [Pending(), Unknown("timeout"), ProviderUnavailable(), NeedsAction(), NO, Absent(), Returned()])
def test_any_other_word_about_the_one_before_writes_nothing(outcome: Outcome) -> None:
    assert heard(retried(failed()), outcome) is None


def test_which_words_let_the_successor_be_sent() -> None:
    before = failed().legs[0]
    yes: tuple[Outcome, ...] = (NO, Returned(), Settled(), Absent())
    no: tuple[Outcome, ...] = (Done(300, "CNY"), Pending(), Unknown("timeout"), ProviderUnavailable(), NeedsAction())

    assert all(successors.lets_send(before, outcome) for outcome in yes)
    assert not any(successors.lets_send(before, outcome) for outcome in no)


def test_of_what_came_back_it_is_no_news_that_it_had_been_paid() -> None:
    snapshot = make.refunded(make.completed())
    snapshot = make.told(snapshot, snapshot.legs[0], Returned())

    assert successors.lets_send(snapshot.legs[0], make.done(snapshot.legs[0]))


def test_another_amount_of_the_one_before_is_a_mismatch_and_nobody_adopts_it_as_paid() -> None:
    snapshot = retried(failed())
    change = heard(snapshot, Done(299, "CNY"))

    assert change is not None
    after = change.after(snapshot)
    assert [(one.kind, one.data["rail_amount"]) for one in after.anomalies] == [("amount_mismatch", 299)]
    assert after.legs[1].state == "failed"
    assert make.newest(after).state == "needs_attention"
    assert make.learn(after, after.legs[0], Done(299, "CNY")) is None, "the same word by another way is the same anomaly"


def test_both_were_paid() -> None:
    for first in (True, False):
        snapshot = make.sent(retried(failed()))
        before, leg = snapshot.legs
        for one in (before, leg) if first else (leg, before):
            snapshot = paid(snapshot, one)

        kinds = [one.kind.value for one in snapshot.anomalies]
        assert kinds == (["paid_after_failure", "paid_twice"] if first else ["paid_twice"])
        assert {one.leg_id for one in snapshot.anomalies} == {before.id}
        assert make.sums(snapshot.payment) == ("refunded", 300, 0, (300,))
        assert make.newest(snapshot).state == "completed"


def test_only_what_was_sent_is_asked_about_before_a_successor_is_sent() -> None:
    snapshot = retried(failed())
    change = heard(snapshot, make.done(snapshot.legs[0]))
    assert change is not None
    after = change.after(snapshot)
    resolved = tuple(replace(one, state=AnomalyState.resolved) for one in after.anomalies)

    snapshot = retried(replace(after, anomalies=resolved))
    first, dropped, last = snapshot.legs
    assert (dropped.attempts, dropped.replaces, last.replaces) == (0, first.id, dropped.id)
    assert recovery.predecessors(snapshot, last) == (first,)
