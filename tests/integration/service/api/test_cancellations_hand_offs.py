"""Hand-offs under other policies than the default: what is said, offered and done, early and late."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.database import Cluster
from tests.harness import SHOP, Api, Json, assert_problem, running
from tests.integration.service.api.deciding import ABOVE, handed_off, later, moment, step, taken
from tests.rails import RailProcess

pytestmark = pytest.mark.slow  # each has a service of its own


@pytest.fixture
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A service of its own: the policies that are published here decide every payment."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("terms"), rail.url) as made:
        yield made


async def ask_every_merchant(api: Api, then: str, **members: Any) -> None:
    """From now on every request is the merchant's to decide, within ten minutes."""
    rule = {"name": "all", "route": "merchant", "when": {}, "merchant_deadline": {"length": "10 minutes", "then": then}}
    head = {"version": f"v-{uuid4().hex[:8]}", "effective_from": "2026-11-10T00:00:00Z", "timezone": "UTC", "calendar": "none"}
    published = await api.post("/v1/policies", {**head, "rules": [rule], **members}, role="operator")
    assert published.status_code == 201, published.text


async def asked(api: Api, payment: Json, **more: Any) -> Json:
    response = await api.requested(payment, **more)
    assert response.json()["state"] == "awaiting_merchant", response.text
    return dict(response.json())


async def test_an_earlier_no_is_escalated_while_a_later_request_is_overdue(api: Api) -> None:
    """Both stand under the rule of one open request: the later one is closed by its clock before the earlier one opens again."""
    await ask_every_merchant(api, "decline")
    payment = await api.register()
    first = await asked(api, payment)
    await taken(api, first, "merchant-decision", "merchant", {"decision": "decline"})
    second = await asked(api, payment)
    api.clock.now = moment(second["deadline_at"])

    escalated = await taken(api, first, "escalate", "wallet")

    assert escalated["state"] == "awaiting_agent"
    assert (await api.cancellation(second))["state"] == "declined"
    assert (await api.payment(payment))["open_cancellation"] == first["id"]


@pytest.mark.parametrize("worker_is_late", [True, False])
async def test_if_match_names_what_the_clock_left_whether_the_worker_is_late_or_not(api: Api, worker_is_late: bool) -> None:
    await ask_every_merchant(api, "agent")
    cancellation = await asked(api, await api.register())
    api.clock.now = moment(cancellation["deadline_at"])
    if not worker_is_late:
        await api.worker.drain()

    stale = await step(api, cancellation, "withdraw", "wallet", headers={"if-match": '"1"'})

    assert_problem(stale, 412, "version-mismatch", current_version=2)
    assert (await step(api, cancellation, "withdraw", "wallet", headers={"if-match": '"2"'})).json()["state"] == "withdrawn"


@pytest.mark.parametrize(
    ("call", "payment", "en", "zh"),
    [
        ({}, {}, "your refund goes ahead", "\u5c06\u4e3a\u60a8\u9000\u6b3e"),
        ({"role": "agent", "channel": "hotline"}, {"amount": ABOVE}, "goes on to a final check", "\u6700\u540e\u5ba1\u6838"),
        ({}, {"completed_at": None}, "your payment is cancelled", "\u5c06\u88ab\u53d6\u6d88"),
    ],
)
async def test_what_silence_leads_to_is_said_as_it_is(api: Api, call: Json, payment: Json, en: str, zh: str) -> None:
    await ask_every_merchant(api, "accept", second_approval_above={"CNY": ABOVE - 1})
    cancellation = await asked(api, await api.register(**payment), **call)
    chinese = (await api.get(f"/v1/cancellations/{cancellation['id']}", headers={"accept-language": "zh-CN"})).json()

    assert en in cancellation["message"]
    assert zh in chinese["message"]
    await later(api, minutes=10)
    assert (await api.cancellation(cancellation))["state"] in {"completed", "awaiting_second_approval"}


