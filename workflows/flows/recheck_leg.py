"""Ask a rail again of a refund that it has confirmed: a bank may send money back for weeks, and the word of that may get lost."""

from datetime import datetime, timedelta

from workflows.commands import Runtime
from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes
from workflows.domain.decisions.execution import order
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.words import Word
from workflows.domain.enums import LegState, RailCall
from workflows.domain.legs import Leg
from workflows.domain.model import Snapshot
from workflows.domain.ports import Outcome, ProviderUnavailable, RailSchedule, Unknown
from workflows.flows.legs import change_leg, load_leg, rail_context, successor_rules
from workflows.flows.rails import Rails
from workflows.storage.apply import Fence
from workflows.storage.jobs import Claim

LAST_CHANCE = timedelta(days=1)  # for so long the last question is put again where it gets no answer


async def recheck_leg(runtime: Runtime, rails: Rails, claim: Claim) -> None:
    """One question. What the rail says counts as in any other answer; then the next question, as the rail's schedule has it.

    Raises LeaseLost where another worker has the job now.
    """
    found = await load_leg(runtime, claim.payment_id, claim.subject_id)
    if found is None or found[1].state is not LegState.succeeded:
        await runtime.store.finish_job(claim.done())
        return
    snapshot, confirmed = found
    provider = rails.providers[confirmed.provider]
    outcome = await provider.find(order(snapshot.payment, confirmed))

    def decide(snapshot: Snapshot, leg: Leg, terms: PolicyContext) -> Change | None:
        word = Word(outcome=outcome, call=RailCall.ask)
        context = rail_context(runtime, leg.provider, snapshot.payment)
        return outcomes.learn(snapshot, leg, word, terms=terms, successors=successor_rules(runtime, rails), context=context)

    def fate(leg: Leg) -> Fence:
        if leg.state is not LegState.succeeded:
            return claim.done()
        at = _next_question(provider.schedule, confirmed, outcome, runtime.clock(), rails.wait(provider.schedule, claim.attempt))
        return claim.done() if at is None else claim.again(at)

    key = (claim.payment_id, claim.subject_id)
    decided = await change_leg(runtime, key, decide=decide, fence=fate, known=snapshot)
    if decided is None or decided.change is None:
        await runtime.store.finish_job(claim.done() if decided is None else fate(decided.leg))


def _next_question(schedule: RailSchedule, confirmed: Leg, outcome: Outcome, now: datetime, wait: timedelta) -> datetime | None:
    """When, while the money stays with the customer; None: never again. A question without an answer is put again after `wait`."""
    at = schedule.next_recheck(confirmed.updated_at, now)
    if not isinstance(outcome, Unknown | ProviderUnavailable):
        return at
    soon = now + max(wait, timedelta(minutes=1))
    if at is not None:
        return min(soon, at)
    last = confirmed.updated_at + max(schedule.rechecks, default=timedelta(0)) + LAST_CHANCE
    return min(soon, last) if now < last else None
