"""Eligibility over HTTP: the same facts as the request, by reason, by line, and as the customer."""

import json
from datetime import UTC, datetime

from msgspec.structs import replace

from service.shipped_policies import default_policy
from tests.api.world import Json, World, assert_problem, funding
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.policy import Limits


async def arrived(world: World, category: str) -> Json:
    moments = {"completed_at": world.clock.ago(days=3), "shipped_at": world.clock.ago(days=2), "delivered_at": world.clock.ago(days=1)}
    return await world.register(fulfilment="delivered", category=category, **moments)


async def eligible(world: World, payment: Json, query: str = "", role: str = "wallet") -> Json:
    response = await world.get(f"/v1/payments/{payment['id']}/eligibility?{query}", role)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_the_reason_decides_as_it_does_in_the_request(world: World) -> None:
    payment = await arrived(world, category="digital")

    told = [await eligible(world, payment, f"reason={reason}") for reason in ("damaged", "changed_mind")]
    best = await eligible(world, payment)
    asked = (await world.requested(payment, "damaged")).json()

    assert [(one["allowed"], one["route"], one["rule"], one["by_reason"]) for one in told] == [
        (True, "merchant", "faulty-or-missing", []),
        (False, None, "seven-day-return", []),
    ]
    assert (best["allowed"], best["route"], best["rule"]) == (True, "merchant", "faulty-or-missing")
    assert best["by_reason"][0] == {"reasons": ["not_received", "not_as_described", "damaged"], "route": "merchant", "refusal": None}
    assert "What is possible depends on the reason." in best["message"]
    assert (asked["route"], asked["decision"]["rule"]) == ("merchant", "faulty-or-missing")


async def test_requests_of_the_day_are_counted(world: World) -> None:
    """Under a policy that is in force for this payment only."""
    policy = replace(default_policy(), version="two-a-day", limits=Limits(requests_per_day=2))
    await world.owner.execute(
        "insert into policy (version, ordinal, effective_from, document, published_at, published_by) values ($1, 2, $2, $3, $4, 'tests')",
        policy.version,
        datetime(2999, 1, 1, tzinfo=UTC),
        json.dumps(policy_data(policy)),
        world.clock(),
    )
    payment = await world.register(completed_at=world.clock.ago(days=1))
    await world.owner.execute("update payment set policy_version = $1 where id = $2", policy.version, str(payment["id"])[4:])

    told = []
    for _ in range(2):
        told.append((await eligible(world, payment))["refusal"])
        asked = (await world.requested(payment)).json()
        await world.post(f"/v1/cancellations/{asked['id']}/withdraw")
    told.append((await eligible(world, payment))["refusal"])

    assert told == [None, None, "limit-reached"]
    assert_problem(await world.requested(payment), 422, "policy-refused", refusal="limit-reached")


async def test_lines_are_asked_for_by_their_references(world: World) -> None:
    lines = [
        {"reference": "85123A", "name": "Moon cakes", "quantity": 2, "amount": 7_000},
        {"reference": "tea, green: 50%", "name": "Tea", "quantity": 3, "amount": 3_000},
        {"reference": "gift", "name": "Ribbon", "quantity": 1, "amount": 0},
    ]
    payment = await world.register(items=lines)

    some = await eligible(world, payment, "items=85123A:1,tea%252C green: 50%2525:2")
    gift = await eligible(world, payment, "items=gift:1")
    unknown = await world.get(f"/v1/payments/{payment['id']}/eligibility?items=85123A:1,nothing:1")
    too_many = await eligible(world, payment, "items=85123A:3")

    assert some["allocation"] == [{"source": "balance", "amount": 5_500}]
    assert (gift["allowed"], gift["allocation"], gift["eta"]) == (True, [], None)
    assert "no money is paid back" in gift["message"]
    assert assert_problem(unknown, 422, "validation-failed")["errors"][0]["pointer"] == "/query/items/1/reference"
    assert (too_many["allowed"], too_many["refusal"]) == (False, "amount-exceeds-refundable")


async def test_an_agent_may_ask_what_the_customer_could_do(world: World) -> None:
    payment = await world.register(completed_at=world.clock.ago(days=30))

    own, customers = (
        await eligible(world, payment, "reason=other", "agent"),
        await eligible(world, payment, "reason=other&as=customer", "agent"),
    )

    assert (own["allowed"], own["route"], own["rule"]) == (True, "agent", "agent-exception")
    assert (customers["allowed"], customers["refusal"], customers["rule"]) == (False, "window-closed", "ask-the-merchant")
    wrong = await world.get(f"/v1/payments/{payment['id']}/eligibility?as=agent", "agent")
    assert assert_problem(wrong, 422, "validation-failed")["errors"][0]["pointer"] == "/query/as"


async def test_a_void_is_told_no_days(world: World) -> None:
    told = await eligible(world, await world.register(completed_at=None))

    assert (told["route"], told["eta"], told["forfeited"], told["by_reason"]) == ("void", None, [], [])


async def test_taking_back_is_advised_only_while_it_is_possible(world: World) -> None:
    waiting, executing = await world.register(completed_at=world.clock.ago(hours=1)), await world.register()
    for payment in (waiting, executing):
        await world.requested(payment)

    told = [[step["action"] for step in (await eligible(world, payment))["next_steps"]] for payment in (waiting, executing)]

    assert told == [["wait", "withdraw"], ["wait"]]


async def test_half_paid_is_told_as_half_paid(world: World) -> None:
    parts = [*funding(("balance", 6_000)), *funding(("card", 4_000), reference="decline:account_closed")]
    payment = await world.register(funding=parts)
    asked = (await world.requested(payment)).json()
    await world.worker.drain()

    found = await world.cancellation(asked)

    assert found["message"].startswith(
        "CNY 60.00 of your refund of CNY 100.00 has been paid back. CNY 40.00 could not be delivered yet, and is not lost. "
        "Our team is working on it. If you would rather have it in your wallet balance, tell our customer support. We aim to settle it by "
    )
    assert found["refund"]["eta"] is None
    assert (await eligible(world, payment))["message"] == "There is already an open request for this payment."
