"""The service for a test to drive: its core without HTTP (`Core`), or the whole behind its REST interface (`Api`).

Both run on a real database, by a clock that moves when the test says so, with a worker that works when the test says so.
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import new as hmac
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID, uuid4

import asyncpg
import httpx
from fastapi import FastAPI
from msgspec.structs import replace
from pydantic import SecretStr

from service import wiring
from service.app import create_app
from service.auth.keys import LocalKeys, load_or_create_keys
from service.calendars import calendar
from service.settings import Settings
from service.shipped_policies import default_policy
from tests.database import Database
from tests.factories import WALLET, Clock
from tests.rails import SECRET, ScriptedRail
from workflows.clock_and_ids import new_id, new_salt
from workflows.commands import Command, Idempotency, Runner, Runtime
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import payments, requests
from workflows.domain.decisions.payments import PaymentDetails
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.requests import CancellationRequest
from workflows.domain.enums import PaymentFailure, Reason, Role, Source
from workflows.domain.errors import InvalidState, Refused
from workflows.domain.ids import payment_id
from workflows.domain.legs import Leg
from workflows.domain.model import Actor, Funding, IdempotentResponse, Item, ItemQuantity, Snapshot
from workflows.domain.ports import Provider
from workflows.domain.times import rfc3339
from workflows.flows.rails import Rails
from workflows.storage.notifications import ReceivedNotification
from workflows.storage.policies import publish_first
from workflows.storage.snapshot import SnapshotQuery
from workflows.storage.store import Store
from workflows.worker import Worker, WorkerConfig

START: Final = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
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
Decide = Callable[[Snapshot, PolicyContext, Context], Change | None]
_YEARS_SECONDS: Final = 5 * 366 * 86_400
_SOURCES: Final = (Source.balance, Source.card, Source.coupon)
_numbers = count(1)


# -- the core -------------------------------------------------------------------------------------------------------------


class Core:
    """What the API and the workers do, without HTTP: commands under a caller's key, and a worker that is driven by hand."""

    def __init__(self, pool: Any, clock: Clock, ids: Callable[[], UUID] = new_id, salts: Callable[[], bytes] = new_salt) -> None:
        self.pool = pool  # asyncpg ships no types
        self.clock = clock
        self.ids = ids
        self.salts = salts

    def connect(self, store: Store, rails: Rails, config: WorkerConfig) -> None:
        """The parts of one process, put together."""
        self.store = store
        runtime = Runtime(
            store=store,
            clock=self.clock,
            new_id=self.ids,
            new_salt=self.salts,
            calendar=calendar,
            monotonic=lambda: self.clock().timestamp(),
            queue_clock=self.clock,
            command_seconds_max=600,  # only bounds a hang
        )
        self.runner = Runner(runtime)
        self.worker = Worker(runtime, rails, config)

    async def register(self, details: PaymentDetails) -> UUID:
        await self.runner.register(details, actor=WALLET, request_id="r-1")
        return payment_id(details.reference)

    async def request(self, payment: UUID, key: str | None = None, wish: CancellationRequest | None = None) -> IdempotentResponse:
        wished = wish or CancellationRequest(actor=WALLET, reason=Reason.changed_mind)

        def decide(snapshot: Snapshot, terms: PolicyContext, context: Context) -> Change:
            return requests.request(snapshot, wished, terms, context)

        return await self.command(payment, key, decide, actor=wished.actor)

    async def withdraw(self, payment: UUID, key: str | None = None) -> IdempotentResponse:
        def decide(snapshot: Snapshot, _: PolicyContext, context: Context) -> Change:
            return requests.withdraw(snapshot, requests.must_find(snapshot, snapshot.open_cancellation), context)

        return await self.command(payment, key, decide)

    async def complete(self, payment: UUID, key: str | None = None) -> IdempotentResponse:
        def decide(snapshot: Snapshot, terms: PolicyContext, context: Context) -> Change:
            return payments.complete(snapshot, completed_at=None, provider_reference=None, terms=terms, context=context)

        return await self.command(payment, key, decide)

    async def fail(self, payment: UUID, key: str | None = None) -> IdempotentResponse:
        def decide(snapshot: Snapshot, _: PolicyContext, context: Context) -> Change:
            return payments.fail(snapshot, code=PaymentFailure.network, detail=None, context=context)

        return await self.command(payment, key, decide)

    async def command(
        self,
        payment: UUID,
        key: str | None,
        decide: Decide,
        *,
        actor: Actor = WALLET,
        cancellation: UUID | None = None,
        leg: UUID | None = None,
        shown: bool = False,
        show: Callable[[Snapshot], str] = lambda _: "{}",
    ) -> IdempotentResponse:
        """A caller's step, under a key of his own where he gives one. `show`: what the answer says of the payment as it then is.

        `shown`: decided on all that is shown of the payment, its anomalies too, as every step on a cancellation is; `leg`: its
        cancellation is loaded.

        A refusal is 409 with its name; where it is the state that forbids the step, the header `state` tells it.
        """
        fingerprint = key or "none"

        def reply(after: Snapshot, _: PolicyContext, __: Change | None) -> IdempotentResponse:
            return IdempotentResponse(fingerprint=fingerprint, status=200, body=show(after).encode())

        def refuse(why: Exception, _: Snapshot, __: PolicyContext) -> IdempotentResponse:
            if not isinstance(why, Refused):
                raise why
            headers = {"state": why.state} if isinstance(why, InvalidState) else {}
            return IdempotentResponse(fingerprint=fingerprint, status=409, body=type(why).__name__.encode(), headers=headers)

        replied = await self.runner.run(
            Command(
                query=SnapshotQuery(payment_id=payment, caller=actor.id, key=key, cancellation_id=cancellation, leg_id=leg, shown=shown),
                actor=lambda: actor,
                request_id=key or "r-1",
                visible=lambda _: True,
                version=lambda _: None,
                decide=decide,
                reply=reply,
                refuse=refuse,
                idempotency=None if key is None else Idempotency(caller=actor.id, key=key, fingerprint=fingerprint),
            )
        )
        return replied.reply

    async def legs(self, payment: UUID) -> list[Leg]:
        """All legs of a payment, oldest first."""
        rows = await self.pool.fetch("select id from leg where payment_id = $1 order by id", payment)
        found = []
        for row in rows:
            snapshot = await self.store.load(SnapshotQuery(payment_id=payment, leg_id=row["id"]))
            leg = None if snapshot is None else snapshot.leg(row["id"])
            assert leg is not None
            found.append(leg)
        return found

    async def notified(self, leg: Leg, body: bytes, rail_id: str) -> bool:
        """A word of the rail arrives, and is stored for the worker. False: it was known."""
        incoming = ReceivedNotification(
            payment_id=leg.payment_id, provider=leg.provider, rail_id=rail_id, body=body, received_at=self.clock()
        )
        return await self.store.store_notification(incoming, id=self.ids(), job_id=self.ids())

    async def drain(self) -> None:
        await self.worker.drain()


