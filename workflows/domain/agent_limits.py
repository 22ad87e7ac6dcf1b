"""Velocity limits of agents: how much one person of ours may ask for within 24 hours, over all payments."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct, field

DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class AgentLimit(StrEnum):
    """The limits by their names in a policy."""

    requests_per_day = "requests_per_day"
    amount_per_day = "amount_per_day"
    refunds_to_wallet_per_day = "refunds_to_wallet_per_day"


class AgentLimits(Struct, frozen=True, kw_only=True):
    """None, and a currency that is not named: no limit."""

    requests_per_day: int | None = None
    amount_per_day: Mapping[str, int] = field(default_factory=dict)  # by currency, in minor units
    refunds_to_wallet_per_day: int | None = None


class AgentRequests(Struct, frozen=True, kw_only=True):
    """What one person of ours asked for in the 24 hours before, seen from one payment; with each, when the oldest that counts was made.

    What policy refused counts as a request only: no money was to go.
    """

    limits: AgentLimits = AgentLimits()  # those of the policy in force
    requests: int = 0
    requests_from: datetime | None = None
    amount: int = 0  # in the payment's currency, minor units
    amount_from: datetime | None = None
    to_wallet: int = 0  # the payment's
    to_wallet_from: datetime | None = None


def reached_limit(limits: AgentLimits, asked: AgentRequests, *, amount: int, currency: str) -> AgentLimit | None:
    """The first limit that one request more, over `amount` (in minor units), would pass."""
    if limits.requests_per_day is not None and asked.requests >= limits.requests_per_day:
        return AgentLimit.requests_per_day
    amount_max = limits.amount_per_day.get(currency)
    if amount_max is not None and asked.amount + amount > amount_max:
        return AgentLimit.amount_per_day
    if limits.refunds_to_wallet_per_day is not None and asked.to_wallet >= limits.refunds_to_wallet_per_day:
        return AgentLimit.refunds_to_wallet_per_day
    return None


def seconds_left(limit: AgentLimit, asked: AgentRequests, now: datetime) -> int:
    """Whole seconds, at least one, until the oldest request that counts for the limit drops out; a day where none does."""
    oldest = {
        AgentLimit.requests_per_day: asked.requests_from,
        AgentLimit.amount_per_day: asked.amount_from,
        AgentLimit.refunds_to_wallet_per_day: asked.to_wallet_from,
    }[limit]
    left = DAY if oldest is None else oldest + DAY - now
    return max(1, -(-left // _SECOND))
