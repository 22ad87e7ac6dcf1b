"""What one person of ours asked for lately, over all payments."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workflows.domain.agent_limits import AgentRequests
from workflows.domain.enums import ASKS_FOR_OTHERS
from workflows.domain.model import Payment


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRequestsQuery:
    """Whose requests, made later than `since`."""

    sub: str
    since: datetime


async def load(connection: Any, wanted: AgentRequestsQuery, payment: Payment) -> AgentRequests:
    """Seen from the payment: its currency, its wallet. `connection`: `Connections`, or asyncpg's connection or pool."""
    row = await connection.fetchrow(_ASKED, wanted.sub, wanted.since, payment.currency, payment.wallet_id)
    return AgentRequests(
        requests=row["requests"],
        requests_from=row["requests_from"],
        amount=int(row["amount"]),
        amount_from=row["amount_from"],
        to_wallet=row["to_wallet"],
        to_wallet_from=row["to_wallet_from"],
    )


_ROLES = ",".join(sorted(ASKS_FOR_OTHERS))
_ASKED = f"""
    select count(*) as requests, min(created_at) as requests_from,
           coalesce(sum(amount) filter (where in_currency), 0) as amount, min(created_at) filter (where in_currency) as amount_from,
           count(*) filter (where to_wallet) as to_wallet, min(created_at) filter (where to_wallet) as to_wallet_from
      from (select c.created_at, c.amount, c.currency = $3 and c.state <> 'refused' as in_currency,
                   p.wallet_id = $4 and c.state <> 'refused' as to_wallet
              from cancellation c join payment p on p.id = c.payment_id
             where c.requester_role = any ('{{{_ROLES}}}'::actor_role[]) and c.requester_id = $1 and c.created_at > $2
             offset 0) asked"""
