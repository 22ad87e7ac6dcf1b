"""What waits for a person is counted by its name, with the moment since when the oldest has waited."""

from typing import Any

from tests.harness import ScriptedCore
from workflows.flows.check import Noticed, notice
from workflows.storage.notices import NOTICES


async def noticed(core: ScriptedCore) -> dict[str, tuple[int, Any]]:
    found: list[Noticed] = await notice(core.pool)
    assert [one.name for one in found] == [one.name for one in NOTICES]
    return {one.name: (one.count, one.oldest_at) for one in found if one.count}


async def test_where_nobody_is_needed_nothing_is_noticed(core: ScriptedCore) -> None:
    payment = await core.pay("p-1")
    await core.ask(payment)
    await core.work()

    assert await noticed(core) == {}
    assert [(one.count, one.oldest_at) for one in await notice(core.pool)] == [(0, None)] * len(NOTICES)


async def test_a_job_is_overdue_five_minutes_after_its_time_or_its_lease(core: ScriptedCore, owner: Any) -> None:
    for number in range(4):
        await core.ask(await core.pay(f"p-{number}"))
    ages = [("4 minutes", None), ("6 minutes", None), ("9 minutes", "4 minutes"), ("9 minutes", "8 minutes")]  # due, and leased until
    jobs = [row["id"] for row in await owner.fetch("select id from job order by id")]
    await owner.execute("alter table job disable trigger user")
    for job, (due, leased) in zip(jobs, ages, strict=True):
        await owner.execute(
            "update job set run_at = now() - $2::text::interval, leased_until = now() - $3::text::interval where id = $1", job, due, leased
        )

    assert (await noticed(core))["jobs_overdue"] == (2, await owner.fetchval("select leased_until from job where id = $1", jobs[3]))


async def test_what_no_rail_answers_for_is_noticed_since_it_was_first_sent(core: ScriptedCore) -> None:
    for number, script in enumerate(("unknown", "ok", "unknown")):
        await core.ask(await core.pay(f"p-{number}", sources=(script,)))
        await core.work(seconds=60)

    first = await core.pool.fetchval("select min(first_sent_at) from leg where state = 'unknown'")
    assert (await noticed(core))["outcomes_unknown"] == (2, first)


async def test_cases_that_are_stuck_and_those_past_a_deadline_are_noticed(core: ScriptedCore, owner: Any) -> None:
    for number in range(3):
        await core.ask(await core.pay(f"p-{number}", sources=("decline",)))
        await core.work()
    assert await owner.fetchval("select array_agg(distinct state::text) from cancellation") == ["needs_attention"]
    first, second, _ = [row["id"] for row in await owner.fetch("select id from cancellation order by id")]
    await owner.execute("alter table cancellation disable trigger user")
    ahead = "now() + interval '1 hour'"
    await owner.execute(f"update cancellation set first_response_due_at = null, resolution_due_at = {ahead}, deadline_at = {ahead}")  # noqa: S608 -- our own words
    await owner.execute("update cancellation set first_response_due_at = now() - interval '1 hour' where id = $1", first)
    await owner.execute("update cancellation set resolution_due_at = now() - interval '2 hours' where id = $1", second)

    found = await noticed(core)

    assert found["cases_need_attention"] == (3, await owner.fetchval("select min(updated_at) from cancellation"))
    assert found["cases_overdue"] == (2, await owner.fetchval("select resolution_due_at from cancellation where id = $1", second))
