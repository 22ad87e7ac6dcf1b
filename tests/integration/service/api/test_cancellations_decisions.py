"""Decisions over REST: the merchant's answers, offers, returns, and what their deadlines do."""

from datetime import timedelta

import pytest

from tests.harness import Api, amounts, assert_problem
from tests.integration.service.api.deciding import (
    MERCHANT_HOURS,
    OTHER_SHOP,
    handed_off,
    later,
    step,
    taken,
    to_be_returned,
    told,
)
from workflows.domain.times import rfc3339


async def test_a_merchant_accepts_and_the_money_goes_back(api: Api) -> None:
    payment, cancellation = await handed_off(api)
    assert cancellation["deadline_at"] == api.clock.ago(hours=-MERCHANT_HOURS)
    assert (cancellation["on_deadline"], cancellation["merchant"]) == ("agent", None)

    accepted = await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "accept", "note": "with our regrets"})

    assert (accepted["state"], accepted["deadline_at"], accepted["refund"]["amount"]) == ("executing", None, 10_000)
    assert accepted["merchant"] == {
        "decision": "accept",
        "amount": None,
        "offers": 0,
        "reason_code": None,
        "note": "with our regrets",
        "decided_at": rfc3339(api.clock.now),
    }
    await api.worker.drain()
    assert amounts(await api.payment(payment)) == ("refunded", 10_000, 0, 0)
    assert [(m["kind"], m["amount"]) for m in await api.movements(payment)] == [("refund", 10_000)]


async def test_a_merchant_wants_the_goods_back_first(api: Api) -> None:
    payment, cancellation = await handed_off(api)

    awaited = await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "accept_with_return"})
    assert (awaited["state"], awaited["on_deadline"], awaited["return"]) == ("awaiting_return", "decline", None)
    sent = await taken(api, cancellation, "return", "wallet")
    assert (sent["state"], sent["on_deadline"], sent["return"]["tracking_number"]) == ("awaiting_return", "accept", "SF1000")
    received = await taken(api, cancellation, "return-received", "merchant")

    assert (received["state"], received["return"]["condition"]) == ("executing", "intact")
    await api.worker.drain()
    assert amounts(await api.payment(payment)) == ("refunded", 10_000, 0, 0)


async def test_an_offer_that_the_customer_takes_is_what_goes_back(api: Api) -> None:
    payment, cancellation = await handed_off(api)
    offer = {"decision": "offer", "amount": 4_000, "reason_code": "used"}

    offered = await taken(api, cancellation, "merchant-decision", "merchant", offer)
    assert (offered["state"], offered["merchant"]["amount"], offered["merchant"]["offers"]) == ("offered", 4_000, 1)
    seen = (await api.get(f"/v1/cancellations/{cancellation['id']}")).json()
    assert seen["message"].startswith("The merchant offers you CNY 40.00 instead of CNY 100.00.")
    assert {"accept_offer", "decline_offer", "withdraw"} == set(seen["available_actions"])
    accepted = await taken(api, cancellation, "offer-response", "wallet", {"accept": True})

    assert (accepted["state"], accepted["amount"]) == ("executing", 4_000)
    await api.worker.drain()
    assert amounts(await api.payment(payment)) == ("completed", 4_000, 0, 6_000)
    assert [m["amount"] for m in await api.movements(payment)] == [4_000]


async def test_an_offer_that_the_customer_declines_leaves_the_merchant_the_time_that_was_left(api: Api) -> None:
    _, cancellation = await handed_off(api)
    api.clock.now += timedelta(hours=8)
    await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "offer", "amount": 4_000})
    api.clock.now += timedelta(hours=20)

    declined = await taken(api, cancellation, "offer-response", "agent", {"accept": False})

    assert (declined["state"], declined["on_deadline"], declined["amount"]) == ("awaiting_merchant", "agent", 10_000)
    assert declined["deadline_at"] == api.clock.ago(hours=-40)
    await later(api, hours=39)
    assert (await api.cancellation(cancellation))["state"] == "awaiting_merchant"
    await later(api, hours=1)
    assert (await api.cancellation(cancellation))["state"] == "awaiting_agent"


async def test_a_fourth_offer_is_refused_and_not_offered(api: Api) -> None:
    _, cancellation = await handed_off(api)
    offer = {"decision": "offer", "amount": 1}
    for _ in range(3):
        await taken(api, cancellation, "merchant-decision", "merchant", offer)
        await taken(api, cancellation, "offer-response", "wallet", {"accept": False})

    response = await step(api, cancellation, "merchant-decision", "merchant", offer)

    said = assert_problem(response, 409, "invalid-state", state="awaiting_merchant")
    assert set(said["available_actions"]) == {"accept", "accept_with_return", "decline"}


