"""How an approved cancellation becomes movements: voids, refunds, and what the payment's own fate does to them."""

from collections.abc import Iterable
from datetime import datetime
from itertools import permutations

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import BOTH, NOW
from workflows.domain import ids
from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes, payments
from workflows.domain.decisions.execution import order, worst
from workflows.domain.enums import CancellationState, JobKind, LegKind, LegState, PaymentFailure, PaymentState, Source
from workflows.domain.legs import Leg
from workflows.domain.model import Funding, Snapshot
from workflows.domain.ports import Declined, NeedsAction, Pending, Settled, Unknown


def complete(snapshot: Snapshot, at: datetime | None = None) -> Change:
    return payments.complete(snapshot, completed_at=at, provider_reference=None, terms=make.TERMS, context=make.context())


def fail(snapshot: Snapshot, detail: str | None = None) -> Change:
    return payments.fail(snapshot, code=PaymentFailure.network, detail=detail, context=make.context())


def shares(legs: Iterable[Leg]) -> list[tuple[str, int, int]]:
    return [(leg.source.value, leg.position, leg.amount) for leg in legs]


def test_a_pending_payment_is_voided_whole_at_every_source() -> None:
    snapshot = make.pending(funding=BOTH)
    change = make.request(snapshot)

    assert make.sums(change.payment) == ("cancel_requested", 0, 300, (0, 0))
    assert shares(change.legs) == [("coupon", 0, 100), ("balance", 1, 200)]
    assert {(leg.kind, leg.state, leg.refund_id) for leg in change.legs} == {(LegKind.void, LegState.scheduled, None)}
    assert [(job.kind, job.subject_id, job.run_at) for job in change.jobs] == [(JobKind.move, leg.id, NOW) for leg in change.legs]
    assert make.refunds(change) == ()


def test_a_settled_payment_is_refunded_in_a_leg_per_source() -> None:
    change = make.request(make.completed(funding=BOTH), make.requested(amount=30))

    assert make.sums(change.payment) == ("refunding", 0, 30, (10, 20))
    assert shares(change.legs) == [("coupon", 0, 10), ("balance", 1, 20)]
    (refund,) = make.refunds(change)
    assert (refund.amount, refund.state, refund.version, {leg.refund_id for leg in change.legs}) == (30, "scheduled", 1, {refund.id})
    assert [leg.provider for leg in change.legs] == ["sandbox", "wallet"]
    assert [leg.rail_key for leg in change.legs] == [ids.rail_key(change.payment.id, leg.id) for leg in change.legs]
    assert len(change.jobs) == 2


def test_a_share_of_nothing_makes_no_leg() -> None:
    change = make.request(make.completed(funding=BOTH, merchant_id="cash-first"), make.requested(amount=200))

    assert shares(change.legs) == [("balance", 1, 200)]
    assert change.payment.allocated == (0, 200)


def test_an_overridden_rule_does_not_choose_the_sources_of_a_later_one() -> None:
    snapshot = make.refunded(make.completed(funding=BOTH, merchant_id="cash-first"), 150)

    after = make.asked(snapshot)

    assert shares(after.legs_of(make.newest(after).id, LegKind.refund)) == [("coupon", 0, 100), ("balance", 1, 50)]


def test_partial_refunds_are_counted_when_their_money_starts_to_move() -> None:
    handed_off = make.request(make.completed(merchant_id="merchant"), make.requested(amount=100))
    partial = make.request(make.completed(), make.requested(amount=100))
    whole = make.request(make.completed())

    assert (handed_off.payment.partial_refunds, handed_off.payment.last_partial_at) == (0, None)
    assert (partial.payment.partial_refunds, partial.payment.last_partial_at) == (1, NOW)
    assert (whole.payment.partial_refunds, whole.payment.last_partial_at) == (0, None)


