"""Stuck money as those of ours see it: each part with what was sent, what was heard, and where to look."""

from service.api.i18n import Language, amount_text, sentence
from service.api.models.attention import AttentionOut
from workflows.domain.decisions.outcomes import NOT_CANCELLED
from workflows.domain.enums import ActorRole, AnomalyKind, AnomalyState, CancellationState, LegKind, LegState
from workflows.domain.legs import TOLD_BY_PERSON, Leg
from workflows.domain.model import Cancellation, Snapshot

_LOOKS = frozenset({ActorRole.agent, ActorRole.supervisor, ActorRole.auditor})
_PAID = frozenset({AnomalyKind.paid_after_failure, AnomalyKind.paid_twice})
_CONTRADICTED = frozenset({AnomalyKind.amount_mismatch.value, AnomalyKind.contradiction.value, NOT_CANCELLED})


def attention(snapshot: Snapshot, cancellation: Cancellation, role: ActorRole, spoken: Language) -> list[AttentionOut]:
    """Of a case that needs attention, what has not arrived; nothing for whoever does not work on it."""
    if cancellation.state is not CancellationState.needs_attention or role not in _LOOKS:
        return []
    legs = [leg for leg in snapshot.legs if leg.cancellation_id == cancellation.id and leg.state is not LegState.succeeded]
    return [_part(snapshot, leg, spoken) for leg in sorted(legs, key=lambda leg: (leg.position, leg.id))]


def _part(snapshot: Snapshot, leg: Leg, spoken: Language) -> AttentionOut:
    return AttentionOut.of(leg, leg_id=leg.id, last_sent_at=leg.sent_at, ordered=leg.recovery, advice=advice_text(snapshot, leg, spoken))


def advice_text(snapshot: Snapshot, leg: Leg, spoken: Language) -> str:
    """Where to look, and what can be done."""
    key = _key(snapshot, leg)
    return sentence(
        "attention",
        key,
        spoken,
        amount=amount_text(leg.amount, leg.currency, spoken),
        provider=leg.provider,
        rail_key=leg.rail_key,
        reference=leg.provider_reference,
    )


def _key(snapshot: Snapshot, leg: Leg) -> str:
    """Which advice: what is known of the leg decides, before its state does."""
    said = {one.kind for one in snapshot.anomalies if one.leg_id == leg.id and one.state is not AnomalyState.resolved}
    known = {
        "ordered": leg.recovery is not None,
        "paid": leg.state is LegState.failed and not _PAID.isdisjoint(said),
        "replaced": any(each.replaces == leg.id for each in snapshot.legs),
        "never_sent": leg.state is LegState.failed and not leg.attempts,
        "told": leg.failure_code == TOLD_BY_PERSON,
        "contradicted": leg.state is LegState.requires_action and leg.failure_code in _CONTRADICTED,
        "void_failed": leg.kind is LegKind.void and leg.state is LegState.failed,
        "scheduled_again": leg.state is LegState.scheduled and leg.replaces is not None,
    }
    return next((key for key, so in known.items() if so), leg.state.value)
