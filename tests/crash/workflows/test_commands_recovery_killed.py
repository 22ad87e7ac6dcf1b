"""All that people do about stuck money is killed at each of its steps, and goes on to the one right end, with the rail's book as judge.

A script is played once to count its steps; then once for each step that left something behind, on a payment of its own. The process dies
after that step, which its subtest names; a new one comes up and goes on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from uuid import UUID

import pytest

from service.sandbox.faults import RandomFaults
from tests.crash.deciding import SUPERVISOR, Step, by, take
from tests.crash.mortal import MortalCore, mortal_core, terms
from tests.crash.recovering import CLOSE, REDIRECT, RETRY, anomaly_of, assert_booked, assert_owned, resolve, tell
from tests.crash.steps import Moment, Steps
from tests.crash.workflows.test_commands_killed import drain_in_turn
from tests.database import Cluster
from workflows.domain.enums import AnomalyAction, AnomalyKind, CancellationState, LegState, PaymentState
from workflows.domain.ports import RailSchedule

SCHEDULE = RailSchedule(  # few questions, so that a long silence has few steps
    enquiries=tuple(timedelta(seconds=seconds) for seconds in (1, 10, 60, 1800)),
    sends_again=True,
    unknown_max=timedelta(hours=1),
    processing_max=timedelta(hours=1),
)
MUTE = RandomFaults(rate=1.0, kinds=("garbage",))  # it does what it is told, and nobody can read what it says
WELL = RandomFaults()
_numbers = count(1)
C, P, L = CancellationState, PaymentState, LegState
Act = Callable[[MortalCore, UUID, str], Awaitable[None]]  # the core, the payment, the key of whoever acts


@dataclass(frozen=True, slots=True)
class Until:
    """The worker works, and time passes, until the newest cancellation is in this state; `leg`: and one of its legs in that."""

    state: CancellationState
    leg: LegState | None = None
    telling: bool = False  # the rail tells meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A payment, what becomes of it and is done about it, and where it must end."""

    references: tuple[str, ...]
    acts: tuple[Act | Until, ...]
    amounts: tuple[int, ...] = (1_250,)
    completed: bool = True
    ends: PaymentState = P.refunded
    refunded: int = 1_250
    legs: tuple[LegState, ...] = ()  # of all its legs, oldest first
    records: tuple[str, ...] = ()  # some of those that must have been written, in this order
    moments: tuple[Moment, ...] = ("after",)


def does(step: Step) -> Act:
    async def act(core: MortalCore, payment: UUID, key: str) -> None:
        reply = await take(core, payment, step, key)
        assert reply.status == 200, reply

    return act


def resolves(kind: AnomalyKind = AnomalyKind.paid_after_failure, action: AnomalyAction = AnomalyAction.adopt) -> Act:
    async def act(core: MortalCore, payment: UUID, key: str) -> None:
        reply = await resolve(core, payment, key, await anomaly_of(core, payment, kind), action)
        assert reply.status == 200, reply

    return act


async def asks(core: MortalCore, payment: UUID, key: str) -> None:
    reply = await core.request(payment, key)
    assert reply.status == 200, reply


def rail_is(mood: RandomFaults) -> Act:
    async def act(core: MortalCore, payment: UUID, key: str) -> None:
        await core.rail.set_random_faults(mood)

    return act