async def test_an_offer_of_all_is_no_offer(api: Api) -> None:
    _, cancellation = await handed_off(api)

    response = await step(api, cancellation, "merchant-decision", "merchant", {"decision": "offer", "amount": 10_000})

    assert assert_problem(response, 422, "validation-failed")["errors"][0]["pointer"] == "/amount"
    assert (await api.cancellation(cancellation))["version"] == cancellation["version"]


async def test_a_merchant_says_no_with_a_reason_and_the_amount_is_free_again(api: Api) -> None:
    payment, cancellation = await handed_off(api)
    evidence = [{"name": "photo of the parcel", "sha256": "ab" * 32}]
    no = {"decision": "decline", "reason_code": "worn", "note": "the sole is used", "evidence": evidence}

    declined = await taken(api, cancellation, "merchant-decision", "merchant", no)

    assert (declined["state"], declined["declined_by"], declined["merchant"]["reason_code"]) == ("declined", "merchant", "worn")
    assert (declined["merchant"]["note"], declined["evidence"]) == ("the sole is used", evidence)
    assert amounts(await api.payment(payment)) == ("completed", 0, 0, 10_000)
    records = await api.records(payment)
    assert "cancellation.merchant_declined" in told(records)
    assert "the sole is used" not in str(records)
    assert "photo of the parcel" not in str(records)


async def test_free_texts_are_shown_to_those_who_decide(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(hours=1))
    cancellation = (await api.requested(payment, note="my neighbour has it")).json()
    await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "decline", "note": "worn"})
    await taken(api, cancellation, "escalate", "wallet")
    await taken(api, cancellation, "deny", "agent", {"reason_code": "no_proof", "note": "two stories"})

    shown = {}
    for role in ("wallet", "merchant", "agent", "supervisor", "auditor"):
        one = (await api.get(f"/v1/cancellations/{cancellation['id']}", role)).json()
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


async def test_a_silent_merchant_does_not_hold_up_the_customer(api: Api) -> None:
    payment, cancellation = await handed_off(api)

    escalated = await taken(api, cancellation, "escalate", "wallet")

    assert (escalated["state"], escalated["on_deadline"], escalated["merchant"]) == ("awaiting_agent", "agent", None)
    assert amounts(await api.payment(payment)) == ("cancel_requested", 0, 10_000, 0)
    assert_problem(await step(api, cancellation, "merchant-decision", "merchant"), 409, "invalid-state", state="awaiting_agent")


@pytest.mark.parametrize("waited", [timedelta(0), timedelta(days=7, microseconds=-1)], ids=["at once", "at the last moment"])
async def test_within_seven_days_of_the_no_the_customer_may_ask_an_agent(api: Api, waited: timedelta) -> None:
    payment, cancellation = await handed_off(api)
    await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "decline"})
    api.clock.now += waited
    seen = (await api.get(f"/v1/cancellations/{cancellation['id']}")).json()
    assert seen["available_actions"] == ["escalate"]

    escalated = await taken(api, cancellation, "escalate", "agent")

    assert (escalated["state"], escalated["declined_by"]) == ("awaiting_agent", None)
    assert amounts(await api.payment(payment)) == ("cancel_requested", 0, 10_000, 0)


async def test_after_seven_days_the_no_stands(api: Api) -> None:
    payment, cancellation = await handed_off(api)
    await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "decline"})
    api.clock.now += timedelta(days=7)
    seen = (await api.get(f"/v1/cancellations/{cancellation['id']}")).json()
    assert seen["available_actions"] == []

    response = await step(api, cancellation, "escalate", "wallet")

    assert_problem(response, 409, "invalid-state", state="declined", available_actions=[])
    assert amounts(await api.payment(payment)) == ("completed", 0, 0, 10_000)


async def test_the_no_is_not_escalated_beside_another_request(api: Api) -> None:
    payment, cancellation = await handed_off(api)
    await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "decline"})
    another = (await api.requested(payment, amount=1)).json()

    response = await step(api, cancellation, "escalate", "wallet")

    assert_problem(response, 409, "cancellation-open", cancellation_id=another["id"])
    assert "escalate" not in (await api.cancellation(cancellation))["available_actions"]


@pytest.mark.parametrize("condition", ["damaged", "missing"])
async def test_goods_that_came_back_damaged_or_not_at_all_are_an_agents_to_judge(api: Api, condition: str) -> None:
    payment, cancellation = await to_be_returned(api)
    assert (cancellation["route"], cancellation["deadline_at"]) == ("return", api.clock.ago(days=-15))
    sent = await taken(api, cancellation, "return", "wallet")
    assert sent["return"]["shipped_at"] == rfc3339(api.clock.now)
    assert sent["deadline_at"] == api.clock.ago(days=-7)

    received = await taken(api, cancellation, "return-received", "merchant", {"condition": condition, "note": "a dent"})

    assert (received["state"], received["return"]["condition"], received["return"]["note"]) == ("awaiting_agent", condition, "a dent")
    assert amounts(await api.payment(payment)) == ("cancel_requested", 0, 10_000, 0)
    assert await api.movements(payment) == []
    approved = await taken(api, cancellation, "approve", "agent")
    assert approved["state"] == "executing"


