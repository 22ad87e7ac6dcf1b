"""Merchants: what is told of them, which version a payment is pinned to, and what their own terms change."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from service.api.models.merchants import PutMerchant
from service.app import create_app
from tests.database import Cluster
from tests.harness import Api, Json, assert_problem, calling, running
from tests.integration.service.api.deciding import ABOVE, later, moment, step, taken
from tests.rails import RailProcess
from tests.unit.workflows.domain.policies.rules import CLOCKS, OWN_CLOCKS, some_rule
from workflows.domain.records import chain_id
from workflows.flows.check import run_checks
from workflows.storage.service_chain import SERVICE_CHAIN

PATH = "/v1/merchants"
CONTACT = {"email": "help@sunny.example", "phone": "+86 21 5555 0100", "url": "https://sunny.example/help"}
COMPLETED = {"state": "completed"}
TWO_HOURS: Json = {
    "name": "two-hours",
    "when": {**COMPLETED, "fulfilment": ["none", "preparing"]},
    "window": {"anchor": "completed_at", "length": "2 hours"},
    "route": "automatic",
}
A_MONTH: Json = {
    "name": "a-month",
    "when": {**COMPLETED, "fulfilment": ["none", "preparing"]},
    "window": {"anchor": "completed_at", "length": "30 days"},
    "route": "merchant",
    "merchant_deadline": {"length": "6 hours", "then": "accept"},
}


@asynccontextmanager
async def checked(cluster: Cluster, directory: Path, rail: RailProcess) -> AsyncIterator[Api]:
    """A service of its own; when all is over, every invariant must hold."""
    async with cluster.clone() as database, running(database, directory, rail.url) as made:
        last = await made.owner.fetchval("select max(occurred_at) from record")  # no version is older than the policy
        made.clock.now = (last + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
        yield made
        assert [(one.name, one.examples) for one in await run_checks(made.owner) if one.broken] == []


@pytest.fixture(scope="module")
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with checked(cluster, tmp_path_factory.mktemp("merchants"), rail) as made:
        yield made


@pytest.fixture
async def own_api(cluster: Cluster, rail: RailProcess, tmp_path: Path) -> AsyncIterator[Api]:
    """For a test that publishes a policy: it decides no other test's payments."""
    async with checked(cluster, tmp_path, rail) as made:
        yield made


def body(**members: Any) -> Json:
    return {"name": "Sunny Shop", "contact": CONTACT, **members}


def at(merchant_id: str) -> str:
    return f"{PATH}/{quote(merchant_id, safe='')}"


async def put(api: Api, merchant_id: str, sent: object, **call: Any) -> httpx.Response:
    role, sub = call.pop("role", "operator"), call.pop("sub", None)
    http: httpx.AsyncClient = call.pop("http", None) or api.http
    headers = {"authorization": f"Bearer {api.token(role, sub)}", "content-type": "application/json", **call.pop("headers", {})}
    content = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return await http.put(at(merchant_id), content=content, headers=headers)


async def described(api: Api, merchant_id: str, **members: Any) -> Json:
    response = await put(api, merchant_id, body(**members))
    assert response.status_code in {200, 201}, response.text
    return dict(response.json())


async def read(api: Api, merchant_id: str, query: str = "", **call: Any) -> httpx.Response:
    return await api.get(at(merchant_id) + query, **{"role": "operator", **call})


def new_id() -> str:
    return f"shop-{uuid4().hex[:12]}"


async def changes(api: Api, merchant_id: str) -> list[Json]:
    rows = await api.owner.fetch("select body from record where chain_id = $1 order by sequence", chain_id(SERVICE_CHAIN))
    records = [json.loads(row["body"]) for row in rows]
    return [one for one in records if one["type"] == "merchant.changed" and one["data"]["merchant_id"] == merchant_id]


async def count(api: Api) -> tuple[int, int]:
    found = await api.owner.fetchrow("select (select count(*) from merchant), (select count(*) from record)")
    return found[0], found[1]


async def hour_old(api: Api, merchant_id: str, **members: Any) -> Json:
    """A payment which by the policy alone its merchant decides about."""
    return await api.register(**{"merchant_id": merchant_id, "completed_at": api.clock.ago(hours=1), **members})


# What is told of merchants.


async def test_a_merchant_is_described_and_can_be_read(api: Api) -> None:
    shop = new_id()

    made = await put(api, shop, body(rules=[TWO_HOURS], auto_accept_up_to={"CNY": 5000}, webhook="https://sunny.example/hook"), sub="olga")
    found = await read(api, shop)

    assert (made.status_code, made.headers["location"], made.headers["etag"]) == (201, at(shop), '"1"')
    assert (found.status_code, found.headers["etag"], found.json()) == (200, '"1"', made.json())
    told = made.json()
    assert {name: told[name] for name in ("id", "version", "merchant_rules_version", "name", "updated_by")} == {
        "id": shop,
        "version": 1,
        "merchant_rules_version": f"{shop}@1",
        "name": "Sunny Shop",
        "updated_by": "olga",
    }
    assert (told["contact"], told["webhook"], told["auto_accept_up_to"]) == (CONTACT, "https://sunny.example/hook", {"CNY": 5000})
    assert told["rules"] == [{**TWO_HOURS, "when": {"fulfilment": ["none", "preparing"], "state": ["completed"]}}]
    assert told["created_at"] == told["updated_at"]


