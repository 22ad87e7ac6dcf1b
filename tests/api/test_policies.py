"""Publishing policies: what is written, for whom it counts, and what is refused."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from service.api.models.policies import PolicyDocument
from service.app import create_app
from tests.api.world import Json, World, assert_problem, calling, refused, running
from tests.database import Cluster
from tests.sandbox.conftest import RailProcess
from workflows.domain.records import GENESIS, chain_id
from workflows.domain.times import rfc3339
from workflows.flows.check import run_checks
from workflows.storage.service_chain import SERVICE_CHAIN

PATH = "/v1/policies"
AHEAD = "2030-01-01T00:00:00.000000Z"


@pytest.fixture(scope="module")
async def world(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A service of its own: what is published here would decide other tests' payments."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("policies"), rail.url) as made:
        yield made


def document(world: World, **members: Any) -> Json:
    """A small policy, in force years ahead unless told; all that it allows is a person's decision."""
    rules = [{"name": "all", "route": "agent", "when": {"state": "completed"}}]
    usual = {"version": f"v-{uuid4().hex[:8]}", "effective_from": AHEAD, "timezone": "UTC", "calendar": "none"}
    return {**usual, "rules": rules, **members}


async def publish(world: World, body: object, **call: Any) -> Any:
    return await world.post(PATH, body, **{"role": "operator", **call})


async def chain(world: World) -> list[Json]:
    rows = await world.owner.fetch("select body, hash from record where chain_id = $1 order by sequence", chain_id(SERVICE_CHAIN))
    return [{**json.loads(row["body"]), "hash": row["hash"].hex()} for row in rows]


async def assert_whole(world: World) -> None:
    """The versions are numbered and the chain is linked without a gap, with one record for each version."""
    records = await chain(world)
    rows = await world.owner.fetch("select version, ordinal from policy order by ordinal")
    assert [row["ordinal"] for row in rows] == list(range(1, len(rows) + 1))
    assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
    assert [record["previous_hash"] for record in records] == [GENESIS, *(record["hash"] for record in records[:-1])]
    assert [record["data"]["policy_version"] for record in records] == [row["version"] for row in rows]
    assert [one.name for one in await run_checks(world.owner) if one.broken] == []


async def test_a_version_is_published_and_can_be_read(world: World) -> None:
    body = document(world, version="2027:a.b-c_d")

    made = await publish(world, body, sub="olga")
    read = await world.get(f"{PATH}/2027:a.b-c_d", "merchant")
    listed = (await world.get(PATH)).json()["data"]

    assert (made.status_code, made.headers["location"]) == (201, f"{PATH}/2027:a.b-c_d")
    assert made.json() == read.json()
    assert (made.json()["published_by"], listed[0]["published_at"]) == ("olga", made.json()["published_at"])
    assert made.json()["policy"]["rules"] == [{"name": "all", "when": {"state": ["completed"]}, "route": "agent"}]
    assert listed[0]["version"] == "2027:a.b-c_d"
    record = (await chain(world))[-1]
    assert (record["type"], record["chain"], record["payment_id"]) == ("policy.published", "service", None)
    assert record["actor"] == {"role": "operator", "id": "olga", "channel": "system"}
    assert record["occurred_at"] == made.json()["published_at"]
    assert (record["data"]["policy_version"], record["request_id"]) == ("2027:a.b-c_d", made.headers["request-id"])
    await assert_whole(world)


async def test_what_is_shown_can_be_published_under_another_name(world: World) -> None:
    shown = (await world.get(f"{PATH}/2026-11-a")).json()["policy"]

    made = await publish(world, {**shown, "version": "2026-11-b", "effective_from": AHEAD})

    assert made.status_code == 201
    assert made.json()["policy"] == {**shown, "version": "2026-11-b", "effective_from": AHEAD}


async def test_the_example_can_be_published(world: World) -> None:
    extra = PolicyDocument.model_config["json_schema_extra"]
    assert isinstance(extra, dict)

    assert (await publish(world, extra["example"])).status_code == 201


async def test_the_same_again_answers_with_what_exists(world: World) -> None:
    body = document(world)
    first = await publish(world, body, sub="olga")
    before = await world.rows()

    again = await publish(world, {**body, "rules": [{**body["rules"][0], "when": {"state": ["completed"]}}]}, sub="omar")

    assert (again.status_code, again.content, again.headers["location"]) == (200, first.content, first.headers["location"])
    assert await world.rows() == {**before, "kept_reply": before["kept_reply"] + 1}


async def test_a_published_version_never_changes(world: World) -> None:
    body = document(world)
    await publish(world, body)

    changes: list[Json] = [{"effective_from": world.clock.ago(days=1)}, {"timezone": "Asia/Tokyo"}, {"limits": {"requests_per_day": 5}}]
    for change in changes:
        assert_problem(await publish(world, {**body, **change}), 409, "policy-version-conflict")
    assert_problem(await publish(world, document(world, version="2026-11-a")), 409, "policy-version-conflict")


async def test_the_same_key_again_gets_the_same_answer(world: World) -> None:
    body, key = document(world), uuid4().hex
    first = await publish(world, body, key=key)
    before = await world.rows()

    again = await publish(world, body, key=key)
    other = await publish(world, document(world), key=key)
    somebody = await publish(world, document(world), key=key, sub="another")

    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (201, first.content, "true")
    assert again.headers["location"] == first.headers["location"]
    assert_problem(other, 422, "idempotency-key-reused")
    assert somebody.status_code == 201
    assert (await world.rows())["policy"] == before["policy"] + 1


