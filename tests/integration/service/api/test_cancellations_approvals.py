"""Approvals over REST: three persons where three must decide, agents' deadlines, and which actions are offered to whom."""

from tests.harness import Api, amounts, assert_problem
from tests.integration.service.api.deciding import ABOVE, for_agents, later, moment, step, taken


async def test_an_agent_takes_a_case_and_hands_it_on(api: Api) -> None:
    _, cancellation = await for_agents(api)

    assert (await taken(api, cancellation, "assign", "agent"))["assigned_to"] == "agent-1"
    assert (await taken(api, cancellation, "assign", "agent", {"to": "agent-7"}))["assigned_to"] == "agent-7"

    listed = (await api.get("/v1/cancellations", "agent", params={"assigned_to": "agent-7"})).json()["data"]
    assert [one["id"] for one in listed] == [cancellation["id"]]


async def test_three_persons_decide_above_the_limit(api: Api) -> None:
    payment, cancellation = await for_agents(api, amount=ABOVE, role="agent", sub="agent-1", channel="hotline")

    assert_problem(await step(api, cancellation, "approve", "agent", sub="agent-1"), 403, "second-approver-required")
    assert_problem(await step(api, cancellation, "approve", "supervisor", sub="agent-1"), 403, "second-approver-required")
    first = await taken(api, cancellation, "approve", "agent", {"note": "the receipt is ours"}, sub="agent-2")
    assert (first["state"], first["refund"]) == ("awaiting_second_approval", None)
    for role, sub in (("agent", "agent-2"), ("supervisor", "agent-2"), ("supervisor", "agent-1"), ("agent", "agent-3")):
        assert_problem(await step(api, cancellation, "approve", role, sub=sub), 403, "second-approver-required")
    assert await api.movements(payment) == []
    second = await taken(api, cancellation, "approve", "supervisor", sub="supervisor-1")

    assert second["state"] == "executing"
    assert [(one["by"], one["role"], one["note"]) for one in second["approvals"]] == [
        ("agent-2", "agent", "the receipt is ours"),
        ("supervisor-1", "supervisor", None),
    ]
    await api.worker.drain()
    assert [m["amount"] for m in await api.movements(payment)] == [ABOVE]
    assert "the receipt is ours" not in str(await api.records(payment))


async def test_an_agent_never_approves_alone_what_he_asked_for_at_any_amount(api: Api) -> None:
    _, cancellation = await for_agents(api, amount=1, role="agent", channel="hotline")
    seen = (await api.get(f"/v1/cancellations/{cancellation['id']}", "agent")).json()
    assert "approve" not in seen["available_actions"]

    assert_problem(await step(api, cancellation, "approve", "agent"), 403, "second-approver-required")

    assert (await taken(api, cancellation, "approve", "agent", sub="agent-2"))["state"] == "executing"


async def test_an_agent_says_no_with_a_reason(api: Api) -> None:
    payment, cancellation = await for_agents(api)

    denied = await taken(api, cancellation, "deny", "agent")

    assert (denied["state"], denied["declined_by"]) == ("declined", "agent")
    assert denied["denial"] == {"reason_code": "no_proof", "note": "no receipt"}
    assert amounts(await api.payment(payment)) == ("completed", 0, 0, 10_000)
    assert_problem(await step(api, cancellation, "escalate", "wallet"), 409, "invalid-state", state="declined")


async def test_a_case_that_the_agents_let_pass_is_a_supervisors(api: Api) -> None:
    _, cancellation = await for_agents(api)

    await later(api, seconds=(moment(cancellation["deadline_at"]) - api.clock.now).total_seconds())

    raised = await api.cancellation(cancellation)
    assert (raised["state"], raised["raised"], raised["deadline_at"]) == ("awaiting_agent", True, cancellation["deadline_at"])
    assert set(raised["available_actions"]) == {"withdraw"}
    assert "by" not in raised["message"].split()
    for name in ("approve", "deny"):
        assert_problem(await step(api, cancellation, name, "agent"), 403, "forbidden")
    assert (await taken(api, cancellation, "approve", "supervisor"))["state"] == "executing"


async def test_a_second_approval_that_does_not_come_begins_anew(api: Api) -> None:
    _, cancellation = await for_agents(api, amount=ABOVE)
    await taken(api, cancellation, "approve", "agent")

    await later(api, hours=24)

    again = await api.cancellation(cancellation)
    assert (again["state"], again["approvals"]) == ("awaiting_agent", [])
