"""The next case: the most urgent that nobody has and the caller may decide, to one caller each, however often and by however many."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from service.app import create_app
from tests.database import Cluster
from tests.harness import Api, assert_problem, calling, refused, running
from tests.integration.service.api.deciding import ABOVE, STEPS, for_agents, handed_off, later, taken, told
from tests.rails import RailProcess
from workflows.commands import Runner
from workflows.domain.changes import Change
from workflows.flows.check import run_checks
from workflows.storage.apply import ApplyResult
from workflows.storage.store import Store

pytestmark = pytest.mark.slow

PATH = "/v1/cancellations/next"
TIERS = [
    {"name": "urgent", "when": {"reason": "unauthorised"}, "first_response": "1 hours", "resolution": "4 hours"},
    {"name": "usual", "first_response": "1 days"},
]
ALL_DAY = {"opens": "00:00", "closes": "23:59"}


@pytest.fixture
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A service of its own for each test: another's cases would be the next ones."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("next"), rail.url) as made:
        yield made


@pytest.fixture
async def second(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Another process as far as the database can tell."""
    async with calling(create_app(api.settings, clock=api.clock)) as client:
        yield client


async def take(api: Api, sub: str = "agent-1", role: str = "agent", **call: Any) -> httpx.Response:
    return await api.post(PATH, role=role, sub=sub, **call)


async def given(api: Api, sub: str = "agent-1", role: str = "agent", **call: Any) -> str | None:
    """The id of the case; None where there was none."""
    response = await take(api, sub, role, **call)
    if response.status_code == 204:
        assert response.content == b""
        assert "etag" not in response.headers
        return None
    assert response.status_code == 200, response.text
    assert response.headers["etag"] == f'"{response.json()["version"]}"'
    assert response.json()["assigned_to"] == sub
    return str(response.json()["id"])


async def test_the_case_is_assigned_as_by_hand(api: Api) -> None:
    by_hand = await for_agents(api)
    await taken(api, by_hand[1], "assign", "agent")
    payment, cancellation = await for_agents(api)

    response = await take(api)

    assert response.status_code == 200
    assert response.json() == await api.cancellation(cancellation)
    assert "location" not in response.headers
    [[mine], [theirs]] = [[one for one in await api.records(p) if one["type"] == "cancellation.assigned"] for p in (payment, by_hand[0])]
    assert mine["actor"] == theirs["actor"] == {"role": "agent", "id": "agent-1", "channel": "system"}
    assert mine["data"] == {**theirs["data"], "cancellation_id": cancellation["id"]}
    assert mine["request_id"] == response.headers["request-id"]
    assert await given(api) is None


async def test_it_has_no_members_and_wants_a_key(api: Api) -> None:
    await refused(api, PATH, {"to": "agent-2"}, role="agent")
    assert_problem(await take(api, key=None), 400, "idempotency-key-missing")
    assert_problem(await api.post(PATH, role="merchant"), 403, "forbidden")
    assert (await api.get(PATH, "agent")).status_code == 405


async def test_the_oldest_deadline_comes_first(api: Api) -> None:
    await api.register()
    cases = []
    for _ in range(3):
        cases.append((await for_agents(api))[1]["id"])
        api.clock.now += timedelta(minutes=5)

    assert [await given(api, f"agent-{number}") for number in range(4)] == [*cases, None]


async def test_a_first_answer_that_is_due_counts_like_a_deadline(api: Api) -> None:
    api.clock.now += timedelta(days=1)  # a Monday
    shown = (await api.get("/v1/policies/2026-11-a")).json()["policy"]
    body = {**shown, "version": "tiers", "effective_from": api.clock.ago(hours=6), "response_tiers": TIERS, "working_hours": ALL_DAY}
    assert (await api.post("/v1/policies", body, role="operator")).status_code == 201
    usual = (await api.requested(await api.register(completed_at=api.clock.ago(hours=1)), "duplicate")).json()
    urgent = (await for_agents(api))[1]
    assert [usual["state"], urgent["state"]] == ["awaiting_agent", "awaiting_agent"]
    rows = await api.owner.fetch("select tier from cancellation order by created_at, id")
    assert [row["tier"] for row in rows] == ["usual", "urgent"]
    api.clock.now += timedelta(hours=2)

    expected = {"true": urgent["id"], "false": usual["id"]}
    lists = {
        f"{sort}{word}": [one["id"] for one in (await api.get(f"/v1/cancellations?{sort}overdue={word}", "agent")).json()["data"]]
        for sort in ("", "sort=deadline&", "sort=updated&")
        for word in ("true", "false")
    }
    taken_first = [await given(api) for _ in range(3)]
    after = (await api.get("/v1/cancellations?overdue=true", "agent")).json()["data"]

    assert lists == {f"{sort}{word}": [one] for sort in ("", "sort=deadline&", "sort=updated&") for word, one in expected.items()}
    assert taken_first == [urgent["id"], usual["id"], None]
    assert after == []  # the answer was given


