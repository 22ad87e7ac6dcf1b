"""A circuit breaker: counts one rail's failures, pauses it, and has one question asked whether it is back.

Why it is our own: .github/decisions/0026-own-circuit-breaker.md.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from workflows.domain.rail_states import BreakerState


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerConfig:
    """When a breaker opens, and for how long."""

    failures: int = 5  # one after the other
    pause_seconds: float = 10.0  # doubles while the rail stays away
    pause_seconds_max: float = 300.0


class CircuitBreaker:
    """What is asked before a job is claimed, and told of every call. It refuses no call by itself.

    A call counts only in the state that it began in: one on its way when the breaker opened neither prolongs the pause nor ends it.
    """

    def __init__(self, config: BreakerConfig, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._monotonic = monotonic  # seconds
        self._failures = 0
        self._pause_seconds = 0.0  # of the last pause; 0: the rail has answered an order since
        self._open_until: float | None = None
        self._changed = monotonic()
        self._period = 0  # of calls whose outcomes count together

    @property
    def state(self) -> BreakerState:
        if self._open_until is None:
            return BreakerState.closed
        return BreakerState.open if self._monotonic() < self._open_until else BreakerState.half_open

    @property
    def state_seconds(self) -> float:
        """For how long it has been so."""
        began = self._open_until if self.state is BreakerState.half_open and self._open_until is not None else self._changed
        return self._monotonic() - began

    def room(self, wanted: int) -> int:
        """How many of `wanted` calls may begin together."""
        match self.state:
            case BreakerState.closed:
                return wanted
            case BreakerState.half_open | BreakerState.open:
                return 0

    def begin(self) -> int | None:
        """A call begins; what is returned goes to `end`."""
        return None if self.state is BreakerState.open else self._period

    def end(self, begun: int | None, *, answered: bool | None) -> bool:
        """Whether this outcome changes the state. `answered`: None where it says nothing of the rail; a probe has to be answered."""
        if begun != self._period:
            return False
        if self._open_until is not None:
            if answered:
                self._close()
            else:
                self._open()
            return True
        if answered:
            self._failures, self._pause_seconds = 0, 0.0
        elif answered is not None:
            self._failures += 1
        if self._failures < self._config.failures:
            return False
        self._open()
        return True

    def _open(self) -> None:
        """Twice as long as before, where the rail has answered no order since: that it answers a question is not enough."""
        self._changed = self._monotonic()
        self._pause_seconds = max(self._config.pause_seconds, min(2 * self._pause_seconds, self._config.pause_seconds_max))
        self._open_until = self._changed + self._pause_seconds
        self._period += 1

    def _close(self) -> None:
        self._changed = self._monotonic()
        self._failures = 0
        self._open_until = None
        self._period += 1
