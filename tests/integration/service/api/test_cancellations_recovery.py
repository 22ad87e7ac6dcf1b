"""Stuck refunds over REST: retried, redirected, closed, and what a supervisor read in the rail's books."""

from typing import Any

import pytest

from tests.harness import Api, Json, amounts, assert_problem, funding
from tests.integration.service.api.deciding import later, step, taken

BODIES: dict[str, Json] = {"retry": {}, "redirect": {"destination": "balance", "consent": True}, "close": {}}


async def stuck(api: Api, *references: str, **members: Any) -> tuple[Json, Json]:
    """A payment from as many cards as there are references, 5,000 each, whose refund cannot go on."""
    parts = [
        {"source": "card", "amount": 5_000, "provider": "sandbox", "provider_reference": f"{reference}|{at}"}
        for at, reference in enumerate(references)
    ]
    payment = await api.register(amount=5_000 * len(parts), funding=parts, **members)
    asked = await api.requested(payment)
    assert asked.status_code == 201, asked.text
    await api.worker.drain()
    cancellation = await api.cancellation(asked.json())
    assert cancellation["state"] == "needs_attention", cancellation
    return payment, cancellation


def legs(cancellation: Json) -> list[tuple[str, str, str]]:
    return [(leg["source"], leg["state"], "again" if leg["replaces"] else "first") for leg in cancellation["refund"]["legs"]]


async def paid(api: Api, payment: Json) -> list[int]:
    return [moved["amount"] for moved in await api.movements(payment)]


async def test_a_retry_pays_once_under_a_key_of_its_own(api: Api) -> None:
    payment, cancellation = await stuck(api, "decline:account_closed")

    again = await taken(api, cancellation, "retry", "agent", {"note": "the bank had an outage"})
    assert (again["state"], again["assigned_to"], again["deadline_at"]) == ("executing", None, None)
    assert legs(again) == [("card", "failed", "first"), ("card", "scheduled", "again")]
    assert again["message"] == "Your refund of CNY 50.00 will be sent again shortly."
    await api.worker.drain()

    done = await api.cancellation(cancellation)
    assert (done["state"], legs(done)[1]) == ("completed", ("card", "succeeded", "again"))
    assert await paid(api, payment) == [5_000]
    assert amounts(await api.payment(payment)) == ("refunded", 5_000, 0, 0)
    records = await api.records(payment)
    keys = {record["data"]["rail_key"] for record in records if record["type"].startswith("refund.s")}
    assert len(keys) == 2
    assert [one["type"] for one in records].count("refund.retried") == 1
    assert "outage" not in str(records)


async def test_a_redirect_pays_into_the_balance_with_the_customers_consent_on_record(api: Api) -> None:
    payment, cancellation = await stuck(api, "decline:account_closed", "ok")

    for body in ({}, {"destination": "balance"}, {"destination": "balance", "consent": False}, {"destination": "card", "consent": True}):
        assert_problem(await step(api, cancellation, "redirect", "agent", body), 422, "validation-failed")
    there = await taken(api, cancellation, "redirect", "agent", BODIES["redirect"] | {"channel": "chat"})
    assert "CNY 50.00 will be paid to your wallet balance shortly." in there["message"]
    await api.worker.drain()

    done = await api.cancellation(cancellation)
    assert legs(done) == [("card", "failed", "first"), ("balance", "succeeded", "again"), ("card", "succeeded", "first")]
    assert await paid(api, payment) == [5_000, 5_000]
    [told] = [one for one in await api.records(payment) if one["type"] == "refund.redirected"]
    assert (told["data"]["consent"], told["data"]["destination"], told["actor"]["channel"]) == (True, "balance", "chat")


async def test_what_is_closed_half_paid_gives_the_rest_free_again(api: Api) -> None:
    payment, cancellation = await stuck(api, "decline:account_closed", "ok")

    closed = await taken(api, cancellation, "close", "agent", {"note": "the customer wants a voucher"})

    assert (closed["state"], closed["available_actions"]) == ("failed", [])
    assert amounts(await api.payment(payment)) == ("completed", 5_000, 0, 5_000)
    assert [one["type"] for one in await api.records(payment)][-2:] == ["cancellation.closed", "cancellation.failed"]
    assert (await api.requested(payment)).status_code == 201
    await api.worker.drain()
    assert await paid(api, payment) == [5_000], "the card is closed still"