async def test_goods_that_are_not_sent_in_time_end_the_request(api: Api) -> None:
    payment, cancellation = await to_be_returned(api)

    await later(api, days=15)

    ended = await api.cancellation(cancellation)
    assert (ended["state"], ended["declined_by"], ended["deadline_at"]) == ("declined", "system", None)
    assert amounts(await api.payment(payment)) == ("completed", 0, 0, 10_000)
    assert_problem(await step(api, cancellation, "return", "wallet"), 409, "invalid-state", state="declined")


async def test_goods_that_nobody_inspects_in_time_are_paid(api: Api) -> None:
    payment, cancellation = await to_be_returned(api)
    await taken(api, cancellation, "return", "wallet")

    await later(api, days=7)

    assert (await api.cancellation(cancellation))["state"] == "completed"
    assert amounts(await api.payment(payment)) == ("refunded", 10_000, 0, 0)


async def test_a_silent_merchant_is_reminded_twice_and_then_an_agent_decides(api: Api) -> None:
    payment, cancellation = await handed_off(api)

    await later(api, hours=24)
    reminded = await api.cancellation(cancellation)
    assert (reminded["state"], reminded["version"]) == ("awaiting_merchant", cancellation["version"])
    await later(api, hours=23)
    await later(api, hours=1)

    assert (await api.cancellation(cancellation))["state"] == "awaiting_agent"
    assert told(await api.records(payment))[-3:] == ["cancellation.reminded", "cancellation.reminded", "cancellation.timed_out"]
    assert_problem(await step(api, cancellation, "merchant-decision", "merchant"), 409, "invalid-state", state="awaiting_agent")


async def test_a_stopped_clock_strikes_nobody(api: Api) -> None:
    payment, cancellation = await handed_off(api)
    await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "decline"})
    before = await api.payment(payment)

    await later(api, days=3)

    assert await api.payment(payment) == before


@pytest.mark.parametrize("name", ["merchant-decision", "return-received"])
async def test_somebody_elses_merchant_finds_nothing(api: Api, name: str) -> None:
    _, cancellation = await handed_off(api)

    assert_problem(await step(api, cancellation, name, "merchant", merchant=OTHER_SHOP), 404, "not-found")

    assert (await api.cancellation(cancellation))["version"] == cancellation["version"]


async def test_a_decision_is_made_once_under_one_key_and_of_one_version(api: Api) -> None:
    payment, cancellation = await handed_off(api)
    yes = {"decision": "accept"}
    stale = await step(api, cancellation, "merchant-decision", "merchant", yes, headers={"if-match": '"9"'})
    assert_problem(stale, 412, "version-mismatch", current_version=cancellation["version"])

    first = await step(api, cancellation, "merchant-decision", "merchant", yes, key="k-1", headers={"if-match": '"1"'})
    again = await step(api, cancellation, "merchant-decision", "merchant", yes, key="k-1", headers={"if-match": '"1"'})
    other = await step(api, cancellation, "merchant-decision", "merchant", {"decision": "decline"}, key="k-1")

    assert (first.status_code, again.content, again.headers["idempotent-replayed"]) == (200, first.content, "true")
    assert_problem(other, 422, "idempotency-key-reused")
    await api.worker.drain()
    assert len(await api.movements(payment)) == 1


@pytest.mark.parametrize(
    ("role", "said", "recorded"),
    [("wallet", None, "app"), ("wallet", "bot", "bot"), ("agent", None, "hotline"), ("supervisor", "chat", "chat")],
)
async def test_a_withdrawal_is_recorded_with_the_channel_by_which_the_customer_spoke(
    api: Api, role: str, said: str | None, recorded: str
) -> None:
    payment = await api.register(completed_at=api.clock.ago(hours=1))
    cancellation = (await api.requested(payment)).json()
    path = f"/v1/cancellations/{cancellation['id']}/withdraw"
    if role != "wallet":
        assert_problem(await api.post(path, {"channel": "app"}, role=role), 422, "validation-failed")

    response = await api.post(path, {} if said is None else {"channel": said}, role=role)

    assert response.status_code == 200, response.text
    record = (await api.records(payment))[-1]
    assert (record["type"], record["actor"]["channel"]) == ("cancellation.withdrawn", recorded)