class ScriptedCore(Core):
    """The core over a rail in memory; a funding's provider reference is the rail's script, see `ScriptedRail`."""

    def __init__(self, pool: Any) -> None:
        super().__init__(pool, Clock(START))
        self.rail = ScriptedRail()
        provider: Provider = self.rail
        self.connect(Store(pool), Rails(providers={provider.name: provider}), WorkerConfig(moves=8))

    async def pay(
        self,
        reference: str,
        *,
        amount: int = 1000,
        sources: Sequence[str] = ("ok",),
        settled: bool = True,
        items: Sequence[Item] = (),
        provider: str = "sandbox",
    ) -> UUID:
        """A payment from as many sources as there are scripts; the last gives what the others, 300 each, leave."""
        shares = [300] * (len(sources) - 1)
        shares.append(amount - sum(shares))
        funding = tuple(
            Funding(source=source, amount=share, provider=provider, provider_reference=script)
            for source, share, script in zip(_SOURCES, shares, sources, strict=False)
        )
        details = PaymentDetails(
            reference=reference,
            wallet_id="w-1",
            merchant_id="m-1",
            amount=amount,
            currency="CNY",
            funding=funding,
            items=tuple(items) or None,
            completed_at=self.clock() if settled else None,
            metadata={"order": reference},
        )
        return await self.register(details)

    async def ask(
        self,
        payment: UUID,
        amount: int | None = None,
        *,
        items: Sequence[ItemQuantity] = (),
        key: str | None = None,
        reason: Reason = Reason.changed_mind,
        forfeit: Source | None = None,
    ) -> None:
        """A request for cancellation. `forfeit`: as if every rule of the policy kept what that source gave."""
        wish = CancellationRequest(actor=WALLET, reason=reason, amount=amount, items=tuple(items) or None, note="a note", fingerprint="f")
        lost = frozenset() if forfeit is None else frozenset({forfeit})

        def decide(snapshot: Snapshot, terms: PolicyContext, context: Context) -> Change:
            rules = tuple(replace(rule, forfeit=lost) for rule in terms.policy.rules)
            return requests.request(snapshot, wish, replace(terms, policy=replace(terms.policy, rules=rules)), context)

        await self.command(payment, key, decide)

    async def leg(self) -> Leg:
        """The first leg of a new payment that is to be cancelled."""
        payment = await self.pay("p-1")
        await self.ask(payment)
        return (await self.legs(payment))[0]

    async def say(self, leg: Leg, word: str) -> None:
        """The rail sends a notification about a leg; it is stored, and acted on by the next `work`."""
        body = json.dumps({"rail_key": leg.rail_key, "word": word, "amount": leg.amount, "currency": leg.currency}).encode()
        assert await self.notified(leg, body, new_id().hex)

    async def work(self, *, seconds: int = 2) -> None:
        """Time goes on, and the worker does all that is due then."""
        self.clock.advance(timedelta(seconds=seconds))
        await self.drain()