@pytest.mark.parametrize("order", ["retry", "redirect"])
async def test_what_waits_for_somebody_is_cancelled_at_its_rail_before_anything_is_sent(api: Api, order: str) -> None:
    payment, cancellation = await stuck(api, "requires_action")

    ordered = await taken(api, cancellation, order, "agent", BODIES[order])
    assert (ordered["state"], len(ordered["refund"]["legs"])) == ("executing", 1)
    assert "is being arranged anew" in ordered["message"]
    await api.worker.drain()

    done = await api.cancellation(cancellation)
    first, second = done["refund"]["legs"]
    assert (first["state"], first["failure_code"], second["state"]) == ("failed", "cancelled", "succeeded")
    assert (done["state"], await paid(api, payment)) == ("completed", [5_000])


async def test_a_close_waits_for_the_rail_s_cancel_too(api: Api) -> None:
    payment, cancellation = await stuck(api, "requires_action")

    ordered = await taken(api, cancellation, "close", "agent", {})
    assert (ordered["state"], set(ordered["available_actions"]) & set(BODIES)) == ("needs_attention", set())
    assert_problem(await step(api, cancellation, "retry", "agent", {}), 409, "invalid-state", state="needs_attention")
    await api.worker.drain()

    assert (await api.cancellation(cancellation))["state"] == "failed"
    assert amounts(await api.payment(payment)) == ("completed", 0, 0, 5_000)
    assert await paid(api, payment) == []


async def unheard(api: Api) -> tuple[Json, Json]:
    """A payment whose refund its rail has accepted, and not paid for four days."""
    payment = await api.register(funding=funding(("card", 5_000), ("bank", 5_000), reference="pending:600s"))
    cancellation = (await api.requested(payment)).json()
    await api.worker.drain()
    await later(api, days=4)
    await api.worker.drain()
    return payment, await api.cancellation(cancellation)


async def test_what_simply_waits_is_cancelled_and_not_told_as_failed(api: Api) -> None:
    _, cancellation = await stuck(api, "requires_action")
    body = {"leg_id": cancellation["refund"]["legs"][0]["id"], "outcome": "failed", "note": "nobody took the step"}

    assert_problem(await step(api, cancellation, "outcome", "supervisor", body), 409, "invalid-state", state="needs_attention")


async def test_nothing_is_ordered_while_an_outcome_is_open(api: Api) -> None:
    _, seen = await unheard(api)

    assert (seen["state"], set(seen["available_actions"]) & set(BODIES)) == ("needs_attention", set())
    for name, body in BODIES.items():
        assert_problem(await step(api, seen, name, "agent", body), 409, "invalid-state", state="needs_attention")


@pytest.mark.slow
async def test_a_supervisor_records_what_the_rail_s_books_say_and_another_person_goes_on(api: Api) -> None:
    payment, cancellation = await unheard(api)
    leg = cancellation["refund"]["legs"][0]
    body = {"leg_id": leg["id"], "outcome": "failed", "note": "rejected, says the dashboard; ask Ms Li"}

    assert_problem(await step(api, cancellation, "outcome", "agent", body), 403, "forbidden")
    other = body | {"leg_id": "leg_" + "0" * 32}
    assert_problem(await step(api, cancellation, "outcome", "supervisor", other), 422, "validation-failed")
    failed = await taken(api, cancellation, "outcome", "supervisor", body)
    assert (failed["refund"]["legs"][0]["outcome_source"], failed["refund"]["legs"][0]["state"]) == ("person", "failed")
    assert (failed["state"], failed["outcome_note"]) == ("needs_attention", body["note"])
    other = body | {"leg_id": cancellation["refund"]["legs"][1]["id"]}
    failed = await taken(api, cancellation, "outcome", "supervisor", other)
    assert "retry" not in failed["available_actions"]
    assert_problem(await step(api, cancellation, "retry", "supervisor", {}), 403, "second-approver-required")
    assert "retry" in (await api.cancellation(cancellation))["available_actions"]
    assert "Ms Li" not in str(await api.records(payment))


