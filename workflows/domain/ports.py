"""What the outside must be able to do for us, and the answers that it can give.

An answer of the outside world is a value. `Unknown` is one of them: a lost answer is never a failure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

Clock = Callable[[], datetime]  # the present moment, aware and UTC
NewId = Callable[[], UUID]  # UUIDs of version 7, strictly growing within a process


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One movement to be made at a rail. Everything in it is the same at every attempt."""

    rail_key: str  # the rail's idempotency key, at most 64 of [0-9a-f]
    payment_reference: str  # ours, so that the rail's book can be compared with the payment
    provider_reference: str  # the rail's own name for the payment that is undone
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Done:
    """The rail has made the movement, with the amount and currency that it says."""

    amount: int
    currency: str
    provider_refund_id: str | None = None
    rail_reference: str | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """Accepted; the rail will tell."""

    provider_refund_id: str | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """Refused for good; nothing moved."""

    failure_code: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """No readable answer came: it may or may not have happened."""

    why: str  # timeout, connection, unreadable


@dataclass(frozen=True, slots=True)
class ProviderUnavailable:
    """The rail said that it did nothing and wants to be asked again later."""

    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class NeedsAction:
    """The rail waits for somebody: the user, or us."""

    provider_refund_id: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A void found that the payment had been captured meanwhile; nothing was undone."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Asked after, the rail knows no movement under this key."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The rail sent back what it had confirmed."""

    failure_code: str | None = None


Outcome = Done | Pending | Declined | Unknown | ProviderUnavailable | NeedsAction | Settled | Absent | Returned


@dataclass(frozen=True, slots=True)
class ProviderNotification:
    """What a rail says in a notification about one key."""

    rail_key: str
    outcome: Outcome


class Provider(Protocol):
    """One rail. Every call ends with an outcome; none raises for what the rail or the network did."""

    name: str

    async def refund(self, order: Order) -> Outcome: ...

    async def void(self, order: Order) -> Outcome: ...

    async def find(self, order: Order) -> Outcome:
        """Ask what became of `order.rail_key`; no effect."""
        ...

    def read(self, body: bytes) -> ProviderNotification | None:
        """What a stored notification says; None where it names no key. Its signature was checked when it came."""
        ...


class Calendar(Protocol):
    """Which days are business days somewhere."""

    def is_business_day(self, day: date) -> bool: ...
