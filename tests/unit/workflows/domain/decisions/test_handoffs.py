"""Hand-offs: the merchant's answers, the customer's word on an offer, and the way to an agent."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, DAY, HOUR, LINES, MERCHANT, NOW, SUPERVISOR, TERMS
from workflows.domain.changes import Change
from workflows.domain.decisions import clocks, handoffs, permitted, requests
from workflows.domain.decisions.handoffs import Evidence, MerchantResponse
from workflows.domain.enums import CancellationState, MerchantDecision, PaymentState
from workflows.domain.errors import (
    AmountExceedsRefundable,
    CancellationOpen,
    Invalid,
    InvalidState,
    PartialNotSupported,
    PaymentDisputed,
    RefundryError,
)
from workflows.domain.model import Actor, Snapshot
from workflows.domain.times import rfc3339

YES, NO = (
    MerchantResponse(decision=MerchantDecision.accept),
    MerchantResponse(decision=MerchantDecision.decline, reason_code="used", note="worn"),
)
SENT_BACK = MerchantResponse(decision=MerchantDecision.accept_with_return)
OFFER = MerchantResponse(decision=MerchantDecision.offer, amount=120)
MICROSECOND = timedelta(microseconds=1)


def handed_off(actor: Actor = make.WALLET, **members: object) -> Snapshot:
    return make.asked(make.completed(merchant_id="merchant", **members), make.requested(actor=actor))


def decided(snapshot: Snapshot, answer: MerchantResponse, now: datetime = NOW) -> Change:
    return handoffs.decide(snapshot, make.newest(snapshot), answer, TERMS, make.context(now, MERCHANT))


def offered(now: datetime = NOW) -> Snapshot:
    snapshot = handed_off()
    return decided(snapshot, OFFER, now).after(snapshot)


def respond(snapshot: Snapshot, *, accept: bool, now: datetime = NOW) -> Change:
    return handoffs.respond(snapshot, make.newest(snapshot), accept=accept, terms=TERMS, context=make.context(now))


def escalated(snapshot: Snapshot, now: datetime = NOW) -> Change:
    return handoffs.escalate(snapshot, make.newest(snapshot), TERMS, make.context(now))


def declined(now: datetime = NOW) -> Snapshot:
    snapshot = handed_off(items=LINES)
    return decided(snapshot, NO, now).after(snapshot)


def test_a_yes_starts_the_refund_at_once() -> None:
    change = decided(handed_off(), YES, NOW + HOUR)

    (row,) = change.cancellations
    assert (row.state, row.clock, row.deadline_at, row.on_deadline) == ("executing", None, None, None)
    assert row.merchant is not None
    assert (row.merchant.decision, row.merchant.decided_at, row.merchant.decided_by) == ("accept", NOW + HOUR, "shop")
    assert make.sums(change.payment) == ("refunding", 0, 300, (300,))
    assert [leg.amount for leg in change.legs] == [300]
    assert set(make.types(change)) == {"cancellation.merchant_accepted", "refund.scheduled"}


@pytest.mark.parametrize("actor", [AGENT, SUPERVISOR])
def test_a_yes_to_what_one_of_ours_asked_for_above_the_limit_awaits_a_second_person(actor: Actor) -> None:
    change = decided(handed_off(actor, amount=20_000), YES)

    (row,) = change.cancellations
    assert (row.state, row.deadline_at, row.on_deadline) == ("awaiting_second_approval", NOW + DAY, "agent")
    assert change.legs == ()
    assert change.payment.state == "cancel_requested"
    assert make.types(change) == ["cancellation.merchant_accepted", "cancellation.second_approval_awaited"]


def test_a_yes_with_a_return_waits_for_the_goods() -> None:
    change = decided(handed_off(), SENT_BACK)

    (row,) = change.cancellations
    assert (row.state, row.deadline_at, row.on_deadline) == ("awaiting_return", NOW + 15 * DAY, "decline")
    assert change.payment.amount_reserved == 300
    assert change.legs == ()
    assert make.types(change) == ["cancellation.merchant_accepted", "cancellation.return_awaited"]


def test_a_no_gives_back_what_was_reserved_and_keeps_why() -> None:
    change = decided(handed_off(items=LINES), NO)

    (row,) = change.cancellations
    assert (row.state, row.declined_by, row.clock, row.deadline_at) == ("declined", "merchant", None, None)
    assert make.sums(change.payment) == ("completed", 0, 0, (0,))
    assert change.payment.cancelled_quantities == (0, 0)
    data = make.body(change.records[0])["data"]
    assert make.types(change) == ["cancellation.merchant_declined"]
    assert (data["decision"], data["reason_code"]) == ("decline", "used")
    assert [(text.name, text.value) for text in change.texts] == [("merchant_note", {"at": rfc3339(NOW), "note": "worn"})]
    assert "worn" not in change.records[0].body


def test_evidence_is_on_record_by_its_digest_and_its_name_can_be_erased() -> None:
    change = decided(handed_off(), replace(NO, note=None, evidence=(Evidence(name="Ms Li's photo", sha256="ab" * 32),)))

    assert make.body(change.records[0])["data"]["evidence"] == ["ab" * 32]
    files = [{"name": "Ms Li's photo", "sha256": "ab" * 32}]
    assert [(text.name, text.value) for text in change.texts] == [("evidence", {"at": rfc3339(NOW), "files": files})]
    assert "Ms Li" not in change.records[0].body


def test_an_offer_is_put_to_the_customer_and_reserves_all_until_he_answers() -> None:
    change = decided(handed_off(), OFFER, NOW + HOUR)

    (row,) = change.cancellations
    assert (row.state, row.offers, row.offer_amount, row.amount) == ("offered", 1, 120, 300)
    assert (row.deadline_at, row.on_deadline) == (NOW + 73 * HOUR, "agent")
    assert change.payment.amount_reserved == 300
    assert make.types(change) == ["cancellation.offered"]


@pytest.mark.parametrize("amount", [None, 0, 300, 301])
def test_an_offer_is_less_than_what_was_asked_for(amount: int | None) -> None:
    with pytest.raises(Invalid) as refused:
        decided(handed_off(), replace(OFFER, amount=amount))
    assert refused.value.pointer == "/amount"


def test_nothing_less_is_offered_where_only_the_whole_can_be_voided() -> None:
    snapshot = handed_off()
    pending = make.with_payment(snapshot, origin_state=PaymentState.pending, completed_at=None)

    with pytest.raises(PartialNotSupported):
        decided(pending, OFFER)


@pytest.mark.parametrize(
    ("limits", "meanwhile"),
    [({"partial_refunds_max": 0}, {}), ({"partial_interval": "2 hours"}, {"partial_refunds": 1, "last_partial_at": NOW - HOUR})],
)
def test_no_part_is_offered_that_policy_would_not_grant(limits: dict[str, object], meanwhile: dict[str, object]) -> None:
    terms = replace(TERMS, policy=make.policy(limits=limits))
    snapshot = make.with_payment(handed_off(), **meanwhile)
    row = make.newest(snapshot)

    assert "offer" not in permitted.actions(snapshot, row, terms, MERCHANT, NOW)
    assert "offer" in permitted.actions(snapshot, row, TERMS, MERCHANT, NOW)
    with pytest.raises(InvalidState):
        handoffs.decide(snapshot, row, OFFER, terms, make.context(NOW, MERCHANT))


def test_what_can_only_be_refused_is_not_offered() -> None:
    pending = make.with_payment(handed_off(), origin_state=PaymentState.pending, completed_at=None)
    least = handed_off(amount=1)

    for snapshot in (pending, least):
        assert "offer" not in permitted.actions(snapshot, make.newest(snapshot), TERMS, MERCHANT, NOW)


@pytest.mark.parametrize(("asked", "answered"), [("2026-11-24", "2026-11-27"), ("2026-11-27", "2026-11-30")])
def test_the_reminders_keep_their_places_in_the_time_that_an_offer_interrupted(asked: str, answered: str) -> None:
    """Two business days from a Friday are longer than from a Tuesday; the merchant's time is what it was."""
    terms = replace(TERMS, policy=make.policy(deadlines={"merchant": {"length": "2 business_days", "then": "agent"}}))
    start, no = (datetime.fromisoformat(f"{day}T09:00:00+00:00") for day in (asked, answered))
    settled = make.completed(merchant_id="merchant")
    snapshot = make.request(settled, now=start, terms=terms).after(settled)
    span = make.newest(snapshot).deadline_at - start  # type: ignore[operator]  # it waits
    offer = handoffs.decide(snapshot, make.newest(snapshot), OFFER, terms, make.context(start + HOUR, MERCHANT)).after(snapshot)

    row = make.newest(handoffs.respond(offer, make.newest(offer), accept=False, terms=terms, context=make.context(no)).after(offer))

    assert row.clock is not None
    assert row.deadline_at == no + span - HOUR
    assert row.clock.started_at == no - HOUR
    assert clocks.next_deadline_at(row) == no - HOUR + span / 2


