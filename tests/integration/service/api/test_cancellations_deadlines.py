"""A deadline is the first moment that is too late, however late the worker is that strikes the clock."""

from datetime import timedelta

import pytest

from tests.harness import Api, Json, assert_problem
from tests.integration.service.api.deciding import handed_off, later, moment, step, taken, to_be_returned, told

MICROSECOND = timedelta(microseconds=1)


def at_deadline(api: Api, cancellation: Json, off: timedelta = timedelta(0)) -> None:
    """The time is that of the cancellation's deadline. No worker has come to it."""
    api.clock.now = moment(cancellation["deadline_at"]) + off


async def test_a_merchant_answers_until_the_last_microsecond(api: Api) -> None:
    _, cancellation = await handed_off(api)

    at_deadline(api, cancellation, -MICROSECOND)

    merchant = (await api.get(f"/v1/cancellations/{cancellation['id']}", "merchant", merchant="shop-1")).json()
    assert {"accept", "decline"} <= set(merchant["available_actions"])
    assert (await taken(api, cancellation, "merchant-decision", "merchant"))["state"] == "executing"


@pytest.mark.parametrize("decision", ["accept", "accept_with_return", "decline"])
async def test_an_answer_at_the_deadline_is_too_late_though_no_worker_has_struck(api: Api, decision: str) -> None:
    payment, cancellation = await handed_off(api)
    at_deadline(api, cancellation)

    key = "late-answer-" + decision
    late = await step(api, cancellation, "merchant-decision", "merchant", {"decision": decision}, key=key)

    assert_problem(late, 409, "invalid-state", state="awaiting_agent", available_actions=[])
    after = await api.cancellation(cancellation)
    assert (after["state"], after["merchant"]) == ("awaiting_agent", None)
    struck = (await api.records(payment))[-1]
    assert (struck["type"], struck["actor"]["role"]) == ("cancellation.timed_out", "system")
    assert (struck["data"]["deadline_at"], struck["data"]["clock"]) == (cancellation["deadline_at"], "awaiting_merchant")
    again = await step(api, cancellation, "merchant-decision", "merchant", {"decision": decision}, key=key)
    assert (again.content, again.headers["idempotent-replayed"]) == (late.content, "true")

    await later(api, hours=1)

    assert told(await api.records(payment)).count("cancellation.timed_out") == 1


async def test_what_the_caller_may_do_after_the_deadline_is_done_at_once(api: Api) -> None:
    payment, cancellation = await handed_off(api)
    at_deadline(api, cancellation)

    withdrawn = await taken(api, cancellation, "withdraw", "wallet")

    assert (withdrawn["state"], withdrawn["version"]) == ("withdrawn", cancellation["version"] + 2)
    assert told(await api.records(payment))[-2:] == ["cancellation.timed_out", "cancellation.withdrawn"]
    assert (await api.payment(payment))["state"] == "completed"


async def test_nothing_is_offered_that_the_deadline_has_taken(api: Api) -> None:
    _, cancellation = await handed_off(api)
    at_deadline(api, cancellation)

    merchant = (await api.get(f"/v1/cancellations/{cancellation['id']}", "merchant", merchant="shop-1")).json()
    agent = await api.cancellation(cancellation)

    assert (merchant["state"], merchant["available_actions"]) == ("awaiting_merchant", [])
    assert {"approve", "deny"} <= set(agent["available_actions"])
    assert cancellation["message"] != agent["message"], "a deadline that is over is not promised"


async def test_after_a_deadline_that_declines_the_payment_is_free_though_no_worker_has_struck(api: Api) -> None:
    payment, cancellation = await to_be_returned(api)
    assert cancellation["on_deadline"] == "decline"
    at_deadline(api, cancellation)

    may = (await api.get(f"/v1/payments/{payment['id']}/eligibility?reason=damaged")).json()
    asked = await api.requested(payment, "damaged")

    assert (may["allowed"], may["amount_refundable"], may["route"]) == (True, 10_000, "merchant")
    assert (asked.status_code, asked.json()["state"]) == (201, "awaiting_merchant"), asked.text
    assert (await api.cancellation(cancellation))["state"] == "declined"
    assert told(await api.records(payment))[-3:] == ["cancellation.timed_out", "cancellation.requested", "cancellation.handed_off"]
    assert (await api.payment(payment))["amount_reserved"] == 10_000


async def test_a_case_whose_time_is_over_is_a_supervisors_though_no_worker_has_struck(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(hours=1))
    cancellation = (await api.requested(payment, "unauthorised")).json()
    at_deadline(api, cancellation)

    assert_problem(await step(api, cancellation, "approve", "agent"), 403, "forbidden")
    assert (await taken(api, cancellation, "approve", "supervisor"))["state"] == "executing"