async def test_the_same_again_makes_no_version_and_no_record(api: Api) -> None:
    shop = new_id()
    first = await put(api, shop, body(rules=[TWO_HOURS], auto_accept_up_to={"CNY": 1, "EUR": 2}), sub="olga")
    before = await count(api)

    shown = {name: first.json()[name] for name in ("name", "contact", "rules", "auto_accept_up_to")}
    again = await put(api, shop, body(auto_accept_up_to={"EUR": 2, "CNY": 1}, rules=[TWO_HOURS]), sub="omar")
    as_shown = await put(api, shop, shown)

    assert (again.status_code, again.json(), again.headers["etag"]) == (200, first.json(), '"1"')
    assert (as_shown.status_code, as_shown.json()) == (200, first.json())
    assert await count(api) == before


async def test_what_differs_is_the_next_version_and_the_earlier_stay(api: Api) -> None:
    shop = new_id()
    first = await described(api, shop)
    api.clock.now += timedelta(hours=1)

    second = await put(api, shop, body(name="Rainy Shop"), sub="olga")
    back = await put(api, shop, body())

    assert (second.status_code, second.headers["etag"], second.json()["version"]) == (200, '"2"', 2)
    assert (second.json()["created_at"], second.json()["updated_by"]) == (first["created_at"], "olga")
    assert second.json()["updated_at"] > first["updated_at"]
    assert back.json()["version"] == 3
    assert [(await read(api, shop, f"?version={number}")).json() for number in (1, 2, 3)] == [first, second.json(), back.json()]
    assert (await read(api, shop)).json() == back.json()
    assert_problem(await read(api, shop, "?version=4"), 404, "not-found")
    assert_problem(await read(api, new_id()), 404, "not-found")


