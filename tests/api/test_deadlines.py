"""A deadline is the first moment that is too late, however late the worker is that strikes the clock."""

from datetime import timedelta

import pytest

from tests.api.deciding import handed_off, later, moment, step, taken, to_be_returned, told
from tests.api.world import Json, World, assert_problem

MICROSECOND = timedelta(microseconds=1)


def at_deadline(world: World, cancellation: Json, off: timedelta = timedelta(0)) -> None:
    """The time is that of the cancellation's deadline. No worker has come to it."""
    world.clock.now = moment(cancellation["deadline_at"]) + off


async def test_a_merchant_answers_until_the_last_microsecond(world: World) -> None:
    _, cancellation = await handed_off(world)

    at_deadline(world, cancellation, -MICROSECOND)

    merchant = (await world.get(f"/v1/cancellations/{cancellation['id']}", "merchant", merchant="shop-1")).json()
    assert {"accept", "decline"} <= set(merchant["available_actions"])
    assert (await taken(world, cancellation, "merchant-decision", "merchant"))["state"] == "executing"


@pytest.mark.parametrize("decision", ["accept", "accept_with_return", "decline"])
async def test_an_answer_at_the_deadline_is_too_late_though_no_worker_has_struck(world: World, decision: str) -> None:
    payment, cancellation = await handed_off(world)
    at_deadline(world, cancellation)

    key = "late-answer-" + decision
    late = await step(world, cancellation, "merchant-decision", "merchant", {"decision": decision}, key=key)

    assert_problem(late, 409, "invalid-state", state="awaiting_agent", available_actions=[])
    after = await world.cancellation(cancellation)
    assert (after["state"], after["merchant"]) == ("awaiting_agent", None)
    struck = (await world.records(payment))[-1]
    assert (struck["type"], struck["actor"]["role"]) == ("cancellation.timed_out", "system")
    assert (struck["data"]["deadline_at"], struck["data"]["clock"]) == (cancellation["deadline_at"], "awaiting_merchant")
    again = await step(world, cancellation, "merchant-decision", "merchant", {"decision": decision}, key=key)
    assert (again.content, again.headers["idempotent-replayed"]) == (late.content, "true")

    await later(world, hours=1)

    assert told(await world.records(payment)).count("cancellation.timed_out") == 1


async def test_what_the_caller_may_do_after_the_deadline_is_done_at_once(world: World) -> None:
    payment, cancellation = await handed_off(world)
    at_deadline(world, cancellation)

    withdrawn = await taken(world, cancellation, "withdraw", "wallet")

    assert (withdrawn["state"], withdrawn["version"]) == ("withdrawn", cancellation["version"] + 2)
    assert told(await world.records(payment))[-2:] == ["cancellation.timed_out", "cancellation.withdrawn"]
    assert (await world.payment(payment))["state"] == "completed"


async def test_nothing_is_offered_that_the_deadline_has_taken(world: World) -> None:
    _, cancellation = await handed_off(world)
    at_deadline(world, cancellation)

    merchant = (await world.get(f"/v1/cancellations/{cancellation['id']}", "merchant", merchant="shop-1")).json()
    agent = await world.cancellation(cancellation)

    assert (merchant["state"], merchant["available_actions"]) == ("awaiting_merchant", [])
    assert {"approve", "deny"} <= set(agent["available_actions"])
    assert cancellation["message"] != agent["message"], "a deadline that is over is not promised"


async def test_after_a_deadline_that_declines_the_payment_is_free_though_no_worker_has_struck(world: World) -> None:
    payment, cancellation = await to_be_returned(world)
    assert cancellation["on_deadline"] == "decline"
    at_deadline(world, cancellation)

    may = (await world.get(f"/v1/payments/{payment['id']}/eligibility?reason=damaged")).json()
    asked = await world.requested(payment, "damaged")

    assert (may["allowed"], may["amount_refundable"], may["route"]) == (True, 10_000, "merchant")
    assert (asked.status_code, asked.json()["state"]) == (201, "awaiting_merchant"), asked.text
    assert (await world.cancellation(cancellation))["state"] == "declined"
    assert told(await world.records(payment))[-3:] == ["cancellation.timed_out", "cancellation.requested", "cancellation.handed_off"]
    assert (await world.payment(payment))["amount_reserved"] == 10_000


async def test_a_case_whose_time_is_over_is_a_supervisors_though_no_worker_has_struck(world: World) -> None:
    payment = await world.register(completed_at=world.clock.ago(hours=1))
    cancellation = (await world.requested(payment, "unauthorised")).json()
    at_deadline(world, cancellation)

    assert_problem(await step(world, cancellation, "approve", "agent"), 403, "forbidden")
    assert (await taken(world, cancellation, "approve", "supervisor"))["state"] == "executing"
