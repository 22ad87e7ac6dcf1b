"""The service in one process, on a real database and a real rail: may die at any step, and goes on with nothing but what was written."""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from service import wiring
from service.sandbox.ledger import Movement, OwedNotification
from tests.crash.steps import Killed, SteppingProvider, SteppingStore, Steps
from tests.database import Cluster
from tests.factories import Clock
from tests.harness import Core
from tests.rail_in_process import SCHEDULE, InProcessRail, in_process_rail
from workflows.domain.decisions import payments
from workflows.domain.enums import Source
from workflows.domain.ids import from_rail_key
from workflows.domain.model import Funding, Item, Snapshot
from workflows.domain.ports import RailSchedule
from workflows.flows.check import InvariantResult, run_checks
from workflows.flows.check_rail import Moved, check_rail
from workflows.flows.rails import Rails
from workflows.storage.connections import Connections
from workflows.storage.notifications import ReceivedNotification
from workflows.storage.snapshot import SnapshotQuery
from workflows.worker import WorkerConfig

LEASE = timedelta(seconds=10)
START = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
SOURCES = (Source.card, Source.balance, Source.points)


class EvenRails(Rails):
    """Asks at even intervals, so that a flow has the same steps each time."""

    def wait(self, schedule: RailSchedule, attempt: int) -> timedelta:
        return schedule.enquiries[min(max(attempt, 1), len(schedule.enquiries)) - 1]


