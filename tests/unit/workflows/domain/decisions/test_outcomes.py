"""What a rail's word does: to a leg, and from there to its refund, its cancellation and the payment."""

from itertools import product

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import BOTH, DAY, NOW, SOON
from workflows.domain.decisions import outcomes, payments, requests
from workflows.domain.enums import CancellationState, LegKind, LegState, OutcomeSource, PaymentState
from workflows.domain.legs import Leg
from workflows.domain.model import Snapshot
from workflows.domain.ports import Absent, Declined, Done, NeedsAction, Outcome, Pending, ProviderUnavailable, Returned, Settled, Unknown

WORDS: dict[str, Outcome] = {
    "done": Done(300, "CNY", "re-1", "arn-1"),
    "other_amount": Done(299, "CNY"),
    "other_currency": Done(300, "USD"),
    "pending": Pending("re-1"),
    "declined": Declined("account_closed"),
    "unknown": Unknown("timeout"),
    "unavailable": ProviderUnavailable(3),
    "needs_action": NeedsAction("re-1"),
    "settled": Settled(),
    "absent": Absent(),
    "returned": Returned("account_closed"),
}
STATES = ["scheduled", "held", "submitted", "processing", "unknown", "requires_action", "succeeded", "failed", "returned"]
# A column per state in the order above: the leg's new state, ! an anomaly that leaves it, ?! one that calls for a person, . nothing new.
REFUND = """
done            !       !       succeeded       succeeded       succeeded       succeeded   .   !   .
other_amount    !       !       ?!              ?!              ?!              !           !   !   !
other_currency  !       !       ?!              ?!              ?!              !           !   !   !
pending         !       !       processing      .               processing      processing  .   .   .
declined        failed  failed  failed          failed          failed          failed   returned . .
unknown         .       .       unknown         .               .               .           .   .   .
unavailable     .       .       .               .               .               .           .   .   .
needs_action    !       !       requires_action requires_action requires_action .           .   .   .
settled         !       !       ?!              ?!              ?!              !           !   !   !
absent          .       .       .               .               .               .           .   .   .
returned        !       !       failed          failed          failed          failed   returned . .
"""
VOID = {
    "done": "! ! succeeded succeeded succeeded succeeded . succeeded",
    "declined": "failed failed failed failed failed failed ! .",
    "settled": "! ! failed failed failed failed ! !",
    "returned": "! ! ?! ?! ?! ! ! !",
}  # as a refund else


def expected(kind: str, word: str, state: str) -> str:
    rows = {row.split()[0]: row.split()[1:] for row in REFUND.strip().splitlines()}
    if kind == "void":
        rows |= {name: cells.split() for name, cells in VOID.items()}
    return rows[word][STATES.index(state)]


def leg_in(kind: str, state: str) -> tuple[Snapshot, Leg]:
    snapshot = make.asked(make.completed() if kind == "refund" else make.pending())
    if state not in {"scheduled", "held"}:
        snapshot = make.sent(snapshot)
    (leg,) = snapshot.legs
    ways: dict[str, list[Outcome]] = {
        "succeeded": [make.done(leg)],
        "failed": [Declined("account_closed")],
        "returned": [make.done(leg), Returned()],
    }
    for word in ways.get(state, []):
        snapshot = make.told(snapshot, leg, word)
    if state not in ways:
        snapshot = make.with_leg(snapshot, leg, state=LegState(state))
    (leg,) = snapshot.legs
    return snapshot, leg


# A void moves no money that could come back, so none is ever `returned`.
CASES = [(kind, word, state) for kind, word, state in product(["refund", "void"], WORDS, STATES) if (kind, state) != ("void", "returned")]


def test_every_word_in_every_state(subtests: pytest.Subtests) -> None:
    for kind, word, state in CASES:
        with subtests.test(f"{word} of a {kind} that is {state}"):
            _is_heard(kind, word, state)


