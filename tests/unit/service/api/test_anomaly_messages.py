"""What an agent is told about an anomaly: what was said, and the one thing that can be done about it now."""

from msgspec.structs import replace

from service.api.anomaly_messages import anomaly_message
from service.api.i18n import Language, sentence
from tests import factories as make
from tests.unit.service.api.sentences import assert_is_a_sentence
from workflows.domain.decisions import payments
from workflows.domain.enums import AnomalyKind, AnomalyState, PaymentFailure, PaymentState
from workflows.domain.model import Snapshot
from workflows.domain.ports import Declined


def captured_late() -> Snapshot:
    """A payment that had failed, and was captured all the same."""
    snapshot = make.pending(funding=make.BOTH)
    snapshot = payments.fail(snapshot, code=PaymentFailure.network, detail=None, context=make.context()).after(snapshot)
    change = payments.complete(snapshot, completed_at=None, provider_reference=None, terms=make.TERMS, context=make.context())
    return change.after(snapshot)


def paid_after_failure() -> Snapshot:
    """A refund that its rail refused, and then paid."""
    snapshot = make.sent(make.asked(make.completed()))
    leg = snapshot.legs[-1]
    snapshot = make.told(snapshot, leg, Declined("account_closed"))
    return make.told(snapshot, leg, make.done(leg))


def test_the_next_step_is_the_one_that_can_be_taken_now() -> None:
    late, paid = captured_late(), paid_after_failure()
    running = make.with_payment(late, state=PaymentState.refunding)
    cases = {
        "adopt": (paid, paid.anomalies[-1]),
        "refund": (late, late.anomalies[-1]),
        "note": (running, late.anomalies[-1]),  # it already goes back
        "awaiting_second_approval": (late, replace(late.anomalies[-1], state=AnomalyState.awaiting_second_approval)),
        "resolved": (late, replace(late.anomalies[-1], state=AnomalyState.resolved)),
    }
    for spoken in Language:
        for key, (snapshot, anomaly) in cases.items():
            assert anomaly_message(snapshot, anomaly, spoken).endswith(sentence("anomaly_next", key, spoken)), (key, spoken)
        assert anomaly_message(None, paid.anomalies[-1], spoken).endswith(sentence("anomaly_next", "note", spoken)), "no payment is known"


def test_every_anomaly_is_told_in_sentences() -> None:
    snapshot = captured_late()
    for spoken in Language:
        for kind in AnomalyKind:
            for state in AnomalyState:
                told = anomaly_message(snapshot, replace(snapshot.anomalies[-1], kind=kind, state=state), spoken)
                assert_is_a_sentence(told, spoken)