async def test_who_asked_does_not_get_his_own_case(api: Api) -> None:
    _, cancellation = await for_agents(api, role="agent", sub="agent-1", channel="hotline")

    assert await given(api, "agent-1") is None
    assert await given(api, "agent-1", "supervisor") is None
    assert await given(api, "agent-2") == cancellation["id"]


async def test_a_second_approval_is_another_supervisors(api: Api) -> None:
    """The case leaves whoever gave the first approval: nobody else would ever get it."""
    _, cancellation = await for_agents(api, amount=ABOVE)
    assert await given(api, "supervisor-1", "supervisor") == cancellation["id"]

    first = await taken(api, cancellation, "approve", "supervisor", sub="supervisor-1")

    assert (first["state"], first["assigned_to"]) == ("awaiting_second_approval", None)
    assert await given(api, "supervisor-1", "supervisor") is None
    assert await given(api, "agent-2") is None
    assert await given(api, "supervisor-2", "supervisor") == cancellation["id"]
    assert (await taken(api, cancellation, "approve", "supervisor", sub="supervisor-2"))["state"] == "executing"


async def test_who_decided_for_the_merchant_does_not_get_the_case(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(hours=1), amount=ABOVE)
    asked = (await api.requested(payment, "changed_mind", role="agent", sub="agent-1", channel="hotline")).json()
    assert asked["state"] == "awaiting_merchant"
    accepted = await taken(api, asked, "merchant-decision", "merchant", {"decision": "accept"}, sub="both")
    assert accepted["state"] == "awaiting_second_approval"

    assert await given(api, "both", "supervisor") is None
    assert await given(api, "supervisor-1", "supervisor") == asked["id"]


async def test_an_escalated_case_leaves_its_assignee(api: Api) -> None:
    _, cancellation = await handed_off(api)
    await taken(api, cancellation, "assign", "agent", {"to": "agent-9"})

    escalated = await taken(api, cancellation, "escalate", "wallet")

    assert (escalated["state"], escalated["assigned_to"]) == ("awaiting_agent", None)
    assert await given(api) == cancellation["id"]


@pytest.mark.parametrize("struck", [True, False], ids=["raised", "not yet raised"])
async def test_a_case_that_the_agents_let_pass_is_a_supervisors(api: Api, struck: bool) -> None:
    payment, cancellation = await for_agents(api)
    await taken(api, cancellation, "assign", "agent")
    api.clock.now = datetime.fromisoformat(cancellation["deadline_at"])
    if struck:
        await api.worker.drain()
    else:
        await api.owner.execute("update cancellation set assigned_to = null")

    assert await given(api) is None
    assert await given(api, "supervisor-1", "supervisor") == cancellation["id"]
    assert (await api.cancellation(cancellation))["raised"] is True
    assert told(await api.records(payment))[-3:] == ["cancellation.timed_out", "cancellation.escalated", "cancellation.assigned"]


async def test_the_same_key_gets_the_same_case(api: Api, second: httpx.AsyncClient) -> None:
    cases = [(await for_agents(api))[1] for _ in range(2)]
    first = await take(api, key="mine")
    assert first.json()["id"] == cases[0]["id"]
    await taken(api, cases[0], "deny", "agent")
    before = await api.rows()

    for http in (None, second):
        again = await take(api, key="mine", http=http)
        assert (again.status_code, again.content, again.headers["etag"]) == (200, first.content, first.headers["etag"])
        assert again.headers["idempotent-replayed"] == "true"
    assert await api.rows() == before
    assert await given(api, key="another") == cases[1]["id"]


async def test_the_same_key_gets_the_same_nothing(api: Api) -> None:
    nothing = await take(api, key="mine")
    assert (nothing.status_code, "idempotent-replayed" in nothing.headers) == (204, False)
    _, cancellation = await for_agents(api)

    again = await take(api, key="mine")

    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (204, b"", "true")
    assert "content-type" not in again.headers
    assert await given(api, "agent-2", key="mine") == cancellation["id"]  # a key is its caller's own
    assert await given(api, key="new") is None


async def test_twenty_at_once_get_twenty_cases(api: Api, second: httpx.AsyncClient) -> None:
    cases = {(await for_agents(api))[1]["id"] for _ in range(20)}

    found = await asyncio.gather(*(given(api, f"agent-{number}", http=second if number % 2 else None) for number in range(20)))

    assert set(found) == cases
    assert await given(api, "agent-20") is None
    assert await api.owner.fetchval("select count(*) from record where type = 'cancellation.assigned'") == 20
    assert [one.name for one in await run_checks(api.owner) if one.broken] == []


