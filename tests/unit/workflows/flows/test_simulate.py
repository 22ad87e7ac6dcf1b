"""The flow of a simulation: others have their turn between its decisions, and its place is free again however it ends."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from service.calendars import calendar
from tests.factories import COMPLETED_AT, FACTS, policy_of
from workflows.clock_and_ids import new_id, new_salt
from workflows.commands import Runtime
from workflows.domain.canonical import canonical
from workflows.domain.errors import SimulationRunning
from workflows.domain.policies.facts import facts_data
from workflows.domain.policies.simulation import SimulationResult
from workflows.flows.simulate import BATCH, SimulatePolicySpan, SimulationProgress, Simulations
from workflows.storage.decisions import PAGE_ROWS
from workflows.storage.policies import Published

FACTS_TEXT = canonical(facts_data(FACTS)).decode()
OWN = policy_of({"route": "agent"})


class Kept:
    """So many decisions, which are there at once; all of them by a policy that is known, but for every tenth."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pages = 0

    async def fetch(self, _: str, __: datetime, after: UUID, ___: datetime) -> list[dict[str, Any]]:
        self.pages += 1
        return [self.row(number) for number in range(after.int + 1, min(after.int + PAGE_ROWS, self.count) + 1)]

    def row(self, number: int) -> dict[str, Any]:
        usual = {
            "payment_id": UUID(int=9),
            "created_at": COMPLETED_AT,
            "route": "agent",
            "refusal": None,
            "rule": "r0",
            "overridden": False,
        }
        version = "gone" if number % 10 == 0 else "v"
        return {**usual, "id": UUID(int=number), "facts": FACTS_TEXT, "policy_version": version, "merchant_rules_version": None}


class Known:
    """The policies of a store."""

    policies: "Known"

    def __init__(self) -> None:
        self.policies = self
        self.asked: list[str] = []

    async def get(self, version: str) -> Published | None:
        self.asked.append(version)
        return None if version == "gone" else Published(policy=OWN, published_at=COMPLETED_AT, published_by="olga")


def runtime(store: Any) -> Runtime:
    return Runtime(store=store, clock=lambda: COMPLETED_AT, new_id=new_id, new_salt=new_salt, calendar=calendar)


WANTED = SimulatePolicySpan(candidate=policy_of({"route": "automatic"}), start=COMPLETED_AT, end=datetime(2027, 1, 1, tzinfo=UTC))


async def test_others_have_their_turn_between_decisions() -> None:
    turns = 0
    over = False

    async def others() -> None:
        nonlocal turns
        while not over:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(others())
    steps = [step async for step in Simulations().run(runtime(Known()), Kept(1_000), WANTED)]
    over = True
    await waiting

    assert [step.decisions for step in steps] == [200, 400, 600, 800, 1_000, 900]
    assert turns >= 1_000 // BATCH


async def test_each_policy_is_looked_up_once_and_what_has_none_is_skipped() -> None:
    known = Known()

    *_, result = [step async for step in Simulations().run(runtime(known), Kept(30), WANTED)]

    assert known.asked == ["v", "gone"]
    assert isinstance(result, SimulationResult)
    assert (result.decisions, result.skipped, result.kinder, result.not_reproduced) == (27, 3, 27, 0)


async def test_its_place_is_free_again_however_it_ends() -> None:
    simulations, kept = Simulations(), Kept(1_000)
    async with aclosing(simulations.run(runtime(Known()), kept, WANTED)) as left:
        assert isinstance(await anext(left), SimulationProgress)
        with pytest.raises(SimulationRunning):
            await anext(simulations.run(runtime(Known()), kept, WANTED))
        assert isinstance(await anext(left), SimulationProgress), "the one that came too late does not free the place"
    assert kept.pages == 2

    class Broken(Kept):
        async def fetch(self, *_: Any) -> list[dict[str, Any]]:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await anext(simulations.run(runtime(Known()), Broken(1), WANTED))
    assert isinstance([step async for step in simulations.run(runtime(Known()), kept, WANTED)][-1], SimulationResult)
