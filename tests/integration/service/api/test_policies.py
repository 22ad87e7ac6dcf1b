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
from tests.database import Cluster
from tests.harness import Api, Json, assert_problem, calling, refused, running
from tests.rails import RailProcess
from workflows.domain.records import GENESIS, chain_id
from workflows.domain.times import rfc3339
from workflows.flows.check import run_checks
from workflows.storage.service_chain import SERVICE_CHAIN

PATH = "/v1/policies"
AHEAD = "2030-01-01T00:00:00.000000Z"


@pytest.fixture(scope="module")
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A service of its own: what is published here would decide other tests' payments."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("policies"), rail.url) as made:
        yield made


def document(api: Api, **members: Any) -> Json:
    """A small policy, in force years ahead unless told; all that it allows is a person's decision."""
    rules = [{"name": "all", "route": "agent", "when": {"state": "completed"}}]
    usual = {"version": f"v-{uuid4().hex[:8]}", "effective_from": AHEAD, "timezone": "UTC", "calendar": "none"}
    return {**usual, "rules": rules, **members}


async def publish(api: Api, body: object, **call: Any) -> Any:
    return await api.post(PATH, body, **{"role": "operator", **call})


async def chain(api: Api) -> list[Json]:
    rows = await api.owner.fetch("select body, hash from record where chain_id = $1 order by sequence", chain_id(SERVICE_CHAIN))
    return [{**json.loads(row["body"]), "hash": row["hash"].hex()} for row in rows]


async def assert_whole(api: Api) -> None:
    """The versions are numbered and the chain is linked without a gap, with one record for each version."""
    records = await chain(api)
    rows = await api.owner.fetch("select version, ordinal from policy order by ordinal")
    assert [row["ordinal"] for row in rows] == list(range(1, len(rows) + 1))
    assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
    assert [record["previous_hash"] for record in records] == [GENESIS, *(record["hash"] for record in records[:-1])]
    assert [record["data"]["policy_version"] for record in records] == [row["version"] for row in rows]
    assert [one.name for one in await run_checks(api.owner) if one.broken] == []


async def test_a_version_is_published_and_can_be_read(api: Api) -> None:
    body = document(api, version="2027:a.b-c_d")

    made = await publish(api, body, sub="olga")
    read = await api.get(f"{PATH}/2027:a.b-c_d", "merchant")
    listed = (await api.get(PATH)).json()["data"]

    assert (made.status_code, made.headers["location"]) == (201, f"{PATH}/2027:a.b-c_d")
    assert made.json() == read.json()
    assert (made.json()["published_by"], listed[0]["published_at"]) == ("olga", made.json()["published_at"])
    assert made.json()["policy"]["rules"] == [{"name": "all", "when": {"state": ["completed"]}, "route": "agent"}]
    assert listed[0]["version"] == "2027:a.b-c_d"
    record = (await chain(api))[-1]
    assert (record["type"], record["chain"], record["payment_id"]) == ("policy.published", "service", None)
    assert record["actor"] == {"role": "operator", "id": "olga", "channel": "system"}
    assert record["occurred_at"] == made.json()["published_at"]
    assert (record["data"]["policy_version"], record["request_id"]) == ("2027:a.b-c_d", made.headers["request-id"])
    await assert_whole(api)


async def test_what_is_shown_can_be_published_under_another_name(api: Api) -> None:
    shown = (await api.get(f"{PATH}/2026-11-a")).json()["policy"]

    made = await publish(api, {**shown, "version": "2026-11-b", "effective_from": AHEAD})

    assert made.status_code == 201
    assert made.json()["policy"] == {**shown, "version": "2026-11-b", "effective_from": AHEAD}


async def test_the_example_can_be_published(api: Api) -> None:
    extra = PolicyDocument.model_config["json_schema_extra"]
    assert isinstance(extra, dict)

    assert (await publish(api, extra["example"])).status_code == 201


async def test_the_same_again_answers_with_what_exists(api: Api) -> None:
    body = document(api)
    first = await publish(api, body, sub="olga")
    before = await api.rows()

    again = await publish(api, {**body, "rules": [{**body["rules"][0], "when": {"state": ["completed"]}}]}, sub="omar")

    assert (again.status_code, again.content, again.headers["location"]) == (200, first.content, first.headers["location"])
    assert await api.rows() == {**before, "kept_reply": before["kept_reply"] + 1}


async def test_a_published_version_never_changes(api: Api) -> None:
    body = document(api)
    await publish(api, body)

    changes: list[Json] = [{"effective_from": api.clock.ago(days=1)}, {"timezone": "Asia/Tokyo"}, {"limits": {"requests_per_day": 5}}]
    for change in changes:
        assert_problem(await publish(api, {**body, **change}), 409, "policy-version-conflict")
    assert_problem(await publish(api, document(api, version="2026-11-a")), 409, "policy-version-conflict")


async def test_the_same_key_again_gets_the_same_answer(api: Api) -> None:
    body, key = document(api), uuid4().hex
    first = await publish(api, body, key=key)
    before = await api.rows()

    again = await publish(api, body, key=key)
    other = await publish(api, document(api), key=key)
    somebody = await publish(api, document(api), key=key, sub="another")

    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (201, first.content, "true")
    assert again.headers["location"] == first.headers["location"]
    assert_problem(other, 422, "idempotency-key-reused")
    assert somebody.status_code == 201
    assert (await api.rows())["policy"] == before["policy"] + 1


async def test_a_key_whose_document_was_wrong_can_be_used_again(api: Api) -> None:
    body, key = document(api), uuid4().hex

    assert_problem(await publish(api, {**body, "rules": 1}, key=key), 422, "validation-failed")
    assert (await publish(api, body, key=key)).status_code == 201
    assert_problem(await publish(api, body, key=None), 400, "idempotency-key-missing")


