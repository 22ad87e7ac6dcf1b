"""What to tell an agent about an anomaly: what was said, and what can be done about it now."""

from service.api.i18n import Language, join, sentence
from workflows.domain.decisions.anomalies import may_adopt, may_refund
from workflows.domain.enums import AnomalyAction, AnomalyState
from workflows.domain.model import Anomaly, Snapshot


def anomaly_message(snapshot: Snapshot | None, anomaly: Anomaly, spoken: Language) -> str:
    """`snapshot`: see `actions` of the domain; None where no payment is known."""
    return join(spoken, [sentence("anomaly", anomaly.kind, spoken), sentence("anomaly_next", _next(snapshot, anomaly), spoken)])


def _next(snapshot: Snapshot | None, anomaly: Anomaly) -> str:
    if anomaly.state is not AnomalyState.open:
        return anomaly.state
    if snapshot is not None and may_adopt(snapshot, anomaly):
        return AnomalyAction.adopt
    if snapshot is not None and may_refund(snapshot, anomaly):
        return AnomalyAction.refund
    return AnomalyAction.note
