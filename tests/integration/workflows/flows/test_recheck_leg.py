"""A rail that returns money and whose word of that gets lost: it is asked again, for as long as it may return any."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.database import Database
from tests.harness import ScriptedCore, scripted_core
from tests.integration.workflows.storage.test_sweeping import lose
from tests.rails import SCHEDULE
from workflows.domain.enums import LegState
from workflows.flows.check import run_checks
from workflows.flows.recheck_leg import LAST_CHANCE
from workflows.storage import sweeping

DAY = timedelta(days=1)
RECHECKS = (DAY, 2 * DAY, 4 * DAY)


@pytest.fixture
async def core(database: Database) -> AsyncIterator[ScriptedCore]:
    async with scripted_core(database.app_url) as one:
        one.rail.schedule = replace(SCHEDULE, rechecks=RECHECKS)
        yield one
        assert not [found for found in await run_checks(one.pool) if found.violations]


async def refunded(core: ScriptedCore, script: str) -> UUID:
    payment = await core.pay(script, sources=(script,))
    await core.ask(payment)
    await core.work()
    [leg] = await core.legs(payment)
    assert leg.state is LegState.succeeded
    return payment


async def calls(core: ScriptedCore, payment: UUID) -> int:
    """How often the rail was called for it, the order itself too."""
    [leg] = await core.legs(payment)
    return core.rail.calls[leg.rail_key]


async def jobs(core: ScriptedCore) -> int:
    count: int = await core.pool.fetchval("select count(*) from job")
    return count


async def pass_days(core: ScriptedCore, days: float) -> None:
    core.clock.now += DAY * days
    await core.worker.drain()


async def test_a_refund_that_stays_is_asked_after_by_the_schedule_and_then_never_again(core: ScriptedCore) -> None:
    payment = await refunded(core, "ok")
    asked = []
    for _ in range(12):
        await pass_days(core, 0.5)
        asked.append(await calls(core, payment) - 1)

    assert asked == [0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3]
    assert await jobs(core) == 0
    [leg] = await core.legs(payment)
    assert (leg.state, leg.attempts) == (LegState.succeeded, 1)


@pytest.mark.parametrize("word", ["returned", "decline"])
async def test_what_came_back_unheard_is_found_and_a_person_is_called(core: ScriptedCore, word: str) -> None:
    payment = await refunded(core, f"ok/ok/{word}")

    await pass_days(core, 1)
    assert [leg.state for leg in await core.legs(payment)] == [LegState.succeeded]
    await pass_days(core, 1)

    [leg] = await core.legs(payment)
    assert (leg.state, leg.failure_code) == (LegState.returned, "account_closed")
    assert await core.pool.fetchval("select state::text from cancellation where payment_id = $1", payment) == "needs_attention"
    assert await core.pool.fetchval("select amount_refunded from payment where id = $1", payment) == 0
    await pass_days(core, 9)
    assert await calls(core, payment) == 3, "it is known now"


@pytest.mark.parametrize("silence", ["unknown", "unavailable", "absent", "pending"])
async def test_silence_says_nothing_and_is_asked_into_again(core: ScriptedCore, silence: str) -> None:
    payment = await refunded(core, f"ok/{silence}/{silence}/returned")

    for _ in range(8):
        await pass_days(core, 1)

    assert [leg.state for leg in await core.legs(payment)] == [LegState.returned]


async def test_a_rail_that_never_answers_is_given_up_after_a_last_chance(core: ScriptedCore) -> None:
    payment = await refunded(core, "ok/unknown")
    core.rail.schedule = replace(core.rail.schedule, enquiries=(DAY / 4,))

    for _ in range(40):
        await pass_days(core, 0.25)

    assert await jobs(core) == 0
    assert 4 < await calls(core, payment) <= 1 + 4 * (RECHECKS[-1] + LAST_CHANCE).days
    assert [leg.state for leg in await core.legs(payment)] == [LegState.succeeded]


async def test_the_last_chance_is_taken_however_patient_the_enquiries_are(core: ScriptedCore) -> None:
    payment = await refunded(core, "ok/ok/ok/unknown/returned")
    core.rail.schedule = replace(core.rail.schedule, enquiries=(9 * DAY,))

    for _ in range(6):
        await pass_days(core, 1)

    assert [leg.state for leg in await core.legs(payment)] == [LegState.returned]


@pytest.mark.slow
async def test_a_question_that_was_lost_is_put_again_and_one_that_is_over_is_not(core: ScriptedCore, owner: Any) -> None:
    over = await refunded(core, "ok/ok")
    await pass_days(core, 5)
    assert await jobs(core) == 0
    lost = [await refunded(core, f"ok/{number}") for number in range(3)]
    assert await lose(owner, "recheck") == 3
    await refunded(core, "ok/ok/ok")

    with capture_logs() as logs:
        for _ in range(3):
            await core.worker.put_jobs_back()

    assert [one["rechecks"] for one in logs if one["event"] == "jobs_put_back"] == [3]
    assert await core.pool.fetchval("select count(*) from job where kind = 'recheck' and run_at = $1", core.clock.now) == 3
    await core.worker.drain()
    assert [await calls(core, payment) for payment in (over, *lost)] == [2, 2, 2, 2]
    due = await core.pool.fetchval("select array_agg(distinct run_at) from job where payment_id = any($1)", lost)
    assert min(due) > core.clock.now + DAY / 2, "and then by the schedule again"


@pytest.mark.slow
async def test_the_refunds_are_looked_at_some_at_a_time(core: ScriptedCore, owner: Any) -> None:
    for number in range(5):
        await refunded(core, f"ok/{number}")
    assert await lose(owner, "recheck") == 5
    spans, place, found = {"sandbox": RECHECKS[-1]}, None, []

    for _ in range(4):
        put, place = await sweeping.put_rechecks_back(core.pool, spans, core.clock.now, place, rows_max=2)
        found.append((put, place is None))

    assert found == [(2, False), (2, False), (1, True), (0, False)]
    assert await sweeping.put_rechecks_back(core.pool, {"other": DAY}, core.clock.now, None) == (0, None)

    assert await lose(owner, "recheck") == 5
    spans = {"sandbox": DAY, "other": 30 * DAY}  # each refund for as long as its own rail may send it back
    assert await sweeping.put_rechecks_back(core.pool, spans, core.clock.now + 2 * DAY, None) == (0, None)


async def test_another_amount_is_an_anomaly_and_changes_nothing(core: ScriptedCore) -> None:
    payment = await refunded(core, "ok/mismatch/mismatch/ok")

    for _ in range(5):
        await pass_days(core, 1)

    assert await core.pool.fetchval("select array_agg(kind::text) from anomaly where scope_id = $1", payment) == ["amount_mismatch"]
    assert [leg.state for leg in await core.legs(payment)] == [LegState.succeeded]
    assert await jobs(core) == 0


async def test_a_worker_that_dies_between_the_question_and_its_answer_asks_again(core: ScriptedCore) -> None:
    """Killed as the rail's word comes: nothing was written, and the lease ends."""
    payment = await refunded(core, "ok/returned")
    core.clock.now += DAY
    lane = next(lane for lane in core.worker.lanes if lane.name == "rechecks sandbox")
    [claim] = await core.worker.claim(lane, 1)
    whole = core.rail.find

    async def dies(_: object) -> object:
        raise asyncio.CancelledError

    core.rail.find = dies  # type: ignore[method-assign, assignment]
    with pytest.raises(asyncio.CancelledError):
        await core.worker.do(claim)
    core.rail.find = whole  # type: ignore[method-assign]

    assert await core.worker.drain() == 0, "it is leased"
    await pass_days(core, 0.1)

    assert [leg.state for leg in await core.legs(payment)] == [LegState.returned]


async def test_a_word_that_is_heard_leaves_nothing_to_ask(core: ScriptedCore) -> None:
    payment = await refunded(core, "ok")
    [leg] = await core.legs(payment)
    await core.say(leg, "returned")
    await core.work()

    await pass_days(core, 1)

    assert await calls(core, payment) == 1
    assert await jobs(core) == await core.pool.fetchval("select count(*) from job where kind = 'deadline'")