async def test_the_list_has_the_newest_of_each_by_its_id(api: Api) -> None:
    shops = sorted(f"list-{name}" for name in ("b", "a", "c/d", "c", "c@1"))
    for shop in shops:
        await described(api, shop)
        await described(api, shop, name="newer")

    seen: list[Json] = []
    cursor = ""
    while True:
        page = (await api.get(f"{PATH}?limit=2{cursor}", "operator")).json()
        seen += page["data"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    listed = [one for one in seen if one["id"].startswith("list-")]
    assert [(one["id"], one["version"], one["name"]) for one in listed] == [(shop, 2, "newer") for shop in sorted(shops)]
    assert [one["id"] for one in seen] == sorted({one["id"] for one in seen})


async def test_a_merchant_sees_itself_only(api: Api) -> None:
    mine, other = new_id(), new_id()
    await described(api, mine)
    await described(api, other)

    listed = (await api.get(PATH, "merchant", merchant=mine)).json()

    assert ([one["id"] for one in listed["data"]], listed["next_cursor"]) == ([mine], None)
    assert (await read(api, mine, role="merchant", merchant=mine)).status_code == 200
    assert_problem(await read(api, other, role="merchant", merchant=mine), 404, "not-found")
    assert_problem(await read(api, other, "?version=1", role="merchant", merchant=mine), 404, "not-found")
    assert (await api.get(PATH, "merchant", merchant=new_id())).json()["data"] == []


@pytest.mark.parametrize("role", ["wallet", "agent", "supervisor", "merchant", "auditor"])
async def test_only_operators_describe(api: Api, role: str) -> None:
    before = await count(api)

    assert_problem(await put(api, new_id(), body(), role=role), 403, "forbidden")
    assert await count(api) == before


@pytest.mark.parametrize("name", ["a/b", "50%", "50%25", "me@home", "shop@1", "a//b", "?x", "#1", "~!$&'()*+,;=:"])
async def test_any_visible_name_is_a_name(api: Api, name: str) -> None:
    shop = f"{name}-{uuid4().hex[:6]}"

    made = await put(api, shop, body())
    payment = await api.register(merchant_id=shop, completed_at=api.clock.ago())

    assert (made.status_code, made.json()["id"], made.headers["location"]) == (201, shop, at(shop))
    assert (await api.get(made.headers["location"], "operator")).json() == made.json()
    assert payment["merchant_rules_version"] == f"{shop}@1"
    assert (await api.payment(payment))["merchant_rules_version"] == f"{shop}@1"


@pytest.mark.parametrize("name", ["a b", " ", "größe", "x" * 65, "a\x7fb", "a\nb"])
async def test_what_no_payment_could_name_is_refused(api: Api, name: str) -> None:
    before = await count(api)

    response = await put(api, name, body())

    assert_problem(response, 404, "not-found")
    assert await count(api) == before


# Faults of the body.

FAULTS: list[tuple[Any, list[str]]] = [
    ({"contact": CONTACT}, ["/name"]),
    ({"name": "Shop"}, ["/contact"]),
    (body(name=""), ["/name"]),
    (body(contact={}), ["/contact"]),
    (body(contact={"email": None}), ["/contact/email"]),
    (body(contact={"email": "nobody"}), ["/contact/email"]),
    (body(contact={"phone": "call me"}), ["/contact/phone"]),
    (body(contact={"phone": "   "}), ["/contact/phone"]),
    (body(contact={"phone": " 1 "}), ["/contact/phone"]),
    (body(contact={"url": "https://user:secret@shop.example/"}), ["/contact/url"]),
    (body(contact={"url": 'https://shop.example/"><script>'}), ["/contact/url"]),
    (body(contact={"email": "<script>@shop.example"}), ["/contact/email"]),
    (body(name="   "), ["/name"]),
    (body(contact={"url": "http://sunny.example"}), ["/contact/url"]),
    (body(contact={**CONTACT, "fax": "1"}), ["/contact/fax"]),
    (body(webhook="http://sunny.example"), ["/webhook"]),
    (body(webhook=None), ["/webhook"]),
    (body(auto_accept_up_to={"RMB": 5}), ["/auto_accept_up_to/RMB"]),
    (body(auto_accept_up_to={"CNY": -1}), ["/auto_accept_up_to/CNY"]),
    (body(auto_accept_up_to={"CNY": 10**15 + 1}), ["/auto_accept_up_to/CNY"]),
    (body(auto_accept_up_to={"CNY": "5"}), ["/auto_accept_up_to/CNY"]),
    (body(auto_accept_up_to=None), ["/auto_accept_up_to"]),
    (body(rules=None), ["/rules"]),
    (body(rules={}), ["/rules"]),
    (body(colour=1), ["/colour"]),
    (body(rules=[{}]), ["/rules/0/name", "/rules/0/route"]),
    (body(rules=[TWO_HOURS, TWO_HOURS]), ["/rules/1/name"]),
    (body(rules=[{**TWO_HOURS, "route": "nowhere"}]), ["/rules/0/route"]),
    (body(rules=[{**TWO_HOURS, "when": {"amount_above": 5}}]), ["/rules/0/when/amount_above"]),
    (body(rules=[{**TWO_HOURS, "window": {"anchor": "completed_at", "length": "2 fortnights"}}]), ["/rules/0/window/length"]),
    (body(rules=[{**TWO_HOURS, "forfeit": True}]), ["/rules/0/forfeit"]),
    (body(rules=[{**TWO_HOURS, "limits": {}}]), ["/rules/0/limits"]),
    (body(rules=[{**TWO_HOURS, "second_approval_above": {}}]), ["/rules/0/second_approval_above"]),
    (body(rules=[{**A_MONTH, "merchant_deadline": {"length": "6 hours"}}]), ["/rules/0/merchant_deadline/then"]),
    ([], [""]),
]


@pytest.mark.parametrize(("sent", "pointers"), FAULTS)
async def test_every_fault_is_told_where_it_stands(api: Api, sent: object, pointers: list[str]) -> None:
    before = await count(api)

    said = assert_problem(await put(api, new_id(), sent), 422, "validation-failed")

    assert sorted(one["pointer"] for one in said["errors"]) == pointers
    assert await count(api) == before


async def test_the_example_can_be_sent(api: Api) -> None:
    extra = PutMerchant.model_config["json_schema_extra"]
    assert isinstance(extra, dict)

    assert (await put(api, new_id(), extra["example"])).status_code == 201


# Two operators.


async def test_if_match_keeps_two_operators_apart(api: Api) -> None:
    shop = new_id()
    first = {"if-match": '"1"'}
    assert_problem(await put(api, new_id(), body(), headers={"if-match": "*"}), 412, "version-mismatch")

    assert_problem(await put(api, shop, body(), headers=first), 412, "version-mismatch", current_version=0)
    await described(api, shop)
    answers = await asyncio.gather(*(put(api, shop, body(name=f"Shop {number}"), headers=first) for number in range(2)))

    assert sorted(answer.status_code for answer in answers) == [200, 412]
    [lost] = [answer for answer in answers if answer.status_code == 412]
    assert_problem(lost, 412, "version-mismatch", current_version=2)
    assert (await read(api, shop)).json()["version"] == 2
    assert_problem(await put(api, shop, body(name="late"), headers={"if-match": '"1", W/"2"'}), 412, "version-mismatch")
    assert (await put(api, shop, body(name="late"), headers={"if-match": '"1", "2"'})).json()["version"] == 3


@pytest.mark.slow
async def test_of_many_at_once_none_is_lost(api: Api) -> None:
    shop, number = new_id(), 20
    async with calling(create_app(api.settings, clock=api.clock)) as second:
        answers = await asyncio.gather(
            *(put(api, shop, body(name=f"Shop {n}"), sub=f"operator-{n}", http=second if n % 2 else None) for n in range(number))
        )

    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: number - 1}
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, number + 1))
    told = {answer.json()["version"]: answer.json() for answer in answers}
    records = await changes(api, shop)
    assert [record["data"]["merchant_rules_version"] for record in records] == [f"{shop}@{n + 1}" for n in range(number)]
    assert [record["actor"]["id"] for record in records] == [told[n + 1]["updated_by"] for n in range(number)]
    assert [(one.name, one.examples) for one in await run_checks(api.owner) if one.broken] == []


