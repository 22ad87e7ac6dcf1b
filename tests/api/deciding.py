"""What the tests of decisions share: cancellations that wait for somebody, and the steps that are taken on them."""

from datetime import datetime, timedelta
from typing import Any

import httpx

from tests.api.world import Json, World

OTHER_SHOP = "shop-2"
ABOVE = 600_000  # of the default policy's limit for one approval in CNY
MERCHANT_HOURS = 48
STEPS: dict[str, Json] = {
    "escalate": {},
    "merchant-decision": {"decision": "accept"},
    "offer-response": {"accept": True},
    "return": {"carrier": "sf-express", "tracking_number": "SF1000"},
    "return-received": {"condition": "intact"},
    "assign": {},
    "approve": {},
    "deny": {"reason_code": "no_proof", "note": "no receipt"},
    "withdraw": {},
}
# What `available_actions` calls a step, and the call that takes it.
CALLS: dict[str, tuple[str, Json]] = {
    "accept": ("merchant-decision", {"decision": "accept"}),
    "accept_with_return": ("merchant-decision", {"decision": "accept_with_return"}),
    "offer": ("merchant-decision", {"decision": "offer", "amount": 1}),
    "decline": ("merchant-decision", {"decision": "decline"}),
    "accept_offer": ("offer-response", {"accept": True}),
    "decline_offer": ("offer-response", {"accept": False}),
    "return_shipped": ("return", STEPS["return"]),
    "return_received": ("return-received", STEPS["return-received"]),
    **{name: (name, STEPS[name]) for name in ("escalate", "assign", "approve", "deny", "withdraw")},
}


async def handed_off(world: World, **members: Any) -> tuple[Json, Json]:
    """A payment, and a cancellation that waits for its merchant."""
    payment = await world.register(completed_at=world.clock.ago(hours=1), **members)
    asked = await world.requested(payment)
    assert (asked.status_code, asked.json()["state"]) == (201, "awaiting_merchant"), asked.text
    return payment, asked.json()


async def for_agents(world: World, *, amount: int = 10_000, **call: Any) -> tuple[Json, Json]:
    """A payment, and a cancellation that waits for an agent."""
    payment = await world.register(completed_at=world.clock.ago(hours=1), amount=amount)
    asked = await world.requested(payment, "unauthorised", **call)
    assert (asked.status_code, asked.json()["state"]) == (201, "awaiting_agent"), asked.text
    return payment, asked.json()


async def to_be_returned(world: World) -> tuple[Json, Json]:
    """A payment whose goods were delivered yesterday, and a cancellation that waits for them."""
    payment = await world.register(
        completed_at=world.clock.ago(days=3),
        fulfilment="delivered",
        shipped_at=world.clock.ago(days=2),
        delivered_at=world.clock.ago(days=1),
    )
    asked = await world.requested(payment)
    assert (asked.status_code, asked.json()["state"]) == (201, "awaiting_return"), asked.text
    return payment, asked.json()


async def step(world: World, cancellation: Json, name: str, role: str, body: Json | None = None, **call: Any) -> httpx.Response:
    return await world.post(f"/v1/cancellations/{cancellation['id']}/{name}", STEPS[name] if body is None else body, role=role, **call)


async def taken(world: World, cancellation: Json, name: str, role: str, body: Json | None = None, **call: Any) -> Json:
    """The step is taken, and the answer is the cancellation as it then is."""
    response = await step(world, cancellation, name, role, body, **call)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    assert response.headers["etag"] == f'"{answer["version"]}"'
    return answer


async def later(world: World, **span: float) -> None:
    world.clock.now += timedelta(**span)
    await world.worker.drain()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def told(records: list[Json]) -> list[str]:
    return [record["type"] for record in records]
