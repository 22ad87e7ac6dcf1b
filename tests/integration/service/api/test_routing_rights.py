"""Who may call what, and whose payments they see, tried over HTTP."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest

from service.api.routing import Operation
from service.app import declared_operations
from tests.harness import Api, Json, assert_problem
from workflows.domain.enums import Role

ZEROES = "0" * 32
SOMETHING = {
    "payment_id": f"pay_{ZEROES}",
    "cancellation_id": f"can_{ZEROES}",
    "refund_id": f"rfd_{ZEROES}",
    "anomaly_id": f"ano_{ZEROES}",
    "version": "2026-11-a",
    "merchant_id": "nobody",
    "provider": "sandbox",
    "slug": "not-found",
}
QUERY = {"get_terms": "?merchant_id=nobody"}  # what a call cannot do without
OPERATIONS = declared_operations()
GUARDED = [one for one in OPERATIONS if one.roles is not None]
OPEN = [one for one in OPERATIONS if one.roles is None]


@pytest.mark.parametrize("operation", GUARDED, ids=lambda one: one.name)
async def test_a_role_may_call_what_it_may_and_nothing_else(api: Api, operation: Operation) -> None:
    path, before = operation.path.format(**SOMETHING), await api.rows()

    for role in Role:
        headers = {"authorization": f"Bearer {api.token(role)}"}
        response = await api.http.request(operation.method, path, headers=headers)
        if operation.roles is not None and role in operation.roles:
            assert response.status_code not in {401, 403, 500}, (role, response.text)
        else:
            assert_problem(response, 403, "forbidden")
    assert await api.rows() == before


@pytest.mark.parametrize("operation", GUARDED, ids=lambda one: one.name)
async def test_without_a_token_nothing_is_told(api: Api, operation: Operation) -> None:
    response = await api.http.request(operation.method, operation.path.format(**SOMETHING))

    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("operation", [one for one in OPEN if one.method == "GET"], ids=lambda one: one.name)
async def test_what_is_open_needs_no_token_and_minds_no_bad_one(api: Api, operation: Operation) -> None:
    path = operation.path.format(**SOMETHING) + QUERY.get(operation.name, "")

    for headers in ({}, {"authorization": "Bearer rubbish"}):
        expected = {"readyz": {200, 503}, "home": {303}}.get(operation.name, {200})
        assert (await api.http.get(path, headers=headers)).status_code in expected


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic dTpw", "Bearer a.b.c", "Bearer " + "x" * 9_000, "bearer \u00e9", "Token abc", "Bearer a b"]
)
async def test_bad_tokens_are_challenged(api: Api, header: str) -> None:
    response = await api.http.get("/v1/payments", headers=[(b"authorization", header.encode())])

    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_a_changed_token_is_nobodys(api: Api) -> None:
    good = api.token("wallet")
    head, body, signature = good.split(".")
    forged = [good[:-4] + "AAAA", f"{head}.{body}.", f"{head}.{api.token('operator').split('.')[1]}.{signature}"]

    for token in forged:
        assert_problem(await api.http.get("/v1/meta", headers={"authorization": f"Bearer {token}"}), 401, "unauthenticated")


async def test_a_token_ends_when_it_says(api: Api) -> None:
    token = api.keys.sign_token(sub="brief", role=Role.wallet, ttl_seconds=60, now=api.clock.now)
    headers = {"authorization": f"Bearer {token}"}
    assert (await api.http.get("/v1/meta", headers=headers)).status_code == 200

    api.clock.now += timedelta(minutes=5)

    response = await api.http.get("/v1/meta", headers=headers)
    assert_problem(response, 401, "unauthenticated")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


@pytest.fixture
async def theirs(api: Api) -> Json:
    """A payment of another merchant, half refunded, with a cancellation open."""
    payment = await api.register(merchant_id="shop-2", wallet_id="wallet-of-shop-2", order_reference="order of shop 2")
    first = (await api.requested(payment, amount=5_000)).json()
    await api.worker.drain()
    done = await api.cancellation(first)
    second = (await api.requested(payment, "unauthorised")).json()
    return {"payment": payment, "cancellation": second, "refund": done["refund"]}


async def test_a_merchant_does_not_know_others_payments(api: Api, theirs: Json) -> None:
    payment, cancellation, refund = (theirs[name]["id"] for name in ("payment", "cancellation", "refund"))
    paths = [
        f"/v1/payments/{payment}",
        f"/v1/payments/{payment}/eligibility",
        f"/v1/payments/{payment}/records",
        f"/v1/cancellations/{cancellation}",
        f"/v1/refunds/{refund}",
    ]

    for path in paths:
        assert (await api.get(path, "merchant", merchant="shop-2")).status_code == 200
        hidden = assert_problem(await api.get(path, "merchant"), 404, "not-found")
        absent = assert_problem(await api.get(re.sub("_[0-9a-f]{32}", f"_{ZEROES}", path), "merchant"), 404, "not-found")
        assert hidden["detail"] == absent["detail"]


async def test_a_merchant_cannot_act_on_others_payments(api: Api, theirs: Json) -> None:
    path, before = f"/v1/payments/{theirs['payment']['id']}", await api.rows()

    assert_problem(await api.post(f"{path}/fulfilment", {"status": "shipped"}, role="merchant"), 404, "not-found")
    assert_problem(await api.post(f"{path}/cancellations", {"reason": "merchant_request"}, role="merchant"), 404, "not-found")
    assert await api.rows() == before


async def test_a_kept_answer_is_not_given_to_another_merchant_of_the_same_name(api: Api) -> None:
    payment, key = await api.register(merchant_id="shop-2"), uuid4().hex
    path, body = f"/v1/payments/{payment['id']}/fulfilment", {"status": "shipped"}
    assert (await api.post(path, body, role="merchant", sub="clerk", merchant="shop-2", key=key)).status_code == 200

    assert_problem(await api.post(path, body, role="merchant", sub="clerk", merchant="shop-1", key=key), 404, "not-found")


@pytest.mark.slow
async def test_a_merchants_lists_hold_its_own_and_no_filter_widens_them(api: Api, theirs: Json) -> None:
    payment, cancellation = theirs["payment"], theirs["cancellation"]
    own = await api.register(wallet_id="wallet-of-shop-1")
    await api.requested(own)
    filters = {
        "payments": [
            {},
            {"merchant_id": "shop-2"},
            {"wallet_id": "wallet-of-shop-2"},
            {"reference": payment["reference"]},
            {"order_reference": "order of shop 2"},
            {"state": "cancel_requested"},
        ],
        "cancellations": [{}, {"merchant_id": "shop-2"}, {"payment_id": payment["id"]}, {"route": "agent"}, {"state": "awaiting_agent"}],
        "refunds": [{}, {"payment_id": payment["id"]}, {"cancellation_id": cancellation["id"]}, {"provider": "sandbox"}],
    }

    for resource, queries in filters.items():
        for query in queries:
            mine = (await api.get(f"/v1/{resource}", "merchant", params={**query, "limit": 200})).json()["data"]
            owners = {
                one["merchant_id"] if resource == "payments" else (await api.payment({"id": one["payment_id"]}))["merchant_id"]
                for one in mine
            }
            assert owners <= {"shop-1"}, (resource, query)
            assert mine or query, resource


async def test_a_merchants_cursor_does_not_open_others_lists(api: Api, theirs: Json) -> None:
    page = (await api.get("/v1/payments", "merchant", merchant="shop-2", params={"limit": 1})).json()
    await api.register(merchant_id="shop-2")
    cursor = (await api.get("/v1/payments", "agent", params={"limit": 1})).json()["next_cursor"]

    found = (await api.get("/v1/payments", "merchant", params={"cursor": cursor, "limit": 200})).json()["data"]

    assert page["data"][0]["merchant_id"] == "shop-2"
    assert {one["merchant_id"] for one in found} <= {"shop-1"}


async def test_the_actions_shown_are_those_of_the_caller(api: Api) -> None:
    payment = await api.register(completed_at=None)
    shown = {
        role: (await api.get(f"/v1/payments/{payment['id']}", role)).json()["available_actions"]
        for role in ("wallet", "agent", "merchant", "auditor")
    }

    assert {role: set(actions) for role, actions in shown.items()} == {
        "wallet": {"complete", "fail", "modify", "fulfilment", "request_cancellation"},
        "agent": {"request_cancellation"},
        "merchant": {"fulfilment", "request_cancellation"},
        "auditor": set(),
    }


async def test_only_a_supervisor_overrides(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(days=400))
    override = {"justification": "goodwill", "ticket": "T-1"}

    for role, channel in (("wallet", "app"), ("agent", "hotline"), ("merchant", "merchant")):
        assert_problem(await api.requested(payment, role=role, channel=channel, override=override), 403, "forbidden")
    asked = await api.requested(payment, role="supervisor", channel="hotline", override=override)

    assert (asked.status_code, asked.json()["state"]) == (201, "awaiting_second_approval")
    await api.worker.drain()
    assert await api.movements(payment) == []