async def test_whoever_works_on_it_sees_what_was_sent_and_every_answer(api: Api) -> None:
    _, cancellation = await stuck(api, "decline:account_closed")

    [part] = cancellation["attention"]
    assert (part["provider"], part["state"], part["failure_code"], part["attempts"]) == ("sandbox", "failed", "account_closed", 1)
    assert [(one["call"], one["answer"]) for one in part["answers"]] == [("send", "declined:account_closed")]
    assert len(part["rail_key"]) == 64
    assert part["advice"].startswith("The rail sandbox refused CNY 50.00 for good.")
    for role in ("wallet", "merchant"):
        assert (await api.get(f"/v1/cancellations/{cancellation['id']}", role)).json()["attention"] == []


@pytest.mark.slow
async def test_stuck_money_has_a_clock_and_is_handed_out_and_raised(api: Api) -> None:
    _, cancellation = await stuck(api, "decline:account_closed")
    assert (cancellation["deadline_at"] is not None, cancellation["assigned_to"], cancellation["on_deadline"]) == (True, None, "agent")

    next_one = await api.post("/v1/cancellations/next", role="agent", sub="agent-9")
    taken_ids = set()
    while next_one.status_code == 200 and next_one.json()["id"] != cancellation["id"]:
        taken_ids.add(next_one.json()["id"])
        next_one = await api.post("/v1/cancellations/next", role="agent", sub="agent-9")
    assert (next_one.json()["id"], next_one.json()["assigned_to"]) == (cancellation["id"], "agent-9")

    await later(api, days=10)
    await api.worker.drain()
    raised = await api.cancellation(cancellation)
    assert (raised["raised"], raised["assigned_to"], raised["state"]) == (True, None, "needs_attention")
    assert not set(raised["available_actions"]) & set(BODIES)
    assert_problem(await step(api, cancellation, "retry", "agent", {}), 403, "forbidden")
    assert (await taken(api, cancellation, "retry", "supervisor", {}))["state"] == "executing"


async def test_money_that_came_back_stands_in_no_request_s_way(api: Api) -> None:
    payment = await api.register(amount=10_000, funding=funding(("card", 10_000), reference="ok"))
    first = (await api.requested(payment, amount=4_000)).json()
    await api.worker.drain()
    [leg] = (await api.cancellation(first))["refund"]["legs"]
    [moved] = await api.movements(payment)
    said = {"id": "n-back", "rail_key": moved["rail_key"], "status": "returned", "at": api.clock.ago(), "failure_code": "closed"}
    assert (await api.notify(said)).status_code == 200
    await api.worker.drain()

    back = await api.cancellation(first)
    assert (back["state"], back["refund"]["legs"][0]["state"], leg["state"]) == ("needs_attention", "returned", "succeeded")
    assert back["message"].startswith("Your refund of CNY 40.00 was sent back to us. The money is not lost. Our team is working on it. ")
    assert "wallet balance" in back["message"]
    assert amounts(await api.payment(payment)) == ("refunding", 0, 4_000, 6_000)
    assert "request_cancellation" in (await api.get(f"/v1/payments/{payment['id']}")).json()["available_actions"]
    eligible = (await api.get(f"/v1/payments/{payment['id']}/eligibility", params={"reason": "changed_mind"})).json()
    assert (eligible["allowed"], eligible["amount_refundable"]) == (True, 6_000)
    assert (await api.requested(payment)).status_code == 201
    await api.worker.drain()
    assert amounts(await api.payment(payment)) == ("refunding", 6_000, 4_000, 0)
    await taken(api, back, "redirect", "agent", BODIES["redirect"])
    await api.worker.drain()
    assert amounts(await api.payment(payment)) == ("refunded", 10_000, 0, 0)


async def test_a_repeated_order_is_answered_as_before_and_a_stale_one_refused(api: Api) -> None:
    payment, cancellation = await stuck(api, "decline:account_closed")
    path = f"/v1/cancellations/{cancellation['id']}/retry"

    stale = await api.post(path, {}, role="agent", headers={"if-match": '"1"'})
    assert_problem(stale, 412, "version-mismatch", current_version=cancellation["version"])
    first = await api.post(path, {}, role="agent", key="retry-1")
    await api.worker.drain()
    second = await api.post(path, {}, role="agent", key="retry-1")

    assert (first.content, second.headers["idempotent-replayed"]) == (second.content, "true")
    assert await paid(api, payment) == [5_000]
    assert_problem(await api.post(path, {}, role="agent"), 409, "invalid-state", state="completed")
