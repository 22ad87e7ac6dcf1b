"""Legs on their way and running clocks that have lost their jobs get them back."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.database import Database
from tests.harness import ScriptedCore
from workflows.flows.call_persons import call_persons
from workflows.storage import sweeping
from workflows.storage.row_rules import ROW_RULES
from workflows.storage.sweeping import SWEEP, JobsPutBack

pytestmark = pytest.mark.slow

NOTHING = JobsPutBack(legs=0, clocks=0)


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    yield connection
    await connection.close()


async def lose(owner: Any, kind: str) -> int:
    """As a damaged disk would: the database itself refuses it."""
    async with owner.transaction():
        await owner.execute("alter table job disable trigger user")
        lost = await owner.execute("delete from job where kind = $1::job_kind", kind)
        for name in {rule.trigger for rule in ROW_RULES if rule.table == "job"} | {"job_guard"}:
            await owner.execute(f"alter table job enable always trigger {name}")
    return int(lost.split()[1])


@pytest.mark.parametrize(
    ("script", "state"), [("ok", "scheduled"), ("pending", "processing"), ("unknown", "unknown"), ("action", "requires_action")]
)
async def test_a_leg_on_its_way_gets_its_job_back(core: ScriptedCore, owner: Any, script: str, state: str) -> None:
    payment = await core.pay("p-1", sources=(script,))
    await core.ask(payment)
    if state != "scheduled":
        await core.work()
    (leg,) = await core.legs(payment)
    assert leg.state == state
    assert await lose(owner, "move") == 1

    with capture_logs() as logs:
        await core.worker.put_jobs_back()

    [job] = await core.pool.fetch(
        "select payment_id, kind, subject_id, run_at, attempt, leased_until, provider from job where kind = 'move'"
    )
    assert dict(job) == {
        "payment_id": payment, "kind": "move", "subject_id": leg.id, "run_at": core.clock.now, "attempt": 0, "leased_until": None,
        "provider": "sandbox",
    }  # fmt: skip
    assert [(one["event"], one["log_level"], one["legs"], one["clocks"]) for one in logs] == [("jobs_put_back", "warning", 1, 0)]
    assert await core.worker.drain() == 1, "and it is done"


async def test_a_clock_gets_its_job_back_and_strikes_no_sooner(core: ScriptedCore, owner: Any) -> None:
    payment = await core.pay("p-1")
    core.clock.now += timedelta(hours=1)
    await core.ask(payment)
    row = await core.pool.fetchrow("select state, clock_id, deadline_at from cancellation")
    assert row["clock_id"] is not None
    due = await owner.fetchval("select run_at from job where kind = 'deadline'")
    assert await lose(owner, "deadline") == 1

    with capture_logs() as logs:
        await core.worker.put_jobs_back()
    await core.worker.drain()

    [job] = await core.pool.fetch("select kind, subject_id, run_at from job")
    assert (job["kind"], job["subject_id"], job["run_at"]) == ("deadline", row["clock_id"], due)
    assert await core.pool.fetchval("select state from cancellation") == row["state"]
    assert [(one["legs"], one["clocks"]) for one in logs if one["event"] == "jobs_put_back"] == [(0, 1)]


async def test_what_has_its_job_or_needs_none_is_left_alone(core: ScriptedCore, owner: Any) -> None:
    on_its_way, done, failed = [await core.pay(f"p-{script}", sources=(script,)) for script in ("pending", "ok", "decline")]
    for payment in (on_its_way, done, failed):
        await core.ask(payment)
    await core.work()
    before = await core.pool.fetch("select * from job order by id")
    await core.pool.execute("update job set leased_until = $1, attempt = attempt + 1", core.clock.now)  # in a worker's hands

    with capture_logs() as logs:
        await core.worker.put_jobs_back()

    after = await core.pool.fetch("select * from job order by id")
    assert [(row["id"], row["run_at"]) for row in after] == [(row["id"], row["run_at"]) for row in before]
    assert logs == []
    assert "succeeded" in [leg.state for leg in await core.legs(done)]
    assert await owner.fetchval("select count(*) from job where payment_id = $1", done) == 0


async def test_so_many_rows_at_most_and_the_rest_next_time(core: ScriptedCore, owner: Any) -> None:
    for number in range(5):
        await core.ask(await core.pay(f"p-{number}"))
    await lose(owner, "move")

    swept = [await sweeping.put_back(core.pool, core.clock.now, rows_max=2) for _ in range(4)]

    assert [each.legs for each in swept] == [2, 2, 1, 0]
    assert await core.pool.fetchval("select count(distinct subject_id) from job") == 5


async def test_one_sweeps_at_a_time(core: ScriptedCore, owner: Any) -> None:
    await core.ask(await core.pay("p-1"))
    await lose(owner, "move")
    async with owner.transaction():
        assert await owner.fetchval(f"select pg_try_advisory_xact_lock({sweeping._SWEEPERS_LOCK})")
        assert await core.store.put_jobs_back(core.clock.now) == NOTHING

    assert await core.store.put_jobs_back(core.clock.now) == JobsPutBack(legs=1, clocks=0)
    assert await core.store.put_jobs_back(core.clock.now) == NOTHING


async def test_with_nothing_to_do_only_indexes_of_what_is_on_its_way_are_read(core: ScriptedCore, owner: Any) -> None:
    for number in range(20):
        await core.ask(await core.pay(f"p-{number}", sources=("ok" if number else "pending",)))
    await core.work()
    async with core.pool.acquire() as connection, connection.transaction():
        text = await connection.fetchval(f"explain (analyze, format json) {SWEEP}", core.clock.now, 500)
    nodes = list(walk(json.loads(text)[0]["Plan"]))

    indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
    assert {"leg_on_its_way", "one_job_per_subject"} <= indexes
    assert "Seq Scan" not in {node["Node Type"] for node in nodes}
    assert [node["Actual Rows"] for node in nodes if node.get("Relation Name") == "leg"] == [1], "nineteen are done"


def walk(plan: dict[str, Any]) -> Any:
    yield plan
    for part in plan.get("Plans", ()):
        yield from walk(part)


@pytest.mark.parametrize(
    ("script", "state", "after"), [("unknown", "unknown", timedelta(hours=1)), ("pending", "processing", timedelta(days=3))]
)
async def test_a_person_is_called_though_no_job_of_the_rail_is_taken_up(
    core: ScriptedCore, script: str, state: str, after: timedelta
) -> None:
    """As while its breaker is open: nobody asks the rail, and the case still becomes somebody's."""
    payment = await core.pay("p-1", sources=(script,))
    await core.ask(payment)
    await core.work()
    began = core.clock.now
    runtime, rails = core.worker.runtime, core.worker.rails

    core.clock.now = began + after - timedelta(seconds=2)
    assert await call_persons(runtime, rails) == 0
    core.clock.now = began + after
    assert await call_persons(runtime, rails) == 1
    assert await call_persons(runtime, rails) == 0

    row = await core.pool.fetchrow("select state, clock_id is not null as clocked from cancellation where payment_id = $1", payment)
    assert tuple(row) == ("needs_attention", True)
    assert [leg.state for leg in await core.legs(payment)] == [state], "and the rail is asked on"
    assert await core.pool.fetchval("select count(*) from job where kind = 'move'") == 1