async def test_a_payment_is_decided_by_what_was_in_force_when_it_was_authorised(api: Api) -> None:
    clock = api.clock
    pinned = await api.register(completed_at=clock.ago(hours=1))
    for version, at in (("ahead-2", clock.ago(days=-20)), ("ahead-1", clock.ago(days=-10)), ("past", clock.ago(days=2))):
        assert (await publish(api, document(api, version=version, effective_from=at))).status_code == 201

    versions = [
        (await api.register(completed_at=at))["policy_version"] for at in (clock.ago(days=3), clock.ago(days=2), clock.ago(minutes=1))
    ]
    asked = (await api.requested(pinned)).json()
    clock.now = clock.now.replace(month=12, day=5)
    later = await api.register(completed_at=clock.ago(minutes=1))
    clock.now = clock.now.replace(day=15)
    latest = await api.register(completed_at=clock.ago(minutes=1))

    assert versions == ["2026-11-a", "past", "past"]
    assert (asked["decision"]["policy_version"], asked["route"]) == ("2026-11-a", "merchant")
    assert (await api.payment(pinned))["policy_version"] == "2026-11-a"
    await assert_whole(api)
    assert (later["policy_version"], latest["policy_version"]) == ("ahead-1", "ahead-2")
    assert (await api.requested(latest)).json()["route"] == "agent"


async def test_of_two_with_the_same_moment_the_later_counts(api: Api) -> None:
    moment = rfc3339(api.clock.now)
    for version in ("first", "second"):
        await publish(api, document(api, version=version, effective_from=moment))

    assert (await api.register(completed_at=moment))["policy_version"] == "second"


async def test_every_fault_is_told_where_it_stands(api: Api) -> None:
    rules = [{"name": "a", "route": "void"}, {"name": "a", "route": "nowhere", "when": {"amount": 0}}]

    said = await refused(api, PATH, {"version": "", "rules": rules, "calendar": "ZZ", "colour": 1}, role="operator")

    assert [one["pointer"] for one in said["errors"]] == [
        *("/colour", "/effective_from", "/timezone", "/version", "/calendar"),
        *("/rules/1/route", "/rules/1/when/amount", "/rules/1/name"),
    ]
    assert {"code", "detail", "pointer"} == set(said["errors"][0])


async def test_no_more_than_a_hundred_faults_are_told_and_no_name_is_sent_back(api: Api) -> None:
    secret = "x" * 100_000

    said = await refused(api, PATH, document(api, rules=[{"n": number} for number in range(200)]), role="operator")
    named = await refused(api, PATH, {**document(api), secret: 1, "second_approval_above": {secret: -1}}, role="operator")

    assert len(said["errors"]) == 100
    await refused(api, PATH, {**document(api), "größe": {"größe": 10**30}}, role="operator")
    assert secret not in json.dumps(named)
    assert {one["pointer"] for one in named["errors"]} == {"", "/second_approval_above"}


@pytest.mark.parametrize("body", [[], 1, "text", None, {}, b"{", b'{"version": "a", "version": "b"}', b'{"version": NaN}', b"\xff"])
async def test_what_is_no_policy_leaves_no_trace(api: Api, body: object) -> None:
    await refused(api, PATH, b"null" if body is None else body, role="operator")


async def test_a_body_has_a_limit(api: Api) -> None:
    large = json.dumps(document(api)).encode() + b" " * 256 * 1024

    assert_problem(await publish(api, large), 413, "body-too-large")


@pytest.mark.slow
async def test_operators_at_once_publish_one_after_the_other(api: Api) -> None:
    before = (await api.rows())["policy"]
    async with calling(create_app(api.settings, clock=api.clock)) as second:
        bodies = [document(api, version=f"v-{number}") for number in range(20)]
        answers = await asyncio.gather(
            *(publish(api, body, sub=f"operator-{n}", http=second if n % 2 else None) for n, body in enumerate(bodies))
        )
        same = document(api, version="same")
        again = await asyncio.gather(*(publish(api, same, sub=f"operator-{n}", http=second if n % 2 else None) for n in range(10)))
        key, once = uuid4().hex, document(api, version="once")
        repeated = await asyncio.gather(*(publish(api, once, key=key, http=second if n % 2 else None) for n in range(10)))

    assert {answer.status_code for answer in answers} == {201}
    assert Counter(answer.status_code for answer in again) == {201: 1, 200: 9}
    assert len({answer.content for answer in again}) == 1
    assert {(answer.status_code, answer.content) for answer in repeated} == {(201, repeated[0].content)}
    assert (await api.rows())["policy"] == before + 22
    await assert_whole(api)


async def test_the_days_of_its_calendar_are_published_with_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same document again is the same version, though it names no days and the library may know others by then."""
    body = document(api, calendar="CN", effective_from=rfc3339(api.clock.now))

    made = await publish(api, body)
    monkeypatch.setattr("service.calendars._Published.is_business_day", lambda *_: False)  # another version of the library
    again = await publish(api, body)
    shown = await publish(api, made.json()["policy"])
    other = await publish(api, {**body, "calendar": {"name": "CN", "holidays": [], "working_weekends": []}})

    kept = made.json()["policy"]["calendar"]
    assert kept["name"] == "CN"
    assert "2026-10-01" in kept["holidays"]
    assert "2026-10-10" in kept["working_weekends"]
    assert (made.status_code, again.status_code, shown.status_code) == (201, 200, 200)
    assert again.json() == made.json() == shown.json()
    assert_problem(other, 409, "policy-version-conflict")
