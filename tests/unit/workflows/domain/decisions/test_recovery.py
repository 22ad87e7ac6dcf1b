"""What a person does about a refund that is stuck: the same source again, or the wallet's balance, and who may order it."""

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, BOTH, SUCCESSORS, SUPERVISOR
from tests.unit.workflows.domain.decisions.test_requests_forfeits import FORFEITING
from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes, permitted, recovery, requests, successors
from workflows.domain.decisions.eligibility import foresee
from workflows.domain.decisions.recorded import ToldOutcome, record_outcome
from workflows.domain.enums import CancellationState, LegKind, LegState, Source
from workflows.domain.errors import CancellationOpen, Forbidden, Invalid, InvalidState, SecondApproverRequired
from workflows.domain.legs import TOLD_BY_PERSON, SuccessorRules
from workflows.domain.model import Actor, Funding, Snapshot
from workflows.domain.ports import Declined, Done, NeedsAction, Pending, Returned, Unknown

NO = Declined("account_closed")
OTHER = replace(AGENT, id="agent-2")
CARD_AND_COUPON = (
    Funding(source=Source.card, amount=200, provider="bank", provider_reference="k"),
    Funding(source=Source.coupon, amount=100, provider="shop", provider_reference="c"),
)


def failed(start: Snapshot | None = None, *, amount: int | None = None) -> Snapshot:
    snapshot = make.sent(make.asked(make.completed() if start is None else start, make.requested(amount=amount)))
    for leg in snapshot.legs:
        snapshot = make.told(snapshot, leg, NO)
    return snapshot


def retry(snapshot: Snapshot, actor: Actor = AGENT, at: int = 0) -> Change:
    return recovery.retry(snapshot, snapshot.cancellations[at], successors=SUCCESSORS, note="once more", context=make.context(actor=actor))


def redirect(snapshot: Snapshot, actor: Actor = AGENT, rules: SuccessorRules = SUCCESSORS) -> Change:
    return recovery.redirect(snapshot, make.newest(snapshot), successors=rules, context=make.context(actor=actor))


def close(snapshot: Snapshot, actor: Actor = AGENT, at: int = 0) -> Change:
    return recovery.close(snapshot, snapshot.cancellations[at], context=make.context(actor=actor))


def record(snapshot: Snapshot, actor: Actor, *, succeeded: bool, at: int = 0) -> Change:
    leg = snapshot.legs[at]
    told = ToldOutcome(leg_id=leg.id, succeeded=succeeded, note="in the book", provider_refund_id="re-7", rail_reference="arn-7")
    context, row = make.context(actor=actor), snapshot.cancellations[0]
    return record_outcome(snapshot, row, told=told, successors=SUCCESSORS, terms=make.TERMS, context=context)


def offered(snapshot: Snapshot, actor: Actor = AGENT, at: int = 0) -> set[str]:
    names = {"retry", "redirect", "close", "record_outcome"}
    return names & set(permitted.actions(snapshot, snapshot.cancellations[at], make.TERMS, actor, make.NOW))


def silent() -> Snapshot:
    """Nobody knows what became of the leg, and a person was called."""
    snapshot = make.sent(make.asked(make.completed()))
    snapshot = make.told(snapshot, snapshot.legs[0], Unknown("timeout"))
    return make.with_cancellation(snapshot, snapshot.cancellations[0], state=CancellationState.needs_attention)


def beside() -> Snapshot:
    """Of 300 the first 100 arrived and came back; another 150 were asked for meanwhile, and the merchant owes an answer."""
    snapshot = make.refunded(make.completed(), 100)
    snapshot = make.told(snapshot, snapshot.legs[0], Returned())
    assert make.sums(snapshot.payment) == ("refunding", 0, 100, (100,))
    return make.asked(make.with_payment(snapshot, merchant_id="merchant"), make.requested(amount=150))