# What stands on record.


async def test_the_record_names_what_changed_and_holds_no_contact(api: Api) -> None:
    shop, email = new_id(), f"{uuid4().hex}@sunny.example"
    made = await put(api, shop, body(contact={"email": email}), sub="olga")
    await described(api, shop, contact={"phone": "+86 21 7777 0199"})
    await described(api, shop, contact={"phone": "+86 21 7777 0199"}, rules=[TWO_HOURS], auto_accept_up_to={"CNY": 1})

    records = await changes(api, shop)

    assert [record["data"]["changed"] for record in records] == [["name", "contact"], ["contact"], ["rules", "auto_accept_up_to"]]
    assert records[0]["actor"] == {"role": "operator", "id": "olga", "channel": "system"}
    assert (records[0]["chain"], records[0]["request_id"]) == ("service", made.headers["request-id"])
    assert records[0]["data"]["terms_digest"] == records[1]["data"]["terms_digest"] != records[2]["data"]["terms_digest"]
    bodies = [row["body"] for row in await api.owner.fetch("select body from record")]
    assert not any(secret in text for text in bodies for secret in (email, "7777 0199", "Sunny Shop"))


# Pinning.


async def test_a_payment_is_pinned_to_what_was_in_force_when_it_was_authorised(api: Api) -> None:
    shop = new_id()
    unknown = await hour_old(api, shop)
    for length in ("2 hours", "3 hours"):
        api.clock.now += timedelta(days=1)
        await described(api, shop, rules=[{**TWO_HOURS, "window": {"anchor": "completed_at", "length": length}}])
    now = api.clock.now

    def ago(**span: float) -> dict[str, Any]:
        return {"completed_at": api.clock.ago(**span), "merchant_id": shop}

    at_once = await api.register(**ago(seconds=0))
    api.clock.now += timedelta(days=1)
    await described(api, shop)
    pinned = [
        (await api.register(**ago(**span)))["merchant_rules_version"]
        for span in ({"seconds": 0}, {"days": 1}, {"days": 1, "microseconds": 1}, {"days": 2}, {"days": 2, "microseconds": 1})
    ]
    pending = await api.register(merchant_id=shop, completed_at=None, authorised_at=api.clock.ago(days=2))

    assert api.clock.now == now + timedelta(days=1)
    assert pinned == [f"{shop}@3", f"{shop}@2", f"{shop}@1", f"{shop}@1", None]
    assert at_once["merchant_rules_version"] == f"{shop}@2"
    assert pending["merchant_rules_version"] == f"{shop}@1"
    assert (await api.payment(unknown))["merchant_rules_version"] is None
    assert (await api.records(at_once))[0]["data"]["merchant_rules_version"] == f"{shop}@2"
    assert "merchant_rules_version" not in (await api.records(unknown))[0]["data"]


async def test_an_import_pins_too(api: Api) -> None:
    shop = new_id()
    await described(api, shop)
    api.clock.now += timedelta(days=1)
    await described(api, shop, name="newer")
    lines = [api.terms(merchant_id=shop, completed_at=api.clock.ago(**span)) for span in ({}, {"hours": 1}, {"days": 2})]

    told = await api.post(
        "/v1/payments/import",
        b"\n".join(json.dumps(line).encode() for line in lines),
        role="operator",
        headers={"content-type": "application/x-ndjson"},
    )

    assert told.json()["accepted"] == 3, told.text
    found = [(await api.get(f"/v1/payments?reference={line['reference']}")).json()["data"][0] for line in lines]
    assert [one["merchant_rules_version"] for one in found] == [f"{shop}@2", f"{shop}@1", None]


async def test_a_later_version_changes_nothing_for_payments_of_before(api: Api) -> None:
    shop = new_id()
    await described(api, shop, rules=[TWO_HOURS], auto_accept_up_to={"CNY": 5_000})
    api.clock.now += timedelta(hours=2)
    payment, small = await hour_old(api, shop), await hour_old(api, shop, amount=5_000, fulfilment="preparing")
    api.clock.now += timedelta(minutes=30)
    await described(api, shop)

    asked = (await api.requested(payment)).json()
    again = await api.post(
        "/v1/payments",
        {
            "reference": payment["reference"],
            **{name: payment[name] for name in ("wallet_id", "merchant_id", "amount", "currency", "completed_at")},
        },
        key=None,
    )

    assert (asked["route"], asked["decision"]["policy_version"], asked["decision"]["rule"]) == ("automatic", f"{shop}@1", "two-hours")
    assert again.status_code == 200
    assert again.json()["merchant_rules_version"] == f"{shop}@1"
    api.clock.now += timedelta(hours=2)
    assert (await api.requested(small)).json()["route"] == "automatic"


# The kinder verdict.


