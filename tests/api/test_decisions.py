"""Decisions over REST: the merchant's answers, offers, returns, and what their deadlines do."""

from datetime import timedelta

import pytest

from tests.api.deciding import (
    MERCHANT_HOURS,
    OTHER_SHOP,
    handed_off,
    later,
    step,
    taken,
    to_be_returned,
    told,
)
from tests.api.world import World, amounts, assert_problem
from workflows.domain.times import rfc3339


async def test_a_merchant_accepts_and_the_money_goes_back(world: World) -> None:
    payment, cancellation = await handed_off(world)
    assert cancellation["deadline_at"] == world.clock.ago(hours=-MERCHANT_HOURS)
    assert (cancellation["on_deadline"], cancellation["merchant"]) == ("agent", None)

    accepted = await taken(world, cancellation, "merchant-decision", "merchant", {"decision": "accept", "note": "with our regrets"})

    assert (accepted["state"], accepted["deadline_at"], accepted["refund"]["amount"]) == ("executing", None, 10_000)
    assert accepted["merchant"] == {
        "decision": "accept",
        "amount": None,
        "offers": 0,
        "reason_code": None,
        "note": "with our regrets",
        "decided_at": rfc3339(world.clock.now),
    }
    await world.worker.drain()
    assert amounts(await world.payment(payment)) == ("refunded", 10_000, 0, 0)
    assert [(m["kind"], m["amount"]) for m in await world.movements(payment)] == [("refund", 10_000)]


async def test_a_merchant_wants_the_goods_back_first(world: World) -> None:
    payment, cancellation = await handed_off(world)

    awaited = await taken(world, cancellation, "merchant-decision", "merchant", {"decision": "accept_with_return"})
    assert (awaited["state"], awaited["on_deadline"], awaited["return"]) == ("awaiting_return", "decline", None)
    sent = await taken(world, cancellation, "return", "wallet")
    assert (sent["state"], sent["on_deadline"], sent["return"]["tracking_number"]) == ("awaiting_return", "accept", "SF1000")
    received = await taken(world, cancellation, "return-received", "merchant")

    assert (received["state"], received["return"]["condition"]) == ("executing", "intact")
    await world.worker.drain()
    assert amounts(await world.payment(payment)) == ("refunded", 10_000, 0, 0)


async def test_an_offer_that_the_customer_takes_is_what_goes_back(world: World) -> None:
    payment, cancellation = await handed_off(world)
    offer = {"decision": "offer", "amount": 4_000, "reason_code": "used"}

    offered = await taken(world, cancellation, "merchant-decision", "merchant", offer)
    assert (offered["state"], offered["merchant"]["amount"], offered["merchant"]["offers"]) == ("offered", 4_000, 1)
    seen = (await world.get(f"/v1/cancellations/{cancellation['id']}")).json()
    assert seen["message"].startswith("The merchant offers you CNY 40.00 instead of CNY 100.00.")
    assert {"accept_offer", "decline_offer", "withdraw"} == set(seen["available_actions"])
    accepted = await taken(world, cancellation, "offer-response", "wallet", {"accept": True})

    assert (accepted["state"], accepted["amount"]) == ("executing", 4_000)
    await world.worker.drain()
    assert amounts(await world.payment(payment)) == ("completed", 4_000, 0, 6_000)
    assert [m["amount"] for m in await world.movements(payment)] == [4_000]


async def test_an_offer_that_the_customer_declines_leaves_the_merchant_the_time_that_was_left(world: World) -> None:
    _, cancellation = await handed_off(world)
    world.clock.now += timedelta(hours=8)
    await taken(world, cancellation, "merchant-decision", "merchant", {"decision": "offer", "amount": 4_000})
    world.clock.now += timedelta(hours=20)

    declined = await taken(world, cancellation, "offer-response", "agent", {"accept": False})

    assert (declined["state"], declined["on_deadline"], declined["amount"]) == ("awaiting_merchant", "agent", 10_000)
    assert declined["deadline_at"] == world.clock.ago(hours=-40)
    await later(world, hours=39)
    assert (await world.cancellation(cancellation))["state"] == "awaiting_merchant"
    await later(world, hours=1)
    assert (await world.cancellation(cancellation))["state"] == "awaiting_agent"


async def test_a_fourth_offer_is_refused_and_not_offered(world: World) -> None:
    _, cancellation = await handed_off(world)
    offer = {"decision": "offer", "amount": 1}
    for _ in range(3):
        await taken(world, cancellation, "merchant-decision", "merchant", offer)
        await taken(world, cancellation, "offer-response", "wallet", {"accept": False})

    response = await step(world, cancellation, "merchant-decision", "merchant", offer)

    said = assert_problem(response, 409, "invalid-state", state="awaiting_merchant")
    assert set(said["available_actions"]) == {"accept", "accept_with_return", "decline"}


