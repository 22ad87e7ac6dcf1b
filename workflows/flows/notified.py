"""Act on a rail's stored word: apply what it says to the leg that it names, or keep it as an anomaly."""

from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes
from workflows.domain.errors import LeaseLost, Unavailable
from workflows.domain.ids import from_rail_key
from workflows.domain.ports import Unknown
from workflows.domain.words import OutcomeSource
from workflows.flows.move import CONFLICTS_MAX, Rails, rail_context
from workflows.run import Runtime
from workflows.storage.apply import Applied, Lost
from workflows.storage.jobs import Claim
from workflows.storage.snapshot import Wanted


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
    for _ in range(CONFLICTS_MAX):
        snapshot = await runtime.store.load(Wanted(payment_id=key[0], leg_id=key[1]))
        leg = None if snapshot is None else snapshot.leg(key[1])
        if snapshot is None or leg is None:
            return "unknown_key"
        change: Change | None = outcomes.learn(
            snapshot,
            leg,
            said.outcome,
            source=OutcomeSource.notification,
            next_attempt_at=leg.next_attempt_at,
            context=rail_context(runtime, provider_name),
        )
        if change is None:
            return "known"
        answer = await runtime.store.apply(change, fence=claim.held())
        if answer is Applied:
            return "applied" if change.legs else "anomaly"
        if answer is Lost:
            raise LeaseLost
    raise Unavailable