def test_a_retry_sends_a_successor_to_the_same_source() -> None:
    snapshot = failed()
    change = retry(snapshot)

    first, second = change.after(snapshot).legs
    assert make.types(change) == ["refund.retried", "refund.scheduled"]
    assert first.state == "failed"
    assert (second.replaces, second.source, second.position, second.amount) == (first.id, "balance", 0, 300)
    assert (second.provider, second.provider_reference) == ("sandbox", f"{first.provider_reference}+")
    assert second.rail_key != first.rail_key
    assert (second.state, second.attempts, second.sent_at, second.first_sent_at, second.answers) == ("scheduled", 0, None, None, ())
    assert (second.failure_code, second.outcome_source, second.provider_refund_id) == (None, None, None)
    assert [(job.subject_id, job.provider, job.run_at) for job in change.jobs] == [(second.id, "sandbox", make.NOW)]
    row = make.newest(change.after(snapshot))
    assert (row.state, row.clock, row.deadline_at) == ("executing", None, None)
    assert [refund.state.value for refund in make.refunds(change)] == ["scheduled"]
    assert make.sums(change.payment) == ("refunding", 0, 300, (300,))
    assert make.body(change.records[0])["data"]["recovery_note_digest"]
    assert make.sums(make.arrived(change.after(snapshot)).payment) == ("refunded", 300, 0, (300,))


def test_only_what_is_stuck_is_sent_anew() -> None:
    snapshot = make.sent(make.asked(make.completed(funding=BOTH)))
    snapshot = make.told(make.told(snapshot, snapshot.legs[0], make.done(snapshot.legs[0])), snapshot.legs[1], NO)
    change = retry(snapshot)

    assert [(leg.position, leg.amount) for leg in change.legs] == [(1, 200)]
    assert make.body(change.records[0])["data"]["legs"] == [f"leg_{snapshot.legs[1].id.hex}"]


def test_a_redirect_pays_the_balance_and_the_share_stays_where_it_was() -> None:
    snapshot = failed(make.completed(funding=BOTH), amount=150)
    change = redirect(snapshot)

    legs = change.after(snapshot).legs[2:]
    assert [(leg.source, leg.provider, leg.provider_reference) for leg in legs] == [
        ("coupon", "sandbox", "c+"),  # a promotion goes back in kind
        ("balance", "wallet", "b+"),
    ]
    assert [(leg.position, leg.amount) for leg in legs] == [(0, 50), (1, 100)]
    data = make.body(change.records[0])["data"]
    assert make.types(change)[0] == "refund.redirected"
    assert (data["destination"], data["consent"], data["channel"]) == ("balance", True, "hotline")
    assert make.sums(make.arrived(change.after(snapshot)).payment) == ("completed", 150, 0, (50, 100))


def test_a_payment_without_a_balance_is_redirected_by_the_default_rail() -> None:
    snapshot = failed(make.completed(funding=CARD_AND_COUPON))
    change = redirect(snapshot, rules=SuccessorRules("default", lambda provider, reference: f"{provider}/{reference}"))

    legs = change.after(snapshot).legs[2:]
    assert [(leg.source, leg.provider, leg.provider_reference) for leg in legs] == [
        ("balance", "default", "default/wallet-1"),
        ("coupon", "shop", "shop/c"),
    ]
    assert {job.provider for job in change.jobs} == {"default", "shop"}


def test_a_retry_after_a_redirect_pays_the_balance_again() -> None:
    snapshot = redirect(failed(make.completed(funding=CARD_AND_COUPON))).after(failed())
    assert snapshot.legs[-2].source is Source.balance
    snapshot = make.sent(snapshot)
    for leg in snapshot.legs[-2:]:
        snapshot = make.told(snapshot, leg, NO)
    assert {leg.source for leg in retry(snapshot).after(snapshot).legs[-2:]} == {Source.balance, Source.coupon}


def test_nothing_is_done_while_an_outcome_is_open() -> None:
    snapshot = make.sent(make.asked(make.completed(funding=BOTH)))
    snapshot = make.told(make.told(snapshot, snapshot.legs[0], NO), snapshot.legs[1], Pending())
    snapshot = make.with_cancellation(snapshot, snapshot.cancellations[0], state=CancellationState.needs_attention)

    assert offered(snapshot) == {"record_outcome"}
    for order in (retry, redirect, close):
        with pytest.raises(InvalidState):
            order(snapshot)


def test_what_is_executed_is_not_recovered() -> None:
    snapshot = make.asked(make.completed())
    assert offered(snapshot) == set()
    for order in (retry, redirect, close):
        with pytest.raises(InvalidState):
            order(snapshot)


def test_a_case_that_was_raised_is_a_supervisors() -> None:
    snapshot = failed()
    snapshot = make.with_cancellation(snapshot, snapshot.cancellations[0], raised=True)

    assert (offered(snapshot), offered(snapshot, SUPERVISOR)) == (set(), {"retry", "redirect", "close"})
    for order in (retry, redirect, close):
        with pytest.raises(Forbidden):
            order(snapshot)
        assert make.newest(order(snapshot, SUPERVISOR).after(snapshot)).raised is False


