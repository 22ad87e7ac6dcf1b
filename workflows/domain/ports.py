"""What the outside must be able to do for us, and the answers that it can give.

An answer of the outside world is a value. `Unknown` is one of them: a lost answer is never a failure.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Protocol
from uuid import UUID

from msgspec import Struct

Clock = Callable[[], datetime]  # the present moment, aware and UTC
NewId = Callable[[], UUID]  # UUIDs of version 7, strictly growing within a process


class Order(Struct, frozen=True, kw_only=True):
    """One movement to be made at a rail. Everything in it is the same at every attempt."""

    rail_key: str  # the rail's idempotency key, at most 64 of [0-9a-f]
    payment_reference: str  # ours, so that the rail's book can be compared with the payment
    provider_reference: str  # the rail's own name for the payment that is undone
    amount: int
    currency: str


class Done(Struct, frozen=True):
    """The rail has made the movement, with the amount and currency that it says."""

    amount: int
    currency: str
    provider_refund_id: str | None = None
    rail_reference: str | None = None


class Pending(Struct, frozen=True):
    """Accepted; the rail will tell."""

    provider_refund_id: str | None = None


class Declined(Struct, frozen=True):
    """Refused for good; nothing moved."""

    failure_code: str


class Unknown(Struct, frozen=True):
    """No readable answer came: it may or may not have happened."""

    why: str  # timeout, connection, unreadable


class ProviderUnavailable(Struct, frozen=True):
    """The rail said that it did nothing and wants to be asked again later."""

    retry_after_seconds: float | None = None


class NeedsAction(Struct, frozen=True):
    """The rail waits for somebody: the user, or us."""

    provider_refund_id: str | None = None


class Settled(Struct, frozen=True):
    """A void found that the payment had been captured meanwhile; nothing was undone."""


class Absent(Struct, frozen=True):
    """Asked after, the rail knows no movement under this key."""


class Returned(Struct, frozen=True):
    """The rail sent back what it had confirmed."""

    failure_code: str | None = None


Outcome = Done | Pending | Declined | Unknown | ProviderUnavailable | NeedsAction | Settled | Absent | Returned


class ProviderNotification(Struct, frozen=True):
    """What a rail says in a notification about one key."""

    rail_key: str
    outcome: Outcome


class RailSchedule(Struct, frozen=True, kw_only=True):
    """How patiently a rail is asked what became of an order, and when a person is called."""

    enquiries: tuple[timedelta, ...]  # from one question to the next; the last one repeats
    sends_again: bool  # the rail does at most one movement under a key: what nobody answers for is sent again under its own
    unknown_max: timedelta  # after it was first sent: an outcome that nobody knows then is a person's matter, too
    processing_max: timedelta  # the same, of what the rail has accepted
    rechecks: tuple[timedelta, ...] = ()  # after a refund was confirmed: when it is asked whether it came back, for as long as it may

    def next_recheck(self, confirmed_at: datetime, now: datetime) -> datetime | None:
        """The next moment after `now`; None where the money stays where it is."""
        return next((at for wait in self.rechecks if (at := confirmed_at + wait) > now), None)


class Provider(Protocol):
    """One rail. Every call ends with an outcome; none raises for what the rail or the network did."""

    name: str
    schedule: RailSchedule

    async def refund(self, order: Order) -> Outcome: ...

    async def void(self, order: Order) -> Outcome: ...

    async def find(self, order: Order) -> Outcome:
        """Ask what became of `order.rail_key`; no effect."""
        ...

    async def cancel(self, order: Order) -> Outcome:
        """Cancel the movement under `order.rail_key`, which waits for somebody.

        Declined is the rail's word that it will never move. Any other outcome says where it is: what moved, or may still move, is not
        cancelled.
        """
        ...

    def successor_reference(self, provider_reference: str) -> str:
        """The rail's name for the payment, in the order that follows one that failed. Mostly the same."""
        ...

    def read(self, body: bytes) -> ProviderNotification | None:
        """What a stored notification says; None where it names no key. Its signature was checked when it came."""
        ...


class Calendar(Protocol):
    """Which days are business days somewhere."""

    def is_business_day(self, day: date) -> bool: ...
