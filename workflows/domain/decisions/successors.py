"""A leg that takes the place of another is sent once its rail has said for the last time that it did not pay the other one."""

from msgspec.structs import replace

from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.execution import drop_unsent
from workflows.domain.decisions.outcomes import came_back, carry_up, other_amount
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.words import Word
from workflows.domain.enums import AnomalyKind, AnomalyState, LegKind, LegState
from workflows.domain.legs import Leg
from workflows.domain.model import Snapshot
from workflows.domain.ports import Absent, Declined, Done, Outcome, Returned, Settled

PREDECESSOR_PAID = "predecessor_paid"  # the failure code of a successor that was never sent


def lets_send(before: Leg, outcome: Outcome) -> bool:
    """Whether what the rail says now about the leg that failed, or was returned, lets its successor be sent.

    Of what was returned it is no news that it had been paid. Of what had failed, that its rail knows of nothing is no word against that.
    Silence lets nothing be sent, whoever said that it had failed.
    """
    if isinstance(outcome, Done):
        return before.state is LegState.returned or came_back(before)
    return isinstance(outcome, Declined | Returned | Settled | Absent)


def learn_of_predecessor(snapshot: Snapshot, leg: Leg, before: Leg, word: Word, *, terms: PolicyContext, context: Context) -> Change | None:
    """The rail says that it paid what had failed: the successor is not sent, and a person is called. None: it says nothing definite."""
    if not isinstance(word.outcome, Done) or leg.state is not LegState.scheduled:
        return None
    builder = ChangeBuilder(snapshot, context)
    other = other_amount(before, word.outcome)
    paid = AnomalyKind.voided_late if before.kind is LegKind.void else AnomalyKind.paid_after_failure
    kind = paid if other is None else AnomalyKind.amount_mismatch
    said, data = other or ("succeed", {})  # as the records name the word
    known = [one for one in snapshot.anomalies if one.leg_id == before.id and one.kind is kind]
    # Somebody noted it, and ordered a successor all the same: that its rail says so again is another word.
    word_said = f"{said} before {leg.id.hex}" if known and all(one.state is AnomalyState.resolved for one in known) else said
    builder.note_anomaly(kind, word_said, provider=before.provider, leg=before, data={"said": said, **data})
    carry_up(builder, drop_unsent(builder, replace(leg, outcome_source=None), PREDECESSOR_PAID), terms)
    return builder.build()
