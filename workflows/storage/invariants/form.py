"""The form of an invariant, and the pieces of SQL that several of them share."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from workflows.domain import ids
from workflows.domain.enums import CANCELLATION_OPEN, LEG_ON_ITS_WAY, LegState


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    name: str
    looks_at: str  # the table whose rows are counted as looked at
    sql: str


def id_of(prefix: ids.Prefix, column: str) -> str:
    """SQL for an id as it is known outside."""
    return f"'{prefix}_' || replace({column}::text, '-', '')"


def sql_list(words: Iterable[StrEnum]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


PAY, CAN, RFD, LEG = id_of("pay", "p.id"), id_of("can", "c.id"), id_of("rfd", "c.refund_id"), id_of("leg", "l.id")
OPEN = sql_list(CANCELLATION_OPEN)
ON_ITS_WAY = sql_list(LEG_ON_ITS_WAY)
MAY_STILL_ARRIVE = f"{ON_ITS_WAY}, '{LegState.held}'"
WORST_FIRST = (
    "array['failed', 'returned', 'requires_action', 'unknown', 'held', 'scheduled', 'submitted', 'processing', 'succeeded']::leg_state[]"
)

# A leg that a successor replaced is history, and so is a successor of one that arrived after all; the others are what there is of the
# movement.
LIVE = """(l.state = 'succeeded' or not exists (
    select from leg s where s.payment_id = l.payment_id and (s.replaces = l.id or (
        s.state = 'succeeded' and (s.cancellation_id, s.kind, s.position) = (l.cancellation_id, l.kind, l.position)))))"""
REFUNDED_TOO = (
    "exists (select from cancellation r where r.payment_id = l.payment_id and r.id = l.cancellation_id"
    " and (r.refund_id is not null or r.state = 'failed'))"
)
# Money that is with the customer: what a refund paid out. A void counts where a refund had to do the rest, and where a person closed it
# half done, since what was released stays so; otherwise nothing of the payment ever moved.
COUNTS = f"l.state = 'succeeded' and (l.kind = 'refund' or {REFUNDED_TOO})"
# Promotions that a rule did not give back: settled without a leg.
LOST = "(select coalesce(sum(f), 0) from unnest(c.forfeited) f)"
BACK = f"""
with back as (
    select l.payment_id, l.cancellation_id, sum(l.amount) as amount from leg l where {COUNTS} group by 1, 2
)"""
UNFINISHED = f"""
with unfinished as (
    select c.payment_id, count(*) filter (where moving) as moving, count(*) filter (where not moving) as asking
      from (select c.payment_id, c.state in ('executing', 'needs_attention') and c.refund_id is not null as moving
              from cancellation c where c.state in ({OPEN})) as c
     group by 1
)"""
# Out of the text, since a body that somebody changed need not be JSON any more. In canonical form only the actor stands before it.
AMOUNT_TOLD = "substring(r.body from '\"amount\":([0-9]{1,16})[,}]')::bigint"
