"""Every step, in every state, by everybody: what must come of it is worked out from the machine's rows and the routes' roles."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from service.app import declared_operations
from tests.harness import SHOP, Api, Json, funding
from tests.integration.service.api.deciding import ABOVE, CALLS, OTHER_SHOP, for_agents, handed_off, moment, step, taken, to_be_returned
from workflows.domain.enums import CANCELLATION_OPEN, CancellationState
from workflows.domain.machines import CANCELLATION_ROWS

pytestmark = pytest.mark.slow

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


async def awaiting_agent(api: Api) -> Json:
    return (await for_agents(api, amount=ABOVE, role="agent", sub=REQUESTER, channel="hotline"))[1]


async def made_in(api: Api, name: str) -> Json:
    """A cancellation in that state."""
    match name:
        case "awaiting_return":
            return (await to_be_returned(api))[1]
        case "awaiting_agent":
            return await awaiting_agent(api)
        case "raised":
            one = await awaiting_agent(api)
            api.clock.now = max(api.clock.now, moment(one["deadline_at"]))
            await api.worker.drain()
            return one
        case "awaiting_second_approval":
            return await taken(api, await awaiting_agent(api), "approve", "agent", sub=FIRST)
        case "declined by an agent":
            return await taken(api, await awaiting_agent(api), "deny", "agent", sub=FIRST)
        case "refused":
            refused = await api.requested(await api.register(completed_at=api.clock.ago(days=30)))
            return {"id": refused.json()["cancellation_id"]}
        case "executing" | "completed" | "needs_attention":
            fault = "decline:account_closed" if name == "needs_attention" else "ok"
            one = (await api.requested(await api.register(funding=funding(("balance", 10_000), reference=fault)))).json()
            if name != "executing":
                await api.worker.drain()
            return dict(one)
    _, one = await handed_off(api)
    match name:
        case "offered":
            return await taken(api, one, "merchant-decision", "merchant", {"decision": "offer", "amount": 2})
        case "declined":
            return await taken(api, one, "merchant-decision", "merchant", {"decision": "decline"})
        case "withdrawn":
            return await taken(api, one, "withdraw", "wallet")
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
async def test_every_step_by_everybody(api: Api, name: str, subtests: pytest.Subtests) -> None:
    one = await made_in(api, name)
    for person in PEOPLE:
        token = api.token(person.role, person.sub, person.shop)
        seen = await api.http.get(f"/v1/cancellations/{one['id']}", headers={"authorization": f"Bearer {token}"})
        offered = set(seen.json()["available_actions"]) if seen.status_code == 200 else set()
        for action, (path, body) in CALLS.items():
            status, code = expected(name, person, action)
            with subtests.test(person=person, action=action):
                answer = await step(api, one, path, person.role, body, sub=person.sub, merchant=person.shop)
                told = answer.json()
                assert (answer.status_code, told.get("code")) == (status, code), answer.text
                assert (action in offered) == (status == 200), "what is offered is what succeeds"
                if status == 409:
                    assert told["state"] == STATES.get(name, name)
            if status == 200:
                one = await made_in(api, name)


async def test_a_clock_that_ran_out_is_the_state_after_it(api: Api) -> None:
    """The steps of the state before are refused with the one after, for whoever comes first."""
    _, one = await handed_off(api)
    api.clock.now = moment(one["deadline_at"]) + timedelta(microseconds=1)

    late = await step(api, one, "merchant-decision", "merchant", {"decision": "accept"})

    assert (late.status_code, late.json()["state"]) == (409, "awaiting_agent")