def test_a_person_records_that_it_arrived() -> None:
    snapshot = silent()
    change = record(snapshot, AGENT, succeeded=True)

    (leg,) = change.legs
    assert (leg.state, leg.outcome_source, leg.provider_refund_id, leg.rail_reference) == ("succeeded", "person", "re-7", "arn-7")
    assert [(one.call, one.answer, one.by) for one in leg.answers[-1:]] == [("person", "succeeded", AGENT.id)]
    assert make.types(change) == ["refund.succeeded", "cancellation.completed", "payment.refunded"]
    assert make.body(change.records[0])["data"]["outcome_note_digest"]
    assert [text.value for text in change.texts] == ["in the book"]


def test_whoever_recorded_a_failure_does_not_send_the_successor() -> None:
    snapshot = record(silent(), AGENT, succeeded=False).after(silent())
    snapshot = silent()
    snapshot = record(snapshot, AGENT, succeeded=False).after(snapshot)

    assert (snapshot.legs[0].state, snapshot.legs[0].failure_code) == ("failed", "told_by_person")
    for order in (retry, redirect):
        with pytest.raises(SecondApproverRequired):
            order(snapshot, AGENT)
        assert order(snapshot, OTHER).legs[-1].state == "scheduled"
    with pytest.raises(SecondApproverRequired):
        close(snapshot, AGENT)
    assert offered(snapshot, AGENT) == set()
    assert offered(snapshot, OTHER) == {"retry", "redirect", "close"}


def test_whoever_asked_does_not_record_the_outcome() -> None:
    snapshot = silent()
    mine = make.with_cancellation(snapshot, snapshot.cancellations[0], requested_by=AGENT)

    assert (offered(mine), offered(mine, OTHER)) == (set(), {"record_outcome"})
    with pytest.raises(SecondApproverRequired):
        record(mine, AGENT, succeeded=True)


def test_what_is_over_or_executed_or_another_s_is_not_recorded() -> None:
    with pytest.raises(InvalidState):
        record(failed(), AGENT, succeeded=True)
    with pytest.raises(InvalidState):
        record(make.sent(make.asked(make.completed())), AGENT, succeeded=True)
    strange = replace(silent(), legs=())
    with pytest.raises(IndexError):
        record(strange, AGENT, succeeded=True)
    snapshot = silent()
    told = ToldOutcome(leg_id=make.new_id(), succeeded=True, note="")
    with pytest.raises(Invalid):
        record_outcome(snapshot, make.newest(snapshot), told=told, successors=SUCCESSORS, terms=make.TERMS, context=make.context())


def test_money_that_came_back_is_sent_again() -> None:
    snapshot = make.refunded(make.completed())
    snapshot = make.told(snapshot, snapshot.legs[0], Returned())
    row = make.newest(snapshot)
    assert (row.state, row.reopened, snapshot.payment.state) == ("needs_attention", True, "refunding")
    snapshot = retry(snapshot).after(snapshot)

    assert [leg.state.value for leg in snapshot.legs] == ["returned", "scheduled"]
    assert make.sums(make.arrived(snapshot).payment) == ("refunded", 300, 0, (300,))


def test_a_new_request_beside_money_that_came_back() -> None:
    snapshot = beside()

    assert [row.state.value for row in snapshot.cancellations] == ["needs_attention", "awaiting_merchant"]
    assert make.sums(snapshot.payment) == ("cancel_requested", 0, 250, (100,))
    assert snapshot.payment.origin_state == "completed"
    with pytest.raises(CancellationOpen):
        make.asked(snapshot)


def test_eligibility_says_the_same_as_the_request() -> None:
    snapshot = make.refunded(make.completed(), 100)
    snapshot = make.told(snapshot, snapshot.legs[0], Returned())
    outlook = foresee(snapshot, make.requested(), make.TERMS, make.NOW)

    assert outlook.refused is None
    assert outlook.allocation == ((Source.balance, 200),)
    assert outlook.is_void is False
    blocked = retry(snapshot).after(snapshot)
    assert foresee(blocked, make.requested(), make.TERMS, make.NOW).refused is None
    assert isinstance(foresee(beside(), make.requested(), make.TERMS, make.NOW).refused, CancellationOpen)