class Ids:
    """UUIDs of version 7 that count instead of being random: chance that is drawn from a rail key then falls the same way each time."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> UUID:
        self._last += 1
        return UUID(int=(self._last >> 30) << 80 | 0x7 << 76 | 0x2 << 62 | self._last & (1 << 30) - 1)

    def salt(self) -> bytes:
        return self().bytes


class MortalCore(Core):
    """One process at a time over one database and one rail; `steps` are those of the process that lives now."""

    def __init__(self, pool: Connections, rail: InProcessRail, ids: "Ids | None" = None, clock: Clock | None = None) -> None:
        self._ids = ids or Ids()
        super().__init__(pool, clock or rail.clock, self._ids, self._ids.salt)
        self.rail = rail
        self.start()

    def start(self, steps: Steps | None = None, *, concurrency: int = 1) -> None:
        """A new process: nothing of the old one is left but what it wrote."""
        self.steps = steps or Steps()
        self.connect(
            SteppingStore(self.pool, self.steps),
            EvenRails(providers={"sandbox": SteppingProvider(self.rail.provider, self.steps)}),
            WorkerConfig(moves=concurrency, notifications=concurrency, deadlines=concurrency, lease=LEASE),
        )

    def beside(self) -> "MortalCore":
        """Another process of the same service, which nobody kills."""
        return MortalCore(self.pool, self.rail, self._ids, self.clock)

    def restart(self) -> None:
        """After a death: a new process, once the leases of the old one have ended."""
        self.clock.advance(LEASE + timedelta(seconds=1))
        self.start()

    # -- what the rail and the worker do ----------------------------------------------------------------------------

    async def tell(self, *, copies: int = 1, only: Callable[[UUID], bool] = lambda _: True, newest_first: bool = False) -> None:
        """The rail's outstanding words reach the service; one that is not acknowledged stays outstanding."""
        notices = await self.rail.notices()
        for notice in reversed(notices) if newest_first else notices:
            key = from_rail_key(notice.rail_key)
            if key is not None and only(key[0]):
                await self.tell_one(notice, copies=copies)

    async def tell_one(self, notice: OwedNotification, *, copies: int) -> None:
        """One word; `copies` 0: it is lost on the way."""
        key = from_rail_key(notice.rail_key)
        assert key is not None
        for _ in range(copies):
            incoming = ReceivedNotification(
                payment_id=key[0],
                provider="sandbox",
                rail_id=json.loads(notice.body)["id"],
                body=notice.body.encode(),
                received_at=self.clock(),
            )
            await self.store.store_notification(incoming, id=self.ids(), job_id=self.ids())
        await self.rail.delivered(notice)

    async def forget_notices(self, only: Callable[[UUID], bool] = lambda _: True) -> None:
        for notice in await self.rail.notices():
            key = from_rail_key(notice.rail_key)
            if key is not None and only(key[0]):
                await self.rail.delivered(notice)

    async def pass_time(self) -> bool:
        """Until the next job or the next lease's end, and what the rail does meanwhile. False: there is nothing left to do."""
        due = await self.pool.fetchval("select min(coalesce(leased_until, run_at)) from job")
        if due is None:
            return False
        self.clock.now = max(self.clock.now, due) + timedelta(milliseconds=1)
        await self.rail.apply_due()
        return True

    async def surviving(self, action: Callable[[], Any]) -> str | None:
        """Do it, and where the process dies of it, do it again with the next one. Answers the step that killed it."""
        try:
            await action()
        except Killed as death:
            self.restart()
            await action()
            return str(death)
        return None

    # -- what must hold ---------------------------------------------------------------------------------------------

    async def snapshot(self, payment: UUID) -> Snapshot:
        """The payment with all its cancellations and anomalies."""
        store = SteppingStore(self.pool, Steps())
        ids = [row["id"] for row in await self.pool.fetch("select id from cancellation where payment_id = $1", payment)]
        found = (await store.load_many([payment], ids))[payment]
        shown = await store.load(SnapshotQuery(payment_id=payment, shown=True))
        assert shown is not None
        in_order = tuple(sorted(found.cancellations, key=lambda each: each.id))
        return replace(found, cancellations=in_order, anomalies=shown.anomalies)

    async def check(self, *, book: bool = True) -> None:
        """Every invariant over the whole database, chains of records included; with `book` the rail's own beside it."""
        results = await run_checks(self.pool) + ([await self._check_rail()] if book else [])
        broken = [result for result in results if result.broken]
        assert not broken, "\n".join(f"{result.name}: {result.examples[:3]}" for result in broken)

    async def _check_rail(self) -> InvariantResult:
        moved = await self.rail.movements()

        async def pages() -> AsyncIterator[list[Moved]]:
            yield [Moved(rail_key=m.rail_key, kind=m.kind, amount=m.amount, currency=m.currency, returned_at=_moment(m)) for m in moved]

        keys = {m.rail_key for m in moved}

        async def is_moved(rail_key: str) -> bool:
            return rail_key in keys

        async with self.pool.acquire() as connection:
            return await check_rail(connection, "sandbox", pages(), is_moved)


def _moment(movement: Movement) -> datetime | None:
    return None if movement.returned_ms is None else datetime.fromtimestamp(movement.returned_ms / 1000, UTC)


def terms(
    reference: str,
    clock: Clock,
    *amounts: int,
    provider_references: Iterable[str],
    completed: bool,
    items: tuple[Item, ...] = (),
) -> payments.PaymentDetails:
    """A payment from as many sources as there are amounts; the sources' references choose how the rail behaves."""
    now = clock()
    funding = tuple(
        Funding(source=source, amount=amount, provider="sandbox", provider_reference=told)
        for source, amount, told in zip(SOURCES, amounts, provider_references, strict=False)
    )
    return payments.PaymentDetails(
        reference=reference,
        wallet_id="wallet-1",
        merchant_id="merchant-1",
        amount=sum(amounts),
        currency="CNY",
        funding=funding,
        items=items or None,
        authorised_at=now,
        completed_at=now if completed else None,
    )


@asynccontextmanager
async def mortal_core(cluster: Cluster, folder: Path, schedule: RailSchedule = SCHEDULE) -> AsyncIterator[MortalCore]:
    async with (
        cluster.clone() as database,
        wiring.database(database.app_url, size=4) as pool,
        in_process_rail(folder, Clock(START), schedule) as rail,
    ):
        yield MortalCore(pool, rail)
