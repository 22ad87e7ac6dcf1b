"""Every way by which a cancellation is decided is killed at each of its steps, before and after it, and goes on to the one right end.

A script is played once to count its steps; then once for each step and moment, on a payment of its own.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import count
from uuid import UUID

import pytest

from tests.crash.deciding import (
    ABOVE,
    ACCEPT,
    ACCEPT_OFFER,
    ACCEPT_WITH_RETURN,
    APPROVE,
    DECLINE,
    DECLINE_OFFER,
    DENY,
    ESCALATE,
    OTHER_AGENT,
    SHIP,
    SUPERVISOR,
    Step,
    answer,
    by,
    received,
    settled_payment,
    take,
    wish,
)
from tests.crash.mortal import MortalCore, mortal_core
from tests.crash.steps import Moment, Steps
from tests.database import Cluster
from workflows.domain.enums import CancellationState, LegState, MerchantDecision, PaymentState, Reason, ReturnCondition
from workflows.domain.model import IdempotentResponse

AMOUNT = 1_250
OFFER = 800
MOMENTS: tuple[Moment, Moment] = ("before", "after")
_numbers = count(1)
C, P = CancellationState, PaymentState


@dataclass(frozen=True, slots=True)
class Does:
    """A step that somebody takes, and the answer: the state that it leads to, or 409 and the state that forbids it."""

    step: Step
    state: CancellationState
    status: int = 200


@dataclass(frozen=True, slots=True)
class Deadline:
    """The time of whoever owes the next step is over. `worker`: one comes to it, and does what is due."""

    worker: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A request, what is done about it, and where it must end."""

    acts: tuple[Does | Deadline, ...]
    ends: CancellationState = C.completed
    refunded: int = AMOUNT
    amount: int = AMOUNT
    reason: Reason = Reason.changed_mind
    delivered: bool = False


DECLINED = Does(DECLINE, C.declined)
ESCALATED = Does(ESCALATE, C.awaiting_agent)
OFFERED = Does(answer(MerchantDecision.offer, OFFER), C.offered)
TO_BE_RETURNED = Does(ACCEPT_WITH_RETURN, C.awaiting_return)
SHIPPED = Does(SHIP, C.awaiting_return)
APPROVED = Does(APPROVE, C.executing)
FIRST_OF_TWO = Does(APPROVE, C.awaiting_second_approval)
SECOND_OF_TWO = Does(by(SUPERVISOR, APPROVE), C.executing)
TOO_LATE = Does(DECLINE, C.awaiting_agent, 409)
SCRIPTS = {
    "accepted": Script(acts=(Does(ACCEPT, C.executing),)),
    "returned intact": Script(acts=(TO_BE_RETURNED, SHIPPED, Does(received(ReturnCondition.intact), C.executing))),
    "offer accepted": Script(acts=(OFFERED, Does(ACCEPT_OFFER, C.executing)), refunded=OFFER),
    "offer declined, then accepted": Script(acts=(OFFERED, Does(DECLINE_OFFER, C.awaiting_merchant), Does(ACCEPT, C.executing))),
    "declined, escalated, approved": Script(acts=(DECLINED, ESCALATED, APPROVED)),
    "declined, escalated, approved by two": Script(acts=(DECLINED, ESCALATED, FIRST_OF_TWO, SECOND_OF_TWO), amount=ABOVE, refunded=ABOVE),
    "merchant silent": Script(acts=(Deadline(), APPROVED)),
    "merchant too late": Script(acts=(Deadline(worker=False), TOO_LATE, Does(DENY, C.declined)), ends=C.declined, refunded=0),
    "return not sent": Script(acts=(Deadline(),), delivered=True, ends=C.declined, refunded=0),
    "return sent too late": Script(acts=(Deadline(worker=False), Does(SHIP, C.declined, 409)), delivered=True, ends=C.declined, refunded=0),
    "not inspected": Script(acts=(SHIPPED, Deadline()), delivered=True),
    "inspected too late": Script(
        acts=(SHIPPED, Deadline(worker=False), Does(received(ReturnCondition.damaged), C.executing, 409)), delivered=True
    ),
    "second approval expired": Script(
        acts=(FIRST_OF_TWO, Deadline(), Does(by(OTHER_AGENT, APPROVE), C.awaiting_second_approval), SECOND_OF_TWO),
        amount=ABOVE,
        refunded=ABOVE,
        reason=Reason.unauthorised,
    ),
}
QUICK = ("accepted", "return sent too late")  # the others take long together


@pytest.fixture(scope="module")
async def core(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MortalCore]:
    """One for all scripts: each time a payment of its own, and at the end every invariant holds over all of them."""
    async with mortal_core(cluster, tmp_path_factory.mktemp("decisions")) as made:
        yield made
        await made.check()


@dataclass(slots=True)
class Played:
    payment: UUID
    killed: str | None
    told: list[str]  # the cancellation's records


