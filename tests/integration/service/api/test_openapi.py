"""The service against its own OpenAPI document: whatever it allows, and more, gets an answer that it names."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as some
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi import checks

from service.api.routing import Operation
from service.app import create_app, declared_operations
from tests.database import Cluster
from tests.harness import Api, running
from tests.integration.service.api.walking import Scene, Tally, agreeing, walk
from tests.rails import RailProcess
from workflows.domain.enums import Role

EXAMPLES = 6  # of each operation and mode
WHOLE_POLICIES = ("publish_policy", "simulate_policy", "put_merchant")  # take their time to generate: two thirds of the examples
ROUNDS, ROUNDS_MAX, WALKS, STEPS = 8, 24, 2, 14  # rounds of walks: so many, and more until each operation was reached
OPERATIONS = [one for one in declared_operations() if one.in_schema]
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
BOUNDED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# Where nothing can be said, nothing wrong can be said either.
NEGATIVE = [one for one in OPERATIONS if one.roles is not None or "{" in one.path]
POSITIVE, WRONG = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
TRIALS = [*((one, POSITIVE) for one in OPERATIONS), *((one, WRONG) for one in NEGATIVE)]
# Only the links that the document has; the same examples whatever words the code has.
WALKING = {
    "phases": {"stateful": {"generation": {"mode": "positive"}, "inference": {"algorithms": []}}},
    "analysis": {"constants": {"enabled": False}},
}
pytestmark = pytest.mark.slow

Schema = Any  # schemathesis ships types, but not of what its loaders return


@pytest.fixture(scope="module")
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A service of its own: policies are published here too, and would decide other tests' payments."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("schema"), rail.url) as made:
        yield made


@pytest.fixture(scope="module")
def lifespans() -> Iterator[None]:
    """Ends what the library has started, on its own loop."""
    yield
    shutdown_lifespans()


@pytest.fixture(scope="module")
def schema(api: Api, lifespans: None) -> Schema:
    """The document, as a client gets it."""
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(api.settings, clock=api.clock))


@pytest.fixture(scope="module")
async def known(api: Api) -> dict[str, list[str]]:
    """Things that are there, so that not every answer is 404."""
    pending, waiting, refunded = (
        await api.register(completed_at=None),
        await api.register(completed_at=api.clock.ago(hours=1)),
        await api.register(),
    )
    asked, done = (await api.requested(waiting)).json(), (await api.requested(refunded)).json()
    await api.worker.drain()
    await api.worker.runtime.store.beat(api.worker.id, api.clock.now)
    refund = (await api.cancellation(done))["refund"]
    for _ in range(5):
        await api.notify({"id": uuid4().hex, "rail_key": uuid4().hex, "status": "succeeded", "at": api.clock.ago()})
    await api.worker.drain()
    noted = (await api.get("/v1/anomalies", "auditor", params={"limit": 5})).json()["data"]
    await api.put("/v1/merchants/shop-of-tests", {"name": "Shop", "contact": {"url": "https://shop.example/help"}})
    return {
        "payment_id": [pending["id"], waiting["id"], refunded["id"]],
        "cancellation_id": [asked["id"], done["id"]],
        "refund_id": [refund["id"]],
        "anomaly_id": [one["id"] for one in noted],
        "version": ["2026-11-a"],
        "merchant_id": ["shop-of-tests"],
        "provider": ["sandbox"],
        "slug": ["policy-refused"],
    }


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """What is generated for a text goes as it is; what is generated instead of a text goes as JSON."""
    return value.encode(errors="replace") if isinstance(value, str) else json.dumps(value, default=repr).encode()


@pytest.mark.long
def test_every_answer_is_documented(api: Api, schema: Schema, known: dict[str, list[str]], subtests: pytest.Subtests) -> None:
    for operation, mode in TRIALS:
        with subtests.test(f"{operation.name} {mode.value}"):
            bounded = settings(BOUNDED, max_examples=EXAMPLES * 2 // 3 if operation.name in WHOLE_POLICIES else EXAMPLES)
            _is_documented(api, schema, known, (operation, mode), bounded)


def _is_documented(api: Api, schema: Schema, known: dict[str, list[str]], trial: tuple[Operation, Any], bounded: settings) -> None:
    operation, mode = trial
    described = schema[operation.path][operation.method]
    callers = [*Role] if mode is WRONG else sorted(operation.roles or [Role.wallet])

    @bounded
    @given(
        case=described.as_strategy(generation_mode=mode),
        role=some.sampled_from([*callers, None]),
        chance=some.randoms(use_true_random=False),
    )
    def run(case: Any, role: Role | None, chance: Any) -> None:
        if chance.random() < 0.7:
            case.path_parameters = {name: chance.choice(known[name]) for name in case.path_parameters or {}}
        headers = {} if role is None else {"Authorization": f"Bearer {api.token(role.value)}"}
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS)

    run()


@pytest.fixture(scope="module")
async def scene(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """A service of its own: the policies that the other tests publish would decide its payments."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("walk"), rail.url) as api:
        await api.notify({"id": uuid4().hex, "rail_key": uuid4().hex, "status": "succeeded", "at": api.clock.ago()})
        await api.worker.drain()
        await api.put("/v1/merchants/shop-of-tests", {"name": "Shop", "contact": {"url": "https://shop.example/help"}})
        yield Scene(api, asyncio.get_running_loop())


@pytest.mark.long
def test_the_links_lead_through_a_payments_whole_life(scene: Scene, lifespans: None) -> None:
    """Each round goes where those before it have not been, and is the same at every run."""
    app, tally = create_app(scene.api.settings, clock=scene.api.clock), Tally()
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=schemathesis.Config.from_dict(WALKING))
    schema.hook(agreeing(scene, tally))
    machine = walk(schema, scene, tally, CHECKS)

    linked = {link["operationId"] for link in links_of(schema.raw_schema)}

    for number in range(ROUNDS_MAX):
        tally.begin()
        scene.turn = number
        seed(number)(machine).run(settings=settings(BOUNDED, max_examples=WALKS, stateful_step_count=STEPS))
        if number + 1 >= ROUNDS and not unreached(tally, linked):
            break

    assert not unreached(tally, linked), (unreached(tally, linked), tally.answers, tally.lives)


def unreached(tally: Tally, linked: set[str]) -> set[str]:
    """Operations that a link leads to and that never answered 2xx, and lives that no walk went through."""
    lives = tally.lives.values()
    gone = {
        "completed, then cancelled": any(in_order(life, "register_payment", "complete_payment", "request_cancellation") for life in lives),
        "decided, then refunded": any(in_order(life, "request_cancellation", "decide_hand_off", "refunded") for life in lives),
        "five links in a row": max(map(len, tally.chains), default=0) > 5,
    }
    return linked - tally.reached | {name for name, was in gone.items() if not was}


def in_order(life: list[str], *steps: str) -> bool:
    """Whether these steps were taken, or these states reached, one after the other."""
    left = iter(life)
    return all(step in left for step in steps)


def links_of(document: Any) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                yield from response.get("links", {}).values()
