"""The service against its own OpenAPI document: whatever it allows, and more, gets an answer that it names."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi import checks

from service.api.routing import Operation
from service.app import create_app, declared_operations
from tests.database import Cluster
from tests.harness import Api, running
from tests.rails import RailProcess
from workflows.domain.enums import Role

pytestmark = pytest.mark.slow

EXAMPLES = 8
OPERATIONS = [one for one in declared_operations() if one.in_schema]
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
BOUNDED = settings(
    max_examples=EXAMPLES,
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
Schema = Any  # schemathesis ships types, but not of what its loaders return


@pytest.fixture(scope="module")
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A service of its own: policies are published here too, and would decide other tests' payments."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("schema"), rail.url) as made:
        yield made


@pytest.fixture(scope="module")
def schema(api: Api) -> Iterator[Schema]:
    """The document, as a client gets it from an application that runs on the library's own loop."""
    app = create_app(api.settings, clock=api.clock)
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    shutdown_lifespans()


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


@pytest.mark.parametrize(("operation", "mode"), TRIALS, ids=[f"{one.name}-{mode.value}" for one, mode in TRIALS])
def test_every_answer_is_documented(api: Api, schema: Schema, known: dict[str, list[str]], operation: Operation, mode: Any) -> None:
    described = schema[operation.path][operation.method]
    callers = [*Role] if mode is WRONG else sorted(operation.roles or [Role.wallet])

    @BOUNDED
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


def test_where_the_links_lead_is_documented_too(api: Api, schema: Schema) -> None:
    token = api.token("wallet")

    class Walk(schema.as_state_machine()):  # type: ignore[misc]  # a class made at run time
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            headers = {"Authorization": f"Bearer {token}"}
            if "Idempotency-Key" in (case.headers or {}):
                headers["Idempotency-Key"] = uuid4().hex
            return {"headers": headers}

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    Walk.run(settings=settings(BOUNDED, max_examples=8, stateful_step_count=6))
