"""The cases that nobody has, most urgent first, for whoever asks for the next one."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from workflows.domain.enums import CANCELLATION_OURS
from workflows.domain.model import IdempotentResponse
from workflows.storage.snapshot import REPLY_COLUMNS, kept_reply

CASES_MAX = 20  # of one look


@dataclass(frozen=True, slots=True, kw_only=True)
class NextCasesQuery:
    """For whom, and what to leave out. `scope_id`, `sub` and `key`: where the reply is kept."""

    sub: str
    is_supervisor: bool
    now: datetime
    scope_id: UUID
    key: str
    without: Collection[UUID] = ()


@dataclass(frozen=True, slots=True)
class NextCases:
    """The reply that was kept; else the payment's and the cancellation's id of each case."""

    reply: IdempotentResponse | None
    cases: tuple[tuple[UUID, UUID], ...]


async def load(connection: Any, wanted: NextCasesQuery) -> NextCases:
    """One statement, one snapshot. `connection`: `Connections`, or asyncpg's connection or pool, to the primary."""
    rows = await connection.fetch(
        _NEXT, wanted.scope_id, wanted.sub, wanted.key, wanted.is_supervisor, wanted.now, list(wanted.without), CASES_MAX
    )
    return NextCases(kept_reply(rows[0]), tuple((row["payment_id"], row["id"]) for row in rows if row["id"] is not None))


_OURS = ",".join(sorted(CANCELLATION_OURS))

# Each queue is a part of the index `cancellation_next`, in its order. The persons who may not decide a case are few of those it holds;
# of stuck money there is nothing to decide that another person must. An agent's case whose deadline has passed is a supervisor's, also
# before a worker has come to it.
_NEXT = f"""
    with free as (
        select c.payment_id, c.id, c.due_at
          from (values ('awaiting_agent'::cancellation_state, false), ('awaiting_agent', true), ('awaiting_second_approval', false),
                       ('needs_attention', false), ('needs_attention', true)) as queue (state, raised)
         cross join lateral (
               select payment_id, id, least(first_response_due_at, resolution_due_at, deadline_at) as due_at
                 from cancellation
                where assigned_to is null and state = any ('{{{_OURS}}}'::cancellation_state[])
                  and state = queue.state and raised = queue.raised
                  and ($4::boolean or deadline_at > $5)
                  and (queue.state = 'needs_attention' or (requester_id <> $2
                       and merchant->>'decided_by' is distinct from $2 and merchant->>'taken_by' is distinct from $2
                       and goods->>'received_by' is distinct from $2
                       and not approvals @> jsonb_build_array(jsonb_build_object('by', $2::text))))
                  and id <> all ($6::uuid[])
                order by least(first_response_due_at, resolution_due_at, deadline_at), id
                limit $7::integer) c
         where $4::boolean or (queue.state <> 'awaiting_second_approval' and not queue.raised)
         order by c.due_at, c.id
         limit $7::integer
    )
    select free.payment_id, free.id, {REPLY_COLUMNS}
      from (select 1) as one
      left join kept_reply k on k.scope_id = $1 and k.caller = $2 and k.key = $3
      left join free on k.key is null
     order by free.due_at, free.id"""