async def test_a_key_whose_document_was_wrong_can_be_used_again(world: World) -> None:
    body, key = document(world), uuid4().hex

    assert_problem(await publish(world, {**body, "rules": 1}, key=key), 422, "validation-failed")
    assert (await publish(world, body, key=key)).status_code == 201
    assert_problem(await publish(world, body, key=None), 400, "idempotency-key-missing")


async def test_a_payment_is_decided_by_what_was_in_force_when_it_was_authorised(world: World) -> None:
    clock = world.clock
    pinned = await world.register(completed_at=clock.ago(hours=1))
    for version, at in (("ahead-2", clock.ago(days=-20)), ("ahead-1", clock.ago(days=-10)), ("past", clock.ago(days=2))):
        assert (await publish(world, document(world, version=version, effective_from=at))).status_code == 201

    versions = [
        (await world.register(completed_at=at))["policy_version"] for at in (clock.ago(days=3), clock.ago(days=2), clock.ago(minutes=1))
    ]
    asked = (await world.requested(pinned)).json()
    clock.now = clock.now.replace(month=12, day=5)
    later = await world.register(completed_at=clock.ago(minutes=1))
    clock.now = clock.now.replace(day=15)
    latest = await world.register(completed_at=clock.ago(minutes=1))

    assert versions == ["2026-11-a", "past", "past"]
    assert (asked["decision"]["policy_version"], asked["route"]) == ("2026-11-a", "merchant")
    assert (await world.payment(pinned))["policy_version"] == "2026-11-a"
    await assert_whole(world)
    assert (later["policy_version"], latest["policy_version"]) == ("ahead-1", "ahead-2")
    assert (await world.requested(latest)).json()["route"] == "agent"


async def test_of_two_with_the_same_moment_the_later_counts(world: World) -> None:
    moment = rfc3339(world.clock.now)
    for version in ("first", "second"):
        await publish(world, document(world, version=version, effective_from=moment))

    assert (await world.register(completed_at=moment))["policy_version"] == "second"


async def test_every_fault_is_told_where_it_stands(world: World) -> None:
    rules = [{"name": "a", "route": "void"}, {"name": "a", "route": "nowhere", "when": {"amount": 0}}]

    said = await refused(world, PATH, {"version": "", "rules": rules, "calendar": "ZZ", "colour": 1}, role="operator")

    assert [one["pointer"] for one in said["errors"]] == [
        *("/colour", "/effective_from", "/timezone", "/version", "/calendar"),
        *("/rules/1/route", "/rules/1/when/amount", "/rules/1/name"),
    ]
    assert {"code", "detail", "pointer"} == set(said["errors"][0])


async def test_no_more_than_a_hundred_faults_are_told_and_no_name_is_sent_back(world: World) -> None:
    secret = "x" * 100_000

    said = await refused(world, PATH, document(world, rules=[{"n": number} for number in range(200)]), role="operator")
    named = await refused(world, PATH, {**document(world), secret: 1, "second_approval_above": {secret: -1}}, role="operator")

    assert len(said["errors"]) == 100
    await refused(world, PATH, {**document(world), "größe": {"größe": 10**30}}, role="operator")
    assert secret not in json.dumps(named)
    assert {one["pointer"] for one in named["errors"]} == {"", "/second_approval_above"}


@pytest.mark.parametrize("body", [[], 1, "text", None, {}, b"{", b'{"version": "a", "version": "b"}', b'{"version": NaN}', b"\xff"])
async def test_what_is_no_policy_leaves_no_trace(world: World, body: object) -> None:
    await refused(world, PATH, b"null" if body is None else body, role="operator")


async def test_a_body_has_a_limit(world: World) -> None:
    large = json.dumps(document(world)).encode() + b" " * 256 * 1024

    assert_problem(await publish(world, large), 413, "body-too-large")


async def test_operators_at_once_publish_one_after_the_other(world: World) -> None:
    before = (await world.rows())["policy"]
    async with calling(create_app(world.settings, clock=world.clock)) as second:
        bodies = [document(world, version=f"v-{number}") for number in range(20)]
        answers = await asyncio.gather(
            *(publish(world, body, sub=f"operator-{n}", http=second if n % 2 else None) for n, body in enumerate(bodies))
        )
        same = document(world, version="same")
        again = await asyncio.gather(*(publish(world, same, sub=f"operator-{n}", http=second if n % 2 else None) for n in range(10)))
        key, once = uuid4().hex, document(world, version="once")
        repeated = await asyncio.gather(*(publish(world, once, key=key, http=second if n % 2 else None) for n in range(10)))

    assert {answer.status_code for answer in answers} == {201}
    assert Counter(answer.status_code for answer in again) == {201: 1, 200: 9}
    assert len({answer.content for answer in again}) == 1
    assert {(answer.status_code, answer.content) for answer in repeated} == {(201, repeated[0].content)}
    assert (await world.rows())["policy"] == before + 22
    await assert_whole(world)


async def test_the_days_of_its_calendar_are_published_with_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same document again is the same version, though it names no days and the library may know others by then."""
    body = document(world, calendar="CN", effective_from=rfc3339(world.clock.now))

    made = await publish(world, body)
    monkeypatch.setattr("service.calendars._Published.is_business_day", lambda *_: False)  # another version of the library
    again = await publish(world, body)
    shown = await publish(world, made.json()["policy"])
    other = await publish(world, {**body, "calendar": {"name": "CN", "holidays": [], "working_weekends": []}})

    kept = made.json()["policy"]["calendar"]
    assert kept["name"] == "CN"
    assert "2026-10-01" in kept["holidays"]
    assert "2026-10-10" in kept["working_weekends"]
    assert (made.status_code, again.status_code, shown.status_code) == (201, 200, 200)
    assert again.json() == made.json() == shown.json()
    assert_problem(other, 409, "policy-version-conflict")
