"""What a person does about a word that no transition allows."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, BOTH, DAY, NOW, SUPERVISOR, TERMS
from workflows.domain.changes import Change
from workflows.domain.decisions import anomalies, payments
from workflows.domain.decisions.anomalies import Resolution
from workflows.domain.enums import (
    AnomalyAction,
    AnomalyKind,
    AnomalyState,
    CancellationState,
    JobKind,
    LegKind,
    LegState,
    OutcomeSource,
    PaymentFailure,
    PaymentState,
)
from workflows.domain.errors import InvalidState, SecondApproverRequired
from workflows.domain.legs import Leg, SuccessorRules
from workflows.domain.model import Actor, Anomaly, Snapshot
from workflows.domain.ports import Declined, Settled

NOTE, ADOPT, REFUND = AnomalyAction.note, AnomalyAction.adopt, AnomalyAction.refund
OTHER = replace(SUPERVISOR, id="supervisor-2")


def complete(snapshot: Snapshot) -> Change:
    return payments.complete(snapshot, completed_at=None, provider_reference=None, terms=make.TERMS, context=make.context())


def cancelled() -> Snapshot:
    return make.arrived(make.asked(make.pending(funding=BOTH)))


def failed() -> Snapshot:
    snapshot = make.pending(funding=BOTH)
    return payments.fail(snapshot, code=PaymentFailure.network, detail=None, context=make.context()).after(snapshot)


def captured_late() -> Snapshot:
    snapshot = failed()
    return complete(snapshot).after(snapshot)


def last(snapshot: Snapshot) -> Anomaly:
    return snapshot.anomalies[-1]


def resolved(
    snapshot: Snapshot,
    action: AnomalyAction,
    actor: Actor = AGENT,
    anomaly: Anomaly | None = None,
    *,
    rules: SuccessorRules = make.SUCCESSORS,
) -> Change:
    resolution = Resolution(action=action, note="looked into")
    found, context = anomaly or last(snapshot), make.context(actor=actor)
    return anomalies.resolve(snapshot, found, resolution, terms=TERMS, successors=rules, context=context)


def paid_after_failure(**members: object) -> tuple[Snapshot, Leg]:
    """A refund whose rail refused it, and then said that it was paid."""
    snapshot = make.sent(make.asked(make.completed(**members)))
    leg = snapshot.legs[-1]
    snapshot = make.told(snapshot, leg, Declined("account_closed"))
    return make.told(snapshot, leg, make.done(leg)), leg


def closed(snapshot: Snapshot, **members: object) -> Snapshot:
    """As a person leaves it who closed the refund: the share of the leg that failed was given back."""
    given_back = sum(leg.amount for leg in snapshot.legs if leg.state is LegState.failed)
    allocated = tuple(
        sum(leg.amount for leg in snapshot.legs if leg.position == at and leg.state is LegState.succeeded)
        for at, _ in enumerate(snapshot.payment.funding)
    )
    reserved = snapshot.payment.amount_reserved - given_back
    state = PaymentState.completed
    snapshot = make.with_payment(snapshot, **{"state": state, "amount_reserved": reserved, "allocated": allocated, **members})
    return make.with_cancellation(snapshot, snapshot.cancellations[-1], state=CancellationState.failed)


@pytest.mark.parametrize("over", [cancelled, failed])
def test_a_late_capture_is_noted_once_and_is_given_back_whole_by_two_persons(over: Callable[[], Snapshot]) -> None:
    snapshot = over()
    first = complete(snapshot)
    assert [row.kind for row in first.anomalies] == ["captured_late"]
    assert isinstance(first.refusal, InvalidState)
    snapshot = first.after(snapshot)
    with pytest.raises(InvalidState):
        complete(snapshot)

    proposed = resolved(snapshot, REFUND)
    between = proposed.after(snapshot)
    change = resolved(between, REFUND, SUPERVISOR)
    after = change.after(between)

    assert make.types(proposed) == ["anomaly.refund_proposed"]
    assert (make.sums(between.payment), between.cancellations) == (make.sums(snapshot.payment), snapshot.cancellations)
    assert (last(between).state, last(after).state) == (AnomalyState.awaiting_second_approval, AnomalyState.resolved)
    assert make.sums(after.payment) == ("refunding", 0, 300, (100, 200))
    assert make.types(change) == [
        *("anomaly.resolved", "cancellation.requested", "cancellation.approved"),
        *("refund.scheduled", "refund.scheduled"),
    ]
    asked = make.newest(after)
    assert (asked.requested_by.id, asked.requested_by.role) == (AGENT.id, AGENT.role)
    assert [(one.by, one.role) for one in asked.approvals] == [(SUPERVISOR.id, SUPERVISOR.role)]
    assert make.sums(make.arrived(after).payment) == ("refunded", 300, 0, (100, 200))


def test_one_word_of_the_wallet_stays_one_anomaly_whatever_became_of_it() -> None:
    snapshot = captured_late()
    for action, actor in ((REFUND, AGENT), (NOTE, AGENT)):
        snapshot = resolved(snapshot, action, actor).after(snapshot)
        with pytest.raises(InvalidState):
            complete(snapshot)
    assert [one.state for one in snapshot.anomalies] == [AnomalyState.resolved]


def test_only_another_person_and_a_supervisor_confirms_a_refund() -> None:
    snapshot = captured_late()
    by_agent = resolved(snapshot, REFUND).after(snapshot)
    by_supervisor = resolved(snapshot, REFUND, SUPERVISOR).after(snapshot)

    for proposed, actor in (
        (by_agent, AGENT),
        (by_agent, replace(AGENT, id="agent-2")),
        (by_agent, replace(SUPERVISOR, id=AGENT.id)),
        (by_supervisor, SUPERVISOR),
    ):
        with pytest.raises(SecondApproverRequired):
            resolved(proposed, REFUND, actor)
        assert anomalies.actions(proposed, last(proposed), actor) == (NOTE,)
    assert anomalies.actions(by_supervisor, last(by_supervisor), OTHER) == (NOTE, REFUND)


def test_a_note_drops_a_proposal_and_nothing_moves() -> None:
    snapshot = captured_late()
    proposed = resolved(snapshot, REFUND).after(snapshot)

    change = resolved(proposed, NOTE)
    after = change.after(proposed)

    assert (last(after).state, make.types(change)) == (AnomalyState.resolved, ["anomaly.resolved"])
    assert make.sums(after.payment) == make.sums(snapshot.payment)
    for action in AnomalyAction:
        with pytest.raises(InvalidState):
            resolved(after, action, OTHER)


def test_what_was_noted_is_not_given_back_with_another_capture() -> None:
    snapshot = make.sent(make.asked(make.pending(funding=BOTH)))
    first, second = snapshot.legs
    snapshot = payments.fail(snapshot, code=PaymentFailure.network, detail=None, context=make.context()).after(snapshot)
    snapshot = make.told(make.told(snapshot, first, Settled()), second, Settled())
    snapshot = resolved(snapshot, NOTE, anomaly=snapshot.anomalies[0]).after(snapshot)

    snapshot = resolved(snapshot, REFUND).after(snapshot)
    after = resolved(snapshot, REFUND, SUPERVISOR).after(snapshot)

    assert make.sums(after.payment) == ("refunding", 0, 200, (0, 200))


def test_one_refund_resolves_all_late_captures_that_it_pays_back() -> None:
    snapshot = make.sent(make.asked(make.pending(funding=BOTH)))
    first, second = snapshot.legs
    snapshot = payments.fail(snapshot, code=PaymentFailure.network, detail=None, context=make.context()).after(snapshot)
    snapshot = make.told(make.told(snapshot, first, Settled()), second, Settled())
    snapshot = resolved(snapshot, REFUND).after(snapshot)

    change = resolved(snapshot, REFUND, SUPERVISOR)
    after = change.after(snapshot)

    assert [one.state for one in after.anomalies] == [AnomalyState.resolved] * 2
    assert make.types(change)[:3] == ["anomaly.resolved", "anomaly.resolved", "cancellation.requested"]
    assert make.sums(after.payment) == ("refunding", 0, 300, (100, 200))


def test_a_source_that_was_released_gets_nothing_of_a_capture_of_another() -> None:
    snapshot = make.sent(make.asked(make.pending(funding=BOTH)))
    released, captured = snapshot.legs
    snapshot = make.told(snapshot, released, make.done(released))
    snapshot = payments.fail(snapshot, code=PaymentFailure.network, detail=None, context=make.context()).after(snapshot)
    snapshot = make.told(snapshot, captured, Settled())

    proposed = resolved(snapshot, REFUND).after(snapshot)
    after = resolved(proposed, REFUND, SUPERVISOR).after(proposed)

    assert make.sums(after.payment) == ("refunding", 0, 200, (0, 200))
    assert [leg.amount for leg in after.legs if leg.kind is LegKind.refund] == [200]
    assert make.sums(make.arrived(after).payment) == ("completed", 200, 0, (0, 200)), "the rest was never taken"


def test_a_leg_that_was_paid_after_all_is_adopted_and_all_follows() -> None:
    snapshot, leg = paid_after_failure()
    assert (last(snapshot).kind, snapshot.cancellations[0].state) == (AnomalyKind.paid_after_failure, CancellationState.needs_attention)
    assert anomalies.actions(snapshot, last(snapshot), AGENT) == (NOTE, ADOPT)

    change = resolved(snapshot, ADOPT)
    after = change.after(snapshot)

    assert make.types(change) == ["anomaly.resolved", "refund.succeeded", "cancellation.completed", "payment.refunded"]
    adopted = after.leg(leg.id)
    assert adopted is not None
    assert (adopted.state, adopted.outcome_source, adopted.failure_code) == (LegState.succeeded, OutcomeSource.person, None)
    assert make.sums(after.payment) == ("refunded", 300, 0, (300,))
    assert (after.cancellations[0].state, after.refunds[0].state) == (CancellationState.completed, LegState.succeeded)
    assert make.learn(after, leg, make.done(leg)) is None, "the rail says what is known by now"
    with pytest.raises(InvalidState):
        resolved(after, ADOPT)


@pytest.mark.parametrize("is_closed", [False, True])
def test_what_was_adopted_is_asked_after_like_any_refund(*, is_closed: bool) -> None:
    snapshot, leg = paid_after_failure()
    rules = replace(make.SUCCESSORS, first_recheck=lambda provider, at: at + DAY if provider == leg.provider else None)

    change = resolved(closed(snapshot) if is_closed else snapshot, ADOPT, rules=rules)

    assert [(job.kind, job.subject_id, job.run_at, job.provider) for job in change.jobs] == [
        (JobKind.recheck, leg.id, NOW + DAY, leg.provider)
    ]


def test_the_note_is_kept_apart_and_only_its_digest_is_on_record() -> None:
    snapshot, leg = paid_after_failure()

    change = resolved(snapshot, NOTE)

    (text,) = change.texts
    (record,) = change.records
    data = make.body(record)["data"]
    assert (text.subject_id, text.payment_id, text.value) == (last(snapshot).id, snapshot.payment.id, {"number": 1, "note": "looked into"})
    assert "looked into" not in record.body
    assert (data["action"], data["kind"], data["leg_id"]) == ("note", "paid_after_failure", f"leg_{leg.id.hex}")
    assert len(data["note_digest"]) == 64


def test_a_leg_of_a_closed_refund_takes_its_share_of_what_is_left() -> None:
    snapshot, _ = paid_after_failure()

    change = resolved(closed(snapshot), ADOPT)
    after = change.after(closed(snapshot))

    assert make.types(change) == ["anomaly.resolved", "refund.succeeded", "payment.refunded"]
    assert make.sums(after.payment) == ("refunded", 300, 0, (300,))
    assert (after.cancellations[0].state, after.refunds[0].state) == (CancellationState.failed, LegState.succeeded)


def test_a_leg_of_a_closed_refund_leaves_a_payment_completed_where_something_is_left() -> None:
    snapshot, _ = paid_after_failure()
    part = replace(snapshot, legs=tuple(replace(one, amount=100) for one in snapshot.legs))

    after = resolved(closed(part, amount_reserved=0), ADOPT).after(closed(part, amount_reserved=0))

    assert make.sums(after.payment) == ("completed", 100, 0, (100,))


@pytest.mark.parametrize(
    "members",
    [{"amount_refunded": 1}, {"amount_reserved": 1}, {"allocated": (1,)}, {"amount_charged_back": 1}, {"state": PaymentState.cancelled}],
    ids=str,
)
def test_a_closed_refund_whose_share_is_gone_is_not_adopted(members: dict[str, object]) -> None:
    snapshot, _ = paid_after_failure()
    snapshot = closed(snapshot, **members)

    assert anomalies.actions(snapshot, last(snapshot), AGENT) == (NOTE,)
    with pytest.raises(InvalidState):
        resolved(snapshot, ADOPT)


def test_nothing_is_adopted_beside_a_successor_that_was_paid_or_may_be() -> None:
    snapshot, leg = paid_after_failure()
    possible = {}
    for state in LegState:
        successor = replace(leg, id=make.new_id(), replaces=leg.id, state=state)
        beside = replace(snapshot, legs=(*snapshot.legs, successor))
        possible[state] = anomalies.may_adopt(beside, last(beside))

    assert {state for state, allowed in possible.items() if allowed} == {LegState.failed, LegState.returned}


def test_of_two_legs_of_one_source_that_were_paid_after_all_one_is_adopted() -> None:
    snapshot, leg = paid_after_failure()
    successor = replace(leg, id=make.new_id(), replaces=leg.id, state=LegState.failed, failure_code="declined")
    snapshot = replace(snapshot, legs=(*snapshot.legs, successor))
    snapshot = make.told(snapshot, successor, make.done(successor))
    first, second = snapshot.anomalies

    after = resolved(snapshot, ADOPT, anomaly=second).after(snapshot)

    assert after.payment.amount_refunded == 300
    with pytest.raises(InvalidState):
        resolved(after, ADOPT, anomaly=first)


@pytest.mark.parametrize("kind", [kind for kind in AnomalyKind if kind is not AnomalyKind.paid_after_failure])
def test_no_other_kind_is_adopted(kind: AnomalyKind) -> None:
    snapshot, _ = paid_after_failure()

    assert not anomalies.may_adopt(snapshot, replace(last(snapshot), kind=kind))


def test_a_void_is_not_adopted() -> None:
    snapshot, leg = paid_after_failure()

    assert not anomalies.may_adopt(make.with_leg(snapshot, leg, kind=LegKind.void, state=LegState.failed), last(snapshot))


@pytest.mark.parametrize("kind", list(AnomalyKind))
def test_without_a_payment_there_is_nothing_but_a_note(kind: AnomalyKind) -> None:
    anomaly = replace(last(captured_late()), payment_id=None, kind=kind)

    assert anomalies.actions(None, anomaly, SUPERVISOR) == (NOTE,)
    for action in (ADOPT, REFUND):
        with pytest.raises(InvalidState):
            anomalies.check(None, anomaly, action, SUPERVISOR)
