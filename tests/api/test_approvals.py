"""Approvals over REST: three persons where three must decide, agents' deadlines, and which actions are offered to whom."""

from tests.api.deciding import ABOVE, for_agents, later, moment, step, taken
from tests.api.world import World, amounts, assert_problem


async def test_an_agent_takes_a_case_and_hands_it_on(world: World) -> None:
    _, cancellation = await for_agents(world)

    assert (await taken(world, cancellation, "assign", "agent"))["assigned_to"] == "agent-1"
    assert (await taken(world, cancellation, "assign", "agent", {"to": "agent-7"}))["assigned_to"] == "agent-7"

    listed = (await world.get("/v1/cancellations", "agent", params={"assigned_to": "agent-7"})).json()["data"]
    assert [one["id"] for one in listed] == [cancellation["id"]]


async def test_three_persons_decide_above_the_limit(world: World) -> None:
    payment, cancellation = await for_agents(world, amount=ABOVE, role="agent", sub="agent-1", channel="hotline")

    assert_problem(await step(world, cancellation, "approve", "agent", sub="agent-1"), 403, "second-approver-required")
    assert_problem(await step(world, cancellation, "approve", "supervisor", sub="agent-1"), 403, "second-approver-required")
    first = await taken(world, cancellation, "approve", "agent", {"note": "the receipt is ours"}, sub="agent-2")
    assert (first["state"], first["refund"]) == ("awaiting_second_approval", None)
    for role, sub in (("agent", "agent-2"), ("supervisor", "agent-2"), ("supervisor", "agent-1"), ("agent", "agent-3")):
        assert_problem(await step(world, cancellation, "approve", role, sub=sub), 403, "second-approver-required")
    assert await world.movements(payment) == []
    second = await taken(world, cancellation, "approve", "supervisor", sub="supervisor-1")

    assert second["state"] == "executing"
    assert [(one["by"], one["role"], one["note"]) for one in second["approvals"]] == [
        ("agent-2", "agent", "the receipt is ours"),
        ("supervisor-1", "supervisor", None),
    ]
    await world.worker.drain()
    assert [m["amount"] for m in await world.movements(payment)] == [ABOVE]
    assert "the receipt is ours" not in str(await world.records(payment))


async def test_an_agent_never_approves_alone_what_he_asked_for_at_any_amount(world: World) -> None:
    _, cancellation = await for_agents(world, amount=1, role="agent", channel="hotline")
    seen = (await world.get(f"/v1/cancellations/{cancellation['id']}", "agent")).json()
    assert "approve" not in seen["available_actions"]

    assert_problem(await step(world, cancellation, "approve", "agent"), 403, "second-approver-required")

    assert (await taken(world, cancellation, "approve", "agent", sub="agent-2"))["state"] == "executing"


async def test_an_agent_says_no_with_a_reason(world: World) -> None:
    payment, cancellation = await for_agents(world)

    denied = await taken(world, cancellation, "deny", "agent")

    assert (denied["state"], denied["declined_by"]) == ("declined", "agent")
    assert denied["denial"] == {"reason_code": "no_proof", "note": "no receipt"}
    assert amounts(await world.payment(payment)) == ("completed", 0, 0, 10_000)
    assert_problem(await step(world, cancellation, "escalate", "wallet"), 409, "invalid-state", state="declined")


async def test_a_case_that_the_agents_let_pass_is_a_supervisors(world: World) -> None:
    _, cancellation = await for_agents(world)

    await later(world, seconds=(moment(cancellation["deadline_at"]) - world.clock.now).total_seconds())

    raised = await world.cancellation(cancellation)
    assert (raised["state"], raised["raised"], raised["deadline_at"]) == ("awaiting_agent", True, cancellation["deadline_at"])
    assert set(raised["available_actions"]) == {"withdraw"}
    assert "by" not in raised["message"].split()
    for name in ("approve", "deny"):
        assert_problem(await step(world, cancellation, name, "agent"), 403, "forbidden")
    assert (await taken(world, cancellation, "approve", "supervisor"))["state"] == "executing"


async def test_a_second_approval_that_does_not_come_begins_anew(world: World) -> None:
    _, cancellation = await for_agents(world, amount=ABOVE)
    await taken(world, cancellation, "approve", "agent")

    await later(world, hours=24)

    again = await world.cancellation(cancellation)
    assert (again["state"], again["approvals"]) == ("awaiting_agent", [])
