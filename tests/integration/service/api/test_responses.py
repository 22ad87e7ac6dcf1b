"""The form of every answer: problems, languages, versions, lists."""

import asyncio
import re
from datetime import timedelta
from uuid import uuid4

import pytest

from service.app import declared_operations
from tests.harness import Api, Json, assert_problem

OPERATIONS = declared_operations()


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/payments/", "/nothing", "/v1/payments/a/b/c", "//v1/payments", "/v1/Payments", "/problems/none"]
)
async def test_paths_that_are_not_there(api: Api, path: str) -> None:
    assert_problem(await api.http.get(path), 404, "not-found")


PLACES = dict.fromkeys(("payment_id", "cancellation_id", "refund_id", "anomaly_id", "version", "provider", "slug", "merchant_id"), "x")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
async def test_methods_that_are_not_there(api: Api, operation: object) -> None:
    path = operation.path.format(**PLACES)  # type: ignore[attr-defined]  # a plain parameter
    known = {one.method for one in OPERATIONS if one.path == operation.path}  # type: ignore[attr-defined]  # as above

    for method in {"DELETE", "PUT", "PATCH", "BREW"} - known:
        response = await api.http.request(method, path)
        assert_problem(response, 405, "method-not-allowed")
        assert known <= set(re.split(", ?", response.headers["allow"]))


async def test_a_problem_names_the_trace_of_its_caller(api: Api) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    said = (await api.http.get("/v1/meta", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})).json()

    assert said["trace_id"] == trace


@pytest.mark.parametrize(
    ("asked", "spoken"), [("zh-CN", "zh-CN"), ("zh", "zh-CN"), ("en", "en"), ("fr", "en"), ("en;q=0.5, zh-CN", "zh-CN"), ("\x7f;;q=", "en")]
)
async def test_problems_speak_the_callers_language(api: Api, asked: str, spoken: str) -> None:
    paths = ["/nothing", "/v1/meta", "/v1/payments?colour=red"]

    for path in paths:
        response = await api.get(path, headers={"accept-language": asked} | ({"authorization": ""} if path == "/v1/meta" else {}))
        said = response.json()
        chinese = bool(re.search("[\u4e00-\u9fff]", said["title"] + said["detail"]))
        assert response.headers["content-language"] == spoken
        assert chinese is (spoken == "zh-CN")


async def test_refusals_and_messages_speak_chinese(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(days=40))
    headers = {"accept-language": "zh-CN"}

    refused = (await api.requested(payment, headers=headers)).json()
    eligible = (await api.get(f"/v1/payments/{payment['id']}/eligibility", headers=headers)).json()
    asked = (await api.requested(await api.register(), headers=headers)).json()

    for text in (refused["message"], refused["detail"], refused["next_steps"][0]["message"], eligible["message"], asked["message"]):
        assert re.search("[\u4e00-\u9fff]", text), text


async def test_every_problem_is_explained_to_a_person(api: Api) -> None:
    index = (await api.http.get("/problems")).text
    slugs = set(re.findall(r"/problems/([a-z-]+)", index))

    assert {"policy-refused", "wallet-frozen", "second-approver-required", "rate-limited", "unavailable"} <= slugs
    for slug in slugs:
        page = await api.http.get(f"/problems/{slug}", headers={"accept-language": "zh-CN"})
        assert page.status_code == 200
        assert re.search("[\u4e00-\u9fff]", page.text)


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        ('"1"', 200),
        ("*", 200),
        ('"1", "2"', 200),
        ('"7" ,"1"', 200),
        ('"2"', 412),
        ('"2", "3"', 412),
        ('W/"1"', 412),
        ('"other"', 412),
        ('"99999999999999999999"', 412),
        ("1", 400),
        ("", 400),
        ('"1', 400),
        ('"1" "2"', 400),
        ('*, "1"', 400),
    ],
)
async def test_if_match_lets_only_the_seen_version_be_changed(api: Api, tag: str, status: int) -> None:
    payment = await api.register(completed_at=None)

    response = await api.post(f"/v1/payments/{payment['id']}/complete", headers={"if-match": tag})

    if status == 412:
        assert_problem(response, 412, "version-mismatch", current_version=1)
        assert (await api.payment(payment))["state"] == "pending"
    elif status == 400:
        assert assert_problem(response, 400, "malformed-request")["errors"][0]["pointer"] == "/headers/if-match"
        assert (await api.payment(payment))["state"] == "pending"
    else:
        assert (response.status_code, response.headers["etag"]) == (200, '"2"')


