"""The steps that people take on anomalies, and what an anomaly is after one."""

from datetime import datetime

from msgspec.structs import replace

from workflows.domain.enums import AnomalyAction, AnomalyState
from workflows.domain.model import Actor, Anomaly, AnomalyStep, DataValue


def next_step(anomaly: Anomaly, action: AnomalyAction, by: Actor, at: datetime, *, closes: bool) -> AnomalyStep:
    return AnomalyStep(
        scope_id=anomaly.scope_id,
        anomaly_id=anomaly.id,
        number=len(anomaly.steps) + 1,
        action=action,
        by=by.id,
        role=by.role,
        at=at,
        closes=closes,
    )


def with_step(anomaly: Anomaly, step: AnomalyStep) -> Anomaly:
    """The anomaly once this step is taken."""
    state = AnomalyState.resolved if step.closes else AnomalyState.awaiting_second_approval
    return replace(anomaly, state=state, steps=(*anomaly.steps, step))


def with_steps(anomalies: tuple[Anomaly, ...], steps: tuple[AnomalyStep, ...]) -> tuple[Anomaly, ...]:
    """The anomalies once these steps are taken, each on its own."""
    taken = {step.anomaly_id: step for step in steps}
    return tuple(with_step(one, taken[one.id]) if one.id in taken else one for one in anomalies)


NOTE = "note"  # the name of a step's personal text


def note_value(step: AnomalyStep, note: str) -> DataValue:
    """A step's note as it is kept."""
    return {"number": step.number, "note": note}