def test_the_rail_is_told_the_same_at_every_attempt() -> None:
    snapshot = make.asked(make.completed(funding=BOTH))
    first = [order(snapshot.payment, leg) for leg in snapshot.legs]
    snapshot = make.sent(snapshot)
    snapshot = make.told(snapshot, snapshot.legs[0], Unknown("timeout"))
    snapshot = outcomes.submit(snapshot, snapshot.legs[0], make.context()).after(snapshot)

    assert [order(snapshot.payment, leg) for leg in snapshot.legs] == first
    assert (first[0].payment_reference, first[0].provider_reference, first[0].amount) == ("order-1", "c", 100)
    assert snapshot.legs[0].attempts == 2


def test_a_source_without_a_name_of_its_own_goes_by_the_payments() -> None:
    snapshot = make.asked(make.completed())

    assert order(snapshot.payment, snapshot.legs[0]).provider_reference == "order-1"


WORST_FIRST = ["failed", "returned", "requires_action", "unknown", "held", "scheduled", "submitted", "processing", "succeeded"]


@pytest.mark.parametrize(("one", "other"), list(permutations(WORST_FIRST, 2)))
def test_a_refund_is_as_well_as_its_worst_leg(one: str, other: str) -> None:
    legs = make.asked(make.completed(funding=BOTH)).legs
    both = [replace(legs[0], state=LegState(one)), replace(legs[1], state=LegState(other))]

    assert worst(both) == min(one, other, key=WORST_FIRST.index)


def test_the_refund_follows_its_legs() -> None:
    snapshot = make.asked(make.completed(funding=BOTH))
    states = [snapshot.refunds[0].state]
    snapshot = make.sent(snapshot)
    states.append(snapshot.refunds[0].state)
    for leg, word in ((snapshot.legs[0], Pending()), (snapshot.legs[1], Pending()), (snapshot.legs[0], NeedsAction())):
        snapshot = make.told(snapshot, leg, word)
        states.append(snapshot.refunds[0].state)

    assert states == ["scheduled", "submitted", "submitted", "processing", "requires_action"]


def test_a_void_of_all_sources_cancels_the_payment() -> None:
    snapshot = make.sent(make.asked(make.pending(funding=BOTH)))
    half = make.told(snapshot, snapshot.legs[0], make.done(snapshot.legs[0]))
    change = make.learn(half, half.legs[1], make.done(half.legs[1]))

    assert make.sums(half.payment) == ("cancel_requested", 0, 300, (0, 0))
    assert make.newest(half).state is CancellationState.executing
    assert change is not None
    assert make.sums(change.payment) == ("cancelled", 0, 0, (0, 0))
    assert change.payment.origin_state is None
    assert make.types(change) == ["void.succeeded", "cancellation.completed", "payment.voided"]


def test_a_void_that_one_source_refused_is_a_persons_matter_once_the_others_have_ended() -> None:
    snapshot = make.sent(make.asked(make.pending(funding=BOTH)))
    half = make.told(snapshot, snapshot.legs[0], Declined("no"))
    whole = make.told(half, half.legs[1], make.done(half.legs[1]))

    assert make.newest(half).state is CancellationState.executing
    assert make.newest(whole).state is CancellationState.needs_attention
    assert make.sums(whole.payment) == ("cancel_requested", 0, 300, (0, 0))


def test_a_void_that_waits_for_somebody_calls_a_person_and_completes_afterwards() -> None:
    snapshot = make.sent(make.asked(make.pending(funding=BOTH)))
    first, second = snapshot.legs
    snapshot = make.told(snapshot, first, NeedsAction())
    assert make.newest(snapshot).state is CancellationState.executing  # the other one is still under way

    snapshot = make.told(snapshot, second, make.done(second))
    assert make.newest(snapshot).state is CancellationState.needs_attention

    snapshot = make.told(snapshot, first, make.done(first))
    assert make.newest(snapshot).state is CancellationState.completed
    assert snapshot.payment.state is PaymentState.cancelled


