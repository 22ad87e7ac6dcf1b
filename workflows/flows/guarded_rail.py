"""A rail whose outcomes its circuit breaker hears of."""

import time
from collections.abc import Awaitable, Callable

import structlog

from workflows.domain.ports import Order, Outcome, Provider, ProviderNotification, ProviderUnavailable, Unknown
from workflows.flows.circuit_breaker import CircuitBreaker

log = structlog.get_logger("rails")

ObserveCall = Callable[[str, str, str, float], None]  # the rail, the call, its outcome's name in lower case, the seconds it took

_AWAY = frozenset({"timeout", "connection", "unavailable"})  # the rail is not there; `unavailable` is said of a question


def _nobody_observes(_: str, __: str, ___: str, ____: float) -> None:
    """Where nobody counts calls."""


class GuardedProvider:
    """Calls `rail`, and tells `breaker` and `observe` what came of it. No call is refused: a paused rail's jobs are not claimed."""

    def __init__(self, rail: Provider, breaker: CircuitBreaker, observe: ObserveCall = _nobody_observes) -> None:
        self.name = rail.name
        self.schedule = rail.schedule
        self._rail = rail
        self._breaker = breaker
        self._observe = observe

    async def refund(self, order: Order) -> Outcome:
        return await self._heard("refund", self._rail.refund(order))

    async def void(self, order: Order) -> Outcome:
        return await self._heard("void", self._rail.void(order))

    async def find(self, order: Order) -> Outcome:
        return await self._heard("find", self._rail.find(order))

    async def cancel(self, order: Order) -> Outcome:
        return await self._heard("cancel", self._rail.cancel(order))

    def successor_reference(self, provider_reference: str) -> str:
        return self._rail.successor_reference(provider_reference)

    def read(self, body: bytes) -> ProviderNotification | None:
        return self._rail.read(body)

    async def _heard(self, name: str, call: Awaitable[Outcome]) -> Outcome:
        begun, started = self._breaker.begin(), time.perf_counter()
        outcome = await call
        self._observe(self.name, name, type(outcome).__name__.lower(), time.perf_counter() - started)
        if self._breaker.end(begun, answered=answered(outcome)):
            log.warning("rail_breaker_changed", rail=self.name, state=self._breaker.state.value)
        return outcome


def answered(outcome: Outcome) -> bool | None:
    """Whether the rail is there and at work; None where that cannot be told. What it decides about an order is no failure of its own."""
    match outcome:
        case ProviderUnavailable():
            return False
        case Unknown(why) if why in _AWAY or why.startswith("http_5"):
            return False
        case Unknown("unreadable"):
            return None
        case _:
            return True