async def eligible(api: Api, payment: Json, query: str = "reason=changed_mind", **call: Any) -> Json:
    response = await api.get(f"/v1/payments/{payment['id']}/eligibility?{query}", **call)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_an_own_rule_decides_where_it_is_kinder(api: Api) -> None:
    shop = new_id()
    await described(api, shop, rules=[TWO_HOURS])
    api.clock.now += timedelta(hours=3)
    payment = await hour_old(api, shop)

    told = await eligible(api, payment)
    asked = (await api.requested(payment)).json()
    await api.worker.drain()

    opened = payment["completed_at"]
    window = {"anchor": "completed_at", "opens_at": opened, "closes_at": asked["decision"]["window"]["closes_at"]}
    assert moment(window["closes_at"]) - moment(opened) == timedelta(hours=2)
    assert (told["route"], told["rule"], told["policy_version"], told["window"]) == ("automatic", "two-hours", f"{shop}@1", window)
    assert (asked["state"], asked["decision"]["policy_version"], asked["decision"]["rule"]) == ("executing", f"{shop}@1", "two-hours")
    assert asked["decision"]["window"] == window
    assert (await api.payment(payment))["state"] == "refunded"
    record = next(one for one in await api.records(payment) if one["type"] == "cancellation.requested")
    assert (record["data"]["policy_version"], record["data"]["rule"]) == (f"{shop}@1", "two-hours")


async def test_the_policy_decides_where_it_is_kinder(api: Api) -> None:
    shop = new_id()
    await described(api, shop, rules=[A_MONTH])
    api.clock.now += timedelta(hours=1)

    at_once = (await api.requested(await api.register(merchant_id=shop))).json()
    nobody = (await api.requested(await hour_old(api, new_id()))).json()

    assert (at_once["route"], at_once["decision"]["rule"], at_once["decision"]["policy_version"]) == (
        "automatic",
        "second-thoughts",
        at_once["decision"]["policy_version"],
    )
    assert "@" not in at_once["decision"]["policy_version"]
    assert (nobody["route"], nobody["decision"]["rule"]) == ("merchant", "ask-the-merchant")


async def test_the_clocks_of_an_own_rule_are_used_to_the_end(api: Api) -> None:
    shop = new_id()
    await described(api, shop, rules=[A_MONTH])
    api.clock.now += timedelta(days=40)
    silent, withdrawn = [await hour_old(api, shop, completed_at=api.clock.ago(days=20)) for _ in range(2)]

    asked = (await api.requested(silent)).json()
    other = (await api.requested(withdrawn)).json()
    back = await taken(api, other, "withdraw", "wallet", {})
    await later(api, hours=5, minutes=59)
    before = await api.cancellation(asked)
    await later(api, minutes=1)
    await api.worker.drain()

    assert asked["state"] == "awaiting_merchant"
    assert moment(asked["deadline_at"]) - moment(asked["created_at"]) == timedelta(hours=6)
    assert (asked["on_deadline"], asked["decision"]["rule"]) == ("accept", "a-month")
    assert back["state"] == "withdrawn"
    assert before["state"] == "awaiting_merchant"
    assert (await api.payment(silent))["state"] == "refunded"
    assert (await api.payment(withdrawn))["amount_refundable"] == withdrawn["amount"]


async def test_a_second_person_is_needed_under_own_rules_too(api: Api) -> None:
    shop = new_id()
    await described(api, shop, rules=[{**TWO_HOURS, "window": {"anchor": "completed_at", "length": "2 days"}}])
    api.clock.now += timedelta(days=1)
    payment = await hour_old(api, shop, amount=ABOVE)

    asked = (await api.requested(payment, role="agent", channel="hotline")).json()
    own = await step(api, asked, "approve", "supervisor", {}, sub="agent-1")
    approved = await taken(api, asked, "approve", "supervisor", {})

    assert (asked["state"], asked["decision"]["policy_version"]) == ("awaiting_second_approval", f"{shop}@1")
    assert own.status_code == 403
    assert approved["state"] == "executing"
    by_customer = (await api.requested(await hour_old(api, shop, amount=ABOVE))).json()
    assert by_customer["state"] == "executing"


async def test_a_refusal_is_told_by_whoever_leaves_more_hope(api: Api) -> None:
    shop, hopeful = new_id(), new_id()
    await described(api, shop, rules=[TWO_HOURS])
    await described(api, hopeful, rules=[A_MONTH])
    api.clock.now += timedelta(days=40)
    old = {"completed_at": api.clock.ago(days=31)}
    payment, month = await hour_old(api, shop, **old), await hour_old(api, hopeful, **old)

    said = assert_problem(await api.requested(payment), 422, "policy-refused", refusal="window-closed", rule="ask-the-merchant")
    later_end = assert_problem(await api.requested(month), 422, "policy-refused", refusal="window-closed", rule="a-month")

    assert "@" not in said["policy_version"]
    assert later_end["policy_version"] == f"{hopeful}@1"
    told = await eligible(api, month)
    assert (told["refusal"], told["rule"], told["policy_version"]) == ("window-closed", "a-month", f"{hopeful}@1")


