"""Simulations over HTTP: what a policy would have changed among real decisions, told whole or as it goes, and stopped when nobody waits."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.api.models.simulations import SimulatePolicy
from service.app import create_app
from tests.database import Cluster
from tests.harness import Api, Json, assert_problem, calling, refused, running
from tests.rails import RailProcess
from workflows.storage.decisions import PAGE_ROWS

pytestmark = pytest.mark.slow

PATH = "/v1/policies/simulate"
SPAN = {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}
NDJSON = {"accept": "application/x-ndjson"}
CROWD = 5_000


def candidate(*rules: Json, **members: Any) -> Json:
    usual = {"version": "candidate", "effective_from": "2030-01-01T00:00:00Z", "timezone": "UTC", "calendar": "none"}
    return {**usual, "rules": list(rules), **members}


def within(length: str, route: str, name: str = "all") -> Json:
    window = {"anchor": "completed_at", "length": length}
    return {"name": name, "route": route, "when": {"state": "completed"}, "window": window}


KINDER = candidate(within("30 days", "automatic"))
STRICTER = candidate(within("30 minutes", "agent"))


@pytest.fixture(scope="module")
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A service of its own, with 288 decisions by the policy that ships, and two by another."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("simulate"), rail.url) as made:
        ago = made.clock.ago
        override = {"role": "supervisor", "channel": "hotline", "override": {"justification": "x", "ticket": "T-1"}}
        await decided(made, 120, "automatic", completed_at=ago(minutes=1))
        await decided(made, 80, "merchant", completed_at=ago(hours=1), amount=20_000)
        await decided(made, 60, None, completed_at=ago(days=20), amount=5_000)
        await decided(made, 20, "void", completed_at=None, amount=700, currency="JPY")
        await decided(made, 5, "automatic", override, completed_at=ago(days=400))
        await decided(made, 3, "merchant", override, completed_at=ago(hours=1))
        other = candidate(within("1 hours", "return"), version="other", effective_from=ago(minutes=30))
        assert (await made.post("/v1/policies", other, role="operator")).status_code == 201
        made.clock.now = made.clock.now.replace(month=12, day=2)
        await decided(made, 2, "return", completed_at=made.clock.ago(minutes=1))
        yield made


async def decided(api: Api, count: int, route: str | None, call: Json | None = None, **members: Any) -> None:
    for _ in range(count):
        answer = await api.requested(await api.register(**members), **(call or {}))
        assert (answer.json().get("route"), answer.status_code) == (route, 422 if route is None else 201), answer.text


async def simulate(api: Api, policy: object = KINDER, *, http: httpx.AsyncClient | None = None, **members: Any) -> httpx.Response:
    headers = members.pop("headers", None)
    return await api.post(PATH, {"policy": policy, **SPAN, **members}, role="operator", key=None, headers=headers, http=http)


async def result(api: Api, policy: object = KINDER, **members: Any) -> Json:
    answer = await simulate(api, policy, **members)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def counts(found: Json) -> tuple[int, ...]:
    names = ("decisions", "changed", "kinder", "harsher", "window_changed", "not_reproduced", "skipped")
    return tuple(found[name] for name in names)


def transitions(found: Json) -> list[tuple[str, str, int, Json]]:
    return [(one["before"], one["after"], one["decisions"], one["amounts"]) for one in found["transitions"]]


async def shipped(api: Api) -> Json:
    return dict((await api.get("/v1/policies/2026-11-a")).json()["policy"])


async def test_the_same_policy_changes_nothing_and_every_decision_is_replayed(api: Api) -> None:
    found = await result(api, await shipped(api))

    assert counts(found) == (288, 0, 0, 0, 0, 0, 0)
    assert found["differences"] == []
    assert transitions(found) == [
        ("automatic", "automatic", 120, {"CNY": 1_200_000}),
        ("merchant", "merchant", 83, {"CNY": 1_630_000}),
        ("window-closed", "window-closed", 65, {"CNY": 350_000}),
        ("void", "void", 20, {"JPY": 14_000}),
    ]


async def test_a_kinder_policy(api: Api) -> None:
    found = await result(api)

    assert found["policy_version"] == "candidate"
    assert counts(found) == (288, 163, 143, 20, 120, 0, 0)
    assert transitions(found) == [
        ("automatic", "automatic", 120, {"CNY": 1_200_000}),
        ("merchant", "automatic", 83, {"CNY": 1_630_000}),
        ("window-closed", "automatic", 60, {"CNY": 300_000}),
        ("void", "no-rule", 20, {"JPY": 14_000}),
        ("window-closed", "window-closed", 5, {"CNY": 50_000}),
    ]
    assert found["rules_after"] == [{"rule": "all", "decisions": 268}, {"rule": None, "decisions": 20}]


async def test_a_stricter_policy(api: Api) -> None:
    found = await result(api, STRICTER)

    assert counts(found) == (288, 223, 0, 223, 0, 0, 0)
    assert transitions(found) == [
        ("automatic", "agent", 120, {"CNY": 1_200_000}),
        ("merchant", "window-closed", 83, {"CNY": 1_630_000}),
        ("window-closed", "window-closed", 65, {"CNY": 350_000}),
        ("void", "no-rule", 20, {"JPY": 14_000}),
    ]


async def test_the_largest_differences_are_told_with_both_explanations(api: Api) -> None:
    found = (await result(api))["differences"]
    rows = await api.owner.fetch("select id, (facts->>'amount')::bigint as amount from cancellation order by amount desc, id")
    by_amount = {amount: [f"can_{row['id'].hex}" for row in rows if row["amount"] == amount] for amount in (20_000, 5_000)}

    assert [one["amount"] for one in found] == [20_000] * 80 + [10_000] * 3 + [5_000] * 17
    assert [one["cancellation_id"] for one in found[:80]] == by_amount[20_000]
    assert [one["cancellation_id"] for one in found[83:]] == by_amount[5_000][:17]
    first = await api.cancellation({"id": found[0]["cancellation_id"]})
    assert (first["payment_id"], first["created_at"], first["decision"]["window"]) == (
        found[0]["payment_id"],
        found[0]["created_at"],
        found[0]["before"]["window"],
    )
    window = {"anchor": "completed_at", "opens_at": "2026-11-22T11:00:00.000000Z"}
    assert (found[0]["before"], found[0]["after"]) == (
        {
            **{"route": "merchant", "refusal": None, "rule": "ask-the-merchant", "policy_version": "2026-11-a"},
            "window": {**window, "closes_at": "2026-12-07T11:00:00.000000Z"},
            "message": "A refund of CNY 200.00 can be requested. The merchant decides about it.",
        },
        {
            **{"route": "automatic", "refusal": None, "rule": "all", "policy_version": "candidate"},
            "window": {**window, "closes_at": "2026-12-22T11:00:00.000000Z"},
            "message": "CNY 200.00 can be refunded right away.",
        },
    )
    refused_before = found[-1]["before"]
    assert (refused_before["route"], refused_before["refusal"]) == (None, "window-closed")
    assert refused_before["message"] == "The time to cancel this payment ended on 17 November 2026 at 20:00 (Beijing time)."


async def test_sentences_are_told_in_the_callers_language(api: Api) -> None:
    answer = await simulate(api, headers={"accept-language": "zh-CN"})

    assert (answer.headers["content-language"], answer.headers["vary"]) == ("zh-CN", "Accept-Language")
    assert answer.json()["differences"][0]["after"]["message"] == "¥200.00 可以立即退款。"


async def test_each_payment_is_judged_by_its_own_policy(api: Api) -> None:
    found = await result(api, KINDER, to="2026-12-31T00:00:00Z")

    assert counts(found) == (290, 165, 145, 20, 120, 0, 0)
    assert ("return", "automatic", 2, {"CNY": 20_000}) in transitions(found)


async def test_a_span_is_half_open_and_may_be_empty(api: Api) -> None:
    at = (await api.owner.fetchval("select max(created_at) from cancellation")).isoformat().replace("+00:00", "Z")

    assert (await result(api, **{"from": at, "to": "2027-01-01T00:00:00Z"}))["decisions"] == 2
    assert (await result(api, **{"from": "2026-12-01T00:00:00Z", "to": at}))["decisions"] == 0
    empty = await result(api, **{"from": at, "to": at})
    assert (counts(empty), empty["transitions"], empty["rules_after"]) == ((0,) * 7, [], [])


async def test_a_simulation_writes_nothing(api: Api) -> None:
    digest = "select md5(string_agg(t::text, '' order by t::text)) from {} t"
    before = await api.rows(), [await api.owner.fetchval(digest.format(table)) for table in ("payment", "cancellation", "record")]

    await result(api)
    await simulate(api, headers=NDJSON)

    assert before == (
        await api.rows(),
        [await api.owner.fetchval(digest.format(table)) for table in ("payment", "cancellation", "record")],
    )


async def test_what_was_not_kept_as_the_policy_says_is_counted_and_what_kept_no_facts_is_skipped(api: Api) -> None:
    kept = await api.owner.fetch("select id, facts::text, rule from cancellation where route = 'merchant' order by id limit 4")
    for number, (row, facts) in enumerate(zip(kept, ("{}", '{"state": "completed"}', None, None), strict=True)):
        rule = "another" if number > 1 else row["rule"]
        await api.owner.execute(
            "update cancellation set facts = coalesce($2::jsonb, facts), rule = $3 where id = $1", row["id"], facts, rule
        )
    try:
        found = await result(api)
    finally:
        for row in kept:
            await api.owner.execute(
                "update cancellation set facts = $2::jsonb, rule = $3 where id = $1", row["id"], row["facts"], row["rule"]
            )

    assert (found["decisions"], found["not_reproduced"], found["skipped"]) == (286, 2, 2)
    assert (await result(api))["not_reproduced"] == 0


async def test_a_stream_tells_progress_and_ends_with_the_same_result(api: Api) -> None:
    answer = await simulate(api, headers=NDJSON)
    lines = [json.loads(line) for line in answer.text.splitlines()]

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert lines == [
        *({"type": "progress", "decisions": seen, "at": "2026-11-22T12:00:00.000000Z"} for seen in (PAGE_ROWS, 288)),
        {"type": "result", **await result(api)},
    ]
    assert answer.text.endswith("\n")
    nothing = await simulate(api, headers=NDJSON, to=SPAN["from"])
    assert [json.loads(line)["type"] for line in nothing.text.splitlines()] == ["result"]


@pytest.mark.parametrize(
    ("members", "pointers"),
    [
        ({"to": "2026-10-31T23:59:59.999999Z"}, ["/to"]),
        ({"from": None}, ["/from"]),
        ({"to": "tomorrow", "from": 1}, ["/from", "/to"]),
        ({"colour": 1}, ["/colour"]),
        ({"policy": []}, ["/policy"]),
        ({"policy": {**KINDER, "rules": [{"name": "a", "route": "nowhere"}], "colour": 1}}, ["/policy/colour", "/policy/rules/0/route"]),
    ],
)
async def test_every_fault_is_told_where_it_stands(api: Api, members: Json, pointers: list[str]) -> None:
    said = await refused(api, PATH, {"policy": KINDER, **SPAN, **members}, role="operator", key=None)

    assert [one["pointer"] for one in said["errors"]] == pointers


async def test_the_span_must_be_told(api: Api) -> None:
    said = await refused(api, PATH, {"policy": KINDER}, role="operator", key=None)

    assert [one["pointer"] for one in said["errors"]] == ["/from", "/to"]


async def test_the_example_can_be_simulated(api: Api) -> None:
    extra = SimulatePolicy.model_config["json_schema_extra"]
    assert isinstance(extra, dict)

    assert (await api.post(PATH, extra["example"], role="operator", key=None)).status_code == 200


async def test_only_operators_simulate_and_a_policy_of_that_name_can_still_be_read(api: Api) -> None:
    for role in ("wallet", "agent", "supervisor", "merchant", "auditor"):
        assert_problem(await api.post(PATH, {"policy": KINDER, **SPAN}, role=role), 403, "forbidden")
    assert_problem(await api.get(PATH), 404, "not-found")
    assert (await api.post("/v1/policies", {**KINDER, "version": "simulate"}, role="operator")).status_code == 201
    assert (await api.get(PATH)).json()["policy"]["version"] == "simulate"


# One at a time, and only as long as somebody waits.


BeforePage = Callable[[int], Awaitable[None]]  # the page's number, from 1


@dataclass
class WatchedReads:
    """The connections to read with, and what happens before each page."""

    inner: Any
    before_page: BeforePage
    pages: int = 0

    async def fetch(self, statement: str, *arguments: Any) -> Any:
        self.pages += 1
        await self.before_page(self.pages)
        return await self.inner.fetch(statement, *arguments)


@asynccontextmanager
async def watched(api: Api, before_page: BeforePage) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient, WatchedReads]]:
    app = create_app(api.settings, clock=api.clock)
    async with calling(app) as http:
        reads = WatchedReads(app.state.services.reads, before_page)
        app.state.services = replace(app.state.services, reads=reads)
        yield app, http, reads


@pytest.mark.parametrize("headers", [{}, NDJSON], ids=["json", "ndjson"])
async def test_another_at_the_same_time_is_told_to_wait(api: Api, headers: dict[str, str]) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def hold(_: int) -> None:
        begun.set()
        await go.wait()

    async with watched(api, hold) as (_, http, reads):
        first = asyncio.create_task(simulate(api, http=http, headers=headers))
        await begun.wait()
        second = [await simulate(api, http=http, headers=one) for one in ({}, NDJSON)]
        go.set()
        answer = await first
        third = await simulate(api, http=http)

    for one in second:
        said = assert_problem(one, 429, "rate-limited")
        assert (one.headers["retry-after"], "limit" in said) == ("5", False)
        assert said["detail"].startswith("Another simulation is running")
    assert (answer.status_code, third.status_code, reads.pages) == (200, 200, 4)


@pytest.fixture
async def crowded(api: Api) -> AsyncIterator[Api]:
    """Thousands of refusals of one payment, for a simulation of many pages."""
    await api.owner.execute("set session_replication_role = replica")
    some = "select * from cancellation where state = 'refused' order by id limit 1"
    changed = "to_jsonb(c) || jsonb_build_object('id', md5(n::text)::uuid, 'created_at', '2026-11-03T00:00:00Z')"
    await api.owner.execute(
        f"insert into cancellation select made.* from ({some}) c, generate_series(1, {CROWD}) n,"  # noqa: S608 -- our own words
        f" jsonb_populate_record(null::public.cancellation, {changed}) made"
    )
    yield api
    await api.owner.execute("alter table cancellation disable trigger user")
    await api.owner.execute("delete from cancellation where created_at = '2026-11-03T00:00:00Z'")
    await api.owner.execute("alter table cancellation enable trigger user")
    await api.owner.execute("set session_replication_role = origin")


async def test_a_span_of_many_pages_is_read_to_its_end(crowded: Api) -> None:
    async def nothing(_: int) -> None:
        pass

    async with watched(crowded, nothing) as (_, http, reads):
        answer = await simulate(crowded, http=http, headers=NDJSON)

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [one.get("decisions") for one in lines] == [*range(PAGE_ROWS, CROWD + 288, PAGE_ROWS), CROWD + 288, CROWD + 288]
    assert reads.pages == len(lines) - 1
    assert len(lines[-1]["differences"]) == 100


@pytest.mark.parametrize("headers", [{}, NDJSON], ids=["json", "ndjson"])
@pytest.mark.parametrize("page", [1, 3])
async def test_when_the_caller_goes_away_the_work_stops(crowded: Api, headers: dict[str, str], page: int) -> None:
    gone = asyncio.Event()

    async def leave(number: int) -> None:
        if number == page:
            gone.set()

    async with watched(crowded, leave) as (app, http, reads):
        await called(app, crowded, headers, gone)
        pages = reads.pages
        await asyncio.sleep(0.2)
        again = await simulate(crowded, http=http)

    assert page <= pages <= page + 1
    assert reads.pages == pages + (CROWD + 288) // PAGE_ROWS + 1, "the one that was left read no further"
    assert again.status_code == 200


async def called(app: FastAPI, api: Api, headers: dict[str, str], gone: asyncio.Event) -> None:
    """One simulation by a caller who goes away once `gone` is set, as a server tells the application."""
    body = json.dumps({"policy": KINDER, **SPAN}).encode()
    sent = {"authorization": f"Bearer {api.token('operator')}", "content-type": "application/json", **headers}
    scope = {
        **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST", "scheme": "http"},
        **{"path": PATH, "raw_path": PATH.encode(), "query_string": b"", "root_path": "", "client": None, "server": None},
        "headers": [(name.encode(), value.encode()) for name, value in {**sent, "content-length": str(len(body))}.items()],
    }
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        await asyncio.sleep(0)

    await app(scope, receive, send)
