"""The example of every operation in the OpenAPI document as a call, and what must be there before it can be made."""

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import new as hmac
from typing import Any, Final
from uuid import uuid4

from tests.harness import Api, Json, funding
from tests.integration.service.api.deciding import for_agents, handed_off, later, taken, to_be_returned
from tests.integration.service.api.test_cancellations_recovery import stuck
from tests.rails import SECRET

AUTHORISED_AT: Final = "2026-11-22T08:00:00Z"  # the examples are of that day
COMPLETED_AT: Final = "2026-11-22T08:26:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What one operation's example needs of the api: parameters in place of the document's, members of its body, the caller."""

    parameters: dict[str, str] = field(default_factory=dict)
    body: Json = field(default_factory=dict)
    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleCall:
    """One operation's example, ready to be sent, and the answer that is documented."""

    name: str
    tag: str
    method: str
    path: str
    token: str | None
    parameters: dict[str, dict[str, str]]  # by place: path, query, header
    body: Any
    body_type: str | None
    status: int
    answer: str | None  # the schema's name; None: text, or an object of any form
    answer_type: str


async def example_calls(api: Api, document: Json) -> list[ExampleCall]:
    """Every operation's example, in the document's order; whatever they need is there once this returns."""
    described = list(_operations(document))
    prepared = {name: await prepare(api) for name, prepare in PREPARE.items()}
    return [
        _call(api, document, operation, prepared.get(operation["operationId"], Prepared()), path=path, method=method)
        for path, method, operation in described
    ]


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _call(api: Api, document: Json, operation: Json, prepared: Prepared, *, path: str, method: str) -> ExampleCall:
    [(body_type, media)] = operation.get("requestBody", {}).get("content", {"": {}}).items()
    body = media.get("example")
    if prepared.body:
        body = {**body, **prepared.body}
    status = max(code for code in operation["responses"] if code in ("200", "201"))  # made now, where that is told apart
    content = operation["responses"][status].get("content")
    assert content, f"what {operation['operationId']} answers with at {status} is not documented"
    [(answer_type, answer), *_] = content.items()
    roles = operation.get("x-roles")
    return ExampleCall(
        name=operation["operationId"],
        tag=operation["tags"][0],
        method=method.upper(),
        path=path,
        token=api.token(prepared.role or ("wallet" if "wallet" in roles else roles[0])) if roles else None,
        parameters=_parameters(api, document, operation, prepared, body),
        body=body,
        body_type=body_type or None,
        status=int(status),
        answer=answer["schema"].get("$ref", "").rpartition("/")[2] or None,
        answer_type=answer_type,
    )