async def test_the_same_key_twenty_times_at_once_is_one_case(api: Api, second: httpx.AsyncClient) -> None:
    for _ in range(5):
        await for_agents(api)

    answers = await asyncio.gather(*(take(api, key="mine", http=second if number % 2 else None) for number in range(20)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19
    assert await api.owner.fetchval("select count(*) from cancellation where assigned_to is not null") == 1


class Disturbed(Store):
    """Something happens right before, or right after, a change is written."""

    before: Any = None
    after: Any = None

    async def apply(self, change: Change, **more: Any) -> ApplyResult:
        happens, self.before = self.before, None
        if happens is not None:
            await happens()
        result = await super().apply(change, **more)
        if self.after is not None:
            raise self.after
        return result


@pytest.fixture
async def disturbed(api: Api) -> AsyncIterator[tuple[httpx.AsyncClient, Disturbed]]:
    app = create_app(api.settings, clock=api.clock)
    async with calling(app) as http:
        services: Any = app.state.services
        runtime = services.runner.runtime
        store = Disturbed(runtime.store.pool)
        app.state.services = replace(services, runner=Runner(replace(runtime, store=store)))
        yield http, store


async def test_what_was_taken_meanwhile_makes_way_for_the_next(api: Api, disturbed: tuple[httpx.AsyncClient, Disturbed]) -> None:
    http, store = disturbed
    cases = [(await for_agents(api))[1] for _ in range(2)]

    async def colleague() -> None:
        await taken(api, cases[0], "assign", "agent", sub="agent-2")

    store.before = colleague
    assert await given(api, http=http) == cases[1]["id"]

    async def withdrawn() -> None:
        await taken(api, last, "withdraw", "wallet")

    last = (await for_agents(api))[1]
    store.before = withdrawn
    assert await given(api, http=http) is None


async def test_a_change_that_leaves_the_case_free_does_not_lose_it(api: Api, disturbed: tuple[httpx.AsyncClient, Disturbed]) -> None:
    http, store = disturbed
    payment, cancellation = await for_agents(api)

    async def delivered() -> None:
        body = {"status": "shipped", "at": api.clock.ago(minutes=1)}
        assert (await api.post(f"/v1/payments/{payment['id']}/fulfilment", body)).status_code == 200

    store.before = delivered
    assert await given(api, http=http) == cancellation["id"]


async def test_who_dies_after_the_commit_has_given_out_one_case(api: Api, disturbed: tuple[httpx.AsyncClient, Disturbed]) -> None:
    http, store = disturbed
    cases = [(await for_agents(api))[1] for _ in range(2)]

    store.after = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await take(api, key="mine", http=http)
    told_again = await take(api, key="mine")

    assert (told_again.json()["id"], told_again.headers["idempotent-replayed"]) == (cases[0]["id"], "true")
    assert await api.owner.fetchval("select count(*) from cancellation where assigned_to is not null") == 1


async def test_a_connection_lost_after_the_commit_costs_no_case(api: Api, disturbed: tuple[httpx.AsyncClient, Disturbed]) -> None:
    http, store = disturbed
    cases = [(await for_agents(api))[1] for _ in range(2)]

    store.after = ConnectionResetError()
    found = await take(api, http=http)

    assert (found.status_code, found.json()["id"]) == (200, cases[0]["id"])
    assert await api.owner.fetchval("select count(*) from cancellation where assigned_to is not null") == 1


async def test_a_case_that_cannot_be_decided_holds_up_nobody(api: Api) -> None:
    """Its policy is not there: nothing can be done to it, and the next one is given out."""
    payment, _ = await for_agents(api)
    _, cancellation = await for_agents(api)
    await api.owner.execute("alter table payment disable trigger all")
    await api.owner.execute("update payment set policy_version = 'gone' where id = $1", UUID(hex=payment["id"][4:]))

    assert [await given(api), await given(api)] == [cancellation["id"], None]


async def test_many_who_may_not_decide_the_first_cases_find_the_last(api: Api) -> None:
    """More of a person's own cases than one look takes."""
    for _ in range(25):
        await for_agents(api, role="agent", sub="agent-1", channel="hotline")
    _, cancellation = await for_agents(api)

    assert await given(api, "agent-1") == cancellation["id"]
    assert await given(api, "agent-1", key=uuid4().hex) is None


async def test_later_steps_are_as_ever(api: Api) -> None:
    _, cancellation = await for_agents(api)
    await given(api)

    assert (await api.cancellation(cancellation))["assigned_to"] == "agent-1"
    assert (await taken(api, cancellation, "approve", "agent", STEPS["approve"]))["state"] == "executing"
    await later(api, days=1)
    assert await given(api) is None
