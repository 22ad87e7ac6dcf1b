"""What the tests of decisions share: cancellations that wait for somebody, and the steps that are taken on them."""

from datetime import datetime, timedelta
from typing import Any

import httpx

from tests.harness import Api, Json

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


async def handed_off(api: Api, **members: Any) -> tuple[Json, Json]:
    """A payment, and a cancellation that waits for its merchant."""
    payment = await api.register(completed_at=api.clock.ago(hours=1), **members)
    asked = await api.requested(payment)
    assert (asked.status_code, asked.json()["state"]) == (201, "awaiting_merchant"), asked.text
    return payment, asked.json()


async def for_agents(api: Api, *, amount: int = 10_000, **call: Any) -> tuple[Json, Json]:
    """A payment, and a cancellation that waits for an agent."""
    payment = await api.register(completed_at=api.clock.ago(hours=1), amount=amount)
    asked = await api.requested(payment, "unauthorised", **call)
    assert (asked.status_code, asked.json()["state"]) == (201, "awaiting_agent"), asked.text
    return payment, asked.json()


async def to_be_returned(api: Api) -> tuple[Json, Json]:
    """A payment whose goods were delivered yesterday, and a cancellation that waits for them."""
    payment = await api.register(
        completed_at=api.clock.ago(days=3),
        fulfilment="delivered",
        shipped_at=api.clock.ago(days=2),
        delivered_at=api.clock.ago(days=1),
    )
    asked = await api.requested(payment)
    assert (asked.status_code, asked.json()["state"]) == (201, "awaiting_return"), asked.text
    return payment, asked.json()


async def step(api: Api, cancellation: Json, name: str, role: str, body: Json | None = None, **call: Any) -> httpx.Response:
    return await api.post(f"/v1/cancellations/{cancellation['id']}/{name}", STEPS[name] if body is None else body, role=role, **call)


async def taken(api: Api, cancellation: Json, name: str, role: str, body: Json | None = None, **call: Any) -> Json:
    """The step is taken, and the answer is the cancellation as it then is."""
    response = await step(api, cancellation, name, role, body, **call)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    assert response.headers["etag"] == f'"{answer["version"]}"'
    return answer


async def later(api: Api, **span: float) -> None:
    api.clock.now += timedelta(**span)
    await api.worker.drain()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def told(records: list[Json]) -> list[str]:
    return [record["type"] for record in records]
