"""A store and a rail whose every call is a step at which a test may kill the process, or have something else happen first."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar
from uuid import UUID

from workflows.domain.changes import Change
from workflows.domain.model import Anomaly, Snapshot
from workflows.domain.ports import Order, Outcome, Provider, ProviderNotification
from workflows.storage.apply import ApplyResult, Fence, NotificationMark
from workflows.storage.jobs import Claim, Queue
from workflows.storage.mapping import ResponseToKeep
from workflows.storage.notifications import ReceivedNotification, StoredNotification
from workflows.storage.snapshot import Registration, SnapshotQuery
from workflows.storage.store import Store

Moment = Literal["before", "after"]
T = TypeVar("T")
_READS = ("store.load", "rail.find")


class Killed(BaseException):
    """The process is gone. No handler of the product's catches this, as none would run."""


class Steps:
    """Counts the steps of one process. It dies before or after step `at`; before the step of `also`, something else happens."""

    def __init__(
        self, at: int | None = None, moment: Moment = "before", *, also: tuple[int, Callable[[], Awaitable[None]]] | None = None
    ) -> None:
        self.names: list[str] = []
        self.written: set[int] = set()  # the steps that left something behind
        self._dies = (at, moment)
        self._also = also
        self._dead = False

    async def take(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        self._live(name)
        number = len(self.names)
        self.names.append(name)
        if self._also is not None and number == self._also[0]:
            await self._also[1]()
        self._die(name, number, "before")
        result = await call()
        if result != [] and not name.startswith(_READS):  # an empty claim is a look, too
            self.written.add(number)
        self._die(name, number, "after")
        return result

    def _die(self, name: str, number: int, moment: Moment) -> None:
        if (number, moment) == self._dies:
            self._dead = True
        self._live(name)

    def _live(self, name: str) -> None:
        if self._dead:
            raise Killed(name)


class SteppingStore(Store):
    """The store of a process that may be killed at each statement."""

    def __init__(self, pool: Any, steps: Steps) -> None:
        super().__init__(pool)
        self._steps = steps

    async def load(self, wanted: SnapshotQuery) -> Snapshot | None:
        return await self._steps.take("store.load", lambda: Store.load(self, wanted))

    async def load_for_registration(self, payment_id: UUID, authorised_at: datetime, merchant_id: str) -> Registration:
        return await self._steps.take(
            "store.load_for_registration", lambda: Store.load_for_registration(self, payment_id, authorised_at, merchant_id)
        )

    async def apply(
        self,
        change: Change,
        *,
        keep: ResponseToKeep | None = None,
        scope_id: UUID | None = None,
        fence: Fence | None = None,
        mark: NotificationMark | None = None,
    ) -> ApplyResult:
        written = " ".join(record.type.value for record in change.records) or "no record"
        return await self._steps.take(
            f"store.apply({written})", lambda: Store.apply(self, change, keep=keep, scope_id=scope_id, fence=fence, mark=mark)
        )

    async def keep_response(self, scope_id: UUID, keep: ResponseToKeep) -> bool:
        return await self._steps.take("store.keep_reply", lambda: Store.keep_response(self, scope_id, keep))

    async def claim(self, queues: Iterable[Queue], *, now: datetime | None, monotonic: float, lease: timedelta, limit: int) -> list[Claim]:
        return await self._steps.take(
            "store.claim", lambda: Store.claim(self, queues, now=now, monotonic=monotonic, lease=lease, limit=limit)
        )

    async def finish_job(self, fence: Fence) -> bool:
        return await self._steps.take("store.finish_job", lambda: Store.finish_job(self, fence))

    async def store_notification(self, incoming: ReceivedNotification, *, id: UUID, job_id: UUID) -> bool:
        return await self._steps.take("store.store_notification", lambda: Store.store_notification(self, incoming, id=id, job_id=job_id))

    async def load_notification(self, payment_id: UUID, id: UUID) -> StoredNotification | None:
        return await self._steps.take("store.load_notification", lambda: Store.load_notification(self, payment_id, id))

    async def settle_notification(self, mark: NotificationMark, fence: Fence, anomaly: Anomaly | None) -> bool:
        return await self._steps.take(
            f"store.settle_notification({mark.verdict})", lambda: Store.settle_notification(self, mark, fence, anomaly)
        )


class SteppingProvider:
    """The rail as a process reaches it that may be killed at each call."""

    def __init__(self, provider: Provider, steps: Steps) -> None:
        self.name = provider.name
        self.schedule = provider.schedule
        self._provider = provider
        self._steps = steps

    async def refund(self, order: Order) -> Outcome:
        return await self._steps.take("rail.refund", lambda: self._provider.refund(order))

    async def void(self, order: Order) -> Outcome:
        return await self._steps.take("rail.void", lambda: self._provider.void(order))

    async def find(self, order: Order) -> Outcome:
        return await self._steps.take("rail.find", lambda: self._provider.find(order))

    async def cancel(self, order: Order) -> Outcome:
        return await self._steps.take("rail.cancel", lambda: self._provider.cancel(order))

    def successor_reference(self, provider_reference: str) -> str:
        return self._provider.successor_reference(provider_reference)

    def read(self, body: bytes) -> ProviderNotification | None:
        return self._provider.read(body)
