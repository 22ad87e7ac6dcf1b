"""Every flow is killed at each of its steps, before and after it, and each time goes on to the one right end.

A flow is run once to count its steps; then once for each step and moment, on a payment of its own.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from tests.crash.mortal import MortalCore, mortal_core, terms
from tests.crash.steps import Moment, Steps
from tests.database import Cluster
from workflows.domain.enums import CancellationState, LegKind, LegState, PaymentState

FAULTS = ("ok", "timeout_after_effect", "timeout_before_effect", "unavailable:2", "pending:5s", "garbage", "slow:25s")
P = PaymentState
FEW = ("ok", "timeout_after_effect", "pending:5s")  # for the flows whose steps are others' steps in another order
_numbers = count(1)
MOMENTS: tuple[Moment, Moment] = ("before", "after")
# A death after a step that left nothing behind, or before one, is a death after the last that did: shown here, saved elsewhere.
ALL_OF_THEM = ("ok",)
PAIRS = 6

Telling = Callable[[MortalCore], Callable[[], Awaitable[None]] | None]


def silent(_: MortalCore) -> None:
    """The rail tells nothing: all is learnt by reply and by asking."""
    return


def prompt(core: MortalCore) -> Callable[[], Awaitable[None]]:
    return core.tell


def twice(core: MortalCore) -> Callable[[], Awaitable[None]]:
    return lambda: core.tell(copies=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A payment, what is asked of it, how the rail tells, and where it must end."""

    amounts: tuple[int, ...]
    completed: bool
    ends: PaymentState
    kind: LegKind  # what must have moved, once a source
    fault: str = "{}"  # the source's reference, around the fault of the case
    telling: Telling = silent
    early: bool = False  # the rail's word comes before its reply
    late: bool = False  # and long after all is over
    faults: tuple[str, ...] = FAULTS


FLOWS = {
    "refund": Flow(amounts=(1_250,), completed=True, ends=P.refunded, kind=LegKind.refund),
    "refund of two legs": Flow(amounts=(1_001, 499), completed=True, ends=P.refunded, kind=LegKind.refund, faults=FEW),
    "void": Flow(amounts=(1_250,), completed=False, ends=P.cancelled, kind=LegKind.void),
    "void of two legs": Flow(amounts=(1_001, 499), completed=False, ends=P.cancelled, kind=LegKind.void),
    "void found captured": Flow(amounts=(1_250,), completed=False, ends=P.refunded, kind=LegKind.refund, fault="captured_meanwhile,{}"),
    "notified twice": Flow(amounts=(1_250,), completed=True, ends=P.refunded, kind=LegKind.refund, telling=twice, faults=FEW),
    "notified early": Flow(amounts=(1_250,), completed=True, ends=P.refunded, kind=LegKind.refund, telling=prompt, early=True),
    "notified late": Flow(amounts=(1_250,), completed=True, ends=P.refunded, kind=LegKind.refund, late=True, faults=FEW),
    "void notified early": Flow(
        amounts=(1_250,), completed=False, ends=P.cancelled, kind=LegKind.void, telling=prompt, early=True, faults=FEW
    ),
}
VOIDS = {name: flow for name, flow in FLOWS.items() if not flow.completed}


QUICK = {"refund", "refund of two legs", "void", "void found captured"}  # each with one fault; the others take long together


def cases(flows: dict[str, Flow], quick: str) -> list[Any]:
    """Each flow with each fault. `quick`: the fault with which the quick flows are quick."""
    return [
        pytest.param(name, fault, marks=() if fault == quick and name in QUICK else pytest.mark.long)
        for name, flow in flows.items()
        for fault in flow.faults
    ]


@pytest.fixture(scope="module")
async def core(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MortalCore]:
    """One for all cases: each has a payment of its own, and at the end every invariant holds over all of them."""
    async with mortal_core(cluster, tmp_path_factory.mktemp("steps")) as made:
        yield made
        await made.check()


async def register(core: MortalCore, flow: Flow, fault: str) -> UUID:
    core.start()
    told = flow.fault.format(fault)
    reference = f"step-{next(_numbers)}"
    made = terms(reference, core.clock, *flow.amounts, provider_references=[told] * 3, completed=flow.completed)
    return await core.register(made)


async def play(core: MortalCore, flow: Flow, payment: UUID, steps: Steps) -> str | None:
    """The flow from the request to its end, in a process with these steps. Answers where it was killed."""
    core.start(steps)
    telling = flow.telling(core)
    deaths: list[str | None] = []

    async def request() -> None:
        reply = await core.request(payment, "once")
        assert reply.status == 200, reply.body

    async def drain_and_tell() -> None:
        await core.drain()
        if telling is not None:
            await telling()
            await core.drain()

    core.rail.before_reply(core.tell if flow.early else None)
    deaths.append(await core.surviving(request))
    await settle(core, drain_and_tell, deaths)
    if flow.late:
        deaths.append(await core.surviving(core.tell))
        await settle(core, drain_and_tell, deaths)
    core.rail.before_reply(None)
    await core.forget_notices()
    return next((death for death in deaths if death), None)


