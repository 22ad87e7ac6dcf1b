"""What a person does about a capture that came too late."""

import pytest
from msgspec.structs import replace

from tests.domain import made
from tests.domain.made import AGENT, BOTH, NOW, SUPERVISOR
from workflows.domain.changes import Change
from workflows.domain.decisions import anomalies, payments
from workflows.domain.enums import ActorRole, LegKind, PaymentFailure
from workflows.domain.errors import InvalidState, SecondApproverRequired
from workflows.domain.model import Approval, Snapshot
from workflows.domain.ports import Settled

SECOND = Approval(by=SUPERVISOR.id, role=ActorRole.supervisor, at=NOW)


def complete(snapshot: Snapshot) -> Change:
    return payments.complete(snapshot, completed_at=None, provider_reference=None, context=made.context())


def cancelled() -> Snapshot:
    return made.arrived(made.asked(made.pending(funding=BOTH)))


def failed() -> Snapshot:
    snapshot = made.pending(funding=BOTH)
    return payments.fail(snapshot, code=PaymentFailure.network, detail=None, context=made.context()).after(snapshot)


@pytest.mark.parametrize("over", [cancelled, failed])
def test_a_late_capture_is_noted_once_and_can_be_given_back_whole(over: object) -> None:
    assert callable(over)
    snapshot = over()
    first = complete(snapshot)
    assert [row.kind for row in first.anomalies] == ["captured_late"]
    assert isinstance(first.refusal, InvalidState)
    snapshot = first.after(snapshot)
    with pytest.raises(InvalidState):
        complete(snapshot)

    change = anomalies.refund_late_capture(snapshot, approval=SECOND, context=made.context(actor=AGENT))
    after = change.after(snapshot)

    assert made.sums(after.payment) == ("refunding", 0, 300, (100, 200))
    assert made.types(change) == ["cancellation.requested", "cancellation.approved", "refund.scheduled", "refund.scheduled"]
    done = made.arrived(after)
    assert made.sums(done.payment) == ("refunded", 300, 0, (100, 200))
    with pytest.raises(InvalidState):
        anomalies.refund_late_capture(done, approval=SECOND, context=made.context(actor=AGENT))


def test_without_a_late_capture_there_is_nothing_to_give_back() -> None:
    for snapshot in (cancelled(), made.completed(), made.pending()):
        with pytest.raises(InvalidState):
            anomalies.refund_late_capture(snapshot, approval=SECOND, context=made.context(actor=AGENT))


def test_the_second_person_is_another_and_a_supervisor() -> None:
    snapshot = failed()
    snapshot = complete(snapshot).after(snapshot)

    for approval in (replace(SECOND, role=ActorRole.agent), replace(SECOND, by=AGENT.id)):
        with pytest.raises(SecondApproverRequired):
            anomalies.refund_late_capture(snapshot, approval=approval, context=made.context(actor=AGENT))


def test_a_source_that_was_released_gets_nothing_of_a_capture_of_another() -> None:
    snapshot = made.sent(made.asked(made.pending(funding=BOTH)))
    released, captured = snapshot.legs
    snapshot = made.told(snapshot, released, made.done(released))
    snapshot = payments.fail(snapshot, code=PaymentFailure.network, detail=None, context=made.context()).after(snapshot)
    snapshot = made.told(snapshot, captured, Settled())

    after = anomalies.refund_late_capture(snapshot, approval=SECOND, context=made.context(actor=AGENT)).after(snapshot)

    assert made.sums(after.payment) == ("refunding", 0, 200, (0, 200))
    assert [leg.amount for leg in after.legs if leg.kind is LegKind.refund] == [200]
    done = made.arrived(after)
    assert made.sums(done.payment) == ("completed", 200, 0, (0, 200)), "the rest was never taken"