def _is_heard(kind: str, word: str, state: str) -> None:
    snapshot, leg = leg_in(kind, state)
    change = make.learn(snapshot, leg, WORDS[word])

    match expected(kind, word, state):
        case ".":
            assert change is None
        case "!":
            assert change is not None
            assert change.jobs == ()
            assert [row.state for row in change.legs] in ([], [leg.state])
            # What is shown of a leg may have changed all the same, and the versions of whatever shows it with it.
            assert [row.state for row in change.cancellations] in ([], [snapshot.cancellations[0].state])
            assert [(row.kind, row.leg_id, row.payment_id) for row in change.anomalies] == [
                (change.anomalies[0].kind, leg.id, snapshot.payment.id)
            ]
            assert make.sums(change.payment) == make.sums(snapshot.payment)
            assert make.types(change) == ["payment.anomaly"]
            data = make.body(change.records[0])["data"]
            assert (data["rail_key"], data["leg_state"], data["kind"]) == (leg.rail_key, state, change.anomalies[0].kind.value)
            assert make.learn(change.after(snapshot), leg, WORDS[word]) is None  # one word, one anomaly, however often it comes
        case "?!":
            assert change is not None
            assert make.types(change) == [f"{kind}.requires_action", "cancellation.needs_attention", "payment.anomaly"]
            assert [(row.id, row.state) for row in change.legs] == [(leg.id, "requires_action")]
            assert make.sums(change.payment) == make.sums(snapshot.payment)
            # The rail is asked again and again, and says it again: once on record is enough.
            assert make.learn(change.after(snapshot), leg, WORDS[word]) is None
        case new:
            assert change is not None
            told = next(row for row in change.legs if row.id == leg.id)
            assert (told.state, told.outcome_source) == (new, OutcomeSource.notification)
            assert make.types(change)[0] == f"{kind}.{new}"
            assert make.anomalies(change) == []
            assert make.learn(change.after(snapshot), leg, WORDS[word]) is None  # a word heard twice


@pytest.mark.parametrize("amount", [299, 10**30, -(10**30)])
def test_a_mismatch_says_what_the_rail_said(amount: int) -> None:
    snapshot, leg = leg_in("refund", "submitted")
    change = make.learn(snapshot, leg, Done(amount, "CNY"))

    assert change is not None
    assert [row.kind for row in change.anomalies] == ["amount_mismatch"]
    assert int(make.body(change.records[-1])["data"]["rail_amount"]) == amount


def test_a_mismatch_in_a_leg_that_waits_for_somebody_is_said_once() -> None:
    snapshot, leg = leg_in("refund", "requires_action")
    snapshot = make.told(snapshot, leg, WORDS["other_amount"])

    assert snapshot.legs[0].failure_code == "amount_mismatch"
    assert make.learn(snapshot, leg, WORDS["other_amount"]) is None


def test_a_leg_keeps_what_each_word_told_of_it() -> None:
    snapshot, leg = leg_in("refund", "submitted")

    snapshot = make.told(snapshot, leg, Pending("re-1"))
    assert (snapshot.legs[0].provider_refund_id, snapshot.legs[0].next_attempt_at) == ("re-1", SOON)

    snapshot = make.told(snapshot, leg, Done(300, "CNY"))
    assert (snapshot.legs[0].provider_refund_id, snapshot.legs[0].rail_reference, snapshot.legs[0].next_attempt_at) == ("re-1", None, None)


def test_a_decline_says_why() -> None:
    snapshot, leg = leg_in("refund", "submitted")
    change = make.learn(snapshot, leg, Declined("account_closed"))

    assert change is not None
    assert change.legs[0].failure_code == make.body(change.records[0])["data"]["failure_code"] == "account_closed"


def test_money_that_came_back_before_it_was_known_to_have_arrived() -> None:
    snapshot, leg = leg_in("refund", "processing")
    after = make.told(snapshot, leg, Returned())

    assert (after.legs[0].state, after.legs[0].failure_code) == ("failed", "returned")
    assert make.sums(after.payment) == ("refunding", 0, 300, (300,)), "what it took of its source stays reserved for it"
    assert make.newest(after).state is CancellationState.needs_attention
    assert make.learn(after, leg, WORDS["done"]) is None, "told in the wrong order: that it went out is no news, and no payment"


