"""Act on a rail's stored word: apply what it says to the leg that it names, or keep it as an anomaly."""

from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes
from workflows.domain.ids import from_rail_key
from workflows.domain.model import Leg, Snapshot
from workflows.domain.ports import Unknown
from workflows.domain.words import OutcomeSource
from workflows.flows.legs import change_leg, rail_context
from workflows.flows.move import Rails
from workflows.run import Runtime
from workflows.storage.jobs import Claim


async def handle_notification(runtime: Runtime, rails: Rails, claim: Claim) -> None:
    """Raises LeaseLost where another worker has the job now. Handling a word twice changes nothing the second time."""
    stored = await runtime.store.load_notification(claim.payment_id, claim.subject_id)
    if stored is not None and stored.handled_at is None:
        verdict = await _handle(runtime, rails, claim, stored.provider, stored.body)
        await runtime.store.mark_notification(claim.payment_id, claim.subject_id, verdict=verdict, now=runtime.clock())
    await runtime.store.finish_job(claim.done())


async def _handle(runtime: Runtime, rails: Rails, claim: Claim, provider_name: str, body: bytes) -> str:
    provider = rails.providers.get(provider_name)
    said = None if provider is None else provider.read(body)
    key = None if said is None else from_rail_key(said.rail_key)
    if said is None or key is None:
        return "unreadable"
    if isinstance(said.outcome, Unknown):
        return "unreadable"  # it is kept; the leg's own job asks the rail

    def decide(snapshot: Snapshot, leg: Leg) -> Change | None:
        context = rail_context(runtime, provider_name)
        source, next_at = OutcomeSource.notification, leg.next_attempt_at
        return outcomes.learn(snapshot, leg, said.outcome, source=source, next_attempt_at=next_at, context=context)

    decided = await change_leg(runtime, *key, decide, lambda _: claim.held())
    if decided is None:
        return "unknown_key"
    if decided.change is None:
        return "known"
    return "applied" if decided.change.legs else "anomaly"
