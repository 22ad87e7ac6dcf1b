"""What people do about a refund or a void that is stuck, in a process that may die; and the judgement by the rail's book."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from service.sandbox.ledger import Movement
from tests.crash.deciding import AGENT, SUPERVISOR, Step
from tests.crash.mortal import MortalCore
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import anomalies, recovery
from workflows.domain.decisions.anomalies import Resolution
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.recorded import ToldOutcome, record_outcome
from workflows.domain.enums import (
    CANCELLATION_CLOCKED,
    LEG_IN_FLIGHT,
    LEG_ON_ITS_WAY,
    ActorRole,
    AnomalyAction,
    AnomalyKind,
    Channel,
    LegState,
)
from workflows.domain.legs import SuccessorRules
from workflows.domain.model import Actor, Cancellation, IdempotentResponse, Snapshot

OTHER_SUPERVISOR = Actor(role=ActorRole.supervisor, id="supervisor-2", channel=Channel.hotline)
WELL = SuccessorRules("sandbox", lambda _, __: "ok")
_TOLD = LEG_IN_FLIGHT | {LegState.requires_action}

RETRY = Step(AGENT, partial(recovery.retry, successors=WELL))
REDIRECT = Step(AGENT, partial(recovery.redirect, successors=WELL))
CLOSE = Step(AGENT, recovery.close)


def tell(*, succeeded: bool, which: Callable[[Snapshot, Cancellation], UUID] | None = None) -> Step:
    """A supervisor has read in the rail's books what became of a leg; of the first that is open, unless told."""

    def decide(snapshot: Snapshot, cancellation: Cancellation, *, terms: PolicyContext, context: Context) -> Change:
        leg = (which or first_open)(snapshot, cancellation)
        told = ToldOutcome(leg_id=leg, succeeded=succeeded, note="as the books say")
        return record_outcome(snapshot, cancellation, told=told, successors=WELL, terms=terms, context=context)

    return Step(OTHER_SUPERVISOR, decide)


def first_open(snapshot: Snapshot, cancellation: Cancellation) -> UUID:
    return next(leg.id for leg in snapshot.legs if leg.cancellation_id == cancellation.id and leg.state in _TOLD)


async def resolve(
    core: MortalCore, payment: UUID, key: str, anomaly: UUID, action: AnomalyAction, *, actor: Actor = SUPERVISOR
) -> IdempotentResponse:
    """Resolve an anomaly of a payment, on what the service itself loads for it."""
    leg = await core.pool.fetchval("select leg_id from anomaly where payment_id = $1 and id = $2", payment, anomaly)

    def decide(snapshot: Snapshot, terms: PolicyContext, context: Context) -> Change:
        found = next(each for each in snapshot.anomalies if each.id == anomaly)
        resolution = Resolution(action=action, note="seen to")
        return anomalies.resolve(snapshot, found, resolution, terms=terms, successors=WELL, context=context)

    return await core.command(payment, key, decide, actor=actor, leg=leg, shown=True)


NEWEST_ANOMALY = "select id from anomaly where payment_id = $1 and kind = $2 order by created_at desc, id desc"


async def anomaly_of(core: MortalCore, payment: UUID, kind: AnomalyKind) -> UUID:
    found: UUID = await core.pool.fetchval(NEWEST_ANOMALY, payment, kind)
    return found


# -- the judgement ------------------------------------------------------------------------------------------------------


async def assert_booked(core: MortalCore, payment: UUID) -> None:
    found = await core.snapshot(payment)
    judge(found, await core.rail.movements(found.payment.reference))


def judge(found: Snapshot, moved: list[Movement]) -> None:
    """The rail's book against ours: each key moved at most once, what moved is what we say, and no source got more than it paid."""
    legs = {leg.rail_key: leg for leg in found.legs}
    assert all(count == 1 for count in Counter(m.rail_key for m in moved).values()), "a key moved money twice"
    got = [0] * len(found.payment.funding)
    for movement in moved:
        leg = legs[movement.rail_key]
        assert (movement.kind, movement.amount, movement.currency) == (leg.kind.value, leg.amount, leg.currency)
        if movement.returned_ms is None:
            assert leg.state is LegState.succeeded, (leg, "it moved, and we do not say so")
            got[leg.position] += movement.amount
        else:
            came_back = leg.state is LegState.failed and (leg.failure_code or "").startswith("returned")
            assert leg.state is LegState.returned or came_back, (leg, "it came back, and we do not say so")
    standing = {movement.rail_key for movement in moved if movement.returned_ms is None}
    assert {key for key, leg in legs.items() if leg.state is LegState.succeeded} == standing, "lost or made up"
    for sum_, source in zip(got, found.payment.funding, strict=True):
        assert sum_ <= source.amount, (got, found.payment.funding, "more than it paid")


STUCK = f"""
select 'leg without a job' as why, l.payment_id, l.state::text from leg l
 where l.state in ({", ".join(f"'{state}'" for state in sorted(LEG_ON_ITS_WAY))})
   and not exists (select from job j where j.payment_id = l.payment_id and j.kind = 'move' and j.subject_id = l.id)
union all
select 'nobody owes the next step', c.payment_id, c.state::text from cancellation c
 where c.state in ({", ".join(f"'{state}'" for state in sorted(CANCELLATION_CLOCKED))}) and c.clock_id is null and not c.raised
union all
select 'nothing of it goes on', c.payment_id, c.state::text from cancellation c
 where c.state = 'executing' and not exists (
       select from leg l join job j on j.payment_id = l.payment_id and j.kind = 'move' and j.subject_id = l.id
        where l.payment_id = c.payment_id and l.cancellation_id = c.id)
"""  # noqa: S608 -- the enums' own words


async def assert_owned(core: MortalCore) -> None:
    """Nothing is stuck without an owner: a job, a clock, or a supervisor."""
    stuck: list[Any] = await core.pool.fetch(STUCK)
    assert not stuck, stuck
