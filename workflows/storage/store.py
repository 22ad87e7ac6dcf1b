"""The database as the workflows see it: every way in and out, in one object that a test can wrap."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from workflows.domain.agent_limits import AgentRequests
from workflows.domain.changes import Change
from workflows.domain.model import Anomaly, Payment, Snapshot
from workflows.domain.ports import RailSchedule
from workflows.domain.rail_states import RailState
from workflows.storage import (
    agent_requests,
    anomalies,
    apply,
    jobs,
    merchants,
    next_cases,
    notifications,
    policies,
    service_chain,
    snapshot,
    sweeping,
    workers,
)
from workflows.storage.agent_requests import AgentRequestsQuery
from workflows.storage.anomalies import AnomalyQuery, AnomalyResolutionState, FoundAnomaly
from workflows.storage.apply import ApplyResult, Fence, NotificationMark
from workflows.storage.figures import Figure, load_figures
from workflows.storage.jobs import Claim, Queue
from workflows.storage.mapping import ResponseToKeep
from workflows.storage.merchants import Merchants, MerchantState
from workflows.storage.next_cases import NextCases, NextCasesQuery
from workflows.storage.notifications import ReceivedNotification, StoredNotification
from workflows.storage.policies import Policies, PublicationQuery, PublicationState
from workflows.storage.service_chain import ServiceChange
from workflows.storage.snapshot import Registration, SnapshotQuery
from workflows.storage.sweeping import JobsPutBack, RecheckPlace


class Store:
    """Statements over one set of connections. Each method but the sweep is one statement, and so happens whole or not at all."""

    def __init__(self, pool: Any, side: Any = None) -> None:
        self.pool = pool
        self.side = pool if side is None else side  # places of their own for claims, signs of life and what is asked of them
        self.policies = Policies(pool)
        self.merchants = Merchants(pool)
        self._payment_of: dict[UUID, UUID] = {}

    async def load(self, wanted: SnapshotQuery) -> Snapshot | None:
        return await snapshot.load(self.pool, wanted)

    async def load_many(self, payment_ids: Sequence[UUID], cancellation_ids: Sequence[UUID] = ()) -> dict[UUID, Snapshot]:
        return await snapshot.load_many(self.pool, payment_ids, cancellation_ids)

    async def load_for_registration(self, payment_id: UUID, authorised_at: datetime, merchant_id: str) -> Registration:
        return await snapshot.load_for_registration(self.pool, payment_id, authorised_at, merchant_id)

    async def apply(
        self,
        change: Change,
        *,
        keep: ResponseToKeep | None = None,
        scope_id: UUID | None = None,
        fence: Fence | None = None,
        mark: NotificationMark | None = None,
    ) -> ApplyResult:
        return await apply.apply(self.pool, change, keep=keep, scope_id=scope_id, fence=fence, mark=mark)

    async def keep_response(self, scope_id: UUID, keep: ResponseToKeep) -> bool:
        return await apply.keep_response(self.pool, scope_id, keep)

    async def next_cases(self, wanted: NextCasesQuery) -> NextCases:
        return await next_cases.load(self.pool, wanted)

    async def agent_requests(self, wanted: AgentRequestsQuery, payment: Payment) -> AgentRequests:
        return await agent_requests.load(self.pool, wanted, payment)

    async def load_for_publication(self, wanted: PublicationQuery) -> PublicationState:
        return await policies.load_for_publication(self.pool, wanted)

    async def load_anomalies(self, ids: Sequence[UUID]) -> list[FoundAnomaly]:
        return await anomalies.load(self.pool, ids)

    async def load_for_resolution(self, wanted: AnomalyQuery) -> AnomalyResolutionState:
        return await anomalies.load_for_resolution(self.pool, wanted)

    async def load_merchant(self, merchant_id: str) -> MerchantState:
        return await merchants.load(self.pool, merchant_id)

    async def apply_service_change(self, change: ServiceChange) -> ApplyResult:
        return await service_chain.write(self.pool, change)

    async def claim(self, queues: Iterable[Queue], *, now: datetime | None, monotonic: float, lease: timedelta, limit: int) -> list[Claim]:
        return await jobs.claim(self.side, queues, now=now, monotonic=monotonic, lease=lease, limit=limit)

    async def finish_job(self, fence: Fence) -> bool:
        return await apply.finish_job(self.pool, fence)

    async def store_notification(self, incoming: ReceivedNotification, *, id: UUID, job_id: UUID) -> bool:
        return await notifications.store(self.pool, incoming, id=id, job_id=job_id)

    async def load_notification(self, payment_id: UUID, id: UUID) -> StoredNotification | None:
        return await notifications.load(self.pool, payment_id, id)

    async def settle_notification(self, mark: NotificationMark, fence: Fence, anomaly: Anomaly | None) -> bool:
        return await apply.settle_notification(self.pool, mark, fence, anomaly)

    async def payment_of_cancellation(self, cancellation_id: UUID) -> UUID | None:
        """Which payment a cancellation belongs to. It never changes, so it is remembered; where it is not, an index tells."""
        known = self._payment_of.get(cancellation_id)
        if known is None:
            known = await self.pool.fetchval("select payment_id from cancellation where id = $1", cancellation_id)
            if known is not None:
                self.remember(cancellation_id, known)
        return known

    async def parents_of_refund(self, refund_id: UUID) -> tuple[UUID, UUID] | None:
        """The payment's and the cancellation's id."""
        row = await self.pool.fetchrow("select payment_id, id from cancellation where refund_id = $1", refund_id)
        return None if row is None else (row["payment_id"], row["id"])

    def remember(self, cancellation_id: UUID, payment_id: UUID) -> None:
        if len(self._payment_of) >= _REMEMBERED_MAX:
            self._payment_of.clear()
        self._payment_of[cancellation_id] = payment_id

    async def beat(self, worker_id: UUID, now: datetime | None, rails: Iterable[RailState] = ()) -> None:
        await workers.beat(self.side, worker_id, now, rails)

    async def has_living_worker(self, now: datetime | None, age_max: timedelta) -> bool:
        return await workers.is_any_alive(self.side, now, age_max)

    async def rail_states(self, since: datetime) -> list[RailState]:
        return await workers.rail_states(self.side, since)

    async def figures(self, now: datetime | None) -> list[Figure]:
        return await load_figures(self.side, now)

    async def unheard_legs(self, provider: str, schedule: RailSchedule, now: datetime) -> list[tuple[UUID, UUID]]:
        return await sweeping.unheard(self.side, provider, schedule, now)

    async def put_jobs_back(self, now: datetime) -> JobsPutBack:
        return await sweeping.put_back(self.side, now)

    async def put_rechecks_back(
        self, spans: Mapping[str, timedelta], now: datetime, after: RecheckPlace | None
    ) -> tuple[int, RecheckPlace | None]:
        return await sweeping.put_rechecks_back(self.side, spans, now, after)

    async def sweep_replies(self, now: datetime, *, share: timedelta = timedelta(seconds=30)) -> int:
        """Let go of replies older than thirty days, oldest first, in small batches, for no longer than `share`; how many went.

        Each batch is a transaction of its own and begins where the last one ended, so that none reads again what is gone.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + share.total_seconds()
        swept = 0
        oldest = _LONG_AGO
        while True:
            count, last = await self.side.fetchrow(_SWEEP, oldest, now - _KEPT_FOR, _SWEEP_ROWS, _SWEEPERS_LOCK)
            swept += int(count)
            if count < _SWEEP_ROWS or loop.time() >= end:
                return swept
            oldest = last


# One sweeper at a time; another goes away instead of waiting. (SKIP LOCKED would need the right to update, which nobody has here.)
_SWEEPERS_LOCK = 0x7377_6565_7073
_SWEEP_ROWS = 2000
_KEPT_FOR = timedelta(days=30)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_SWEEP = """
with alone as materialized (select pg_try_advisory_xact_lock($4) as alone),
old as materialized (
    select ctid from kept_reply where created_at >= $1 and created_at < $2 and (select alone from alone) order by created_at limit $3
),
gone as (delete from kept_reply where ctid = any (array(select ctid from old)) returning created_at)
select count(*)::integer, max(created_at) from gone
"""

_REMEMBERED_MAX = 100_000
