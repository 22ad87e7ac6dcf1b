"""What must hold over the whole database, as data: a name, a sentence, and the SQL that finds whoever breaks it.

Every statement selects one text a violation. They read the tables only, never the code that writes them: a judge must not share
the mistakes of the judged, so that even the order of the legs' states is written down here anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from workflows.domain import ids
from workflows.domain.words import CANCELLATION_OPEN, JobKind, LegState

# Where replies are kept that belong to no payment: the collections whose POST takes an idempotency key.
COLLECTIONS = ("/v1/webhook-endpoints", "/v1/bulk-cancellations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    name: str
    says: str
    looks_at: str  # the table whose rows are counted as looked at
    sql: str


def _id(prefix: ids.Prefix, column: str) -> str:
    """SQL for an id as it is known outside."""
    return f"'{prefix}_' || replace({column}::text, '-', '')"


def _list(words: Iterable[StrEnum]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


_PAY, _CAN, _RFD, _LEG = _id("pay", "p.id"), _id("can", "c.id"), _id("rfd", "r.id"), _id("leg", "l.id")
_OPEN = _list(CANCELLATION_OPEN)
_ON_ITS_WAY = _list({LegState.scheduled, LegState.submitted, LegState.processing, LegState.unknown, LegState.requires_action})
_MAY_STILL_ARRIVE = f"{_ON_ITS_WAY}, '{LegState.held}'"
_WORST_FIRST = "array['failed', 'returned', 'requires_action', 'unknown', 'held', 'scheduled', 'submitted', 'processing', 'succeeded']"

# A leg that a successor replaced is history; the others are what there is of the movement.
_LIVE = "not exists (select from leg s where s.payment_id = l.payment_id and s.replaces = l.id)"
_REFUNDED_TOO = "exists (select from refund r where r.payment_id = l.payment_id and r.cancellation_id = l.cancellation_id)"
# Money that is with the customer: what a refund paid out. A void counts only where a refund had to do the rest, since otherwise
# nothing of the payment ever moved.
_COUNTS = f"l.state = 'succeeded' and (l.kind = 'refund' or {_REFUNDED_TOO})"
_BACK = f"""
with back as (
    select l.payment_id, l.cancellation_id, sum(l.amount) as amount from leg l where {_COUNTS} group by 1, 2
)"""
_UNFINISHED = f"""
with unfinished as (
    select c.payment_id, count(*) filter (where moving) as moving, count(*) filter (where not moving) as asking
      from (select c.payment_id, c.state in ('executing', 'needs_attention') and exists (
                    select from refund r where r.payment_id = c.payment_id and r.cancellation_id = c.id) as moving
              from cancellation c where c.state in ({_OPEN})) as c
     group by 1
)"""
# Out of the text, since a body that somebody changed need not be JSON any more. In canonical form only the actor stands before it.
_AMOUNT_TOLD = "substring(r.body from '\"amount\":([0-9]{1,16})[,}]')::bigint"

MONEY = (
    Invariant(
        name="refunds_within_amount",
        says="0 ≤ refunded + reserved ≤ amount, and neither is negative",
        looks_at="payment",
        sql=f"""
        select format('%s: refunded %s, reserved %s of %s', {_PAY}, p.amount_refunded, p.amount_reserved, p.amount) from payment p
         where p.amount_refunded < 0 or p.amount_reserved < 0 or p.amount_charged_back < 0
            or p.amount_refunded + p.amount_reserved > p.amount""",
    ),
    Invariant(
        name="funding_makes_up_amount",
        says="the funding sources, and the items where there are any, sum to the payment's amount",
        looks_at="payment",
        sql=f"""
        select format('%s: funding %s, items %s, amount %s', {_PAY}, f.amount, i.amount, p.amount)
          from payment p
          cross join lateral (select sum((e->>'amount')::bigint) as amount from jsonb_array_elements(p.funding) e) f
          cross join lateral (select sum((e->>2)::bigint) as amount from jsonb_array_elements(p.items) e) i
         where f.amount is distinct from p.amount or coalesce(i.amount, p.amount) <> p.amount""",
    ),
    Invariant(
        name="refunded_is_what_arrived",
        says="amount_refunded is the sum of the legs that succeeded (voids where the payment settled all the same)",
        looks_at="payment",
        sql=f"""{_BACK}
        select format('%s: says %s, its legs %s', {_PAY}, p.amount_refunded, coalesce(b.amount, 0))
          from payment p left join (select payment_id, sum(amount) as amount from back group by 1) b on b.payment_id = p.id
         where p.amount_refunded <> coalesce(b.amount, 0)""",
    ),
    Invariant(
        name="reserved_is_what_is_open",
        says="amount_reserved is what unfinished cancellations still have to move",
        looks_at="payment",
        sql=f"""{_BACK}
        select format('%s: says %s, its cancellations %s', {_PAY}, p.amount_reserved, coalesce(h.amount, 0))
          from payment p left join (
               select c.payment_id, sum(c.amount - coalesce(b.amount, 0)) as amount
                 from cancellation c left join back b on b.payment_id = c.payment_id and b.cancellation_id = c.id
                where c.state in ({_OPEN}) group by 1) h on h.payment_id = p.id
         where p.amount_reserved <> coalesce(h.amount, 0)""",
    ),
    Invariant(
        name="allocated_is_what_legs_took",
        says="`allocated` of each source is what its legs took, never more than the source gave",
        looks_at="payment",
        sql=f"""
        with counted as (
            select l.payment_id, l.position, sum(l.amount) as amount from leg l
             where (l.kind = 'refund' and l.state not in ('failed', 'returned')) or {_COUNTS} group by 1, 2
        )
        select format('%s: source %s says %s of %s, its legs %s', {_PAY}, a.n - 1, a.amount, f.amount, coalesce(k.amount, 0))
          from payment p
          cross join lateral unnest(p.allocated) with ordinality a(amount, n)
          cross join lateral (select (p.funding->(a.n - 1)::int->>'amount')::bigint as amount) f
          left join counted k on k.payment_id = p.id and k.position = a.n - 1
         where a.amount <> coalesce(k.amount, 0) or a.amount > coalesce(f.amount, 0)
        union all
        select format('%s: legs of source %s, which it does not have', {_PAY}, k.position)
          from counted k join payment p on p.id = k.payment_id where k.position not between 0 and cardinality(p.allocated) - 1""",
    ),
    Invariant(
        name="quantities_are_what_was_cancelled",
        says="`cancelled_quantities` of each item is what cancellations took, never more than was bought",
        looks_at="payment",
        # A refund that was closed half paid may keep its items or give them back: somebody decided. Both are accepted.
        sql=f"""
        with taken as (
            select c.payment_id, i->>0 as reference, sum((i->>1)::bigint) as at_most,
                   sum((i->>1)::bigint) filter (where c.state <> 'failed') as at_least
              from cancellation c cross join lateral jsonb_array_elements(c.items) i
             where c.state not in ('refused', 'declined', 'withdrawn') and (c.state <> 'failed' or exists (
                   select from leg l where l.payment_id = c.payment_id and l.cancellation_id = c.id and l.state = 'succeeded'))
             group by 1, 2
        )
        select format('%s: item %s says %s, its cancellations %s', {_PAY}, q.n - 1, q.quantity, coalesce(t.at_most, 0))
          from payment p
          cross join lateral unnest(p.cancelled_quantities) with ordinality q(quantity, n)
          left join taken t on t.payment_id = p.id and t.reference = p.items->(q.n - 1)::int->>0
         where q.quantity not between coalesce(t.at_least, 0) and coalesce(t.at_most, 0)
            or q.quantity > coalesce((p.items->(q.n - 1)::int->>1)::bigint, 0)""",
    ),
    Invariant(
        name="refund_is_its_legs",
        says="a refund's amount is the sum of its live legs and, with what was voided, its cancellation's; its state is their worst",
        looks_at="refund",
        sql=f"""
        select format('%s: amount %s, legs %s, voided %s, cancellation %s; state %s, legs %s',
                      {_RFD}, r.amount, g.amount, v.amount, c.amount, r.state, g.state)
          from refund r
          left join cancellation c on c.payment_id = r.payment_id and c.id = r.cancellation_id
          cross join lateral (
               select sum(l.amount) as amount, ({_WORST_FIRST})[min(array_position({_WORST_FIRST}, l.state))] as state from leg l
                where l.payment_id = r.payment_id and l.refund_id = r.id and {_LIVE}) g
          cross join lateral (
               select coalesce(sum(l.amount), 0) as amount from leg l
                where l.payment_id = r.payment_id and l.cancellation_id = r.cancellation_id and l.kind = 'void' and l.state = 'succeeded') v
         where r.amount is distinct from g.amount or r.amount + v.amount is distinct from c.amount or r.state is distinct from g.state""",
    ),
    Invariant(
        name="legs_follow_their_order",
        says="a leg has its payment's currency and belongs to its refund's cancellation; a successor repeats what it replaces, once",
        looks_at="leg",
        sql=f"""
        select {_LEG} from leg l
          left join payment p on p.id = l.payment_id
          left join refund r on r.payment_id = l.payment_id and r.id = l.refund_id
          left join leg o on o.payment_id = l.payment_id and o.id = l.replaces
         where l.currency is distinct from p.currency
            or (l.kind = 'refund') <> (r.id is not null)
            or (r.id is not null and (r.cancellation_id <> l.cancellation_id or r.currency <> l.currency))
            or (l.replaces is not null and (o.id is null or o.state not in ('failed', 'returned')
                or (o.cancellation_id, o.kind, o.position, o.amount) <> (l.cancellation_id, l.kind, l.position, l.amount)
                or (select count(*) from leg s where s.payment_id = l.payment_id and s.replaces = l.replaces) > 1))""",
    ),
    Invariant(
        name="rail_keys_unique",
        says="a rail key is made of its payment's and its leg's id, and no two legs share one",
        looks_at="leg",
        sql=f"""
        select {_LEG} from leg l where l.rail_key <> replace(l.payment_id::text || l.id::text, '-', '')
        union all
        select format('%s: %s legs', l.rail_key, count(*)) from leg l group by l.rail_key having count(*) > 1""",
    ),
)

STATES = (
    Invariant(
        name="payment_state_is_its_cancellations",
        says="a payment's state is what its unfinished cancellations and its amounts make of it",
        looks_at="payment",
        sql=f"""{_UNFINISHED}
        select format('%s: %s (from %s), %s asking, %s moving, refunded %s of %s', {_PAY}, p.state, coalesce(p.origin_state, '-'),
                      coalesce(u.asking, 0), coalesce(u.moving, 0), p.amount_refunded, p.amount)
          from payment p left join unfinished u on u.payment_id = p.id
         where case p.state
               when 'cancel_requested' then u.asking = 1 and (p.origin_state = 'completed') = (p.completed_at is not null)
               when 'refunding' then u.moving > 0
               when 'pending' then u.payment_id is null and p.completed_at is null and p.amount_refunded = 0
               when 'completed' then u.payment_id is null and p.completed_at is not null
                    and p.amount_refunded + p.amount_charged_back < p.amount
               when 'refunded' then (u.payment_id is null or p.amount_charged_back > 0)
                    and p.amount_refunded + p.amount_charged_back >= p.amount
               when 'failed' then u.payment_id is null and p.failure_code is not null and p.amount_refunded = 0
               when 'cancelled' then u.payment_id is null and p.amount_refunded = 0 and cardinality(p.allocated) = (
                    select count(distinct l.position) from leg l
                      join cancellation c on c.payment_id = l.payment_id and c.id = l.cancellation_id and c.state = 'completed'
                     where l.payment_id = p.id and l.kind = 'void' and l.state = 'succeeded')
               end is not true
            or (p.state = 'cancel_requested') <> (p.origin_state is not null)""",
    ),
    Invariant(
        name="cancellation_state_is_its_legs",
        says="a cancellation's state is what its legs make of it",
        looks_at="cancellation",
        sql=f"""
        select format('%s: %s, %s legs, %s may still arrive, %s did not', {_CAN}, c.state, g.legs, g.waiting, g.missing)
          from cancellation c
          left join payment p on p.id = c.payment_id
          cross join lateral (
               select count(*) as legs, count(*) filter (where l.kind = 'refund') as refunds,
                      count(*) filter (where l.state in ({_MAY_STILL_ARRIVE})) as waiting,
                      count(*) filter (where l.state <> 'succeeded') as missing,
                      count(*) filter (where l.kind = 'refund' and l.state <> 'succeeded') as unpaid
                 from leg l where l.payment_id = c.payment_id and l.cancellation_id = c.id and {_LIVE}) g
         where case c.state
               when 'executing' then g.waiting > 0
               when 'needs_attention' then g.missing > 0
               when 'completed' then (g.refunds > 0 and g.unpaid = 0)
                    or (g.refunds = 0 and p.state in ('cancelled', 'failed')) or (g.legs = 0 and c.amount = 0)
               when 'failed' then g.waiting = 0 or p.amount_charged_back > 0
               else g.legs = 0
               end is not true""",
    ),
    Invariant(
        name="one_open_cancellation",
        says="a payment has at most one open cancellation, those not counted that the rail reopened",
        looks_at="cancellation",
        sql=f"""
        select format('%s: %s open', {_id("pay", "c.payment_id")}, count(*)) from cancellation c
         where not c.reopened and c.state in ({_OPEN}) group by c.payment_id having count(*) > 1""",
    ),
    Invariant(
        name="policies_exist",
        says="the policy that was pinned to a payment, and each one that decided, is published",
        looks_at="payment",
        sql=f"""
        select format('%s: %s', {_PAY}, p.policy_version) from payment p
         where not exists (select from policy o where o.version = p.policy_version)
        union all
        select format('%s: %s', {_CAN}, c.policy_version) from cancellation c left join payment p on p.id = c.payment_id
         where not exists (select from policy o where o.version = c.policy_version)
           and c.policy_version is distinct from p.merchant_rules_version""",
    ),
    Invariant(
        name="parts_belong",
        says="every cancellation, refund, leg and text belongs to something that exists",
        looks_at="cancellation",
        sql=f"""
        select {_CAN} from cancellation c where not exists (select from payment p where p.id = c.payment_id)
        union all
        select {_RFD} from refund r
         where not exists (select from cancellation c where c.payment_id = r.payment_id and c.id = r.cancellation_id)
        union all
        select {_LEG} from leg l
         where not exists (select from cancellation c where c.payment_id = l.payment_id and c.id = l.cancellation_id)
        union all
        select {_id("txt", "t.id")} from personal_text t
         where not exists (select from payment p where p.id = t.payment_id)
            or (t.subject_id <> t.payment_id
                and not exists (select from cancellation c where c.payment_id = t.payment_id and c.id = t.subject_id))""",
    ),
)

WORK = (
    Invariant(
        name="legs_have_a_next_step",
        says="every leg that is on its way has exactly one job: nothing is forgotten",
        looks_at="leg",
        sql=f"""
        select format('%s: %s, %s jobs', {_LEG}, l.state, j.jobs) from leg l
          cross join lateral (
               select count(*) as jobs from job j
                where j.payment_id = l.payment_id and j.kind = '{JobKind.move}' and j.subject_id = l.id) j
         where l.state in ({_ON_ITS_WAY}) and j.jobs <> 1""",
    ),
    Invariant(
        name="jobs_have_a_subject",
        says="every job is about a leg or a notification that exists",
        looks_at="job",
        sql=f"""
        select format('%s: %s', {_id("job", "j.id")}, j.kind) from job j
         where not case j.kind
               when '{JobKind.move}' then exists (select from leg l where l.payment_id = j.payment_id and l.id = j.subject_id)
               when '{JobKind.notification}'
               then exists (select from notification n where n.payment_id = j.payment_id and n.id = j.subject_id)
               else false end""",
    ),
    Invariant(
        name="notifications_are_heard",
        says="a rail's word was handled, with a verdict, or has a job: none is dropped",
        looks_at="notification",
        sql=f"""
        select {_id("ntf", "n.id")} from notification n
         where (n.handled_at is null) <> (n.verdict is null)
            or (n.handled_at is null and not exists (
                select from job j where j.payment_id = n.payment_id and j.kind = '{JobKind.notification}' and j.subject_id = n.id))""",
    ),
    Invariant(
        name="replies_belong",
        says="a kept reply belongs to a payment or to a collection",
        looks_at="kept_reply",
        sql=f"""
        select format('%s, kept for %s', k.scope_id, k.caller) from kept_reply k
         where not exists (select from payment p where p.id = k.scope_id)
           and k.scope_id::text not in ({", ".join(f"'{ids.scope_id(path)}'" for path in COLLECTIONS)})""",
    ),
)

RECORDS = (
    Invariant(
        name="payment_holds_the_head",
        says="a payment's sequence, head and state are its last record's",
        looks_at="payment",
        sql=f"""
        select format('%s: at %s, the chain ends at %s', {_PAY}, p.sequence, coalesce(e.sequence, 0)) from payment p
          left join record r on r.chain_id = p.id and r.sequence = p.sequence
          left join lateral (select max(sequence) as sequence from record where chain_id = p.id) e on true
         where r.hash is distinct from p.head or e.sequence is distinct from p.sequence
            or not starts_with(reverse(r.body), reverse(format(',"to_state":"%s","type":"%s"}}', p.state, r.type)))""",
    ),
    Invariant(
        name="payment_registered_first",
        says="every payment's first record, and no other, says that it was registered",
        looks_at="payment",
        sql=f"""
        select {_PAY} from payment p
         where not exists (select from record r where r.chain_id = p.id and r.sequence = 1 and r.type = 'payment.registered')
        union all
        select {_id("rec", "r.id")} from record r where r.type = 'payment.registered' and r.sequence <> 1""",
    ),
    Invariant(
        name="records_belong",
        says="a payment's record lies in its payment's chain, under its merchant",
        looks_at="record",
        sql=f"""
        select format('%s in %s', {_id("rec", "r.id")}, r.chain) from record r left join payment p on p.id = r.payment_id
         where case when r.payment_id is null then r.chain like 'pay\\_%'
               else p.id is null or r.chain_id <> p.id or r.chain <> {_PAY} or r.merchant_id is distinct from p.merchant_id end""",
    ),
    Invariant(
        name="records_tell_what_moved",
        says="the records count exactly the legs that succeeded and were returned, with their amounts",
        looks_at="payment",
        sql=f"""
        with told as (
            select r.payment_id, r.type, count(*) as n, sum({_AMOUNT_TOLD}) as amount from record r
             where r.type in ('refund.succeeded', 'refund.returned', 'void.succeeded') group by 1, 2
        ), happened as (
            select l.payment_id, t.type, count(*) as n, sum(l.amount) as amount from leg l
             cross join lateral (values (l.kind || '.succeeded'), (case l.state when 'returned' then l.kind || '.returned' end)) t(type)
             where l.state in ('succeeded', 'returned') and t.type is not null group by 1, 2
        )
        select format('%s: %s %s times, %s in all; legs %s times, %s', {_id("pay", "coalesce(t.payment_id, h.payment_id)")},
                      coalesce(t.type, h.type), coalesce(t.n, 0), coalesce(t.amount, 0), coalesce(h.n, 0), coalesce(h.amount, 0))
          from told t full join happened h on h.payment_id = t.payment_id and h.type = t.type
         where (t.n, t.amount) is distinct from (h.n, h.amount)""",
    ),
)

IN_SQL = MONEY + STATES + WORK + RECORDS