async def test_refundable_until_and_eligibility_agree_with_own_rules(api: Api) -> None:
    shop = new_id()
    await described(api, shop, rules=[{**A_MONTH, "window": {"anchor": "completed_at", "length": "100 days"}}])
    api.clock.now += timedelta(days=200)
    payment = await hour_old(api, shop, completed_at=api.clock.ago(days=99), fulfilment="preparing")
    theirs = await hour_old(api, new_id(), completed_at=api.clock.ago(days=99), fulfilment="preparing")

    told, without = await eligible(api, payment), await eligible(api, theirs)

    assert (told["allowed"], told["route"], told["rule"]) == (True, "merchant", "a-month")
    assert (without["allowed"], without["refusal"]) == (False, "window-closed")
    until = moment(told["window"]["closes_at"])
    assert until - moment(payment["completed_at"]) == timedelta(days=100)
    assert moment(payment["refundable_until"]) >= until


# What is accepted without asking.


async def test_up_to_the_limit_it_is_accepted_at_once(api: Api) -> None:
    shop = new_id()
    await described(api, shop, auto_accept_up_to={"CNY": 5_000})
    api.clock.now += timedelta(hours=2)
    payment = await hour_old(api, shop, amount=5_000)

    told = await eligible(api, payment)
    asked = (await api.requested(payment)).json()
    await api.worker.drain()

    assert (told["route"], asked["route"], asked["state"]) == ("automatic", "automatic", "executing")
    record = next(one for one in await api.records(payment) if one["type"] == "cancellation.requested")
    assert (record["data"]["accepted_by"], record["data"]["rule"]) == (f"{shop}@1", "ask-the-merchant")
    assert (await api.payment(payment))["state"] == "refunded"


async def test_parts_count_together(api: Api) -> None:
    shop = new_id()
    await described(api, shop, auto_accept_up_to={"CNY": 5_000})
    api.clock.now += timedelta(hours=2)
    payment = await hour_old(api, shop)

    routes = []
    for amount in (3_000, 2_000, 1):
        told = await eligible(api, payment, f"reason=changed_mind&amount={amount}")
        asked = (await api.requested(payment, amount=amount)).json()
        await api.worker.drain()
        routes.append((told["route"], asked["route"]))

    assert routes == [("automatic", "automatic"), ("automatic", "automatic"), ("merchant", "merchant")]
    assert sum(moved["amount"] for moved in await api.movements(payment)) == 5_000
    requests = [one for one in await api.records(payment) if one["type"] == "cancellation.requested"]
    assert [one["data"].get("accepted_by") for one in requests] == [f"{shop}@1", f"{shop}@1", None]


async def test_above_it_and_in_another_currency_the_merchant_is_asked(api: Api) -> None:
    shop = new_id()
    await described(api, shop, auto_accept_up_to={"CNY": 5_000})
    api.clock.now += timedelta(hours=2)

    above, other = await hour_old(api, shop, amount=5_001), await hour_old(api, shop, amount=1, currency="USD")

    assert [(await api.requested(one)).json()["state"] for one in (above, other)] == ["awaiting_merchant", "awaiting_merchant"]


async def test_an_agents_request_that_is_accepted_still_needs_its_second_person(api: Api) -> None:
    shop = new_id()
    await described(api, shop, auto_accept_up_to={"CNY": 10 * ABOVE})
    api.clock.now += timedelta(hours=2)

    large = (await api.requested(await hour_old(api, shop, amount=ABOVE), role="agent", channel="hotline")).json()
    small = (await api.requested(await hour_old(api, shop), role="agent", channel="hotline")).json()

    assert (large["route"], large["state"]) == ("automatic", "awaiting_second_approval")
    assert small["state"] == "executing"


# How the merchant is reached.


def contact_of(steps: list[Json]) -> list[Any]:
    return [one["contact"] for one in steps if one["action"] == "contact_merchant"]


async def test_whoever_is_told_to_ask_the_merchant_is_told_where(api: Api) -> None:
    shop = new_id()
    await described(api, shop, contact={"email": "old@sunny.example"})
    api.clock.now += timedelta(days=400)
    payment = await hour_old(api, shop, completed_at=api.clock.ago(days=390))
    failed = await hour_old(api, shop, completed_at=None)
    await api.post(f"/v1/payments/{failed['id']}/fail", {"code": "merchant_error"})
    await described(api, shop)

    refused = assert_problem(await api.requested(payment), 422, "policy-refused")
    chinese = (await api.requested(payment, headers={"accept-language": "zh-CN"})).json()
    told = await eligible(api, payment)
    failure = (await api.payment(failed))["failure"]
    listed = (await api.get(f"/v1/payments?reference={failed['reference']}")).json()["data"][0]["failure"]

    known = {"name": "Sunny Shop", **CONTACT}
    assert payment["merchant_rules_version"] == f"{shop}@1"
    for steps in (refused["next_steps"], chinese["next_steps"], told["next_steps"], failure["next_steps"], listed["next_steps"]):
        assert contact_of(steps) == [known]
    [english] = [one["message"] for one in refused["next_steps"] if one["action"] == "contact_merchant"]
    assert english == (
        "Please contact Sunny Shop, who may still be able to help you: +86 21 5555 0100, help@sunny.example or https://sunny.example/help."
    )
    [spoken] = [one["message"] for one in chinese["next_steps"] if one["action"] == "contact_merchant"]
    assert all(word in spoken for word in ("Sunny Shop", *CONTACT.values()))
    assert spoken != english
    assert all(one["contact"] is None for one in refused["next_steps"] if one["action"] != "contact_merchant")