def test_an_offer_that_is_taken_is_what_is_refunded() -> None:
    change = respond(offered(), accept=True)

    (row,) = change.cancellations
    assert (row.state, row.amount, row.partial, row.clock) == ("executing", 120, True, None)
    assert make.sums(change.payment) == ("refunding", 0, 120, (120,))
    assert change.payment.amount_refundable == 180
    data = make.body(change.records[0])["data"]
    assert make.types(change) == ["cancellation.offer_accepted", "refund.scheduled"]
    assert (data["offer_amount"], data["amount_before"]) == (120, 300)


def test_an_offer_that_is_not_taken_leaves_the_merchant_the_time_that_was_left() -> None:
    snapshot = offered(NOW + 8 * HOUR)

    change = respond(snapshot, accept=False, now=NOW + 30 * HOUR)

    (row,) = change.cancellations
    assert (row.state, row.amount, row.on_deadline) == ("awaiting_merchant", 300, "agent")
    assert row.deadline_at == NOW + 30 * HOUR + 40 * HOUR
    assert change.payment.amount_reserved == 300
    assert make.types(change) == ["cancellation.offer_declined"]
    (job,) = change.jobs
    assert row.clock is not None
    assert (job.subject_id, job.run_at) == (row.clock.id, NOW + 30 * HOUR + 16 * HOUR)  # half of his 48 hours