async def test_an_offer_of_all_is_no_offer(world: World) -> None:
    _, cancellation = await handed_off(world)

    response = await step(world, cancellation, "merchant-decision", "merchant", {"decision": "offer", "amount": 10_000})

    assert assert_problem(response, 422, "validation-failed")["errors"][0]["pointer"] == "/amount"
    assert (await world.cancellation(cancellation))["version"] == cancellation["version"]


async def test_a_merchant_says_no_with_a_reason_and_the_amount_is_free_again(world: World) -> None:
    payment, cancellation = await handed_off(world)
    evidence = [{"name": "photo of the parcel", "sha256": "ab" * 32}]
    no = {"decision": "decline", "reason_code": "worn", "note": "the sole is used", "evidence": evidence}

    declined = await taken(world, cancellation, "merchant-decision", "merchant", no)

    assert (declined["state"], declined["declined_by"], declined["merchant"]["reason_code"]) == ("declined", "merchant", "worn")
    assert (declined["merchant"]["note"], declined["evidence"]) == ("the sole is used", evidence)
    assert amounts(await world.payment(payment)) == ("completed", 0, 0, 10_000)
    records = await world.records(payment)
    assert "cancellation.merchant_declined" in told(records)
    assert "the sole is used" not in str(records)
    assert "photo of the parcel" not in str(records)


async def test_free_texts_are_shown_to_those_who_decide(world: World) -> None:
    payment = await world.register(completed_at=world.clock.ago(hours=1))
    cancellation = (await world.requested(payment, note="my neighbour has it")).json()
    await taken(world, cancellation, "merchant-decision", "merchant", {"decision": "decline", "note": "worn"})
    await taken(world, cancellation, "escalate", "wallet")
    await taken(world, cancellation, "deny", "agent", {"reason_code": "no_proof", "note": "two stories"})

    shown = {}
    for role in ("wallet", "merchant", "agent", "supervisor", "auditor"):
        one = (await world.get(f"/v1/cancellations/{cancellation['id']}", role)).json()
        shown[role] = (one["note"], one["merchant"]["note"], one["denial"])

    denial = {"reason_code": "no_proof", "note": "two stories"}
    everything = ("my neighbour has it", "worn", denial)
    assert shown == {
        "wallet": (None, None, None),
        "merchant": ("my neighbour has it", "worn", None),
        "agent": everything,
        "supervisor": everything,
        "auditor": everything,
    }


async def test_a_silent_merchant_does_not_hold_up_the_customer(world: World) -> None:
    payment, cancellation = await handed_off(world)

    escalated = await taken(world, cancellation, "escalate", "wallet")

    assert (escalated["state"], escalated["on_deadline"], escalated["merchant"]) == ("awaiting_agent", "agent", None)
    assert amounts(await world.payment(payment)) == ("cancel_requested", 0, 10_000, 0)
    assert_problem(await step(world, cancellation, "merchant-decision", "merchant"), 409, "invalid-state", state="awaiting_agent")


@pytest.mark.parametrize("waited", [timedelta(0), timedelta(days=7, microseconds=-1)], ids=["at once", "at the last moment"])
async def test_within_seven_days_of_the_no_the_customer_may_ask_an_agent(world: World, waited: timedelta) -> None:
    payment, cancellation = await handed_off(world)
    await taken(world, cancellation, "merchant-decision", "merchant", {"decision": "decline"})
    world.clock.now += waited
    seen = (await world.get(f"/v1/cancellations/{cancellation['id']}")).json()
    assert seen["available_actions"] == ["escalate"]

    escalated = await taken(world, cancellation, "escalate", "agent")

    assert (escalated["state"], escalated["declined_by"]) == ("awaiting_agent", None)
    assert amounts(await world.payment(payment)) == ("cancel_requested", 0, 10_000, 0)


async def test_after_seven_days_the_no_stands(world: World) -> None:
    payment, cancellation = await handed_off(world)
    await taken(world, cancellation, "merchant-decision", "merchant", {"decision": "decline"})
    world.clock.now += timedelta(days=7)
    seen = (await world.get(f"/v1/cancellations/{cancellation['id']}")).json()
    assert seen["available_actions"] == []

    response = await step(world, cancellation, "escalate", "wallet")

    assert_problem(response, 409, "invalid-state", state="declined", available_actions=[])
    assert amounts(await world.payment(payment)) == ("completed", 0, 0, 10_000)


async def test_the_no_is_not_escalated_beside_another_request(world: World) -> None:
    payment, cancellation = await handed_off(world)
    await taken(world, cancellation, "merchant-decision", "merchant", {"decision": "decline"})
    another = (await world.requested(payment, amount=1)).json()

    response = await step(world, cancellation, "escalate", "wallet")

    assert_problem(response, 409, "cancellation-open", cancellation_id=another["id"])
    assert "escalate" not in (await world.cancellation(cancellation))["available_actions"]