async def test_a_merchant_that_nobody_described_has_no_contact(api: Api) -> None:
    payment = await hour_old(api, new_id(), completed_at=api.clock.ago(days=390))

    refused = assert_problem(await api.requested(payment), 422, "policy-refused")

    assert contact_of(refused["next_steps"]) == contact_of((await eligible(api, payment))["next_steps"]) == [None]


async def test_a_refusal_that_is_asked_for_again_tells_the_contact_of_now(api: Api) -> None:
    shop = new_id()
    await described(api, shop, contact={"email": "old@sunny.example"})
    payment = await hour_old(api, shop, completed_at=api.clock.ago(days=390))
    first = (await api.requested(payment, client_reference="c-1")).json()
    await described(api, shop, contact={"email": "new@sunny.example"})

    again = (await api.requested(payment, client_reference="c-1")).json()

    assert [contact_of(one["next_steps"])[0]["email"] for one in (first, again)] == ["old@sunny.example", "new@sunny.example"]


# Harsher rules.

HARSH: Json = {
    "name": "three-days",
    "when": {**COMPLETED, "fulfilment": "delivered", "category": "general", "reason": "changed_mind", "role": "wallet"},
    "window": {"anchor": "delivered_at", "length": "3 days", "requires_anchor": True},
    "route": "return",
}


async def test_a_harsher_rule_is_refused_with_customers_whom_it_would_have_harmed(api: Api) -> None:
    shop = new_id()
    before = await count(api)

    said = assert_problem(await put(api, shop, body(rules=[TWO_HOURS, HARSH])), 422, "harsher-rule")
    chinese = (await put(api, shop, body(rules=[HARSH]), headers={"accept-language": "zh-CN"})).json()

    assert [(one["pointer"], one["code"]) for one in said["errors"]] == [("/rules/1", "harsher_rule")]
    assert said["errors"][0]["detail"].startswith("Would never take effect")
    assert chinese["errors"][0]["detail"] != said["errors"][0]["detail"]
    assert 1 <= len(said["examples"]) <= 3
    for example in said["examples"]:
        assert example["pointer"] == "/rules/1"
        asked_after = moment(example["request"]["requested_at"]) - moment(example["request"]["delivered_at"])
        assert timedelta(days=3) <= asked_after < timedelta(days=8)
        assert (example["policy"]["route"], example["policy"]["rule"]) == ("return", "seven-day-return")
        assert (example["rule"]["route"], example["rule"]["refusal"], example["rule"]["rule"]) == (None, "window-closed", "three-days")
        assert moment(example["policy"]["window"]["closes_at"]) > moment(example["rule"]["window"]["closes_at"])
    assert await count(api) == before
    assert_problem(await read(api, shop), 404, "not-found")


@pytest.mark.parametrize(
    ("member", "clock", "limit"),
    [
        ("merchant_deadline", {"length": "49 hours", "then": "agent"}, "48 hours, agent"),
        ("merchant_deadline", {"length": "1 hour", "then": "decline"}, "1 hour, agent"),
        ("return_deadline", {"length": "14 days", "then": "decline"}, "15 days, decline"),
        ("inspection_deadline", {"length": "8 days", "then": "accept"}, "7 days, accept"),
    ],
)
async def test_a_deadline_that_is_worse_is_refused(api: Api, member: str, clock: Json, limit: str) -> None:
    kind = {**A_MONTH, "merchant_deadline": {"length": "1 hour", "then": "agent"}, member: clock}

    said = assert_problem(await put(api, new_id(), body(rules=[kind])), 422, "harsher-rule")

    for example in said["examples"]:
        assert (example["pointer"], example["rule"]["rule"]) == ("/rules/0", kind["name"])
    if member == "merchant_deadline":  # the rule hands off, so that this is the clock that its customers would wait by
        assert said["examples"]
        assert all(example["rule"]["deadlines"] == {"merchant": clock} for example in said["examples"])
        assert said["examples"][0]["request"]["role"] == "wallet"
    assert [(one["pointer"], one["code"]) for one in said["errors"]] == [(f"/rules/0/{member}", "harsher_deadline")]
    assert limit in said["errors"][0]["detail"]


@pytest.mark.parametrize(
    "rule",
    [
        {**HARSH, "window": {"anchor": "delivered_at", "length": "30 days", "requires_anchor": True}},
        {**HARSH, "when": COMPLETED},  # kinder to who wants to bring back what was not described so
        {"name": "return-received", "when": COMPLETED, "route": "automatic", "window": {"anchor": "return_received_at", "length": "1 day"}},
    ],
)
async def test_a_rule_that_is_kinder_to_some_is_taken(api: Api, rule: Json) -> None:
    assert (await put(api, new_id(), body(rules=[rule]))).status_code == 201


