"""Every step, in every state, by everybody: what must come of it is worked out from the machine's rows and the routes' roles."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from service.app import declared_operations
from tests.api.deciding import ABOVE, CALLS, OTHER_SHOP, for_agents, handed_off, moment, step, taken, to_be_returned
from tests.api.world import SHOP, Json, World, funding
from workflows.domain.enums import CANCELLATION_OPEN, CancellationState
from workflows.domain.machines import CANCELLATION_ROWS

OPERATIONS = {one.path.rpartition("/")[2]: one for one in declared_operations() if one.path.startswith("/v1/cancellations/{")}
ROWS = {(row.source.value, row.trigger.value) for row in CANCELLATION_ROWS}
REQUESTER, FIRST = "agent-1", "agent-9"  # who asked for the customer, and who approved first


@dataclass(frozen=True)
class Person:
    role: str
    sub: str
    shop: str = SHOP


PEOPLE = (
    Person("wallet", "wallet-1"),
    Person("agent", "agent-2"),
    Person("agent", REQUESTER),
    Person("agent", FIRST),
    Person("supervisor", "supervisor-1"),
    Person("supervisor", REQUESTER),  # the same person under another role
    Person("supervisor", FIRST),
    Person("merchant", "merchant-1"),
    Person("merchant", "merchant-2", OTHER_SHOP),
    Person("auditor", "auditor-1"),
    Person("operator", "operator-1"),
)


async def awaiting_agent(world: World) -> Json:
    return (await for_agents(world, amount=ABOVE, role="agent", sub=REQUESTER, channel="hotline"))[1]


async def made_in(world: World, name: str) -> Json:
    """A cancellation in that state."""
    match name:
        case "awaiting_return":
            return (await to_be_returned(world))[1]
        case "awaiting_agent":
            return await awaiting_agent(world)
        case "raised":
            one = await awaiting_agent(world)
            world.clock.now = max(world.clock.now, moment(one["deadline_at"]))
            await world.worker.drain()
            return one
        case "awaiting_second_approval":
            return await taken(world, await awaiting_agent(world), "approve", "agent", sub=FIRST)
        case "declined by an agent":
            return await taken(world, await awaiting_agent(world), "deny", "agent", sub=FIRST)
        case "refused":
            refused = await world.requested(await world.register(completed_at=world.clock.ago(days=30)))
            return {"id": refused.json()["cancellation_id"]}
        case "executing" | "completed" | "needs_attention":
            fault = "decline:account_closed" if name == "needs_attention" else "ok"
            one = (await world.requested(await world.register(funding=funding(("balance", 10_000), reference=fault)))).json()
            if name != "executing":
                await world.worker.drain()
            return dict(one)
    _, one = await handed_off(world)
    match name:
        case "offered":
            return await taken(world, one, "merchant-decision", "merchant", {"decision": "offer", "amount": 2})
        case "declined":
            return await taken(world, one, "merchant-decision", "merchant", {"decision": "decline"})
        case "withdrawn":
            return await taken(world, one, "withdraw", "wallet")
    return one


NAMES = (*(state.value for state in CancellationState if state is not CancellationState.failed), "raised", "declined by an agent")
STATES = {"raised": "awaiting_agent", "declined by an agent": "declined"}


def expected(name: str, person: Person, action: str) -> tuple[int, str | None]:
    """The status, and the problem's slug where it is one."""
    state, path = STATES.get(name, name), CALLS[action][0]
    if person.role not in {role.value for role in OPERATIONS[path].roles or ()}:
        return 403, "forbidden"
    if person.shop != SHOP:
        return 404, "not-found"
    if action == "assign":
        return assigned(name, state, person)
    if (state, action) not in ROWS or name == "declined by an agent":
        return 409, "invalid-state"
    if name == "raised" and action in {"approve", "deny"} and person.role == "agent":
        return 403, "forbidden"
    if action == "approve":
        parts = {REQUESTER, FIRST} if state == "awaiting_second_approval" else {REQUESTER}
        if person.sub in parts or (state == "awaiting_second_approval" and person.role != "supervisor"):
            return 403, "second-approver-required"
    return 200, None


def assigned(name: str, state: str, person: Person) -> tuple[int, str | None]:
    """Whoever takes a case of ours must be able to decide it."""
    if state not in {one.value for one in CANCELLATION_OPEN}:
        return 409, "invalid-state"
    if (name == "raised" or state == "awaiting_second_approval") and person.role != "supervisor":
        return 403, "forbidden"
    parts = {"awaiting_agent": {REQUESTER}, "awaiting_second_approval": {REQUESTER, FIRST}}.get(state, set())
    return (403, "second-approver-required") if person.sub in parts else (200, None)


@pytest.mark.parametrize("name", NAMES)
async def test_every_step_by_everybody(world: World, name: str, subtests: pytest.Subtests) -> None:
    one = await made_in(world, name)
    for person in PEOPLE:
        token = world.token(person.role, person.sub, person.shop)
        seen = await world.http.get(f"/v1/cancellations/{one['id']}", headers={"authorization": f"Bearer {token}"})
        offered = set(seen.json()["available_actions"]) if seen.status_code == 200 else set()
        for action, (path, body) in CALLS.items():
            status, code = expected(name, person, action)
            with subtests.test(person=person, action=action):
                answer = await step(world, one, path, person.role, body, sub=person.sub, merchant=person.shop)
                told = answer.json()
                assert (answer.status_code, told.get("code")) == (status, code), answer.text
                assert (action in offered) == (status == 200), "what is offered is what succeeds"
                if status == 409:
                    assert told["state"] == STATES.get(name, name)
            if status == 200:
                one = await made_in(world, name)


async def test_a_clock_that_ran_out_is_the_state_after_it(world: World) -> None:
    """The steps of the state before are refused with the one after, for whoever comes first."""
    _, one = await handed_off(world)
    world.clock.now = moment(one["deadline_at"]) + timedelta(microseconds=1)

    late = await step(world, one, "merchant-decision", "merchant", {"decision": "accept"})

    assert (late.status_code, late.json()["state"]) == (409, "awaiting_agent")
