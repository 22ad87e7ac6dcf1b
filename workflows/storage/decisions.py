"""Decisions as they were kept, page by page in the order in which they were made."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from workflows.domain.enums import Refusal, Route
from workflows.domain.policies.facts import PolicyFacts, facts_from
from workflows.domain.policies.simulation import KeptDecision
from workflows.storage.list_filters import Place

PAGE_ROWS = 200  # read at one go: some milliseconds in which nothing else has its turn

# In the order of `cancellation_newest`, and of no other index (see `newest_first`). The page is found before its payments are looked up:
# joined at once, a plan for any values might read all that lies in the span.
_PAGE = f"""
with page as materialized (
    select id, payment_id, created_at, route, refusal, rule, override_ticket is not null as overridden, facts
      from cancellation
     where (created_at, id) > ($1, $2) and created_at < $3
     order by created_at nulls first, id nulls first
     limit {PAGE_ROWS})
select page.*, p.policy_version, p.merchant_rules_version
  from page join payment p on p.id = page.payment_id
 order by page.created_at, page.id
"""


def before_all(start: datetime) -> Place:
    """Where a span begins: nothing has this id."""
    return Place(start, UUID(int=0))


async def page(pool: Any, after: Place, end: datetime) -> list[KeptDecision]:
    """The next decisions after that place and before `end`: PAGE_ROWS of them, or fewer where there are no more."""
    return [_decision(row) for row in await pool.fetch(_PAGE, after.at, after.id, end)]


def _decision(row: Mapping[str, Any]) -> KeptDecision:
    return KeptDecision(
        cancellation_id=row["id"],
        payment_id=row["payment_id"],
        created_at=row["created_at"],
        policy_version=row["policy_version"],
        merchant_rules_version=row["merchant_rules_version"],
        facts=_facts(row["facts"]),
        route=None if row["route"] is None else Route(row["route"]),
        refusal=None if row["refusal"] is None else Refusal(row["refusal"]),
        rule=row["rule"],
        overridden=row["overridden"],
    )


def _facts(text: str) -> PolicyFacts | None:
    """None where no policy was asked (a late capture is sent back by a person's word alone), or what was kept cannot be read."""
    data = json.loads(text)
    try:
        return facts_from(data) if data else None
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