def test_a_refund_that_arrived() -> None:
    snapshot, leg = leg_in("refund", "submitted")
    change = make.learn(snapshot, leg, WORDS["done"])

    assert change is not None
    assert make.sums(change.payment) == ("refunded", 300, 0, (300,))
    assert [(c.state, c.version) for c in change.cancellations] == [("completed", 3)], "sent, arrived"
    assert make.types(change) == ["refund.succeeded", "cancellation.completed", "payment.refunded"]
    said = [make.body(record) for record in change.records]
    assert [(one["from_state"], one["to_state"]) for one in said] == [("refunding", "refunded")] * 3
    assert {one["actor"]["role"] for one in said} == {"provider"}
    assert {one["data"]["cancellation_id"] for one in said} == {f"can_{make.newest(snapshot).id.hex}"}


def test_a_part_that_arrived_leaves_the_payment_completed() -> None:
    snapshot = make.sent(make.asked(make.completed(), make.requested(amount=100)))
    change = make.learn(snapshot, snapshot.legs[0], make.done(snapshot.legs[0]))

    assert change is not None
    assert make.sums(change.payment) == ("completed", 100, 0, (100,))
    assert make.types(change) == ["refund.succeeded", "cancellation.completed"]


def test_what_was_charged_back_is_not_left_to_refund() -> None:
    snapshot = make.with_payment(make.completed(), amount_charged_back=100)
    after = make.refunded(snapshot)

    assert make.sums(after.payment) == ("refunded", 200, 0, (200,))


def test_one_leg_fails_and_one_succeeds() -> None:
    for bad, good in ((0, 1), (1, 0)):
        snapshot = make.sent(make.asked(make.completed(funding=BOTH)))
        legs = snapshot.legs

        snapshot = make.told(snapshot, legs[bad], Declined("no"))
        assert make.newest(snapshot).state is CancellationState.executing
        change = make.learn(snapshot, legs[good], make.done(legs[good]))

        assert change is not None
        assert make.types(change) == ["refund.succeeded", "cancellation.needs_attention"]
        after = change.after(snapshot)
        assert after.refunds[0].state is LegState.failed
        assert after.payment.state is PaymentState.refunding
        assert (after.payment.amount_refunded, after.payment.amount_reserved) == (legs[good].amount, legs[bad].amount)
        assert after.payment.allocated == (100, 200), "the failed leg's share stays reserved for this refund"


def test_the_last_leg_to_fail_calls_for_a_person() -> None:
    snapshot = make.sent(make.asked(make.completed(funding=BOTH)))
    one, other = snapshot.legs
    snapshot = make.told(snapshot, one, make.done(one))
    change = make.learn(snapshot, other, Declined("no"))

    assert make.types(change) == ["refund.failed", "cancellation.needs_attention"]


def test_a_leg_that_waited_for_somebody_completes_the_cancellation_later() -> None:
    snapshot = make.sent(make.asked(make.completed(funding=BOTH)))
    one, other = snapshot.legs
    snapshot = make.told(make.told(snapshot, one, make.done(one)), other, NeedsAction())
    assert make.newest(snapshot).state is CancellationState.needs_attention

    change = make.learn(snapshot, other, make.done(other))

    assert make.types(change) == ["refund.succeeded", "cancellation.completed", "payment.refunded"]
    assert change is not None
    assert make.sums(change.payment) == ("refunded", 300, 0, (100, 200))


def test_a_leg_that_goes_on_after_a_person_was_called_needs_no_second_call() -> None:
    snapshot, leg = leg_in("refund", "submitted")
    snapshot = make.told(snapshot, leg, NeedsAction())
    snapshot = make.told(snapshot, leg, Pending())
    assert make.newest(snapshot).state is CancellationState.needs_attention

    assert make.types(make.learn(snapshot, leg, Declined("no"))) == ["refund.failed"]


def test_money_that_comes_back_is_reserved_again() -> None:
    snapshot = make.refunded(make.completed(funding=BOTH))
    leg = snapshot.legs[1]
    change = make.learn(snapshot, leg, Returned("account_closed"))

    assert change is not None
    assert make.sums(change.payment) == ("refunding", 100, 200, (100, 200))
    (row,) = change.cancellations
    assert (row.state, row.reopened) == ("needs_attention", True)
    assert make.types(change) == ["refund.returned", "cancellation.reopened"]
    after = change.after(snapshot)
    assert after.open_cancellation is None
    assert after.refunds[0].state is LegState.returned

    second = make.learn(after, snapshot.legs[0], Returned())
    assert make.types(second) == ["refund.returned"]
    assert second is not None
    assert make.sums(second.payment) == ("refunding", 0, 300, (100, 200))


