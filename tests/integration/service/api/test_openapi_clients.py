"""A client that a generator made of the OpenAPI document: it takes a payment through its life."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from service.api.openapi import document
from service.app import create_app
from tests.harness import Api

GENERATOR = Path(sys.executable).with_name("openapi-python-client")
UNSUPPORTED = "POST /v1/payments/import"  # the generator knows no NDJSON; the operation itself is in the document


@pytest.fixture(scope="module")
def made(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The client as a package; and nothing of it stays in this process."""
    directory = tmp_path_factory.mktemp("generated")
    described = directory / "openapi.json"
    described.write_text(json.dumps(document(create_app(api.settings))))
    arguments = ["generate", "--path", str(described), "--output-path", str(directory / "made_client"), "--meta", "none"]
    result = subprocess.run([GENERATOR, *arguments], capture_output=True, text=True, check=True, env={"PATH": str(GENERATOR.parent)})
    told = result.stdout + result.stderr
    assert (told.count("WARNING"), UNSUPPORTED in told) == (1, True), told
    sys.path.insert(0, str(directory))
    yield directory / "made_client"
    sys.path.remove(str(directory))
    for name in [name for name in sys.modules if name.split(".")[0] == "made_client"]:
        del sys.modules[name]


def operation(tag: str, name: str) -> Any:
    return import_module(f"made_client.api.{tag}.{name}")


async def test_it_takes_a_payment_through_its_life(api: Api, made: Path) -> None:
    assert made.is_dir()
    models = import_module("made_client.models")
    headers = {"authorization": f"Bearer {api.token('wallet')}"}
    async with httpx.AsyncClient(transport=api.http._transport, base_url="http://testserver", headers=headers) as http:
        client = import_module("made_client").Client(base_url="http://testserver").set_async_httpx_client(http)

        async def call(tag: str, name: str, *given: str, **more: Any) -> Any:
            response = await operation(tag, name).asyncio_detailed(*given, client=client, **more)
            assert 200 <= response.status_code < 300, response.content
            return response.parsed

        wanted = models.RegisterPayment(
            reference=f"made-{uuid4().hex}", wallet_id="w-1", merchant_id="m-1", amount=4200, currency=models.RegisterPaymentCurrency.CNY
        )
        payment = await call("payments", "register_payment", body=wanted)
        completed = await call("payments", "complete_payment", payment.id, body=models.CompletePayment(), idempotency_key=uuid4().hex)
        reason = models.RequestCancellation(reason=models.Reason.CHANGED_MIND)
        asked = await call("cancellations", "request_cancellation", payment.id, body=reason, idempotency_key=uuid4().hex)
        await api.worker.drain()
        read = await call("cancellations", "get_cancellation", asked.id)
        found = await call("payments", "get_payment", payment.id)

    assert (payment.state, completed.state) == (models.PaymentState.PENDING, models.PaymentState.COMPLETED)
    assert (read.id, read.amount, read.reason) == (asked.id, 4200, models.Reason.CHANGED_MIND)
    assert (found.open_cancellation is None, found.amount_refunded + found.amount_reserved) == (found.amount_refunded == 4200, 4200)
