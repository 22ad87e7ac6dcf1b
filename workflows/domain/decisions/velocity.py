"""Whether somebody of ours may ask for one cancellation more, by the limits that policy sets for agents."""

from datetime import datetime

from workflows.domain.agent_limits import AgentLimit, reached_limit, seconds_left
from workflows.domain.enums import ASKS_FOR_OTHERS
from workflows.domain.errors import AgentLimitReached
from workflows.domain.model import Actor, Snapshot


def check_agent_limits(snapshot: Snapshot, actor: Actor, amount: int, now: datetime) -> None:
    """Raises AgentLimitReached where a request over `amount` (in minor units) would pass a limit. Nobody but ours is bound."""
    asked, currency = snapshot.agent_requests, snapshot.payment.currency
    if asked is None or actor.role not in ASKS_FOR_OTHERS:
        return
    limit = reached_limit(asked.limits, asked, amount=amount, currency=currency)
    if limit is not None:
        alone = limit is AgentLimit.amount_per_day and amount > asked.limits.amount_per_day[currency]
        raise AgentLimitReached(limit, seconds_left(limit, asked, now), alone)
