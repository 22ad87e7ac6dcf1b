"""The page for Prometheus: what the processes count, and what the database knows, however many ask for it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import asyncpg
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.api.rail_states import HEARTBEAT_AGE_MAX
from service.shared_metrics import counted_metrics
from workflows.commands import TRANSIENT, Runtime
from workflows.domain.rail_states import BreakerState, RailState, worst_of_each
from workflows.storage.figures import COUNT_MAX, Figure

PAGE_SECONDS: Final = 1.0  # for so long the same page is shown to everybody
FIGURES_SECONDS: Final = 5.0  # no more often the database is asked
_PATIENCE_SECONDS: Final = 5.0
_BREAKER: Final = {BreakerState.closed: 0, BreakerState.half_open: 1, BreakerState.open: 2}


@dataclass(frozen=True, slots=True)
class DatabaseFigures:
    """What the database told; `answered` is false where it did not."""

    answered: bool
    rails: tuple[RailState, ...] = ()
    figures: tuple[Figure, ...] = ()


class MetricsPage:
    """Made by one task, at most once in PAGE_SECONDS; the database's part of it at most once in FIGURES_SECONDS."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._page: tuple[float, bytes] | None = None
        self._known: tuple[float, DatabaseFigures] | None = None
        self._making: asyncio.Task[bytes] | None = None

    async def get(self, runtime: Runtime) -> bytes:
        """In Prometheus' text format."""
        if self._page is not None and self._monotonic() - self._page[0] < PAGE_SECONDS:
            return self._page[1]
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(runtime))
        return await asyncio.shield(self._making)

    async def _make(self, runtime: Runtime) -> bytes:
        known = await self._figures(runtime)
        registry = CollectorRegistry()
        registry.register(_Families(known))
        page = counted_metrics() + generate_latest(registry)
        self._page = self._monotonic(), page
        return page

    async def _figures(self, runtime: Runtime) -> DatabaseFigures:
        if self._known is None or self._monotonic() - self._known[0] >= FIGURES_SECONDS:
            self._known = self._monotonic(), await _load(runtime)
        return self._known[1]


async def _load(runtime: Runtime) -> DatabaseFigures:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            rails = worst_of_each(await runtime.store.rail_states(runtime.clock() - HEARTBEAT_AGE_MAX))
            return DatabaseFigures(True, tuple(rails), tuple(await runtime.store.figures(runtime.queue_clock())))
    except (*TRANSIENT, TimeoutError, asyncpg.PostgresError):  # before its migrations it has no such tables
        return DatabaseFigures(False)


class _Families(Collector):
    """The database's figures as metrics. Each API process tells the same: to be read with `max`, never with `sum`."""

    def __init__(self, known: DatabaseFigures) -> None:
        self._known = known

    def collect(self) -> Iterable[GaugeMetricFamily]:
        yield GaugeMetricFamily("refundry_database_answers", "Whether the database told the figures below.", value=self._known.answered)
        breakers = GaugeMetricFamily(
            "refundry_rail_breaker_state", "Circuit breaker of a rail: 0 closed, 1 half open, 2 open.", labels=["rail"]
        )
        for rail in self._known.rails:  # a rail of which nobody tells any more has no value
            breakers.add_metric([rail.name], _BREAKER[rail.state])
        yield breakers
        for name, text in _COUNTS.items():
            yield from self._of(name, text)

    def _of(self, name: str, text: "_Text") -> Iterable[GaugeMetricFamily]:
        counts = GaugeMetricFamily(f"refundry_{name}", f"{text.count} Counted up to {COUNT_MAX}.", labels=text.labels)
        ages = GaugeMetricFamily(f"refundry_{text.age_name}_seconds", text.age, labels=text.labels)
        for one in self._known.figures:
            if one.name == name:
                labels = [{"rail": one.rail}.get(label, one.kind) for label in text.labels]
                counts.add_metric(labels, one.count)
                if one.oldest_seconds is not None:
                    ages.add_metric(labels, one.oldest_seconds)
        return counts, ages


@dataclass(frozen=True, slots=True)
class _Text:
    labels: tuple[str, ...]
    count: str
    age_name: str
    age: str


_COUNTS: Final = {
    "legs": _Text(("rail", "state"), "Legs on their way.", "leg_age", "Since the oldest of them was first sent, or made."),
    "jobs_due": _Text(("kind", "rail"), "Jobs that are due, and that no worker has.", "job_due_age", "Since the oldest of them was due."),
    "jobs_leased": _Text(("kind", "rail"), "Jobs that a worker has.", "lease_overdue", "Since the first of their leases ended."),
    "cases": _Text(("state",), "Cancellations that are open.", "case_age", "Since the oldest of them was asked for."),
    "cases_overdue": _Text((), "Cancellations whose deadline, or whose time to answer, is over.", "case_overdue", "For how long, at most."),
    "anomalies_open": _Text(
        (), "Anomalies about which nobody has done anything, of the newest 5000.", "anomaly_age", "Since the oldest of them."
    ),
}
