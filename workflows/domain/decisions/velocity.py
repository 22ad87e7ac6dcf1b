"""Whether one cancellation more may be asked for: by the limits that policy sets for agents, and by one for everybody."""

from datetime import datetime

from workflows.domain.agent_limits import AgentLimit, reached_limit, seconds_left
from workflows.domain.enums import ASKS_FOR_OTHERS
from workflows.domain.errors import AgentLimitReached, TooManyRequests
from workflows.domain.model import Actor, Snapshot

REQUESTS_MAX = 500  # of one caller for one payment, in 24 hours; policy's own limit is meant to be far below
_RETRY_SECONDS = 3600


def check_flood(snapshot: Snapshot) -> None:
    """Raises TooManyRequests: each request is put on record, refused ones too, and a history must have an end."""
    if snapshot.requests_made >= REQUESTS_MAX:
        raise TooManyRequests(_RETRY_SECONDS)


def check_agent_limits(snapshot: Snapshot, actor: Actor, amount: int, now: datetime) -> None:
    """Raises AgentLimitReached where a request over `amount` (in minor units) would pass a limit. Nobody but ours is bound."""
    asked, currency = snapshot.agent_requests, snapshot.payment.currency
    if asked is None or actor.role not in ASKS_FOR_OTHERS:
        return
    limit = reached_limit(asked.limits, asked, amount=amount, currency=currency)
    if limit is not None:
        alone = limit is AgentLimit.amount_per_day and amount > asked.limits.amount_per_day[currency]
        raise AgentLimitReached(limit, seconds_left(limit, asked, now), alone)