@asynccontextmanager
async def scripted_core(url: str) -> AsyncIterator[ScriptedCore]:
    async with wiring.database(url, size=8) as pool:
        yield ScriptedCore(pool)


# -- the service behind its interface -------------------------------------------------------------------------------------


@dataclass
class Api:
    """The running service as its callers reach it, and what a test needs beside it."""

    settings: Settings
    clock: Clock
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
                sub=name[1], role=Role(role), merchant_id=name[2], ttl_seconds=_YEARS_SECONDS, now=self.clock.now
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

    async def walk(self, path: str, role: str, size: int, **query: str) -> list[Json]:
        """Every entry of a list, page by page."""
        found: list[Json] = []
        cursor = None
        while True:
            page = (await self.get(path, role, params={"limit": size, **query, **({"cursor": cursor} if cursor else {})})).json()
            assert set(page) == {"data", "next_cursor"}
            assert 0 < len(page["data"]) <= size or not found
            found += page["data"]
            if (cursor := page["next_cursor"]) is None:
                return found

    async def movements(self, payment: Json) -> list[Json]:
        """What the rail really moved."""
        found = await self.rail.get("/sandbox/movements", params={"payment_reference": payment["reference"]})
        return list(found.json()["data"])

    async def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        return {table: await self.owner.fetchval(f"select count(*) from {table}") for table in TABLES}  # noqa: S608 -- our own names

    def word(self, key: str, status: str = "succeeded", **more: object) -> Json:
        """What the rail may say of a refund, as it writes it."""
        usual = {"id": uuid4().hex, "rail_key": key, "status": status, "at": rfc3339(self.clock.now), "amount": 10_000, "currency": "CNY"}
        return {**usual, "provider_refund_id": "re_1", **more}

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
async def running(database: Database, data_dir: Path, sandbox_url: str) -> AsyncIterator[Api]:
    """The service over a migrated database, with the default policy."""
    settings, clock = settings_for(database, data_dir, sandbox_url), Clock(datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
    async with AsyncExitStack() as stack:
        owner = await asyncpg.connect(database.owner_url, ssl=False)
        stack.push_async_callback(owner.close)
        await publish_first(owner, default_policy(), now=clock(), new_id=new_id, library=calendar)
        pool = await stack.enter_async_context(wiring.database(database.app_url, size=4))
        rails = await stack.enter_async_context(wiring.rails(settings))
        yield Api(
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


async def refused(api: Api, path: str, body: object, *, codes: set[str] | None = None, **call: Any) -> Json:
    """That body is refused, in one of these ways, and leaves no trace."""
    before = await api.rows()
    response = await api.post(path, body, **call)
    assert response.status_code in {400, 413, 415, 422}, (body, response.text)
    said = assert_problem(response, response.status_code, response.json()["code"])
    assert said["code"] in (codes or {"malformed-request", "validation-failed"}), said
    assert await api.rows() == before
    return said


def funding(*parts: tuple[str, int], reference: str = "ok") -> list[Json]:
    return [{"source": source, "amount": amount, "provider": "sandbox", "provider_reference": reference} for source, amount in parts]


def amounts(payment: Json) -> tuple[str, int, int, int]:
    return payment["state"], payment["amount_refunded"], payment["amount_reserved"], payment["amount_refundable"]
