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
from tests.storage.test_sweeping import lose
from tests.storage.world import SCHEDULE, World, world
from workflows.domain.enums import LegState
from workflows.flows.check import run_checks
from workflows.flows.recheck_leg import LAST_CHANCE
from workflows.storage import sweeping

DAY = timedelta(days=1)
RECHECKS = (DAY, 2 * DAY, 4 * DAY)


@pytest.fixture
async def made(database: Database) -> AsyncIterator[World]:
    async with world(database.app_url) as one:
        one.rail.schedule = replace(SCHEDULE, rechecks=RECHECKS)
        yield one
        assert not [found for found in await run_checks(one.pool) if found.violations]


async def refunded(made: World, script: str) -> UUID:
    payment = await made.register(script, sources=(script,))
    await made.request(payment)
    await made.work()
    [leg] = await made.legs(payment)
    assert leg.state is LegState.succeeded
    return payment


async def calls(made: World, payment: UUID) -> int:
    """How often the rail was called for it, the order itself too."""
    [leg] = await made.legs(payment)
    return made.rail.calls[leg.rail_key]


async def jobs(made: World) -> int:
    count: int = await made.pool.fetchval("select count(*) from job")
    return count


async def pass_days(made: World, days: float) -> None:
    made.now += DAY * days
    await made.worker.drain()


async def test_a_refund_that_stays_is_asked_after_by_the_schedule_and_then_never_again(made: World) -> None:
    payment = await refunded(made, "ok")
    asked = []
    for _ in range(12):
        await pass_days(made, 0.5)
        asked.append(await calls(made, payment) - 1)

    assert asked == [0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3]
    assert await jobs(made) == 0
    [leg] = await made.legs(payment)
    assert (leg.state, leg.attempts) == (LegState.succeeded, 1)


@pytest.mark.parametrize("word", ["returned", "decline"])
async def test_what_came_back_unheard_is_found_and_a_person_is_called(made: World, word: str) -> None:
    payment = await refunded(made, f"ok/ok/{word}")

    await pass_days(made, 1)
    assert [leg.state for leg in await made.legs(payment)] == [LegState.succeeded]
    await pass_days(made, 1)

    [leg] = await made.legs(payment)
    assert (leg.state, leg.failure_code) == (LegState.returned, "account_closed")
    assert await made.pool.fetchval("select state::text from cancellation where payment_id = $1", payment) == "needs_attention"
    assert await made.pool.fetchval("select amount_refunded from payment where id = $1", payment) == 0
    await pass_days(made, 9)
    assert await calls(made, payment) == 3, "it is known now"


@pytest.mark.parametrize("silence", ["unknown", "unavailable", "absent", "pending"])
async def test_silence_says_nothing_and_is_asked_into_again(made: World, silence: str) -> None:
    payment = await refunded(made, f"ok/{silence}/{silence}/returned")

    for _ in range(8):
        await pass_days(made, 1)

    assert [leg.state for leg in await made.legs(payment)] == [LegState.returned]


async def test_a_rail_that_never_answers_is_given_up_after_a_last_chance(made: World) -> None:
    payment = await refunded(made, "ok/unknown")
    made.rail.schedule = replace(made.rail.schedule, enquiries=(DAY / 4,))

    for _ in range(40):
        await pass_days(made, 0.25)

    assert await jobs(made) == 0
    assert 4 < await calls(made, payment) <= 1 + 4 * (RECHECKS[-1] + LAST_CHANCE).days
    assert [leg.state for leg in await made.legs(payment)] == [LegState.succeeded]


async def test_the_last_chance_is_taken_however_patient_the_enquiries_are(made: World) -> None:
    payment = await refunded(made, "ok/ok/ok/unknown/returned")
    made.rail.schedule = replace(made.rail.schedule, enquiries=(9 * DAY,))

    for _ in range(6):
        await pass_days(made, 1)

    assert [leg.state for leg in await made.legs(payment)] == [LegState.returned]


async def test_a_question_that_was_lost_is_put_again_and_one_that_is_over_is_not(made: World, owner: Any) -> None:
    over = await refunded(made, "ok/ok")
    await pass_days(made, 5)
    assert await jobs(made) == 0
    lost = [await refunded(made, f"ok/{number}") for number in range(3)]
    assert await lose(owner, "recheck") == 3
    await refunded(made, "ok/ok/ok")

    with capture_logs() as logs:
        for _ in range(3):
            await made.worker.put_jobs_back()

    assert [one["rechecks"] for one in logs if one["event"] == "jobs_put_back"] == [3]
    assert await made.pool.fetchval("select count(*) from job where kind = 'recheck' and run_at = $1", made.now) == 3
    await made.worker.drain()
    assert [await calls(made, payment) for payment in (over, *lost)] == [2, 2, 2, 2]
    due = await made.pool.fetchval("select array_agg(distinct run_at) from job where payment_id = any($1)", lost)
    assert min(due) > made.now + DAY / 2, "and then by the schedule again"


async def test_the_refunds_are_looked_at_some_at_a_time(made: World, owner: Any) -> None:
    for number in range(5):
        await refunded(made, f"ok/{number}")
    assert await lose(owner, "recheck") == 5
    spans, place, found = {"sandbox": RECHECKS[-1]}, None, []

    for _ in range(4):
        put, place = await sweeping.put_rechecks_back(made.pool, spans, made.now, place, rows_max=2)
        found.append((put, place is None))

    assert found == [(2, False), (2, False), (1, True), (0, False)]
    assert await sweeping.put_rechecks_back(made.pool, {"other": DAY}, made.now, None) == (0, None)


async def test_another_amount_is_an_anomaly_and_changes_nothing(made: World) -> None:
    payment = await refunded(made, "ok/mismatch/mismatch/ok")

    for _ in range(5):
        await pass_days(made, 1)

    assert await made.pool.fetchval("select array_agg(kind::text) from anomaly where scope_id = $1", payment) == ["amount_mismatch"]
    assert [leg.state for leg in await made.legs(payment)] == [LegState.succeeded]
    assert await jobs(made) == 0


async def test_a_worker_that_dies_between_the_question_and_its_answer_asks_again(made: World) -> None:
    """Killed as the rail's word comes: nothing was written, and the lease ends."""
    payment = await refunded(made, "ok/returned")
    made.now += DAY
    lane = next(lane for lane in made.worker.lanes if lane.name == "rechecks sandbox")
    [claim] = await made.worker.claim(lane, 1)
    whole = made.rail.find

    async def dies(_: object) -> object:
        raise asyncio.CancelledError

    made.rail.find = dies  # type: ignore[method-assign, assignment]
    with pytest.raises(asyncio.CancelledError):
        await made.worker.do(claim)
    made.rail.find = whole  # type: ignore[method-assign]

    assert await made.worker.drain() == 0, "it is leased"
    await pass_days(made, 0.1)

    assert [leg.state for leg in await made.legs(payment)] == [LegState.returned]


async def test_a_word_that_is_heard_leaves_nothing_to_ask(made: World) -> None:
    payment = await refunded(made, "ok")
    [leg] = await made.legs(payment)
    await made.say(leg, "returned")
    await made.work()

    await pass_days(made, 1)

    assert await calls(made, payment) == 1
    assert await jobs(made) == await made.pool.fetchval("select count(*) from job where kind = 'deadline'")