async def test_notes_and_documents_are_those_of_the_last_answer(api: Api) -> None:
    _, cancellation = await handed_off(api)
    evidence = [{"name": "photo.jpg", "sha256": "ab" * 32}]
    offer = {"decision": "offer", "amount": 3_000, "note": "we pay a third", "evidence": evidence}
    offered = await taken(api, cancellation, "merchant-decision", "merchant", offer)
    assert (offered["merchant"]["note"], offered["evidence"]) == ("we pay a third", evidence)
    await taken(api, cancellation, "offer-response", "wallet", {"accept": False})

    api.clock.now += (moment(offered["deadline_at"]) - api.clock.now) / 100
    declined = await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "decline"})

    assert (declined["merchant"]["decision"], declined["merchant"]["note"], declined["evidence"]) == ("decline", None, [])


async def test_an_offer_whose_time_is_over_is_no_longer_put_to_the_customer(api: Api) -> None:
    _, cancellation = await handed_off(api)
    offered = await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "offer", "amount": 3_000})
    api.clock.now = moment(offered["deadline_at"])

    shown = (await api.get(f"/v1/cancellations/{cancellation['id']}")).json()

    assert (shown["available_actions"], "offers you" in shown["message"]) == (["withdraw"], False)
    assert_problem(
        await step(api, cancellation, "offer-response", "wallet", {"accept": True}), 409, "invalid-state", state="awaiting_agent"
    )


async def test_a_payment_whose_return_is_overdue_offers_what_it_takes(api: Api) -> None:
    await ask_every_merchant(api, "decline")
    payment = await api.register()
    cancellation = await asked(api, payment)
    api.clock.now = moment(cancellation["deadline_at"])

    assert "request_cancellation" in (await api.get(f"/v1/payments/{payment['id']}")).json()["available_actions"]
    assert (await api.requested(payment)).status_code == 201


async def test_nothing_is_offered_of_a_payment_that_has_not_settled(api: Api) -> None:
    await ask_every_merchant(api, "accept")
    cancellation = await asked(api, await api.register(completed_at=None))

    seen = (await api.get(f"/v1/cancellations/{cancellation['id']}", "merchant", merchant=SHOP)).json()

    assert seen["available_actions"] == ["accept", "accept_with_return", "decline"]


async def test_goods_that_are_shipped_meanwhile_are_seen_and_change_no_rule(api: Api) -> None:
    """The rule was found when it was asked for: its `when` (nothing shipped yet) is not asked again."""
    payment, cancellation = await handed_off(api)
    before = await api.cancellation(cancellation)

    shipped = await api.post(f"/v1/payments/{payment['id']}/fulfilment", {"status": "shipped"}, role="merchant", merchant=SHOP)

    assert shipped.status_code == 200, shipped.text
    seen = (await api.get(f"/v1/cancellations/{cancellation['id']}", "merchant", merchant=SHOP)).json()
    assert (before["fulfilment"]["status"], seen["fulfilment"]["status"]) == ("none", "shipped")
    assert seen["fulfilment"]["shipped_at"] == shipped.json()["shipped_at"]
    assert (seen["decision"], seen["deadline_at"], seen["state"]) == (before["decision"], before["deadline_at"], "awaiting_merchant")
    assert (await taken(api, cancellation, "merchant-decision", "merchant"))["state"] == "executing"


@pytest.mark.parametrize(("condition", "is_back"), [("intact", True), ("damaged", True), ("missing", False)])
async def test_goods_that_came_back_are_a_moment_of_the_payment(api: Api, condition: str, is_back: bool) -> None:
    payment, cancellation = await handed_off(api)
    await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "accept_with_return"})
    api.clock.now += timedelta(hours=1)

    await taken(api, cancellation, "return-received", "merchant", {"condition": condition})

    assert (await api.payment(payment))["return_received_at"] == (api.clock.ago() if is_back else None)


async def test_published_versions_come_in_pages(api: Api) -> None:
    for _ in range(4):
        await ask_every_merchant(api, "agent")
    every = (await api.get("/v1/policies")).json()["data"]
    page = (await api.get("/v1/policies?limit=2")).json()
    found = page["data"]
    while page["next_cursor"]:
        page = (await api.get(f"/v1/policies?limit=2&cursor={page['next_cursor']}")).json()
        found += page["data"]

    assert (found, len(every)) == (every, 5)
    for query in ("limit=0", "limit=201", "cursor=x", "page=2"):
        assert (await api.get(f"/v1/policies?{query}")).status_code == 422
