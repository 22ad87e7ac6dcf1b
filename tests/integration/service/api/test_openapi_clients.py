"""Clients that generators made of the OpenAPI document: each calls every operation with that operation's example."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import pytest

from service.api.openapi import document
from service.app import create_app, declared_operations
from service.http_limits import HttpLimits
from service.settings import Settings
from tests.database import Cluster
from tests.harness import Api, Json, running
from tests.integration.http_server import served
from tests.integration.service.api.clients.examples import ExampleCall, example_calls
from tests.integration.service.api.clients.typescript import SOURCES, Toolchain, installed
from tests.rails import RailProcess

pytestmark = pytest.mark.slow

GENERATOR = Path(sys.executable).with_name("openapi-python-client")
DOCUMENT = document(create_app(Settings()))
OPERATIONS = {one.name: one for one in declared_operations() if one.in_schema}
# What openapi-python-client cannot express, in its own words.
NOT_IN_PYTHON = {"import_payments": "Unsupported content type application/x-ndjson"}
THE_DAY = datetime(2026, 11, 22, 16, 30, tzinfo=UTC)  # of the examples: all that they tell of has happened


@pytest.fixture
async def api(cluster: Cluster, rail: RailProcess, tmp_path: Path) -> AsyncIterator[Api]:
    """A service of its own for each test: the examples are sent as they stand in the document, names and all."""
    async with cluster.clone() as database, running(database, tmp_path / "data", rail.url) as made:
        made.clock.now = THE_DAY
        yield made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The Python client as a package; and nothing of it stays in this process."""
    directory = tmp_path_factory.mktemp("generated")
    (directory / "openapi.json").write_text(json.dumps(DOCUMENT))
    arguments = ["generate", "--path", "openapi.json", "--output-path", "made_client", "--meta", "none"]
    environment = {"PATH": str(GENERATOR.parent)}
    result = subprocess.run([GENERATOR, *arguments], cwd=directory, capture_output=True, text=True, check=True, env=environment)
    told = result.stdout + result.stderr
    left_out = [f"WARNING parsing {OPERATIONS[name].method} {OPERATIONS[name].path} within" for name in NOT_IN_PYTHON]
    assert sorted(re.findall("WARNING parsing .* within", told)) == sorted(left_out), told
    assert told.count("WARNING") == len(left_out), told
    assert all(why in told for why in NOT_IN_PYTHON.values()), told
    sys.path.insert(0, str(directory))
    yield import_module("made_client")
    sys.path.remove(str(directory))
    for name in [name for name in sys.modules if name.split(".")[0] == "made_client"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    made = installed(tmp_path_factory.mktemp("typescript"))
    made.generate(DOCUMENT)
    return made


@pytest.mark.long
async def test_the_python_client_calls_every_operation_s_example(api: Api, made: Any) -> None:
    calls = [one for one in await example_calls(api, DOCUMENT) if one.name not in NOT_IN_PYTHON]
    usual = {"base_url": "http://service.test", "httpx_args": {"transport": api.http._transport}}
    clients: dict[str | None, Any] = {None: made.Client(**usual)}
    clients |= {token: made.AuthenticatedClient(token=token, **usual) for token in {one.token for one in calls} if token}

    faults = {one.name: fault for one in calls if (fault := await fault_of(one, clients[one.token]))}

    assert faults == {}
    assert {one.name for one in calls} | set(NOT_IN_PYTHON) == set(OPERATIONS)


async def fault_of(call: ExampleCall, client: Any) -> str | None:
    """What is wrong with the answer of the generated function, or with what the generated model makes of it; None: nothing."""
    function = import_module(f"made_client.api.{call.tag}.{call.name}").asyncio_detailed
    given: dict[str, Any] = {name.lower().replace("-", "_"): value for place in call.parameters.values() for name, value in place.items()}
    if call.body is not None:
        body_type = signature(function).parameters["body"].annotation
        [model] = [one for one in get_args(body_type) or [body_type] if hasattr(one, "from_dict")]
        given["body"] = model.from_dict(call.body)
        if not has_all(in_utc(given["body"].to_dict()), call.body):
            return f"the model makes {given['body']} of the example"
    response = await function(client=client, **given)
    if response.status_code != call.status:
        return f"{int(response.status_code)} {response.content.decode()}"
    if call.answer is None:
        return None if response.parsed else "nothing was read"
    read, sent = response.parsed, json.loads(response.content)
    if type(read).__name__ != call.answer.replace("_", ""):
        return f"read as {read!r}"
    return None if set(read.to_dict()) == set(sent) and not getattr(read, "additional_properties", None) else f"{read!r} of {sent}"


def has_all(written: Any, example: Any) -> bool:
    """Whether all of the example is there; members with a default may be there beside it."""
    if isinstance(example, dict):
        return all(name in written and has_all(written[name], value) for name, value in example.items())
    if isinstance(example, list):
        return len(written) == len(example) and all(map(has_all, written, example))
    return bool(written == example)


def in_utc(value: Json) -> Any:
    """With `Z`, as the examples have it."""
    return json.loads(json.dumps(value).replace('+00:00"', 'Z"'))


@pytest.mark.long
async def test_the_python_client_takes_a_payment_through_its_life(api: Api, made: Any) -> None:
    models = import_module("made_client.models")
    transport = {"transport": api.http._transport}
    client = made.AuthenticatedClient(base_url="http://service.test", token=api.token("wallet"), httpx_args=transport)

    async def call(tag: str, name: str, *given: str, **more: Any) -> Any:
        response = await import_module(f"made_client.api.{tag}.{name}").asyncio_detailed(*given, client=client, **more)
        assert 200 <= response.status_code < 300, response.content
        return response.parsed

    currency = models.RegisterPaymentCurrency.CNY
    wanted = models.RegisterPayment(reference=f"made-{uuid4().hex}", wallet_id="w-1", merchant_id="m-1", amount=4200, currency=currency)
    payment = await call("payments", "register_payment", body=wanted)
    completed = await call("payments", "complete_payment", payment.id, body=models.CompletePayment(), idempotency_key=uuid4().hex)
    reason = models.RequestCancellation(reason=models.Reason.CHANGED_MIND)
    asked = await call("cancellations", "request_cancellation", payment.id, body=reason, idempotency_key=uuid4().hex)
    await api.worker.drain()
    read = await call("cancellations", "get_cancellation", asked.id)
    found = await call("payments", "get_payment", payment.id)

    assert (payment.state, completed.state) == (models.PaymentState.PENDING, models.PaymentState.COMPLETED)
    assert (read.id, read.amount, read.reason) == (asked.id, 4200, models.Reason.CHANGED_MIND)
    assert (found.state, found.open_cancellation, found.amount_refunded) == (models.PaymentState.REFUNDED, None, 4200)


@pytest.mark.long
async def test_the_typescript_client_calls_every_operation_s_example(api: Api, toolchain: Toolchain) -> None:
    calls = await example_calls(api, DOCUMENT)

    async with served(create_app(api.settings, clock=api.clock), HttpLimits()) as port:
        told = await toolchain.run(calls, f"http://127.0.0.1:{port}")

    assert {one["name"]: (one["status"], "answer" in one) for one in told} == {one.name: (one.status, True) for one in calls}, [
        one for one in told if "error" in one
    ]
    assert {one["name"] for one in told} == set(OPERATIONS)


def test_the_locked_packages_are_anybody_s_registry_s() -> None:
    locked = json.loads((SOURCES / "package-lock.json").read_text())["packages"]

    assert locked.pop("")["dependencies"] == json.loads((SOURCES / "package.json").read_text())["dependencies"]
    assert all("integrity" in one for one in locked.values())
    assert "://" not in json.dumps(locked), "npm config set omit-lockfile-registry-resolved true; and without `funding`"
