"""The rails that a process speaks to, and how patiently it does."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from workflows.domain.ports import Order, Provider, RailSchedule
from workflows.domain.rail_states import BreakerState, RailState
from workflows.flows.circuit_breaker import CircuitBreaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Rails:
    """The rails by name. Each states its own schedule."""

    providers: Mapping[str, Provider]
    breakers: Mapping[str, CircuitBreaker] = field(default_factory=dict)  # by rail; one that has none is never paused
    call_seconds_max: float = 0.0  # no call to a rail lasts longer; a worker whose lease has less left does not begin one

    def wait(self, schedule: RailSchedule, attempt: int) -> timedelta:
        """How long until the next enquiry, a fifth more or less, so that a rail that was away is not asked by all at once."""
        base = schedule.enquiries[min(max(attempt, 1), len(schedule.enquiries)) - 1]
        return base * (0.8 + secrets.randbelow(401) / 1000)

    def state(self, provider: str) -> BreakerState:
        breaker = self.breakers.get(provider)
        return BreakerState.closed if breaker is None else breaker.state

    def room(self, provider: str, wanted: int) -> int:
        """How many of `wanted` jobs may be claimed for this rail now."""
        breaker = self.breakers.get(provider)
        return wanted if breaker is None else breaker.room(wanted)

    async def probe(self, provider: str) -> None:
        """Ask the rail after a key that nobody has used: whether it answers is all that counts, and no order is spent on it."""
        unused = secrets.token_hex(32)
        await self.providers[provider].find(
            Order(rail_key=unused, payment_reference="probe", provider_reference="probe", amount=1, currency="XXX")
        )

    def states(self, now: datetime) -> list[RailState]:
        """How each breaker stands, and since when."""
        return [
            RailState(name, breaker.state, now - timedelta(seconds=breaker.state_seconds))
            for name, breaker in sorted(self.breakers.items())
        ]

    def first_recheck(self, provider: str, confirmed_at: datetime) -> datetime | None:
        """When the rail is asked again of a refund that it confirmed then; None where nobody has to, or this process does not have it."""
        known = self.providers.get(provider)
        return None if known is None else known.schedule.next_recheck(confirmed_at, confirmed_at)

    def recheck_spans(self) -> dict[str, timedelta]:
        """By rail, for how long after its confirmation a refund may come back; those where the money stays are not named."""
        return {name: max(rail.schedule.rechecks) for name, rail in self.providers.items() if rail.schedule.rechecks}

    def successor_reference(self, provider: str, provider_reference: str) -> str:
        """As the rail says; the same where this process does not have it."""
        known = self.providers.get(provider)
        return provider_reference if known is None else known.successor_reference(provider_reference)