STUCK = Until(C.needs_attention)
DONE = Until(C.completed)
TOLD_FAILED = does(tell(succeeded=False))
S_RETRY, S_CLOSE = does(by(SUPERVISOR, RETRY)), does(by(SUPERVISOR, CLOSE))
SCRIPTS = {
    "failed, retried": Script(
        references=("decline:account_closed",),
        acts=(asks, STUCK, does(RETRY), DONE),
        legs=(L.failed, L.succeeded),
        records=("cancellation.needs_attention", "refund.retried", "refund.succeeded", "cancellation.completed"),
        moments=("before", "after"),
    ),
    "one of two failed, redirected": Script(
        references=("decline:account_closed", "ok"),
        amounts=(1_001, 249),
        acts=(asks, STUCK, does(REDIRECT), DONE),
        legs=(L.failed, L.succeeded, L.succeeded),
    ),
    "one of two failed, closed": Script(
        references=("decline:account_closed", "ok"),
        amounts=(1_001, 249),
        acts=(asks, STUCK, does(CLOSE), Until(C.failed)),
        legs=(L.failed, L.succeeded),
        ends=P.completed,
        refunded=249,
    ),
    "waits for somebody, retried": Script(
        references=("requires_action",),
        acts=(asks, STUCK, does(RETRY), DONE),
        legs=(L.failed, L.succeeded),
        records=("refund.requires_action", "refund.retried", "refund.failed", "refund.succeeded"),
        moments=("before", "after"),
    ),
    "waits for somebody, redirected, cancel unanswered": Script(
        references=("timeout_after_effect,requires_action",),
        acts=(asks, STUCK, does(REDIRECT), DONE),
        legs=(L.failed, L.succeeded),
    ),
    "waits for somebody, closed": Script(
        references=("requires_action", "ok"),
        amounts=(1_001, 249),
        acts=(asks, STUCK, does(CLOSE), Until(C.failed)),
        legs=(L.failed, L.succeeded),
        ends=P.completed,
        refunded=249,
    ),
    "void waits for somebody, closed": Script(
        references=("requires_action",),
        completed=False,
        acts=(asks, STUCK, does(CLOSE), Until(C.failed)),
        legs=(L.failed,),
        ends=P.pending,
        refunded=0,
    ),
    "void waits for somebody, retried": Script(
        references=("requires_action",),
        completed=False,
        acts=(asks, STUCK, does(RETRY), DONE),
        legs=(L.failed, L.succeeded),
        ends=P.cancelled,
        refunded=0,
    ),
    "predecessor paid after all, adopted": Script(
        references=("pending:9000s,drop_notification",),
        acts=(asks, STUCK, TOLD_FAILED, S_RETRY, Until(C.needs_attention, L.failed), resolves(), DONE),
        legs=(L.succeeded, L.failed),
        records=("refund.retried", "cancellation.needs_attention", "anomaly.resolved", "cancellation.completed"),
    ),
    "paid after all while nothing replaced it, adopted": Script(
        references=("pending:9000s",),
        acts=(asks, STUCK, TOLD_FAILED, Until(C.needs_attention, telling=True), resolves(), DONE),
        legs=(L.succeeded,),
    ),
    "void released after all, adopted": Script(
        references=("pending:9000s,drop_notification",),
        completed=False,
        acts=(asks, STUCK, TOLD_FAILED, S_RETRY, Until(C.needs_attention, L.failed), resolves(AnomalyKind.voided_late), DONE),
        legs=(L.succeeded, L.failed),
        ends=P.cancelled,
        refunded=0,
    ),
    "predecessor paid after all, noted, retried, adopted": Script(
        references=("pending:9000s,drop_notification",),
        acts=(
            *(asks, STUCK, TOLD_FAILED, S_RETRY, Until(C.needs_attention, L.failed)),
            *(resolves(action=AnomalyAction.note), S_RETRY, Until(C.needs_attention, L.failed), resolves(), DONE),
        ),
        legs=(L.succeeded, L.failed, L.failed),
    ),
    "unknown to the end of the schedule, then sent again": Script(
        references=("ok",),
        acts=(rail_is(MUTE), asks, Until(C.executing, L.unknown), STUCK, rail_is(WELL), DONE),
        legs=(L.succeeded,),
        records=("refund.unknown", "cancellation.needs_attention", "refund.succeeded"),
    ),
    "a person called for what nobody knows, told later": Script(
        references=("slow:60s,drop_notification",),
        acts=(rail_is(MUTE), asks, STUCK, rail_is(WELL), DONE),
        legs=(L.succeeded,),
    ),
    "bounced, retried, paid": Script(
        references=("return_after:10s",),
        acts=(asks, DONE, Until(C.needs_attention, telling=True), does(RETRY), DONE),
        legs=(L.returned, L.succeeded),
        records=("refund.succeeded", "refund.returned", "cancellation.reopened", "refund.retried", "cancellation.completed"),
    ),
    "void released by half, closed, voided later": Script(
        references=("ok", "decline:not_possible"),
        amounts=(1_001, 249),
        completed=False,
        acts=(asks, STUCK, does(CLOSE), Until(C.failed), asks, STUCK, does(RETRY), DONE),
        legs=(L.succeeded, L.failed, L.failed, L.succeeded),
        ends=P.cancelled,
        refunded=1_001,
    ),
}
QUICK = (  # the others take long together
    "one of two failed, redirected",
    "void waits for somebody, closed",
)