@pytest.mark.parametrize("capture_told_by", ["wallet", "rail"])
def test_what_was_voided_before_the_capture_is_not_refunded_again(capture_told_by: str) -> None:
    snapshot = make.sent(make.asked(make.pending(funding=BOTH)))
    voided, open_ = snapshot.legs
    snapshot = make.told(snapshot, voided, make.done(voided))
    if capture_told_by == "wallet":
        snapshot = complete(snapshot).after(snapshot)
    after = make.told(snapshot, open_, Settled())

    assert make.sums(after.payment) == ("refunding", 100, 200, (100, 200))
    assert shares(after.legs_of(make.newest(after).id, LegKind.refund)) == [("balance", 1, 200)]
    assert [refund.amount for refund in after.refunds] == [200]
    assert make.sums(make.arrived(after).payment) == ("refunded", 300, 0, (100, 200))


def test_a_capture_found_by_one_void_drops_those_not_sent() -> None:
    snapshot = make.asked(make.pending(funding=BOTH))
    found = outcomes.submit(snapshot, snapshot.legs[0], make.context()).after(snapshot)
    change = make.learn(found, found.legs[0], Settled())

    assert make.types(change) == ["void.failed", "payment.completed", "void.failed", "refund.scheduled", "refund.scheduled"]
    assert change is not None
    assert make.sums(change.payment) == ("refunding", 0, 300, (100, 200))
    assert change.payment.completed_at == NOW


def test_sources_that_ended_differently_still_sum() -> None:
    funding = tuple(Funding(source=Source.card, amount=n, provider="sandbox", provider_reference=f"{n}") for n in (1, 2, 3))
    snapshot = make.sent(make.asked(make.pending(amount=6, funding=funding)))
    one, two, three = snapshot.legs
    snapshot = make.told(snapshot, two, make.done(two))
    snapshot = make.told(snapshot, one, Declined("no"))
    snapshot = complete(snapshot).after(snapshot)
    assert snapshot.payment.state is PaymentState.cancel_requested  # the third is still under way

    after = make.told(snapshot, three, make.done(three))

    assert make.sums(after.payment) == ("refunding", 5, 1, (1, 2, 3))
    assert make.sums(make.arrived(after).payment) == ("refunded", 6, 0, (1, 2, 3))


def test_a_void_that_was_not_sent_becomes_a_refund_at_once() -> None:
    snapshot = make.asked(make.pending(funding=BOTH))
    change = complete(snapshot, NOW)
    after = change.after(snapshot)

    assert make.sums(after.payment) == ("refunding", 0, 300, (100, 200))
    assert after.payment.completed_at == NOW
    assert [(leg.kind, leg.state, leg.amount) for leg in after.legs] == [
        (LegKind.void, LegState.failed, 100),
        (LegKind.void, LegState.failed, 200),
        (LegKind.refund, LegState.scheduled, 100),
        (LegKind.refund, LegState.scheduled, 200),
    ]
    assert {leg.failure_code for leg in after.legs if leg.kind is LegKind.void} == {"payment_settled"}
    assert [job.subject_id for job in change.jobs] == [leg.id for leg in after.legs if leg.kind is LegKind.refund]
    assert make.types(change) == ["payment.completed", "void.failed", "void.failed", "refund.scheduled", "refund.scheduled"]
    assert make.sums(make.arrived(after).payment) == ("refunded", 300, 0, (100, 200))


@pytest.mark.parametrize("state", [LegState.submitted, LegState.processing, LegState.unknown, LegState.requires_action])
def test_a_void_under_way_is_waited_for(state: LegState) -> None:
    snapshot = make.sent(make.asked(make.pending()))
    snapshot = make.with_leg(snapshot, snapshot.legs[0], state=state)
    change = complete(snapshot, NOW)

    assert (change.payment.state, change.payment.origin_state, change.payment.amount_reserved) == ("cancel_requested", "completed", 300)
    # What waits for somebody is a person's matter: his clock has a job.
    assert (change.legs, [job.kind for job in change.jobs]) == ((), ["deadline"] if state is LegState.requires_action else [])
    assert "refund.scheduled" not in make.types(change)


