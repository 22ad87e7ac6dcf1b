"""Call a person for each leg that nobody has heard of for too long, also while its rail is paused and no job of it is taken up."""

from uuid import UUID

from workflows.commands import Runtime
from workflows.domain.changes import Change
from workflows.domain.decisions import attention
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.legs import Leg
from workflows.domain.model import Snapshot
from workflows.domain.ports import RailSchedule
from workflows.flows.legs import change_leg, worker_context
from workflows.flows.rails import Rails


async def call_persons(runtime: Runtime, rails: Rails) -> int:
    """How many were called: at most a hundred for each rail; the next look goes on."""
    called = 0
    for name, provider in rails.providers.items():
        for key in await runtime.store.unheard_legs(name, provider.schedule, runtime.clock()):
            called += await _call(runtime, provider.schedule, key)
    return called


async def _call(runtime: Runtime, schedule: RailSchedule, key: tuple[UUID, UUID]) -> bool:
    def decide(snapshot: Snapshot, leg: Leg, terms: PolicyContext) -> Change | None:
        context = worker_context(runtime, snapshot.payment)
        return attention.give_to_person(snapshot, leg, schedule=schedule, terms=terms, context=context)

    decided = await change_leg(runtime, key, decide=decide)
    return decided is not None and decided.change is not None