@pytest.fixture(scope="module")
async def core(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MortalCore]:
    """One for all scripts: each time a payment of its own, and at the end every invariant holds over all of them."""
    async with mortal_core(cluster, tmp_path_factory.mktemp("recovery"), SCHEDULE) as made:
        yield made
        await made.check()


async def play(core: MortalCore, script: Script, steps: Steps) -> tuple[UUID, str | None]:
    """The script from its request to its end, in a process with these steps. Answers the payment, and the step that killed it."""
    core.start()
    await core.rail.set_random_faults(WELL)
    await core.forget_notices()
    reference = f"stuck-{next(_numbers)}"
    made = terms(reference, core.clock, *script.amounts, provider_references=script.references, completed=script.completed)
    payment = await core.register(made)
    core.start(steps)
    deaths: list[str | None] = []
    for number, act in enumerate(script.acts):
        if isinstance(act, Until):
            await work_until(core, payment, act, deaths)
        else:
            deaths.append(await core.surviving(partial(act, core, payment, f"act-{number}")))
        await assert_owned(core)
    await work_to_the_end(core, deaths)
    return payment, next((death for death in deaths if death), None)


async def work_until(core: MortalCore, payment: UUID, goal: Until, deaths: list[str | None]) -> None:
    for _ in range(100):
        if await is_there(core, payment, goal):
            return
        if goal.telling:
            deaths.append(await core.surviving(partial(core.tell, only=lambda one: one == payment)))
        deaths.append(await core.surviving(partial(drain_in_turn, core)))
        if await is_there(core, payment, goal):
            return
        if not await core.pass_time():
            core.clock.advance(timedelta(hours=1))  # nothing is due here, but the rail has a life of its own
            await core.rail.apply_due()
    raise AssertionError((goal, await core.snapshot(payment)))


IS_THERE = """
select c.state = $2 and ($3::text is null or l.state::text = $3)
   and (not $4 or c.state <> 'needs_attention' or c.reopened or exists (select from anomaly a where a.payment_id = $1))
  from (select * from cancellation where payment_id = $1 order by id desc limit 1) c
  left join (select state from leg where payment_id = $1 order by id desc limit 1) l on true"""


async def is_there(core: MortalCore, payment: UUID, goal: Until) -> bool:
    """`telling`: what is waited for is a word that changes what is stuck already."""
    return bool(await core.pool.fetchval(IS_THERE, payment, goal.state, goal.leg, goal.telling))


async def work_to_the_end(core: MortalCore, deaths: list[str | None]) -> None:
    """Until no job is left, those of clocks that were stopped long ago included."""
    for _ in range(50):
        deaths.append(await core.surviving(partial(drain_in_turn, core)))
        if not await core.pass_time():
            return
    raise AssertionError(await core.pool.fetch("select * from job"))


async def assert_ended(core: MortalCore, script: Script, payment: UUID) -> None:
    found = await core.snapshot(payment)
    row = found.payment
    assert (row.state, row.amount_refunded, row.amount_reserved) == (script.ends, script.refunded, 0)
    assert tuple(leg.state for leg in sorted(found.legs, key=lambda leg: leg.id)) == script.legs
    assert all(c.clock is None for c in found.cancellations)
    await assert_booked(core, payment)
    rows = await core.pool.fetch("select type from record where payment_id = $1 order by sequence", payment)
    types = iter(row["type"] for row in rows)
    assert all(wanted in types for wanted in script.records), [row["type"] for row in rows]


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in SCRIPTS])
async def test_a_recovery_killed_at_each_step(core: MortalCore, name: str, subtests: pytest.Subtests) -> None:
    script = SCRIPTS[name]
    whole = Steps()
    payment, _ = await play(core, script, whole)
    await assert_ended(core, script, payment)

    for at in range(len(whole.names)):
        for moment in script.moments:
            if moment == "after" and at not in whole.written:
                continue
            with subtests.test(f"killed {moment} step {at}, {whole.names[at]}"):
                payment, killed = await play(core, script, Steps(at, moment))
                assert killed == whole.names[at], "the step that was meant"
                await assert_ended(core, script, payment)