async def test_a_cancellation_has_a_version_of_its_own(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(hours=1))
    asked = await api.requested(payment)
    path = f"/v1/cancellations/{asked.json()['id']}"
    assert asked.headers["etag"] == (await api.get(path)).headers["etag"] == '"1"'

    assert_problem(await api.post(f"{path}/withdraw", headers={"if-match": '"2"'}), 412, "version-mismatch", current_version=1)
    withdrawn = await api.post(f"{path}/withdraw", headers={"if-match": '"1"'})

    assert (withdrawn.status_code, withdrawn.headers["etag"], withdrawn.json()["version"]) == (200, '"2"', 2)


@pytest.mark.parametrize("ticks", [False, True])
async def test_a_list_is_walked_whole_while_others_write(api: Api, ticks: bool) -> None:
    wallet, made = f"walker-{ticks}", []
    for _ in range(17):
        made.append((await api.register(wallet_id=wallet))["id"])
        api.clock.now += timedelta(milliseconds=1 if ticks else 0)
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await api.register(wallet_id=wallet)
            api.clock.now += timedelta(milliseconds=1 if ticks else 0)

    writing = asyncio.create_task(write())
    found = [one["id"] for one in await api.walk("/v1/payments", "agent", 3, wallet_id=wallet)]
    stop.set()
    await writing

    assert len(set(found)) == len(found)
    assert set(made) <= set(found)
    if ticks:
        assert [one for one in found if one in set(made)] == made[::-1]


@pytest.mark.slow
async def test_every_list_can_be_walked(api: Api) -> None:
    payment = await api.register()
    for _ in range(5):
        await api.requested(payment, amount=100)
        await api.worker.drain()
    mine = {"payment_id": payment["id"]}
    whole = {
        path: ((await api.get(path, "auditor", params={"limit": 200, **query})).json()["data"], query)
        for path, query in (
            ("/v1/cancellations", mine),
            ("/v1/refunds", mine),
            ("/v1/records", mine),
            (f"/v1/payments/{payment['id']}/records", {}),
        )
    }

    for path, (entries, query) in whole.items():
        assert len(entries) >= 5
        for size in (1, 2, len(entries)):
            assert await api.walk(path, "auditor", size, **query) == entries
    sequences = [record["sequence"] for record in whole[f"/v1/payments/{payment['id']}/records"][0]]
    assert sequences == list(range(1, len(sequences) + 1))
    assert [record["sequence"] for record in whole["/v1/records"][0]] == sequences[::-1]


@pytest.mark.slow
async def test_lists_are_fifty_long_and_at_most_two_hundred(api: Api) -> None:
    for _ in range(51):
        await api.register(wallet_id="fifty")

    page = (await api.get("/v1/payments", params={"wallet_id": "fifty"})).json()

    assert len(page["data"]) == 50
    assert page["next_cursor"]
    for limit in ("0", "201", "-1", "1.0", "", "x", "1e2", "\uff11"):
        said = assert_problem(await api.get("/v1/payments", params={"limit": limit}), 422, "validation-failed")
        assert said["errors"][0]["pointer"] == "/query/limit"


