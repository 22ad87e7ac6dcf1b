"""Eligibility over HTTP: the same facts as the request, by reason, by line, and as the customer."""

import json
from datetime import UTC, datetime

from msgspec.structs import replace

from service.shipped_policies import default_policy
from tests.harness import Api, Json, assert_problem, funding
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.policy import Limits


async def arrived(api: Api, category: str) -> Json:
    moments = {"completed_at": api.clock.ago(days=3), "shipped_at": api.clock.ago(days=2), "delivered_at": api.clock.ago(days=1)}
    return await api.register(fulfilment="delivered", category=category, **moments)


async def eligible(api: Api, payment: Json, query: str = "", role: str = "wallet") -> Json:
    response = await api.get(f"/v1/payments/{payment['id']}/eligibility?{query}", role)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_the_reason_decides_as_it_does_in_the_request(api: Api) -> None:
    payment = await arrived(api, category="digital")

    told = [await eligible(api, payment, f"reason={reason}") for reason in ("damaged", "changed_mind")]
    best = await eligible(api, payment)
    asked = (await api.requested(payment, "damaged")).json()

    assert [(one["allowed"], one["route"], one["rule"], one["by_reason"]) for one in told] == [
        (True, "merchant", "faulty-or-missing", []),
        (False, None, "seven-day-return", []),
    ]
    assert (best["allowed"], best["route"], best["rule"]) == (True, "merchant", "faulty-or-missing")
    assert best["by_reason"][0] == {"reasons": ["not_received", "not_as_described", "damaged"], "route": "merchant", "refusal": None}
    assert "What is possible depends on the reason." in best["message"]
    assert (asked["route"], asked["decision"]["rule"]) == ("merchant", "faulty-or-missing")


async def test_requests_of_the_day_are_counted(api: Api) -> None:
    """Under a policy that is in force for this payment only."""
    policy = replace(default_policy(), version="two-a-day", limits=Limits(requests_per_day=2))
    await api.owner.execute(
        "insert into policy (version, ordinal, effective_from, document, published_at, published_by) values ($1, 2, $2, $3, $4, 'tests')",
        policy.version,
        datetime(2999, 1, 1, tzinfo=UTC),
        json.dumps(policy_data(policy)),
        api.clock(),
    )
    payment = await api.register(completed_at=api.clock.ago(days=1))
    await api.owner.execute("update payment set policy_version = $1 where id = $2", policy.version, str(payment["id"])[4:])

    told = []
    for _ in range(2):
        told.append((await eligible(api, payment))["refusal"])
        asked = (await api.requested(payment)).json()
        await api.post(f"/v1/cancellations/{asked['id']}/withdraw")
    told.append((await eligible(api, payment))["refusal"])

    assert told == [None, None, "limit-reached"]
    assert_problem(await api.requested(payment), 422, "policy-refused", refusal="limit-reached")


async def test_lines_are_asked_for_by_their_references(api: Api) -> None:
    lines = [
        {"reference": "85123A", "name": "Moon cakes", "quantity": 2, "amount": 7_000},
        {"reference": "tea, green: 50%", "name": "Tea", "quantity": 3, "amount": 3_000},
        {"reference": "gift", "name": "Ribbon", "quantity": 1, "amount": 0},
    ]
    payment = await api.register(items=lines)

    some = await eligible(api, payment, "items=85123A:1,tea%252C green: 50%2525:2")
    gift = await eligible(api, payment, "items=gift:1")
    unknown = await api.get(f"/v1/payments/{payment['id']}/eligibility?items=85123A:1,nothing:1")
    too_many = await eligible(api, payment, "items=85123A:3")

    assert some["allocation"] == [{"source": "balance", "amount": 5_500}]
    assert (gift["allowed"], gift["allocation"], gift["eta"]) == (True, [], None)
    assert "no money is paid back" in gift["message"]
    assert assert_problem(unknown, 422, "validation-failed")["errors"][0]["pointer"] == "/query/items/1/reference"
    assert (too_many["allowed"], too_many["refusal"]) == (False, "amount-exceeds-refundable")


async def test_an_agent_may_ask_what_the_customer_could_do(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(days=30))

    own, customers = (
        await eligible(api, payment, "reason=other", "agent"),
        await eligible(api, payment, "reason=other&as=customer", "agent"),
    )

    assert (own["allowed"], own["route"], own["rule"]) == (True, "agent", "agent-exception")
    assert (customers["allowed"], customers["refusal"], customers["rule"]) == (False, "window-closed", "ask-the-merchant")
    wrong = await api.get(f"/v1/payments/{payment['id']}/eligibility?as=agent", "agent")
    assert assert_problem(wrong, 422, "validation-failed")["errors"][0]["pointer"] == "/query/as"


async def test_a_void_is_told_no_days(api: Api) -> None:
    told = await eligible(api, await api.register(completed_at=None))

    assert (told["route"], told["eta"], told["forfeited"], told["by_reason"]) == ("void", None, [], [])


async def test_taking_back_is_advised_only_while_it_is_possible(api: Api) -> None:
    waiting, executing = await api.register(completed_at=api.clock.ago(hours=1)), await api.register()
    for payment in (waiting, executing):
        await api.requested(payment)

    told = [[step["action"] for step in (await eligible(api, payment))["next_steps"]] for payment in (waiting, executing)]

    assert told == [["wait", "withdraw"], ["wait"]]


async def test_half_paid_is_told_as_half_paid(api: Api) -> None:
    parts = [*funding(("balance", 6_000)), *funding(("card", 4_000), reference="decline:account_closed")]
    payment = await api.register(funding=parts)
    asked = (await api.requested(payment)).json()
    await api.worker.drain()

    found = await api.cancellation(asked)

    assert found["message"].startswith(
        "CNY 60.00 of your refund of CNY 100.00 has been paid back. CNY 40.00 could not be delivered yet, and is not lost. "
        "Our team is working on it. If you would rather have it in your wallet balance, tell our customer support. We aim to settle it by "
    )
    assert found["refund"]["eta"] is None
    assert (await eligible(api, payment))["message"] == "There is already an open request for this payment."
