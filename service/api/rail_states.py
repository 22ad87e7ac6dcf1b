"""How the rails stand, as the workers' heartbeats tell it: for /readyz and /metrics."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import asyncpg
from prometheus_client import Gauge

from service.api.context import RequestContext
from workflows.commands import TRANSIENT
from workflows.domain.rail_states import BreakerState, RailState, worst_of_each

HEARTBEAT_AGE_MAX: Final = timedelta(seconds=15)
_GAUGE: Final = Gauge("refundry_rail_breaker_state", "Circuit breaker of a rail: 0 closed, 1 half open, 2 open.", ["rail"])
_VALUES: Final = {BreakerState.closed: 0, BreakerState.half_open: 1, BreakerState.open: 2}


async def current_states(context: RequestContext) -> list[RailState]:
    """By rail the worst that a living worker tells of; nothing where the database does not answer."""
    try:
        return worst_of_each(await context.store.rail_states(context.now() - HEARTBEAT_AGE_MAX))
    except (*TRANSIENT, asyncpg.UndefinedColumnError):  # before its migration the database has no such column
        return []


def publish_gauge(states: Iterable[RailState]) -> None:
    """Only what is known now is published: a rail of which nobody tells any more has no value."""
    _GAUGE.clear()
    for each in states:
        _GAUGE.labels(each.name).set(_VALUES[each.state])