def test_a_void_that_comes_through_after_all_wins_and_is_strange() -> None:
    snapshot = make.sent(make.asked(make.pending()))
    snapshot = complete(snapshot).after(snapshot)
    change = make.learn(snapshot, snapshot.legs[0], make.done(snapshot.legs[0]))

    assert change is not None
    assert make.sums(change.payment) == ("cancelled", 0, 0, (0,))
    assert make.types(change) == ["void.succeeded", "cancellation.completed", "payment.voided", "payment.anomaly"]
    assert make.anomalies(change) == ["voided_after_completed"]


@pytest.mark.parametrize("word", [Settled(), Declined("captured")])
def test_a_void_that_did_not_come_through_is_a_refund_then(word: Settled | Declined) -> None:
    snapshot = make.sent(make.asked(make.pending()))
    snapshot = complete(snapshot).after(snapshot)
    after = make.told(snapshot, snapshot.legs[0], word)

    assert make.sums(after.payment) == ("refunding", 0, 300, (300,))
    assert [(leg.kind, leg.state) for leg in after.legs] == [("void", "failed"), ("refund", "scheduled")]
    assert make.newest(after).state is CancellationState.executing


def test_a_void_that_failed_for_good_becomes_a_refund_when_the_payment_completes() -> None:
    snapshot = make.sent(make.asked(make.pending()))
    snapshot = make.told(snapshot, snapshot.legs[0], Declined("no"))
    assert make.newest(snapshot).state is CancellationState.needs_attention

    after = complete(snapshot).after(snapshot)

    assert make.sums(after.payment) == ("refunding", 0, 300, (300,))
    assert make.newest(after).state is CancellationState.executing


def test_a_cancellation_that_waits_for_a_second_person_goes_on_waiting() -> None:
    snapshot = make.asked(make.pending(amount=20_000), make.requested(actor=make.AGENT))
    assert make.newest(snapshot).state is CancellationState.awaiting_second_approval

    change = complete(snapshot)

    assert (change.payment.state, change.payment.origin_state) == ("cancel_requested", "completed")
    assert [(row.state, row.version) for row in change.cancellations] == [("awaiting_second_approval", 2)], "its customer is told of it"


def test_a_payment_that_fails_takes_its_cancellation_with_it() -> None:
    snapshot = make.asked(make.pending())
    change = fail(snapshot, "timeout at the bank")

    assert make.sums(change.payment) == ("failed", 0, 0, (0,))
    assert (change.payment.failure_code, change.payment.origin_state) == ("network", None)
    assert [(c.state, c.deadline_at, c.version) for c in change.cancellations] == [("completed", None, 2)]
    assert [(leg.state, leg.failure_code) for leg in change.legs] == [("failed", "payment_failed")]
    assert make.types(change) == ["payment.failed", "void.failed", "cancellation.completed"]
    assert [text.name for text in change.texts] == ["failure_detail"]
    assert "bank" not in "".join(record.body for record in change.records)


def test_a_payment_without_a_cancellation_fails_alone() -> None:
    assert make.types(fail(make.pending())) == ["payment.failed"]


def test_a_void_under_way_when_the_payment_fails_ends_by_itself() -> None:
    snapshot = make.sent(make.asked(make.pending()))
    change = fail(snapshot)
    assert change.legs == ()

    after = change.after(snapshot)
    late = make.learn(after, after.legs[0], make.done(after.legs[0]))

    assert late is not None
    assert (late.payment.state, [leg.state for leg in late.legs]) == ("failed", ["succeeded"])
    assert late.anomalies == ()  # nothing was captured, and now nothing can be
    assert make.types(make.learn(after, after.legs[0], Declined("no"))) == ["void.failed"]
    captured = make.learn(after, after.legs[0], Settled())
    assert captured is not None
    assert [row.kind for row in captured.anomalies] == ["captured_late"]


def test_an_attempt_to_void_after_completion_keeps_its_key() -> None:
    snapshot = make.sent(make.asked(make.pending()))
    leg = snapshot.legs[0]
    snapshot = complete(snapshot).after(snapshot)
    again = outcomes.submit(snapshot, leg, make.context())

    assert [(one.rail_key, one.attempts, one.state) for one in again.legs] == [(leg.rail_key, 2, "submitted")]
    assert again.records == ()