@pytest.mark.parametrize(
    ("path", "role", "cursor"),
    [
        ("/v1/payments", "agent", "x"),
        ("/v1/payments", "agent", ""),
        ("/v1/payments", "agent", "A" * 300),
        ("/v1/payments", "agent", "\u00e9\u0000"),
        ("/v1/cancellations", "agent", "of payments"),
        ("/v1/refunds", "agent", "of payments"),
        ("/v1/records", "auditor", "of payments"),
    ],
)
async def test_a_cursor_is_only_its_own_lists(api: Api, path: str, role: str, cursor: str) -> None:
    await api.register()
    await api.register()
    if cursor == "of payments":
        cursor = (await api.get("/v1/payments", "agent", params={"limit": 1})).json()["next_cursor"]

    said = assert_problem(await api.get(path, role, params={"cursor": cursor}), 422, "validation-failed")

    assert said["errors"][0]["pointer"] == "/query/cursor"


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.roles is not None], ids=lambda one: one.name)
async def test_unknown_query_parameters_are_refused(api: Api, operation: object) -> None:
    payment = await api.register(completed_at=api.clock.ago(hours=1))
    asked = (await api.requested(payment)).json()
    other = await api.register()
    await api.requested(other)
    refund = (await api.get("/v1/refunds", params={"payment_id": other["id"]})).json()["data"][0]
    await api.notify({"id": uuid4().hex, "rail_key": uuid4().hex, "status": "succeeded", "at": api.clock.ago()})
    await api.worker.drain()
    anomaly = (await api.get("/v1/anomalies", "auditor")).json()["data"][0]
    ids = {"payment_id": payment["id"], "cancellation_id": asked["id"], "refund_id": refund["id"], "version": "2026-11-a"}
    ids["anomaly_id"] = anomaly["id"]
    shop = {"name": "Shop", "contact": {"url": "https://shop.example"}}
    await api.put("/v1/merchants/shop-of-form", shop)
    path = operation.path.format(**ids, merchant_id="shop-of-form")  # type: ignore[attr-defined]  # a plain parameter
    role = sorted(operation.roles)[0]  # type: ignore[attr-defined]  # as above
    policy = {"version": "x", "effective_from": "2030-01-01T00:00:00Z", "timezone": "UTC", "calendar": "none", "rules": []}
    bodies: dict[str, Json] = {
        "register_payment": api.terms(),
        "fail_payment": {"code": "other"},
        "put_merchant": shop,
        "modify_payment": {"amount": 1, "reason": "x"},
        "change_fulfilment": {"status": "shipped"},
        "request_cancellation": {"reason": "duplicate", "channel": "hotline"},
        "decide_hand_off": {"decision": "accept"},
        "respond_to_offer": {"accept": True},
        "ship_return": {"carrier": "sf-express", "tracking_number": "SF1000"},
        "receive_return": {"condition": "intact"},
        "deny_cancellation": {"reason_code": "no_proof", "note": "x"},
        "redirect_cancellation": {"destination": "balance", "consent": True},
        "record_outcome": {"leg_id": f"leg_{'0' * 32}", "outcome": "failed", "note": "x"},
        "resolve_anomaly": {"action": "note", "note": "x"},
        "publish_policy": policy,
        "simulate_policy": {"policy": policy, "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"},
    }
    before = await api.rows()

    if operation.method == "GET":  # type: ignore[attr-defined]  # as above
        response = await api.get(f"{path}?colour=red", role, merchant="shop-1")
    elif operation.method == "PUT":  # type: ignore[attr-defined]  # as above
        response = await api.put(f"{path}?colour=red", bodies[operation.name], role)  # type: ignore[attr-defined]  # as above
    else:
        media = {"content-type": "application/x-ndjson"} if operation.name == "import_payments" else {}  # type: ignore[attr-defined]  # as above
        response = await api.post(f"{path}?colour=red", bodies.get(operation.name, {}), role=role, headers=media)  # type: ignore[attr-defined]  # as above

    assert assert_problem(response, 422, "validation-failed")["errors"][0]["pointer"] == "/query/colour"
    assert await api.rows() == before


async def test_a_parameter_twice_is_refused(api: Api) -> None:
    assert_problem(await api.get("/v1/payments?limit=1&limit=2"), 422, "validation-failed")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"reference": "find-me"}, True),
        ({"reference": "find-you"}, False),
        ({"wallet_id": "found"}, True),
        ({"order_reference": "the order"}, True),
        ({"merchant_id": "shop-1", "wallet_id": "found"}, True),
        ({"merchant_id": "shop-2", "wallet_id": "found"}, False),
        ({"state": "completed", "wallet_id": "found"}, True),
        ({"state": "pending", "wallet_id": "found"}, False),
        ({"wallet_id": "found", "created_from": "2026-11-22T00:00:00Z"}, True),
        ({"wallet_id": "found", "created_to": "2026-11-22T00:00:00Z"}, False),
    ],
)
async def test_payments_are_found_by_what_they_are(api: Api, query: dict[str, str], found: bool) -> None:
    terms = api.terms(reference="find-me", wallet_id="found", order_reference="the order", completed_at="2026-11-22T00:00:00Z")
    await api.post("/v1/payments", terms, key=None)

    data = (await api.get("/v1/payments", params=query)).json()["data"]

    assert ([one["reference"] for one in data] == ["find-me"]) is found