def test_a_merchant_offers_at_most_three_times() -> None:
    snapshot = handed_off()
    for times in (1, 2, 3):
        snapshot = decided(snapshot, OFFER).after(snapshot)
        assert make.newest(snapshot).offers == times
        snapshot = respond(snapshot, accept=False).after(snapshot)

    with pytest.raises(InvalidState):
        decided(snapshot, OFFER)
    assert decided(snapshot, YES).cancellations[0].state == "executing"


@pytest.mark.parametrize("answer", [YES, NO, SENT_BACK, OFFER], ids=lambda answer: answer.decision)
@pytest.mark.parametrize("state", [state for state in CancellationState if state is not CancellationState.awaiting_merchant])
def test_a_merchant_answers_a_hand_off_and_nothing_else(state: CancellationState, answer: MerchantResponse) -> None:
    snapshot = handed_off()

    with pytest.raises(InvalidState):
        decided(make.with_cancellation(snapshot, make.newest(snapshot), state=state), answer)


@pytest.mark.parametrize("accept", [True, False])
def test_only_an_offer_is_answered(accept: bool) -> None:
    with pytest.raises(InvalidState):
        respond(handed_off(), accept=accept)


def test_a_customer_turns_to_an_agent_while_the_merchant_is_silent() -> None:
    change = escalated(handed_off(), NOW + HOUR)

    (row,) = change.cancellations
    assert (row.state, row.on_deadline, row.assigned_to) == ("awaiting_agent", "agent", None)
    assert change.payment.amount_reserved == 300
    assert make.types(change) == ["cancellation.escalated"]
    assert make.body(change.records[0])["data"]["because"] == "awaiting_merchant"


def test_an_agent_who_decides_what_was_escalated_above_the_limit_does_not_decide_alone() -> None:
    assert escalated(handed_off(amount=10_000)).cancellations[0].second_approval is False
    assert escalated(handed_off(amount=10_001)).cancellations[0].second_approval is True


def test_a_customer_turns_to_an_agent_within_seven_days_of_the_no() -> None:
    change = escalated(declined(), NOW + 7 * DAY - MICROSECOND)

    (row,) = change.cancellations
    assert (row.state, row.declined_by) == ("awaiting_agent", None)
    assert make.sums(change.payment) == ("cancel_requested", 0, 300, (0,))
    assert change.payment.origin_state == "completed"


def test_seven_days_after_the_no_it_stands() -> None:
    with pytest.raises(InvalidState):
        escalated(declined(), NOW + 7 * DAY)


def test_pieces_are_taken_again_when_the_no_is_escalated() -> None:
    snapshot = make.asked(make.completed(merchant_id="merchant", items=LINES), make.requested(items=make.pieces(b=1, a=2)))
    snapshot = decided(snapshot, NO).after(snapshot)
    assert snapshot.payment.cancelled_quantities == (0, 0)

    assert escalated(snapshot).payment.cancelled_quantities == (2, 1)


def test_only_the_merchants_no_is_escalated() -> None:
    snapshot = declined()

    with pytest.raises(InvalidState):
        escalated(make.with_cancellation(snapshot, make.newest(snapshot), declined_by=AGENT.role))


def another(snapshot: Snapshot) -> Snapshot:
    other = make.asked(make.with_payment(snapshot, merchant_id="agent")).cancellations[-1]
    return replace(snapshot, cancellations=(*snapshot.cancellations, replace(other, id=make.new_id())))


@pytest.mark.parametrize(
    ("meanwhile", "refusal"),
    [
        (another, CancellationOpen),
        (lambda snapshot: make.with_payment(snapshot, disputes_open=1), PaymentDisputed),
        (lambda snapshot: make.with_payment(snapshot, amount_refunded=1), AmountExceedsRefundable),
        (lambda snapshot: make.with_payment(snapshot, state=PaymentState.refunded), InvalidState),
    ],
    ids=["another is open", "disputed", "less is left", "refunded"],
)
def test_after_the_no_the_amount_must_still_be_there(meanwhile: object, refusal: type[RefundryError]) -> None:
    assert callable(meanwhile)
    snapshot = declined()
    row = make.newest(snapshot)

    with pytest.raises(refusal):
        handoffs.escalate(meanwhile(snapshot), row, TERMS, make.context())
    assert permitted.actions(snapshot, row, TERMS, make.WALLET, NOW) == ("escalate",)
    assert permitted.actions(meanwhile(snapshot), row, TERMS, make.WALLET, NOW) == ()


def test_an_offer_is_withdrawn_whole() -> None:
    snapshot = offered()

    change = requests.withdraw(snapshot, make.newest(snapshot), make.context())

    assert (change.cancellations[0].state, change.cancellations[0].clock) == ("withdrawn", None)
    assert make.sums(change.payment) == ("completed", 0, 0, (0,))
