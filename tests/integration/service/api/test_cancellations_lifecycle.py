"""A payment's life as its callers see it: undone before settlement and after, in parts, by other people's leave, or not at all."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.harness import Api, Json, amounts, assert_problem, funding
from workflows.flows.check import run_checks

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
async def checked(api: Api) -> AsyncIterator[None]:
    """Each of these lives leaves every invariant as it was, and the records tell what the rows say. Other tests damage what is theirs."""
    before = await broken(api)
    yield
    assert await broken(api) == before


async def broken(api: Api) -> dict[str, int]:
    return {one.name: one.violations for one in await run_checks(api.owner) if one.broken}


async def test_a_pending_payment_is_voided_and_no_money_moves(api: Api) -> None:
    payment = await api.register(completed_at=None)

    asked = await api.requested(payment, "duplicate")

    assert asked.status_code == 201
    cancellation = asked.json()
    assert asked.headers["location"] == f"/v1/cancellations/{cancellation['id']}"
    assert (cancellation["route"], cancellation["state"], cancellation["amount"]) == ("void", "executing", 10_000)
    assert cancellation["requested_by"] == {"role": "wallet", "id": "wallet-1"}
    assert cancellation["decision"]["rule"] == "not-yet-settled"
    assert amounts(await api.payment(payment)) == ("cancel_requested", 0, 10_000, 0)
    await api.worker.drain()
    assert amounts(await api.payment(payment)) == ("cancelled", 0, 0, 10_000)
    assert [(m["kind"], m["amount"]) for m in await api.movements(payment)] == [("void", 10_000)]
    done = await api.cancellation(cancellation)
    assert (done["state"], done["refund"], done["available_actions"]) == ("completed", None, [])


async def test_within_half_an_hour_a_refund_is_automatic(api: Api) -> None:
    payment = await api.register()

    cancellation = (await api.requested(payment)).json()

    assert (cancellation["route"], cancellation["state"], cancellation["decision"]["rule"]) == ("automatic", "executing", "second-thoughts")
    assert cancellation["decision"]["window"] == {
        "anchor": "completed_at",
        "opens_at": api.clock.ago(minutes=1),
        "closes_at": api.clock.ago(minutes=-29),
    }
    assert (await api.payment(payment))["state"] == "refunding"
    await api.worker.drain()
    after = await api.payment(payment)
    assert amounts(after) == ("refunded", 10_000, 0, 0)
    assert (after["open_cancellation"], after["cancellations"]) == (None, [cancellation["id"]])
    refund = (await api.cancellation(cancellation))["refund"]
    assert (refund["state"], refund["amount"], refund["cancellation_id"]) == ("succeeded", 10_000, cancellation["id"])
    [leg] = refund["legs"]
    assert (leg["source"], leg["provider"], leg["state"], leg["outcome_source"], leg["attempts"]) == (
        "balance",
        "sandbox",
        "succeeded",
        "reply",
        1,
    )
    assert (await api.get(f"/v1/refunds/{refund['id']}")).json() == refund
    assert [(m["kind"], m["amount"], m["currency"]) for m in await api.movements(payment)] == [("refund", 10_000, "CNY")]


async def test_parts_go_back_one_after_the_other_until_nothing_is_left(api: Api) -> None:
    payment = await api.register(funding=funding(("card", 6_000), ("coupon", 3_000), ("points", 1_000)))

    for part in (1, 3_333, 2):
        assert (await api.requested(payment, amount=part)).status_code == 201
        await api.worker.drain()
        assert (await api.payment(payment))["state"] == "completed"
    last = (await api.requested(payment)).json()
    await api.worker.drain()

    assert last["amount"] == 10_000 - 3_336
    assert amounts(await api.payment(payment)) == ("refunded", 10_000, 0, 0)
    refunds = (await api.get("/v1/refunds", params={"payment_id": payment["id"]})).json()["data"]
    by_source: dict[str, int] = {}
    for refund in refunds:
        assert sum(leg["amount"] for leg in refund["legs"]) == refund["amount"]
        assert all(leg["amount"] > 0 for leg in refund["legs"])
        for leg in refund["legs"]:
            by_source[leg["source"]] = by_source.get(leg["source"], 0) + leg["amount"]
    assert by_source == {"card": 6_000, "coupon": 3_000, "points": 1_000}
    assert sum(m["amount"] for m in await api.movements(payment)) == 10_000


async def test_items_are_worth_exactly_their_line(api: Api) -> None:
    items = [
        {"reference": "tea leaf", "name": "Tea", "quantity": 3, "amount": 1_000},
        {"reference": "cup", "name": "Cup", "quantity": 1, "amount": 9_000},
    ]
    payment = await api.register(items=items)
    taken = []

    for _ in range(3):
        taken.append((await api.requested(payment, items=[{"reference": "tea leaf", "quantity": 1}])).json()["amount"])
        await api.worker.drain()
    spent = await api.requested(payment, items=[{"reference": "tea leaf", "quantity": 1}])
    unknown = await api.requested(payment, items=[{"reference": "pot", "quantity": 1}])

    assert sum(taken) == 1_000
    assert max(taken) - min(taken) <= 1
    assert_problem(spent, 422, "amount-exceeds-refundable", amount_refundable=9_000)
    assert assert_problem(unknown, 422, "validation-failed")["errors"][0]["pointer"] == "/items/0/reference"


@pytest.mark.parametrize(
    ("members", "reason", "route", "state", "hours"),
    [
        ({"minutes": 31}, "changed_mind", "merchant", "awaiting_merchant", 48),
        ({"minutes": 1, "fulfilment": "delivered"}, "changed_mind", "return", "awaiting_return", 15 * 24),
        ({"minutes": 1, "fulfilment": "delivered"}, "damaged", "merchant", "awaiting_merchant", 48),
        ({"minutes": 1}, "unauthorised", "agent", "awaiting_agent", None),
    ],
)
async def test_others_must_agree_and_the_customer_may_withdraw(
    api: Api, *, members: Json, reason: str, route: str, state: str, hours: int | None
) -> None:
    given: dict[str, Any] = dict(members)
    at = api.clock.ago(minutes=given.pop("minutes"))
    payment = await api.register(completed_at=at, delivered_at=at if "fulfilment" in given else None, **given)
    eligible = (await api.get(f"/v1/payments/{payment['id']}/eligibility")).json()

    asked = (await api.requested(payment, reason, amount=4_000)).json()

    assert (asked["route"], asked["state"]) == (route, state)
    if reason == "changed_mind":
        assert (eligible["allowed"], eligible["route"], eligible["rule"]) == (True, route, asked["decision"]["rule"])
    if hours is not None:
        assert asked["deadline_at"] == api.clock.ago(hours=-hours)
    assert amounts(await api.payment(payment)) == ("cancel_requested", 0, 4_000, 6_000)
    assert "withdraw" in asked["available_actions"]
    withdrawn = await api.post(f"/v1/cancellations/{asked['id']}/withdraw")
    assert (withdrawn.status_code, withdrawn.json()["state"], withdrawn.json()["deadline_at"]) == (200, "withdrawn", None)
    assert amounts(await api.payment(payment)) == ("completed", 0, 0, 10_000)
    assert_problem(
        await api.post(f"/v1/cancellations/{asked['id']}/withdraw"), 409, "invalid-state", state="withdrawn", available_actions=[]
    )
    await api.worker.drain()
    assert await api.movements(payment) == []


async def test_what_is_executing_cannot_be_withdrawn(api: Api) -> None:
    payment = await api.register()
    asked = (await api.requested(payment)).json()

    assert_problem(await api.post(f"/v1/cancellations/{asked['id']}/withdraw"), 409, "invalid-state", state="executing")


async def test_an_agent_asks_for_a_customer_and_names_the_channel(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(days=20))

    unnamed = await api.requested(payment, role="agent")
    by_app = await api.requested(payment, role="agent", channel="app")
    asked = await api.requested(payment, role="agent", channel="hotline")

    assert assert_problem(unnamed, 422, "validation-failed")["errors"][0]["pointer"] == "/channel"
    assert assert_problem(by_app, 422, "validation-failed")["errors"][0]["pointer"] == "/channel"
    assert (asked.json()["route"], asked.json()["decision"]["rule"], asked.json()["channel"]) == ("agent", "agent-exception", "hotline")


async def test_an_agents_request_above_the_limit_waits_for_a_second_person(api: Api) -> None:
    small, large, strange = (
        await api.register(amount=500_000),
        await api.register(amount=500_001),
        await api.register(amount=1, currency="JPY"),
    )

    states = [(await api.requested(one, role="agent", channel="chat")).json()["state"] for one in (small, large, strange)]
    by_wallet = (await api.requested(await api.register(amount=500_001))).json()["state"]

    assert states == ["executing", "awaiting_second_approval", "awaiting_second_approval"]
    assert by_wallet == "executing"


async def test_a_merchant_refunds_its_own_payment_at_any_time(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(days=300))

    asked = (await api.requested(payment, "merchant_request", role="merchant")).json()

    assert (asked["route"], asked["channel"], asked["decision"]["rule"]) == ("automatic", "merchant", "merchant-refund")
    assert asked["requested_by"] == {"role": "merchant", "id": "merchant-1"}


async def test_a_refusal_by_window_says_everything_and_is_on_record(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(days=16), authorised_at=api.clock.ago(days=16))

    refused = await api.requested(payment, note="please")

    opened = (api.clock.now - timedelta(days=16)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    closed = (api.clock.now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    said = assert_problem(
        refused,
        422,
        "policy-refused",
        refusal="window-closed",
        rule="ask-the-merchant",
        policy_version="2026-11-a",
        window={"anchor": "completed_at", "opens_at": opened, "closes_at": closed},
    )
    assert set(said) == {
        *("type", "title", "status", "detail", "instance", "code", "trace_id"),
        *("refusal", "rule", "policy_version", "window", "message", "next_steps", "cancellation_id"),
    }
    assert [step["action"] for step in said["next_steps"]] == ["contact_merchant", "contact_support"]
    assert said["message"]
    kept = (await api.get(f"/v1/cancellations/{said['cancellation_id']}")).json()
    assert (kept["state"], kept["route"], kept["refusal"], kept["available_actions"]) == ("refused", None, "window-closed", [])
    assert amounts(await api.payment(payment)) == ("completed", 0, 0, 10_000)
    assert [r["type"] for r in await api.records(payment)] == ["payment.registered", "cancellation.refused"]


@pytest.mark.parametrize(("seconds", "state"), [(1, "awaiting_merchant"), (0, None)])
async def test_a_window_is_open_until_the_very_moment_it_closes(api: Api, seconds: int, state: str | None) -> None:
    payment = await api.register(completed_at=api.clock.ago(days=15, seconds=-seconds))

    asked = await api.requested(payment)

    if state is None:
        assert_problem(asked, 422, "policy-refused", refusal="window-closed")
    else:
        assert asked.json()["state"] == state


async def test_a_void_must_be_whole_and_points_to_modifications(api: Api) -> None:
    payment = await api.register(completed_at=None)

    said = assert_problem(await api.requested(payment, amount=1), 422, "partial-not-supported")
    lowered = await api.post(f"/v1/payments/{payment['id']}/modifications", {"amount": 4_000, "reason": "sold out"})
    raised = await api.post(f"/v1/payments/{payment['id']}/modifications", {"amount": 4_001, "reason": "more"})

    assert [step["action"] for step in said["next_steps"]] == ["modifications"]
    assert (lowered.json()["amount"], lowered.json()["amount_refundable"], lowered.json()["funding"][0]["amount"]) == (4_000, 4_000, 4_000)
    assert assert_problem(raised, 422, "validation-failed")["errors"][0]["pointer"] == "/amount"
    asked = (await api.requested(payment)).json()
    assert asked["amount"] == 4_000
    assert_problem(
        await api.post(f"/v1/payments/{payment['id']}/modifications", {"amount": 1, "reason": "x"}),
        409,
        "cancellation-open",
        cancellation_id=asked["id"],
    )
    await api.worker.drain()
    assert [(m["kind"], m["amount"]) for m in await api.movements(payment)] == [("void", 4_000)]


async def test_a_late_capture_turns_an_unsent_void_into_a_refund(api: Api) -> None:
    payment = await api.register(completed_at=None)
    asked = (await api.requested(payment)).json()

    completed = await api.post(f"/v1/payments/{payment['id']}/complete")
    await api.worker.drain()

    assert completed.json()["state"] in {"cancel_requested", "refunding"}
    assert amounts(await api.payment(payment)) == ("refunded", 10_000, 0, 0)
    assert [(m["kind"], m["amount"]) for m in await api.movements(payment)] == [("refund", 10_000)]
    assert (await api.cancellation(asked))["state"] == "completed"


async def test_a_void_that_finds_the_payment_captured_waits_and_becomes_a_refund(api: Api) -> None:
    payment = await api.register(completed_at=None, funding=funding(("card", 10_000), reference="captured_meanwhile"))
    await api.requested(payment)
    await api.worker.drain()

    await api.post(f"/v1/payments/{payment['id']}/complete")
    await api.worker.drain()

    assert amounts(await api.payment(payment))[:2] == ("refunded", 10_000)
    assert [(m["kind"], m["amount"]) for m in await api.movements(payment)] == [("refund", 10_000)]


async def test_a_declined_refund_needs_attention(api: Api) -> None:
    payment = await api.register(funding=funding(("card", 10_000), reference="decline:account_closed"))
    asked = (await api.requested(payment)).json()
    await api.worker.drain()

    stuck = await api.cancellation(asked)

    assert stuck["state"] == "needs_attention"
    assert (stuck["refund"]["state"], stuck["refund"]["legs"][0]["failure_code"]) == ("failed", "account_closed")
    assert amounts(await api.payment(payment)) == ("refunding", 0, 10_000, 0)
    assert_problem(await api.requested(payment), 409, "cancellation-open", cancellation_id=asked["id"])


async def test_a_lost_answer_is_asked_after_and_moves_once(api: Api) -> None:
    payment = await api.register(funding=funding(("card", 10_000), reference="garbage"))
    asked = (await api.requested(payment)).json()
    await api.worker.drain()
    assert (await api.cancellation(asked))["refund"]["state"] == "unknown"

    for _ in range(3):
        api.clock.now += timedelta(minutes=2)
        await api.worker.drain()

    assert len(await api.movements(payment)) == 1


async def test_a_payment_of_the_first_day_of_time_is_decided_too(api: Api) -> None:
    payment = await api.register(completed_at="1970-01-01T00:00:00Z", authorised_at="1970-01-01T00:00:00Z")

    assert_problem(await api.requested(payment), 422, "policy-refused", refusal="window-closed")
    assert_problem(await api.requested(payment, role="agent", channel="hotline"), 422, "policy-refused", refusal="window-closed")
    assert (await api.requested(payment, role="merchant")).status_code == 201


async def test_a_merchant_voids_within_seven_days_and_not_later(api: Api) -> None:
    young = await api.register(completed_at=None)
    old = await api.register(completed_at=None, authorised_at=api.clock.ago(days=7))

    assert (await api.requested(young, role="merchant")).json()["route"] == "void"
    assert_problem(await api.requested(old, role="merchant"), 422, "policy-refused", refusal="window-closed", rule="not-yet-settled")
