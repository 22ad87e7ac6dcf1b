"""How a worker's circuit breakers stand, as it tells the others."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class BreakerState(StrEnum):
    """How a rail's circuit breaker stands."""

    closed = "closed"  # the rail answers: its jobs are done
    half_open = "half_open"  # the pause is over: one job at a time tries whether it answers again
    open = "open"  # it has failed again and again: its jobs wait


class RailState(Struct, frozen=True):
    """One rail's breaker."""

    name: str
    state: BreakerState
    since: datetime


_WORST_FIRST = (BreakerState.open, BreakerState.half_open, BreakerState.closed)


def worst_of_each(states: Iterable[RailState]) -> list[RailState]:
    """By rail, in the order of their names: the worst state that any worker tells of, and since when."""
    worst: dict[str, RailState] = {}
    for told in sorted(states, key=lambda each: (each.name, _WORST_FIRST.index(each.state), each.since)):
        worst.setdefault(told.name, told)
    return list(worst.values())