async def settle(core: MortalCore, work: Callable[[], Awaitable[None]], deaths: list[str | None]) -> None:
    for _ in range(60):
        deaths.append(await core.surviving(work))
        if not await core.pass_time():
            return
    raise AssertionError(await core.pool.fetch("select * from job"))


async def assert_ended(core: MortalCore, payment: UUID, *, ends: PaymentState, kinds: tuple[LegKind, ...]) -> None:
    """All is final, and the rail's own ledger holds exactly one movement for each source: that of the leg that succeeded."""
    found = await core.snapshot(payment)
    row = found.payment
    assert row.state is ends
    assert [each.state for each in found.cancellations] == [CancellationState.completed]
    assert all(leg.state in {LegState.succeeded, LegState.failed} for leg in found.legs), found.legs
    assert (row.amount_reserved, row.amount_refunded) == (0, row.amount if ends is P.refunded else 0)
    moved = {(m.rail_key, m.kind, m.amount) for m in await core.rail.movements(row.reference)}
    arrived = [leg for leg in found.legs if leg.state is LegState.succeeded]
    assert moved == {(leg.rail_key, leg.kind.value, leg.amount) for leg in arrived}
    assert sorted(leg.position for leg in arrived) == list(range(len(row.funding))), "once for each source"
    assert [leg.amount for leg in sorted(arrived, key=lambda leg: leg.position)] == [source.amount for source in row.funding]
    assert {leg.kind for leg in arrived} <= set(kinds)


@pytest.mark.parametrize(("name", "fault"), cases(FLOWS, "ok"))
async def test_killed_at_each_step(core: MortalCore, name: str, fault: str, subtests: pytest.Subtests) -> None:
    flow = FLOWS[name]
    whole = Steps()
    payment = await register(core, flow, fault)
    await play(core, flow, payment, whole)
    await assert_ended(core, payment, ends=flow.ends, kinds=(flow.kind,))

    for at in range(len(whole.names)):
        for moment in MOMENTS if fault in ALL_OF_THEM else MOMENTS[1:] if at in whole.written else ():
            with subtests.test(f"killed {moment} step {at}, {whole.names[at]}"):
                payment = await register(core, flow, fault)
                killed = await play(core, flow, payment, Steps(at, moment))
                assert killed == whole.names[at], "the step that was meant"
                await assert_ended(core, payment, ends=flow.ends, kinds=(flow.kind,))


@pytest.mark.parametrize(("name", "fault"), cases(VOIDS, "timeout_after_effect"))
async def test_completed_by_the_wallet_between_any_two_steps_of_a_void(
    core: MortalCore, name: str, fault: str, subtests: pytest.Subtests
) -> None:
    """Each source is released or paid back, one of the two; afterwards the wallet hears what became of its payment."""
    flow = VOIDS[name]
    whole = Steps()
    await play(core, flow, await register(core, flow, fault), whole)

    for at in range(len(whole.names)):
        with subtests.test(f"completed before step {at}, {whole.names[at]}"):
            payment = await register(core, flow, fault)
            other = core.beside()
            replies: list[int] = []

            async def complete(other: MortalCore = other, payment: UUID = payment, replies: list[int] = replies) -> None:
                replies.append((await other.complete(payment, "settled")).status)

            await play(core, flow, payment, Steps(also=(at, complete)))
            row = (await core.snapshot(payment)).payment
            assert replies, "the wallet was heard"
            assert row.state in {P.cancelled, P.refunded}
            await assert_ended(core, payment, ends=row.state, kinds=(LegKind.void, LegKind.refund))


@pytest.mark.parametrize(("name", "fault"), cases(VOIDS, "timeout_after_effect"))
async def test_completed_and_killed(core: MortalCore, name: str, fault: str, subtests: pytest.Subtests) -> None:
    """The wallet completes the payment before one step, and the process dies after another; every pair of a sample with a seed."""
    flow = VOIDS[name]
    whole = Steps()
    await play(core, flow, await register(core, flow, fault), whole)
    chance = random.Random(f"{name} {fault}")

    for _ in range(PAIRS):
        completed, killed = chance.randrange(len(whole.names)), chance.randrange(1, 2 * len(whole.names))
        with subtests.test(f"completed before step {completed}, killed after step {killed}"):
            payment = await register(core, flow, fault)
            other = core.beside()

            async def complete(other: MortalCore = other, payment: UUID = payment) -> None:
                await other.complete(payment, "settled")

            await play(core, flow, payment, Steps(killed, "after", also=(completed, complete)))
            row = (await core.snapshot(payment)).payment
            assert row.state in {P.cancelled, P.refunded}
            await assert_ended(core, payment, ends=row.state, kinds=(LegKind.void, LegKind.refund))