def test_money_of_one_leg_comes_back_while_another_is_under_way() -> None:
    snapshot = make.sent(make.asked(make.completed(funding=BOTH)))
    one, other = snapshot.legs
    snapshot = make.told(snapshot, one, make.done(one))
    snapshot = make.told(snapshot, one, Returned())
    assert make.newest(snapshot).state is CancellationState.executing
    assert make.sums(snapshot.payment) == ("refunding", 0, 300, (100, 200))

    snapshot = make.told(snapshot, other, make.done(other))

    assert make.newest(snapshot).state is CancellationState.needs_attention
    assert not make.newest(snapshot).reopened
    assert make.sums(snapshot.payment) == ("refunding", 200, 100, (100, 200))


def with_another_open() -> tuple[Snapshot, Leg]:
    snapshot = make.refunded(make.completed(), 100)
    (leg,) = snapshot.legs
    snapshot = make.with_payment(snapshot, merchant_id="merchant")
    return make.asked(snapshot, make.requested(amount=50)), leg


def test_money_that_comes_back_beside_an_open_cancellation_leaves_it_open() -> None:
    snapshot, leg = with_another_open()
    after = make.told(snapshot, leg, Returned())

    assert make.sums(after.payment) == ("cancel_requested", 0, 150, (100,))
    assert after.payment.origin_state is PaymentState.completed
    assert after.open_cancellation is not None
    assert after.open_cancellation.amount == 50


def test_withdrawing_beside_money_that_came_back_leaves_the_payment_refunding() -> None:
    snapshot, leg = with_another_open()
    snapshot = make.told(snapshot, leg, Returned())
    assert snapshot.open_cancellation is not None

    change = requests.withdraw(snapshot, snapshot.open_cancellation, make.context())

    assert make.sums(change.payment) == ("refunding", 0, 100, (100,))
    assert change.payment.origin_state is None


def test_a_payment_is_refunding_until_its_last_unfinished_cancellation_is_done() -> None:
    snapshot = make.refunded(make.completed(), 100)
    (returned,) = snapshot.legs
    snapshot = make.sent(make.asked(snapshot))
    open_ = snapshot.legs[-1]
    snapshot = make.told(snapshot, returned, Returned())
    snapshot = make.told(snapshot, open_, make.done(open_))

    assert make.sums(snapshot.payment) == ("refunding", 200, 100, (300,))
    assert sorted(c.state for c in snapshot.cancellations) == ["completed", "needs_attention"]


def test_sending_is_written_before_it_is_done_and_counted_each_time() -> None:
    snapshot, leg = leg_in("refund", "scheduled")
    first = outcomes.submit(snapshot, leg, make.context())
    after = first.after(snapshot)
    again = outcomes.submit(after, after.legs[0], make.context())

    assert [(one.state, one.attempts) for one in first.legs] == [("submitted", 1)]
    assert make.types(first) == ["refund.submitted"]
    assert after.refunds[0].state is LegState.submitted
    assert [(one.state, one.attempts, one.rail_key) for one in again.legs] == [("submitted", 2, leg.rail_key)]
    assert [again.records, again.payment.version] == [(), after.payment.version + 1]


def test_asking_again_later_is_no_event() -> None:
    snapshot, leg = leg_in("refund", "processing")
    change = outcomes.postpone(snapshot, replace(leg, next_attempt_at=SOON), make.context(NOW + DAY))

    assert [(one.state, one.next_attempt_at) for one in change.legs] == [("processing", SOON)]
    assert change.records == ()
    assert make.sums(change.payment) == make.sums(snapshot.payment)


def test_a_leg_without_its_cancellation_is_a_fault_of_ours() -> None:
    snapshot, leg = leg_in("refund", "submitted")

    with pytest.raises(LookupError):
        make.learn(replace(snapshot, cancellations=()), leg, WORDS["done"])