async def play(core: MortalCore, script: Script, steps: Steps) -> Played:
    """The script from its request to its end, in a process with these steps; then every command again, under its key."""
    core.start()
    payment = await core.register(settled_payment(f"decided-{next(_numbers)}", core.clock(), script.amount, delivered=script.delivered))
    core.start(steps)
    answers: dict[str, IdempotentResponse] = {}
    deaths = [await core.surviving(partial(ask, core, script, payment, answers))]
    for number, act in enumerate(script.acts):
        if isinstance(act, Does):
            deaths.append(await core.surviving(partial(does, core, act, payment, f"act-{number}", answers)))
            continue
        core.clock.now = max(core.clock.now, await deadline(core, payment))
        if act.worker:
            deaths.append(await core.surviving(partial(drain_in_turn, core)))
    await work_to_the_end(core, deaths)
    told = await told_of(core, payment)
    await repeat_all(core, script, payment, answers)
    assert await told_of(core, payment) == told, "what is repeated leaves nothing behind"
    return Played(payment, next((death for death in deaths if death), None), told)


async def ask(core: MortalCore, script: Script, payment: UUID, answers: dict[str, IdempotentResponse]) -> None:
    answers["ask"] = await core.request(payment, "ask", wish(script.reason))
    assert answers["ask"].status == 200, answers["ask"].body


async def does(core: MortalCore, act: Does, payment: UUID, key: str, answers: dict[str, IdempotentResponse]) -> None:
    answers[key] = reply = await take(core, payment, act.step, key)
    state = reply.headers["state"] if reply.status == 409 else reply.body.decode().partition(" ")[0]
    assert (reply.status, state) == (act.status, act.state), reply


async def repeat_all(core: MortalCore, script: Script, payment: UUID, answers: dict[str, IdempotentResponse]) -> None:
    """Long after, each command under its key: the first answer, byte for byte."""
    core.start()
    assert await core.request(payment, "ask", wish(script.reason)) == answers["ask"]
    for number, act in enumerate(script.acts):
        if isinstance(act, Does):
            assert await take(core, payment, act.step, f"act-{number}") == answers[f"act-{number}"]


async def work_to_the_end(core: MortalCore, deaths: list[str | None]) -> None:
    """Until no job is left, those of clocks that were stopped long ago included."""
    for _ in range(20):
        deaths.append(await core.surviving(partial(drain_in_turn, core)))
        last = await core.pool.fetchval("select max(coalesce(leased_until, run_at)) from job")
        if last is None:
            return
        core.clock.now = max(core.clock.now, last)
    raise AssertionError(await core.pool.fetch("select * from job"))


async def drain_in_turn(core: MortalCore) -> None:
    """All that is due, one job after the other: a refund and a clock at once would not take the same steps each time."""
    worker = core.worker
    while claims := [claim for lane in worker.lanes for claim in await worker.claim(lane, lane.concurrency)]:
        for claim in claims:
            await worker.do(claim)


async def deadline(core: MortalCore, payment: UUID) -> datetime:
    found: datetime = await core.pool.fetchval("select max(deadline_at) from cancellation where payment_id = $1", payment)
    return found


async def told_of(core: MortalCore, payment: UUID) -> list[str]:
    rows = await core.pool.fetch("select type from record where chain_id = $1 and type like 'cancellation.%' order by sequence", payment)
    return [row["type"].removeprefix("cancellation.") for row in rows]


async def assert_ended(core: MortalCore, script: Script, played: Played, told: list[str]) -> None:
    """The state, the books and the rail's ledger are those of the script, and the records those of a life without deaths."""
    found = await core.snapshot(played.payment)
    row, [cancellation] = found.payment, found.cancellations
    assert (cancellation.state, cancellation.clock) == (script.ends, None)
    assert row.state is (P.refunded if script.refunded == script.amount else P.completed)
    assert (row.amount_reserved, row.amount_refunded) == (0, script.refunded)
    assert all(leg.state is LegState.succeeded for leg in found.legs), found.legs
    moved = [(m.rail_key, m.amount) for m in await core.rail.movements(row.reference)]
    assert moved == [(leg.rail_key, leg.amount) for leg in found.legs]
    assert sum(amount for _, amount in moved) == script.refunded
    assert played.told == told


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in SCRIPTS])
async def test_a_decision_killed_at_each_step(core: MortalCore, name: str, subtests: pytest.Subtests) -> None:
    script = SCRIPTS[name]
    whole = Steps()
    unharmed = await play(core, script, whole)
    await assert_ended(core, script, unharmed, unharmed.told)

    for at in range(len(whole.names)):
        for moment in MOMENTS:
            with subtests.test(f"killed {moment} step {at}, {whole.names[at]}"):
                played = await play(core, script, Steps(at, moment))
                assert played.killed == whole.names[at], "the step that was meant"
                await assert_ended(core, script, played, unharmed.told)
