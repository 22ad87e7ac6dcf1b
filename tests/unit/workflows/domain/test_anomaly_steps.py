"""A step on an anomaly: counted from one, it leaves the anomaly to a second person or closes it."""

from tests.factories import AGENT, NOW, SUPERVISOR, new_id
from workflows.domain.anomaly_steps import next_step, with_step, with_steps
from workflows.domain.enums import AnomalyAction, AnomalyKind, AnomalyState
from workflows.domain.model import Anomaly


def anomaly() -> Anomaly:
    return Anomaly(
        scope_id=new_id(),
        id=new_id(),
        payment_id=None,
        kind=AnomalyKind.contradiction,
        word="w",
        provider="sandbox",
        leg_id=None,
        data={},
        created_at=NOW,
    )


def test_a_step_that_does_not_close_waits_for_a_second_one_that_does() -> None:
    new = anomaly()
    first = next_step(new, AnomalyAction.refund, AGENT, NOW, closes=False)
    asked = with_step(new, first)
    second = next_step(asked, AnomalyAction.refund, SUPERVISOR, NOW, closes=True)
    done = with_step(asked, second)

    assert [one.state for one in (new, asked, done)] == [
        AnomalyState.open,
        AnomalyState.awaiting_second_approval,
        AnomalyState.resolved,
    ]
    assert done.steps == (first, second)
    assert [(one.number, one.by, one.role) for one in done.steps] == [(1, AGENT.id, AGENT.role), (2, SUPERVISOR.id, SUPERVISOR.role)]
    assert {(one.scope_id, one.anomaly_id) for one in done.steps} == {(new.scope_id, new.id)}


def test_steps_are_taken_on_their_own_anomaly_only() -> None:
    one, other = anomaly(), anomaly()
    step = next_step(other, AnomalyAction.note, AGENT, NOW, closes=True)

    assert with_steps((one, other), (step,)) == (one, with_step(other, step))
    assert with_steps((one,), (step,)) == (one,)
