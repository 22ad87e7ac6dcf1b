"""Act on a rail's stored word: apply what it says to the leg that it names, or keep it as an anomaly."""

from workflows.commands import Runtime
from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.words import Word
from workflows.domain.enums import AnomalyKind, RailCall
from workflows.domain.errors import LeaseLost
from workflows.domain.ids import from_rail_key
from workflows.domain.legs import Leg
from workflows.domain.model import Anomaly, Snapshot
from workflows.domain.ports import ProviderNotification, Unknown
from workflows.domain.records import digest_text
from workflows.flows.legs import change_leg, rail_context, successor_rules
from workflows.flows.rails import Rails
from workflows.storage.apply import NotificationMark
from workflows.storage.jobs import Claim
from workflows.storage.notifications import StoredNotification


async def handle_notification(runtime: Runtime, rails: Rails, claim: Claim) -> None:
    """Raises LeaseLost where another worker has the job now.

    What a word leads to, that it was handled and that its job is done are one statement: a word is handled once, whatever crashes.
    """
    stored = await runtime.store.load_notification(claim.payment_id, claim.subject_id)
    if stored is None or stored.handled_at is not None:
        await runtime.store.finish_job(claim.done())
        return
    said = rails.providers[stored.provider].read(stored.body)
    key = None if said is None else from_rail_key(said.rail_key)
    if said is None or key is None:
        kind = AnomalyKind.unreadable if said is None else AnomalyKind.unknown_key
        await _settle(runtime, claim, kind.value, _anomaly(runtime, claim, stored, kind, said))
        return

    def decide(snapshot: Snapshot, leg: Leg, terms: PolicyContext) -> Change | None:
        context = rail_context(runtime, stored.provider, snapshot.payment)
        if leg.provider != stored.provider:  # one rail does not speak for another's leg, whatever it knows
            return outcomes.refuse_word(snapshot, leg, AnomalyKind.contradiction, f"said by {stored.provider}", context)
        if isinstance(said.outcome, Unknown):  # the leg's own job asks the rail
            return outcomes.refuse_word(snapshot, leg, AnomalyKind.unreadable, stored.rail_id, context)
        word = Word(outcome=said.outcome, call=RailCall.notification, next_attempt_at=leg.next_attempt_at)
        return outcomes.learn(snapshot, leg, word, terms=terms, successors=successor_rules(runtime, rails), context=context)

    def mark(change: Change) -> NotificationMark:
        return _mark(runtime, claim, "anomaly" if change.anomalies else "applied")

    decided = await change_leg(runtime, key, decide=decide, fence=lambda _: claim.done(), mark=mark)
    if decided is None:
        kind = AnomalyKind.unknown_key
        await _settle(runtime, claim, kind.value, _anomaly(runtime, claim, stored, kind, said))
    elif decided.change is None:
        await _settle(runtime, claim, "known", None)


def _mark(runtime: Runtime, claim: Claim, verdict: str) -> NotificationMark:
    return NotificationMark(payment_id=claim.payment_id, id=claim.subject_id, verdict=verdict, at=runtime.clock())


async def _settle(runtime: Runtime, claim: Claim, verdict: str, anomaly: Anomaly | None) -> None:
    if not await runtime.store.settle_notification(_mark(runtime, claim, verdict), claim.done(), anomaly):
        raise LeaseLost


def _anomaly(runtime: Runtime, claim: Claim, stored: StoredNotification, kind: AnomalyKind, said: ProviderNotification | None) -> Anomaly:
    """A word that belongs to no leg, or that nobody can read: nothing of a payment changes, so none of its records tells of it."""
    return Anomaly(
        scope_id=claim.payment_id,
        id=runtime.new_id(),
        payment_id=None,
        kind=kind,
        word=digest_text([kind.value, stored.rail_id], b""),
        provider=stored.provider,
        leg_id=None,
        data={"rail_key": None if said is None else said.rail_key, "notification": stored.rail_id},
        created_at=runtime.clock(),
    )
