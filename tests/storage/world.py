"""The real core over a real database, with a rail in memory and a clock that stands still until it is told."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from service import wiring
from service.calendars import calendar
from workflows.clock_and_ids import new_id, new_salt
from workflows.commands import Command, Idempotency, Runner, Runtime
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import payments, requests
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.requests import CancellationRequest
from workflows.domain.enums import ActorRole, Channel, PaymentFailure, Reason, Source
from workflows.domain.ids import payment_id
from workflows.domain.legs import Leg
from workflows.domain.model import Actor, Funding, IdempotentResponse, Item, ItemQuantity, Snapshot
from workflows.domain.ports import (
    Absent,
    Declined,
    Done,
    NeedsAction,
    Order,
    Outcome,
    Pending,
    Provider,
    ProviderNotification,
    ProviderUnavailable,
    RailSchedule,
    Returned,
    Settled,
    Unknown,
)
from workflows.flows.rails import Rails
from workflows.storage.notifications import ReceivedNotification
from workflows.storage.snapshot import SnapshotQuery
from workflows.storage.store import Store
from workflows.worker import Worker, WorkerConfig

WALLET = Actor(role=ActorRole.wallet, id="w-backend", channel=Channel.app)
START = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
WORDS = ("ok", "pending", "decline", "unknown", "action", "settled", "mismatch", "unavailable", "absent", "returned")
_SOURCES = (Source.balance, Source.card, Source.coupon)
Decide = Callable[[Snapshot, PolicyContext, Context], Change | None]


def outcome(word: str, amount: int, currency: str) -> Outcome:
    """What a word of a script stands for; any other word is `ok`."""
    others: dict[str, Outcome] = {
        "pending": Pending("r-1"),
        "decline": Declined("account_closed"),
        "unknown": Unknown("timeout"),
        "action": NeedsAction("r-1"),
        "settled": Settled(),
        "mismatch": Done(amount + 1, currency),
        "unavailable": ProviderUnavailable(),
        "absent": Absent(),
        "returned": Returned("account_closed"),
    }
    return others.get(word, Done(amount, currency, provider_refund_id="r-1"))


SCHEDULE = RailSchedule(
    enquiries=(timedelta(seconds=1),), sends_again=True, unknown_max=timedelta(hours=1), processing_max=timedelta(days=3)
)


@dataclass
class Rail:
    """Answers by the provider reference: words parted by slashes, one for each call under a key, the last for all that follow."""

    name: str = "sandbox"
    schedule: RailSchedule = SCHEDULE
    calls: dict[str, int] = field(default_factory=dict)

    async def refund(self, order: Order) -> Outcome:
        return self._answer(order)

    async def void(self, order: Order) -> Outcome:
        return self._answer(order)

    async def find(self, order: Order) -> Outcome:
        return self._answer(order) if order.rail_key in self.calls else Absent()

    async def cancel(self, order: Order) -> Outcome:
        return self._answer(order)

    def successor_reference(self, provider_reference: str) -> str:
        return provider_reference.partition("|")[2] or "done"

    def read(self, body: bytes) -> ProviderNotification | None:
        said = json.loads(body)
        return ProviderNotification(said["rail_key"], outcome(said["word"], said["amount"], said["currency"]))

    def _answer(self, order: Order) -> Outcome:
        words = order.provider_reference.partition("|")[0].split("/")
        call = self.calls.get(order.rail_key, 0)
        self.calls[order.rail_key] = call + 1
        return outcome(words[min(call, len(words) - 1)], order.amount, order.currency)


@dataclass
class World:
    """What the API and the workers do, without HTTP."""

    pool: Any  # asyncpg ships no types
    now: datetime = START
    rail: Rail = field(default_factory=Rail)

    def __post_init__(self) -> None:
        self.store = Store(self.pool)

        def clock() -> datetime:
            return self.now

        runtime = Runtime(
            store=self.store, clock=clock, new_id=new_id, new_salt=new_salt, calendar=calendar, queue_clock=clock, command_seconds_max=600
        )
        self.runner = Runner(runtime)
        provider: Provider = self.rail
        rails = Rails(providers={provider.name: provider})
        self.worker = Worker(runtime, rails, WorkerConfig(moves=8))

    async def register(
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
        funding = [
            Funding(source=_SOURCES[i], amount=share, provider=provider, provider_reference=script)
            for i, (share, script) in enumerate(zip(shares, sources, strict=True))
        ]
        terms = payments.PaymentDetails(
            reference=reference,
            wallet_id="w-1",
            merchant_id="m-1",
            amount=amount,
            currency="CNY",
            funding=tuple(funding),
            items=tuple(items) or None,
            completed_at=self.now if settled else None,
            metadata={"order": reference},
        )
        await self.runner.register(terms, actor=WALLET, request_id="r-1")
        return payment_id(reference)

    async def request(
        self,
        payment: UUID,
        amount: int | None = None,
        *,
        items: Sequence[ItemQuantity] = (),
        key: str | None = None,
        reason: Reason = Reason.changed_mind,
        forfeit: Source | None = None,
    ) -> None:
        """`forfeit`: as if every rule of the policy kept what that source gave."""
        requested = CancellationRequest(
            actor=WALLET, reason=reason, amount=amount, items=tuple(items) or None, note="a note", fingerprint="f"
        )
        lost = frozenset() if forfeit is None else frozenset({forfeit})

        def decide(snapshot: Snapshot, terms: PolicyContext, context: Context) -> Change:
            rules = tuple(replace(rule, forfeit=lost) for rule in terms.policy.rules)
            return requests.request(snapshot, requested, replace(terms, policy=replace(terms.policy, rules=rules)), context)

        await self.do(payment, decide, key=key)

    async def withdraw(self, payment: UUID) -> None:
        def decide(snapshot: Snapshot, _: PolicyContext, context: Context) -> Change:
            return requests.withdraw(snapshot, requests.must_find(snapshot, snapshot.open_cancellation), context)

        await self.do(payment, decide)

    async def complete(self, payment: UUID) -> None:
        def decide(snapshot: Snapshot, terms: PolicyContext, context: Context) -> Change:
            return payments.complete(snapshot, completed_at=None, provider_reference=None, terms=terms, context=context)

        await self.do(payment, decide)

    async def fail(self, payment: UUID) -> None:
        def decide(snapshot: Snapshot, _: PolicyContext, context: Context) -> Change:
            return payments.fail(snapshot, code=PaymentFailure.network, detail="line down", context=context)

        await self.do(payment, decide)

    async def do(self, payment: UUID, decide: Decide, *, key: str | None = None) -> None:
        """Run a command; a refusal of the domain is a reply here as it is in the service."""
        reply = IdempotentResponse(fingerprint="f", status=200, body=b"{}")
        command = Command(
            query=SnapshotQuery(payment_id=payment, caller="w-backend", key=key),
            actor=lambda: WALLET,
            request_id="r-1",
            visible=lambda _: True,
            version=lambda _: None,
            decide=decide,
            reply=lambda *_: reply,
            refuse=lambda *_: reply,
            idempotency=None if key is None else Idempotency("w-backend", key, "f"),
        )
        await self.runner.run(command)

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

    async def say(self, leg: Leg, word: str) -> None:
        """The rail sends a notification about a leg; it is stored, and acted on by the next `work`."""
        body = json.dumps({"rail_key": leg.rail_key, "word": word, "amount": leg.amount, "currency": leg.currency}).encode()
        incoming = ReceivedNotification(
            payment_id=leg.payment_id, provider="sandbox", rail_id=new_id().hex, body=body, received_at=self.now
        )
        assert await self.store.store_notification(incoming, id=new_id(), job_id=new_id())

    async def work(self, *, seconds: int = 2) -> None:
        """Time goes on, and the worker does all that is due then."""
        self.now += timedelta(seconds=seconds)
        await self.worker.drain()


@asynccontextmanager
async def world(url: str) -> AsyncIterator[World]:
    async with wiring.database(url, size=8) as pool:
        yield World(pool)
