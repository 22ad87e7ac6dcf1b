"""One running service for the tests to call: a database, a rail, a clock that they move, a worker that they drive."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import new as hmac
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from service import wiring
from service.app import create_app
from service.auth.keys import LocalKeys, load_or_create_keys
from service.calendars import calendar
from service.settings import Settings
from service.shipped_policies import default_policy
from tests.database import Database
from workflows.clock_and_ids import new_id
from workflows.domain.enums import Role
from workflows.domain.times import rfc3339
from workflows.storage.policies import publish_first
from workflows.worker import Worker, WorkerConfig

SECRET: Final = "a secret of the tests"
YEARS_SECONDS: Final = 5 * 366 * 86_400
SHOP: Final = "shop-1"
NEW_KEY: Final = "a new one"
TABLES: Final = (
    "payment",
    "cancellation",
    "leg",
    "record",
    "personal_text",
    "kept_reply",
    "job",
    "notification",
    "anomaly",
    "anomaly_step",
    "policy",
    "merchant",
)
Json = dict[str, Any]
_numbers = count(1)


@dataclass
class MovableClock:
    """Moves when told to, and never back."""

    now: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def ago(self, **span: float) -> str:
        return rfc3339(self.now - timedelta(**span))


@dataclass
class World:
    """What a test needs at hand."""

    settings: Settings
    clock: MovableClock
    keys: LocalKeys
    http: httpx.AsyncClient
    rail: httpx.AsyncClient
    worker: Worker
    owner: Any  # an asyncpg connection as the owner of the tables
    _tokens: dict[tuple[str, str, str | None], str] = field(default_factory=dict)

    def token(self, role: str, sub: str | None = None, merchant: str | None = None) -> str:
        name = (role, sub or f"{role}-1", (merchant or SHOP) if role == "merchant" else None)
        if name not in self._tokens:
            self._tokens[name] = self.keys.sign_token(
                sub=name[1], role=Role(role), merchant_id=name[2], ttl_seconds=YEARS_SECONDS, now=self.clock.now
            )
        return self._tokens[name]

    async def get(self, path: str, role: str = "wallet", *, merchant: str | None = None, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token(role, merchant=merchant)}", **more.pop("headers", {})}
        return await self.http.get(path, headers=headers, **more)

    async def post(
        self,
        path: str,
        body: object = None,
        *,
        role: str = "wallet",
        sub: str | None = None,
        merchant: str | None = None,
        key: str | None = NEW_KEY,
        headers: dict[str, str] | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> httpx.Response:
        sent = {"authorization": f"Bearer {self.token(role, sub, merchant)}", "content-type": "application/json", **(headers or {})}
        if key is not None:
            sent["idempotency-key"] = uuid4().hex if key == NEW_KEY else key
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        return await (http or self.http).post(path, content=content, headers=sent)

    async def put(self, path: str, body: object, role: str = "operator", *, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.http.put(path, json=body, headers={"authorization": f"Bearer {self.token(role)}", **(headers or {})})

    async def register(self, **members: Any) -> Json:
        """A new payment, settled a minute ago unless told; `completed_at=None`: pending."""
        response = await self.post("/v1/payments", self.terms(**members), key=None)
        assert response.status_code == 201, response.text
        return dict(response.json())

    def terms(self, **members: Any) -> Json:
        usual = {
            "reference": f"order-{next(_numbers)}-{uuid4().hex[:8]}",
            "wallet_id": "wallet-1",
            "merchant_id": SHOP,
            "amount": 10_000,
            "currency": "CNY",
            "completed_at": self.clock.ago(minutes=1),
        }
        return {name: value for name, value in {**usual, **members}.items() if value is not None}

    async def requested(self, payment: Json, reason: str = "changed_mind", **more: Any) -> httpx.Response:
        """A request for cancellation; what is not of the call is the body's."""
        call = {name: more.pop(name) for name in ("role", "sub", "merchant", "key", "headers", "http") if name in more}
        return await self.post(f"/v1/payments/{payment['id']}/cancellations", {"reason": reason, **more}, **call)

    async def payment(self, payment: Json) -> Json:
        return dict((await self.get(f"/v1/payments/{payment['id']}", "agent")).json())

    async def cancellation(self, cancellation: Json) -> Json:
        return dict((await self.get(f"/v1/cancellations/{cancellation['id']}", "agent")).json())

    async def records(self, payment: Json) -> list[Json]:
        return list((await self.get(f"/v1/payments/{payment['id']}/records?limit=200", "auditor")).json()["data"])

    async def movements(self, payment: Json) -> list[Json]:
        """What the rail really moved."""
        found = await self.rail.get("/sandbox/movements", params={"payment_reference": payment["reference"]})
        return list(found.json()["data"])

    async def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        return {table: await self.owner.fetchval(f"select count(*) from {table}") for table in TABLES}  # noqa: S608 -- our own names

    async def notify(self, said: Json, *, secret: str = SECRET, age: timedelta = timedelta(0)) -> httpx.Response:
        """A word of the rail, signed."""
        body = json.dumps(said).encode()
        stamp = str(int((self.clock.now - age).timestamp()))
        signature = hmac(secret.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
        headers = {"refundry-sandbox-signature": f"t={stamp},v1={signature}", "content-type": "application/json"}
        return await self.http.post("/v1/providers/sandbox/notifications", content=body, headers=headers)


@asynccontextmanager
async def calling(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application within this process, from its start to its end."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service.test", timeout=30) as client:
            yield client


def settings_for(database: Database, data_dir: Path, sandbox_url: str) -> Settings:
    return Settings(
        database_url=database.app_url,
        database_owner_url=database.owner_url,
        data_dir=data_dir,
        sandbox_url=sandbox_url,
        sandbox_secret=SecretStr(SECRET),
        rail_timeout_seconds=0.5,
        lease_seconds=10,
        enquiry_seconds=(30, 60),
        breaker_failures=1000,  # what one test does to the rail pauses it for no other
    )


@asynccontextmanager
async def running(database: Database, data_dir: Path, sandbox_url: str) -> AsyncIterator[World]:
    """The service over a migrated database, with the default policy."""
    settings, clock = settings_for(database, data_dir, sandbox_url), MovableClock()
    async with AsyncExitStack() as stack:
        owner = await asyncpg.connect(database.owner_url, ssl=False)
        stack.push_async_callback(owner.close)
        await publish_first(owner, default_policy(), now=clock(), new_id=new_id, library=calendar)
        pool = await stack.enter_async_context(wiring.database(database.app_url, size=4))
        rails = await stack.enter_async_context(wiring.rails(settings))
        yield World(
            settings=settings,
            clock=clock,
            keys=load_or_create_keys(data_dir),
            http=await stack.enter_async_context(calling(create_app(settings, clock=clock))),
            rail=await stack.enter_async_context(httpx.AsyncClient(base_url=sandbox_url, trust_env=False)),
            worker=Worker(wiring.runtime(pool, clock=clock), rails, WorkerConfig(lease=timedelta(seconds=10))),
            owner=owner,
        )


def assert_problem(response: httpx.Response, status: int, code: str, **members: object) -> Json:
    """The response is that problem, whole, and with these members."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    said: Json = response.json()
    assert said["code"] == code, said
    assert said["type"] == f"/problems/{code}"
    assert said["status"] == status
    assert said["title"]
    assert said["detail"]
    assert said["instance"] == quote(response.request.url.path)
    assert len(said["trace_id"]) == 32
    assert {name: said.get(name) for name in members} == members
    return said


async def refused(world: World, path: str, body: object, *, codes: set[str] | None = None, **call: Any) -> Json:
    """That body is refused, in one of these ways, and leaves no trace."""
    before = await world.rows()
    response = await world.post(path, body, **call)
    assert response.status_code in {400, 413, 415, 422}, (body, response.text)
    said = assert_problem(response, response.status_code, response.json()["code"])
    assert said["code"] in (codes or {"malformed-request", "validation-failed"}), said
    assert await world.rows() == before
    return said


def funding(*parts: tuple[str, int], reference: str = "ok") -> list[Json]:
    return [{"source": source, "amount": amount, "provider": "sandbox", "provider_reference": reference} for source, amount in parts]


def amounts(payment: Json) -> tuple[str, int, int, int]:
    return payment["state"], payment["amount_refunded"], payment["amount_reserved"], payment["amount_refundable"]