@pytest.mark.parametrize(
    "rule",
    [
        {"name": "never", "when": {"merchant_id": "somebody-else"}, "route": "automatic"},
        {"name": "never", "when": {"channel": "system"}, "route": "automatic"},
        {
            "name": "never",
            "when": {"state": "pending"},
            "route": "automatic",
            "window": {"anchor": "completed_at", "length": "1 day", "requires_anchor": True},
        },
    ],
)
async def test_a_rule_that_never_decides_is_refused(api: Api, rule: Json) -> None:
    said = assert_problem(await put(api, new_id(), body(rules=[rule])), 422, "harsher-rule")

    assert [one["pointer"] for one in said["errors"]] == ["/rules/0"]


async def test_the_same_again_is_answered_under_a_policy_that_came_since(own_api: Api) -> None:
    """And so is a version that no longer is the newest."""
    shop = new_id()
    rules = [{**TWO_HOURS, "when": {**TWO_HOURS["when"], "currency": "CHF"}}]
    first = await put(own_api, shop, body(rules=rules))
    shown = (await own_api.get("/v1/policies/2026-11-a")).json()["policy"]
    kinder = {"name": "swiss", "when": {**COMPLETED, "currency": "CHF"}, "route": "automatic"}
    published = await own_api.post(
        "/v1/policies",
        {**shown, "version": "swiss", "effective_from": own_api.clock.ago(), "rules": [kinder, *shown["rules"]]},
        role="operator",
    )

    again = await put(own_api, shop, body(rules=rules))
    stale = await put(own_api, shop, body(rules=rules, name="new"), headers={"if-match": '"7"'})
    other = await put(own_api, shop, body(rules=rules, name="new"))

    assert (first.status_code, published.status_code) == (201, 201)
    assert (again.status_code, again.json()) == (200, first.json())
    assert_problem(stale, 412, "version-mismatch", current_version=1)
    assert_problem(other, 422, "harsher-rule")


@pytest.mark.slow
async def test_others_are_served_while_two_hundred_rules_are_examined(own_api: Api) -> None:
    chance = random.Random(3)
    shown = (await own_api.get("/v1/policies/2026-11-a")).json()["policy"]
    many = [*shown["rules"], *(some_rule(chance, f"p-{n}", CLOCKS) for n in range(200 - len(shown["rules"])))]
    published = await own_api.post(
        "/v1/policies", {**shown, "version": "many", "effective_from": own_api.clock.ago(), "rules": many}, role="operator"
    )
    assert published.status_code == 201, published.text
    sent = body(rules=[some_rule(chance, f"own-{n}", OWN_CLOCKS) for n in range(200)])

    async def served() -> list[float]:
        waits: list[float] = []
        while not examined.done():
            started = time.monotonic()
            assert (await own_api.get("/v1/policies/2026-11-a")).status_code == 200
            waits.append(time.monotonic() - started)
            await asyncio.sleep(0.01)
        return waits

    started = time.monotonic()
    examined = asyncio.create_task(put(own_api, new_id(), sent))
    waits = await served()
    answer = await examined

    assert answer.status_code in {201, 422}
    assert answer.status_code == 422
    assert time.monotonic() - started < 30
    assert len(waits) > 3
    assert max(waits) < max(2.0, (time.monotonic() - started) / 2)


async def test_a_simulation_knows_the_merchants_own_terms(api: Api) -> None:
    """Under the policy in force nothing changes, though a rule of the merchant decided; without any rule of a policy only that is left."""
    shop = new_id()
    assert (await put(api, shop, body(rules=[TWO_HOURS], auto_accept_up_to={"CNY": 5_000}))).status_code == 201
    api.clock.now += timedelta(hours=1)
    start = api.clock.now
    hour_old = {"merchant_id": shop, "completed_at": api.clock.ago(minutes=50)}
    own, accepted = await api.register(**hour_old), await api.register(**{**hour_old, "fulfilment": "shipped", "amount": 4_000})
    decided = [(await api.requested(own)).json(), (await api.requested(accepted, reason="damaged")).json()]
    api.clock.now += timedelta(minutes=1)
    span = {"from": start.isoformat(), "to": api.clock.now.isoformat()}
    shown = (await api.get(f"/v1/policies/{own['policy_version']}", "auditor")).json()["policy"]
    empty = {**shown, "version": "empty", "rules": [{"name": "none", "when": {"merchant_id": "elsewhere"}, "route": "agent"}]}

    same, other = [
        (await api.post("/v1/policies/simulate", {"policy": policy, **span}, role="operator", key=None)).json() for policy in (shown, empty)
    ]

    assert [(one["route"], one["decision"]["policy_version"]) for one in decided] == [
        ("automatic", f"{shop}@1"),
        ("automatic", own["policy_version"]),
    ]
    assert (same["decisions"], same["changed"], same["not_reproduced"]) == (2, 0, 0)
    assert (other["decisions"], other["changed"], other["not_reproduced"]) == (2, 1, 0)
    assert other["differences"][0]["cancellation_id"] == decided[1]["id"]