async def test_cancellations_are_found_by_what_they_are(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(hours=1), merchant_id="finder")
    asked = (await api.requested(payment)).json()
    queries: list[tuple[Json, bool]] = [
        ({"state": "awaiting_merchant"}, True),
        ({"state": "executing"}, False),
        ({"route": "merchant"}, True),
        ({"route": "return"}, False),
        ({"payment_id": payment["id"]}, True),
        ({"overdue": "false"}, True),
        ({"overdue": "true"}, False),
        ({"assigned_to": "nobody"}, False),
        ({"created_from": api.clock.ago()}, True),
        ({"created_to": api.clock.ago()}, False),
    ]

    for query, found in queries:
        data = (await api.get("/v1/cancellations", params={"merchant_id": "finder", **query})).json()["data"]
        assert data == ([asked] if found else []), query


async def test_what_is_made_says_where_it_is(api: Api) -> None:
    made = await api.post("/v1/payments", api.terms(), key=None)
    asked = await api.requested(made.json())

    for response in (made, asked):
        assert response.status_code == 201
        assert (await api.get(response.headers["location"])).json()["id"] == response.json()["id"]


async def test_eligibility_is_what_a_request_would_come_to_and_changes_nothing(api: Api) -> None:
    sources = [
        {"source": s, "amount": a, "provider": "sandbox", "provider_reference": "ok"} for s, a in (("card", 7_000), ("coupon", 3_000))
    ]
    payment = await api.register(funding=sources)
    before = await api.rows()

    view = (await api.get(f"/v1/payments/{payment['id']}/eligibility?amount=1000&channel=app")).json()

    assert await api.rows() == before
    assert set(view) == {
        *("allowed", "route", "rule", "policy_version", "window", "amount_refundable"),
        *("allocation", "forfeited", "eta", "refusal", "by_reason", "message", "next_steps"),
    }
    assert (view["allowed"], view["route"], view["refusal"], view["amount_refundable"]) == (True, "automatic", None, 10_000)
    assert view["allocation"] == [{"source": "card", "amount": 700}, {"source": "coupon", "amount": 300}]
    assert view["eta"]["earliest"] <= view["eta"]["latest"]
    asked = (await api.requested(payment, amount=1_000)).json()
    assert [(leg["source"], leg["amount"]) for leg in asked["refund"]["legs"]] == [("card", 700), ("coupon", 300)]


@pytest.mark.parametrize(
    ("members", "query", "refusal"),
    [
        ({"days": 16}, "?reason=changed_mind", "window-closed"),
        ({"days": 1}, "?amount=10001", "amount-exceeds-refundable"),
        ({}, "?amount=1", "partial-not-supported"),
    ],
)
async def test_eligibility_names_the_refusal(api: Api, members: dict[str, int], query: str, refusal: str) -> None:
    payment = await api.register(completed_at=api.clock.ago(**members) if members else None)

    view = (await api.get(f"/v1/payments/{payment['id']}/eligibility{query}")).json()

    assert (view["allowed"], view["refusal"], view["allocation"], view["eta"]) == (False, refusal, [], None)
    assert view["message"]
    assert view["next_steps"]


async def test_eligibility_names_what_the_state_forbids(api: Api) -> None:
    waiting, over = await api.register(completed_at=api.clock.ago(hours=1)), await api.register()
    await api.requested(waiting)
    await api.requested(over)
    await api.worker.drain()

    views = [(await api.get(f"/v1/payments/{one['id']}/eligibility", "agent")).json() for one in (waiting, over)]

    assert [(view["allowed"], view["refusal"]) for view in views] == [(False, "cancellation-open"), (False, "invalid-state")]
    assert [view["amount_refundable"] for view in views] == [0, 0]
    assert all(view["message"] for view in views)


async def test_one_caller_speaks_for_itself(api: Api) -> None:
    headers = [("authorization", f"Bearer {api.token('wallet')}"), ("authorization", f"Bearer {api.token('auditor')}")]

    said = assert_problem(await api.http.get("/v1/meta", headers=headers), 401, "unauthenticated")

    assert "More than one" in said["detail"]