@pytest.mark.parametrize("condition", ["damaged", "missing"])
async def test_goods_that_came_back_damaged_or_not_at_all_are_an_agents_to_judge(world: World, condition: str) -> None:
    payment, cancellation = await to_be_returned(world)
    assert (cancellation["route"], cancellation["deadline_at"]) == ("return", world.clock.ago(days=-15))
    sent = await taken(world, cancellation, "return", "wallet")
    assert sent["return"]["shipped_at"] == rfc3339(world.clock.now)
    assert sent["deadline_at"] == world.clock.ago(days=-7)

    received = await taken(world, cancellation, "return-received", "merchant", {"condition": condition, "note": "a dent"})

    assert (received["state"], received["return"]["condition"], received["return"]["note"]) == ("awaiting_agent", condition, "a dent")
    assert amounts(await world.payment(payment)) == ("cancel_requested", 0, 10_000, 0)
    assert await world.movements(payment) == []
    approved = await taken(world, cancellation, "approve", "agent")
    assert approved["state"] == "executing"


async def test_goods_that_are_not_sent_in_time_end_the_request(world: World) -> None:
    payment, cancellation = await to_be_returned(world)

    await later(world, days=15)

    ended = await world.cancellation(cancellation)
    assert (ended["state"], ended["declined_by"], ended["deadline_at"]) == ("declined", "system", None)
    assert amounts(await world.payment(payment)) == ("completed", 0, 0, 10_000)
    assert_problem(await step(world, cancellation, "return", "wallet"), 409, "invalid-state", state="declined")


async def test_goods_that_nobody_inspects_in_time_are_paid(world: World) -> None:
    payment, cancellation = await to_be_returned(world)
    await taken(world, cancellation, "return", "wallet")

    await later(world, days=7)

    assert (await world.cancellation(cancellation))["state"] == "completed"
    assert amounts(await world.payment(payment)) == ("refunded", 10_000, 0, 0)


async def test_a_silent_merchant_is_reminded_twice_and_then_an_agent_decides(world: World) -> None:
    payment, cancellation = await handed_off(world)

    await later(world, hours=24)
    reminded = await world.cancellation(cancellation)
    assert (reminded["state"], reminded["version"]) == ("awaiting_merchant", cancellation["version"])
    await later(world, hours=23)
    await later(world, hours=1)

    assert (await world.cancellation(cancellation))["state"] == "awaiting_agent"
    assert told(await world.records(payment))[-3:] == ["cancellation.reminded", "cancellation.reminded", "cancellation.timed_out"]
    assert_problem(await step(world, cancellation, "merchant-decision", "merchant"), 409, "invalid-state", state="awaiting_agent")


async def test_a_stopped_clock_strikes_nobody(world: World) -> None:
    payment, cancellation = await handed_off(world)
    await taken(world, cancellation, "merchant-decision", "merchant", {"decision": "decline"})
    before = await world.payment(payment)

    await later(world, days=3)

    assert await world.payment(payment) == before


@pytest.mark.parametrize("name", ["merchant-decision", "return-received"])
async def test_somebody_elses_merchant_finds_nothing(world: World, name: str) -> None:
    _, cancellation = await handed_off(world)

    assert_problem(await step(world, cancellation, name, "merchant", merchant=OTHER_SHOP), 404, "not-found")

    assert (await world.cancellation(cancellation))["version"] == cancellation["version"]


async def test_a_decision_is_made_once_under_one_key_and_of_one_version(world: World) -> None:
    payment, cancellation = await handed_off(world)
    yes = {"decision": "accept"}
    stale = await step(world, cancellation, "merchant-decision", "merchant", yes, headers={"if-match": '"9"'})
    assert_problem(stale, 412, "version-mismatch", current_version=cancellation["version"])

    first = await step(world, cancellation, "merchant-decision", "merchant", yes, key="k-1", headers={"if-match": '"1"'})
    again = await step(world, cancellation, "merchant-decision", "merchant", yes, key="k-1", headers={"if-match": '"1"'})
    other = await step(world, cancellation, "merchant-decision", "merchant", {"decision": "decline"}, key="k-1")

    assert (first.status_code, again.content, again.headers["idempotent-replayed"]) == (200, first.content, "true")
    assert_problem(other, 422, "idempotency-key-reused")
    await world.worker.drain()
    assert len(await world.movements(payment)) == 1


@pytest.mark.parametrize(
    ("role", "said", "recorded"),
    [("wallet", None, "app"), ("wallet", "bot", "bot"), ("agent", None, "hotline"), ("supervisor", "chat", "chat")],
)
async def test_a_withdrawal_is_recorded_with_the_channel_by_which_the_customer_spoke(
    world: World, role: str, said: str | None, recorded: str
) -> None:
    payment = await world.register(completed_at=world.clock.ago(hours=1))
    cancellation = (await world.requested(payment)).json()
    path = f"/v1/cancellations/{cancellation['id']}/withdraw"
    if role != "wallet":
        assert_problem(await world.post(path, {"channel": "app"}, role=role), 422, "validation-failed")

    response = await world.post(path, {} if said is None else {"channel": said}, role=role)

    assert response.status_code == 200, response.text
    record = (await world.records(payment))[-1]
    assert (record["type"], record["actor"]["channel"]) == ("cancellation.withdrawn", recorded)