def _parameters(api: Api, document: Json, operation: Json, prepared: Prepared, body: Json) -> dict[str, dict[str, str]]:
    """Those that must be given, and those that have an example which is no id of something else."""
    given: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
    for one in operation["parameters"]:
        parameter = document["components"]["parameters"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        name, place, [example, *_] = parameter["name"], parameter["in"], parameter["schema"].get("examples", [None])
        if name == "Idempotency-Key":
            given[place][name] = uuid4().hex
        elif name == "Refundry-Sandbox-Signature":
            given[place][name] = signature(api, body)
        elif name in prepared.parameters:
            given[place][name] = prepared.parameters[name]
        elif example is not None and (parameter["required"] or not name.endswith("_id")):
            given[place][name] = example
    return given


def signature(api: Api, body: Json) -> str:
    """The sandbox's signature over the body as both clients write it."""
    stamp = str(int(api.clock.now.timestamp()))
    signed = stamp.encode() + b"." + json.dumps(body, separators=(",", ":")).encode()
    return f"t={stamp},v1={hmac(SECRET.encode(), signed, sha256).hexdigest()}"


async def _pending(api: Api) -> Prepared:
    return Prepared(parameters={"payment_id": (await api.register(authorised_at=AUTHORISED_AT, completed_at=None))["id"]})


async def _settled(api: Api) -> Prepared:
    return Prepared(parameters={"payment_id": (await api.register(completed_at=COMPLETED_AT))["id"]})


async def _of_two_articles(api: Api) -> Prepared:
    """Of those that the document's examples name."""
    items = [{"reference": "85123A", "name": "Moon cakes", "quantity": 2, "amount": 12_912}]
    items += [{"reference": "85124", "name": "Tea", "quantity": 1, "amount": 1_000}]
    payment = await api.register(amount=13_912, items=items, completed_at=COMPLETED_AT)
    return Prepared(parameters={"payment_id": payment["id"]})


async def _handed_off(api: Api) -> Prepared:
    return _on((await handed_off(api))[1])


async def _offered(api: Api) -> Prepared:
    _, cancellation = await handed_off(api)
    return _on(await taken(api, cancellation, "merchant-decision", "merchant", {"decision": "offer", "amount": 5_000}))


async def _to_be_returned(api: Api) -> Prepared:
    return _on((await to_be_returned(api))[1])


async def _shipped_back(api: Api) -> Prepared:
    _, cancellation = await to_be_returned(api)
    return _on(await taken(api, cancellation, "return", "wallet"))


async def _for_agents(api: Api) -> Prepared:
    return _on((await for_agents(api))[1], role="agent")


async def _for_supervisors(api: Api) -> Prepared:
    return _on((await for_agents(api))[1], role="supervisor")


async def _stuck(api: Api) -> Prepared:
    return _on((await stuck(api, "decline:account_closed"))[1])


async def _unheard(api: Api) -> Prepared:
    """A refund of which its rail says nothing for four days."""
    payment = await api.register(funding=funding(("card", 10_000), reference="pending:600s"))
    asked = (await api.requested(payment)).json()
    await api.worker.drain()
    await later(api, days=4)
    await api.worker.drain()
    found = await api.cancellation(asked)
    return _on(found, body={"leg_id": found["refund"]["legs"][0]["id"]})


async def _refunded(api: Api) -> Prepared:
    asked = (await api.requested(await api.register())).json()
    await api.worker.drain()
    return Prepared(parameters={"refund_id": (await api.cancellation(asked))["refund"]["id"]})


async def _anomaly(api: Api) -> Prepared:
    """A word about a movement that nobody knows."""
    await api.notify({"id": uuid4().hex, "rail_key": uuid4().hex, "status": "succeeded", "at": api.clock.ago()})
    await api.worker.drain()
    [found, *_] = (await api.get("/v1/anomalies", "agent")).json()["data"]
    return Prepared(parameters={"anomaly_id": found["id"]})


async def _described_merchant(api: Api) -> Prepared:
    response = await api.put("/v1/merchants/shop-described", {"name": "Shop", "contact": {"url": "https://shop.example/help"}})
    assert response.status_code == 201, response.text
    return Prepared(parameters={"merchant_id": "shop-described"})


async def _living_worker(api: Api) -> Prepared:
    await api.worker.runtime.store.beat(api.worker.id, api.clock.now)
    return Prepared()


def _on(cancellation: Json, *, body: Json | None = None, role: str | None = None) -> Prepared:
    return Prepared(parameters={"cancellation_id": cancellation["id"]}, body=body or {}, role=role)


# By operation, in the order in which they are made: the first one moves the clock. An operation that is not here needs nothing.
PREPARE: Final[dict[str, Callable[[Api], Awaitable[Prepared]]]] = {
    "record_outcome": _unheard,
    "complete_payment": _pending,
    "fail_payment": _pending,
    "modify_payment": _pending,
    "change_fulfilment": _settled,
    "get_payment": _settled,
    "list_payment_records": _settled,
    "get_eligibility": _of_two_articles,
    "request_cancellation": _of_two_articles,
    "get_cancellation": _handed_off,
    "withdraw_cancellation": _handed_off,
    "escalate_cancellation": _handed_off,
    "decide_hand_off": _handed_off,
    "respond_to_offer": _offered,
    "ship_return": _to_be_returned,
    "receive_return": _shipped_back,
    "next_cancellation": _for_agents,
    "approve_cancellation": _for_agents,
    "deny_cancellation": _for_agents,
    "assign_cancellation": _for_supervisors,
    "retry_cancellation": _stuck,
    "redirect_cancellation": _stuck,
    "close_cancellation": _stuck,
    "get_refund": _refunded,
    "get_anomaly": _anomaly,
    "resolve_anomaly": _anomaly,
    "get_merchant": _described_merchant,
    "readyz": _living_worker,
}
