"""A worker is frozen before each of its steps, for longer than its lease: others take over, and it wakes and goes on.

Between the intent and the rail's call this is the one way by which a request may reach a rail after everybody has taken it for lost. The
payment settles meanwhile, so that a void which was believed to be lost would be followed by a refund, and both would move.
"""

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.crash.mortal import LEASE, MortalCore, mortal_core
from tests.crash.steps import Steps
from tests.crash.workflows.test_flows import FLOWS, VOIDS, assert_ended, play, register
from tests.database import Cluster
from workflows.domain.enums import LegKind, PaymentState

QUICK = {("void", "timeout_before_effect")}
FAULTS = ("ok", "timeout_before_effect", "slow:25s")  # answered, lost on the way, and still at work


def cases(flows: Iterable[str]) -> list[Any]:
    """Each flow with each fault; all but the quick ones take long together."""
    return [pytest.param(name, fault, marks=() if (name, fault) in QUICK else pytest.mark.long) for name in flows for fault in FAULTS]


@pytest.fixture(scope="module")
async def core(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MortalCore]:
    async with mortal_core(cluster, tmp_path_factory.mktemp("frozen")) as made:
        yield made
        await made.check()


async def work_on(other: MortalCore) -> None:
    """Another worker does all that there is to do, until nothing is left."""
    for _ in range(60):
        await other.drain()
        if not await other.pass_time():
            return
    raise AssertionError("there is always something left")


@pytest.mark.parametrize(("name", "fault"), cases(VOIDS))
async def test_frozen_before_any_step_of_a_void_while_the_payment_settles(
    core: MortalCore, name: str, fault: str, subtests: pytest.Subtests
) -> None:
    flow = VOIDS[name]
    whole = Steps()
    await play(core, flow, await register(core, flow, fault), whole)

    for at in range(1, len(whole.names)):
        with subtests.test(f"frozen before step {at}, {whole.names[at]}"):
            payment = await register(core, flow, fault)
            other = core.beside()

            async def sleep(other: MortalCore = other, payment: UUID = payment) -> None:
                other.clock.advance(LEASE + timedelta(seconds=1))
                await other.complete(payment, "settled")
                await work_on(other)

            await play(core, flow, payment, Steps(also=(at, sleep)))
            row = (await core.snapshot(payment)).payment
            assert row.state in {PaymentState.cancelled, PaymentState.refunded}
            await assert_ended(core, payment, ends=row.state, kinds=(LegKind.void, LegKind.refund))


@pytest.mark.parametrize(("name", "fault"), cases(("refund", "notified twice", "notified early")))
async def test_frozen_before_any_step_of_a_refund(core: MortalCore, name: str, fault: str, subtests: pytest.Subtests) -> None:
    flow = FLOWS[name]
    whole = Steps()
    await play(core, flow, await register(core, flow, fault), whole)

    for at in range(2, len(whole.names)):  # the first two are the caller's request
        with subtests.test(f"frozen before step {at}, {whole.names[at]}"):
            payment = await register(core, flow, fault)
            other = core.beside()

            async def sleep(other: MortalCore = other) -> None:
                other.clock.advance(LEASE + timedelta(seconds=1))
                await work_on(other)

            await play(core, flow, payment, Steps(also=(at, sleep)))
            await assert_ended(core, payment, ends=flow.ends, kinds=(flow.kind,))