def test_a_void_that_moved_no_money_has_none_to_return() -> None:
    snapshot, leg = leg_in("void", "succeeded")

    assert leg.kind is LegKind.void
    assert make.anomalies(make.learn(snapshot, leg, Returned())) == ["give_back"]


def test_a_rail_that_says_failed_of_what_it_had_confirmed_has_returned_it() -> None:
    snapshot = make.refunded(make.completed(), 100)
    (leg,) = snapshot.legs
    change = make.learn(snapshot, leg, Declined("card_closed"))

    assert make.types(change) == ["refund.returned", "cancellation.reopened"]
    assert change is not None
    assert change.anomalies == ()
    assert make.sums(change.payment) == ("refunding", 0, 100, (100,))
    assert change.legs[0].failure_code == "card_closed"


def test_a_leg_that_was_paid_after_all_is_an_anomaly_that_says_whether_a_successor_was_paid_too() -> None:
    snapshot = make.sent(make.asked(make.completed()))
    (leg,) = snapshot.legs
    snapshot = make.told(snapshot, leg, Declined("no"))
    alone = make.learn(snapshot, leg, make.done(leg))
    successor = replace(leg, id=make.new_id(), replaces=leg.id, state=LegState.succeeded)
    beside = make.learn(replace(snapshot, legs=(*snapshot.legs, successor)), leg, make.done(leg))
    on_its_way = replace(successor, state=LegState.submitted)
    before = make.learn(replace(snapshot, legs=(*snapshot.legs, on_its_way)), leg, make.done(leg))

    kinds = [[row.kind for row in change.anomalies] for change in (alone, beside, before) if change is not None]
    assert kinds == [["paid_after_failure"], ["paid_twice"], ["paid_after_failure"]]
    assert alone is not None
    assert make.sums(alone.payment) == make.sums(snapshot.payment)


def test_two_words_about_one_leg_are_two_anomalies() -> None:
    snapshot, leg = leg_in("refund", "succeeded")

    one = make.told(snapshot, leg, Done(299, "CNY"))
    two = make.told(one, leg, Done(298, "CNY"))

    assert len({row.word for row in two.anomalies}) == len(two.anomalies) == 2


def test_the_versions_of_a_cancellation_and_its_refund_move_with_everything_that_is_shown_of_a_leg() -> None:
    snapshot = make.asked(make.completed())
    (leg,) = snapshot.legs
    seen = [(make.newest(snapshot).version, snapshot.refunds[0].version)]
    for change in (
        outcomes.submit(snapshot, leg, make.context()),
        make.learn(make.sent(snapshot), leg, Pending()),
        outcomes.postpone(snapshot, replace(leg, next_attempt_at=SOON), make.context()),
    ):
        assert change is not None
        seen.append((make.newest(change.after(snapshot)).version, change.after(snapshot).refunds[0].version))

    assert seen == [(1, 1), (2, 2), (3, 3), (2, 2)]


def test_what_the_rail_accepted_is_never_sent_again() -> None:
    assert {LegState.scheduled, LegState.submitted, LegState.unknown} == outcomes.MAY_BE_SENT


def test_a_void_under_way_of_which_something_came_back_starts_no_refund() -> None:
    snapshot = make.sent(make.asked(make.pending()))
    snapshot = payments.complete(snapshot, completed_at=None, provider_reference=None, terms=make.TERMS, context=make.context()).after(
        snapshot
    )

    change = make.learn(snapshot, snapshot.legs[0], Returned())

    assert make.types(change) == ["void.requires_action", "cancellation.needs_attention", "payment.anomaly"]


def test_what_is_said_of_a_leg_that_was_paid_after_all_is_never_dropped() -> None:
    snapshot = make.sent(make.asked(make.completed()))
    (leg,) = snapshot.legs
    snapshot = make.told(make.told(snapshot, leg, Declined("no")), leg, make.done(leg))

    for word in (Returned(), Declined("no")):
        change = make.learn(snapshot, leg, word)
        assert change is not None
        assert [row.kind for row in change.anomalies] == ["contradiction"]