def test_withdrawing_it_leads_back_to_the_refund_that_waits() -> None:
    snapshot = beside()
    change = requests.withdraw(snapshot, snapshot.cancellations[1], make.context())

    assert make.sums(change.payment) == ("refunding", 0, 100, (100,))
    assert change.payment.origin_state is None


def test_its_refund_arrives_while_the_other_still_waits() -> None:
    snapshot = make.refunded(make.completed(), 100)
    snapshot = make.told(snapshot, snapshot.legs[0], Returned())
    snapshot = make.arrived(make.asked(snapshot, make.requested(amount=200)))

    assert [row.state.value for row in snapshot.cancellations] == ["needs_attention", "completed"]
    assert make.sums(snapshot.payment) == ("refunding", 200, 100, (300,))
    after = make.arrived(retry(snapshot).after(snapshot))
    assert make.sums(after.payment) == ("refunded", 300, 0, (300,))
    given_up = close(snapshot)
    assert make.sums(given_up.payment) == ("completed", 200, 0, (200,))


def test_money_comes_back_beside_an_open_request() -> None:
    snapshot = make.refunded(make.completed(), 100)
    snapshot = make.asked(make.with_payment(snapshot, merchant_id="merchant"), make.requested(amount=150))
    change = make.learn(snapshot, snapshot.legs[0], Returned())

    assert change is not None
    assert make.sums(change.payment) == ("cancel_requested", 0, 250, (100,))
    after = change.after(snapshot)
    paid = make.arrived(retry(after).after(after))
    assert make.sums(paid.payment) == ("cancel_requested", 100, 150, (100,))
    closed = close(after)
    assert make.sums(closed.payment) == ("cancel_requested", 0, 150, (0,))


def test_with_nothing_paid_promotions_that_were_forfeited_are_given_back() -> None:
    for paid in (False, True):
        snapshot = make.sent(
            make.request(make.completed(funding=(*BOTH, *CARD_AND_COUPON[:1]), amount=500), terms=FORFEITING).after(
                make.completed(funding=(*BOTH, *CARD_AND_COUPON[:1]), amount=500)
            )
        )
        first, second = snapshot.legs
        assert snapshot.payment.amount_forfeited == 100
        snapshot = make.told(make.told(snapshot, first, make.done(first) if paid else NO), second, NO)
        change = close(snapshot)

        assert change.payment.amount_forfeited == (100 if paid else 0)
        assert make.sums(change.payment) == ("completed", 200 if paid else 0, 0, (100, 200, 0) if paid else (0, 0, 0))
        assert change.cancellations[-1].forfeited == ((100, 0, 0) if paid else ())


def test_a_leg_that_needs_somebody_and_one_that_failed() -> None:
    snapshot = make.sent(make.asked(make.completed(funding=BOTH)))
    snapshot = make.told(make.told(snapshot, snapshot.legs[0], NeedsAction()), snapshot.legs[1], NO)
    change = retry(snapshot)

    assert make.types(change) == ["refund.retried", "refund.requires_action", "refund.scheduled"]
    assert change.hastened == (snapshot.legs[0].id,)
    assert [(leg.position, leg.recovery) for leg in change.legs] == [(0, "retry"), (1, None)]
    assert recovery.predecessors(change.after(snapshot), change.legs[1]) == (snapshot.legs[1],)
    assert outcomes.submit(change.after(snapshot), change.legs[1], make.context()).legs[0].state == "submitted"


def test_a_refund_waits_for_the_word_about_a_void_that_only_a_person_has_called_failed() -> None:
    """The payment settles, and the refund follows by itself: its rail may still carry the void out, and both would move."""
    snapshot = make.sent(make.asked(make.pending()))
    [void] = snapshot.legs
    failed = replace(void, state=LegState.failed, failure_code=TOLD_BY_PERSON)
    refund = replace(void, id=make.new_id(), kind=LegKind.refund, state=LegState.scheduled, attempts=0)

    after = replace(snapshot, legs=(failed, refund))

    assert recovery.predecessors(after, refund) == (failed,)
    assert recovery.predecessors(replace(after, legs=(replace(failed, failure_code="declined"), refund)), refund) == ()
    assert not successors.lets_send(failed, Pending())
    assert not successors.lets_send(failed, Done(failed.amount, failed.currency))
    assert successors.lets_send(failed, Declined("account_closed"))
