"""The sums: of payments, their sources and their items, of refunds and legs."""

from workflows.storage.invariants.form import BACK, COUNTS, LEG, LIVE, LOST, OPEN, PAY, RFD, WORST_FIRST, Invariant

MONEY = (
    Invariant(
        name="refunds_within_amount",
        looks_at="payment",
        sql=f"""
        select format('%s refunded=%s reserved=%s amount=%s', {PAY}, p.amount_refunded, p.amount_reserved, p.amount) from payment p
         where p.amount_refunded < 0 or p.amount_reserved < 0 or p.amount_charged_back < 0 or p.amount_forfeited < 0
            or p.amount_refunded + p.amount_reserved + p.amount_forfeited > p.amount""",
    ),
    Invariant(
        name="funding_makes_up_amount",
        looks_at="payment",
        sql=f"""
        select format('%s funding=%s items=%s amount=%s', {PAY}, f.amount, i.amount, p.amount)
          from payment p
          cross join lateral (select sum((e->>'amount')::bigint) as amount from jsonb_array_elements(p.funding) e) f
          cross join lateral (select sum((e->>2)::bigint) as amount from jsonb_array_elements(p.items) e) i
         where f.amount is distinct from p.amount or coalesce(i.amount, p.amount) <> p.amount""",
    ),
    Invariant(
        name="refunded_is_what_arrived",
        looks_at="payment",
        sql=f"""{BACK}
        select format('%s refunded=%s legs=%s', {PAY}, p.amount_refunded, coalesce(b.amount, 0))
          from payment p left join (select payment_id, sum(amount) as amount from back group by 1) b on b.payment_id = p.id
         where p.amount_refunded <> coalesce(b.amount, 0)""",
    ),
    Invariant(
        name="reserved_is_what_is_open",
        looks_at="payment",
        sql=f"""{BACK}
        select format('%s reserved=%s cancellations=%s', {PAY}, p.amount_reserved, coalesce(h.amount, 0))
          from payment p left join (
               select c.payment_id, sum(c.amount - coalesce(b.amount, 0) - {LOST}) as amount
                 from cancellation c left join back b on b.payment_id = c.payment_id and b.cancellation_id = c.id
                where c.state in ({OPEN}) group by 1) h on h.payment_id = p.id
         where p.amount_reserved <> coalesce(h.amount, 0)
        union all
        select format('%s forfeited=%s cancellations=%s', {PAY}, p.amount_forfeited, h.amount)
          from payment p
          cross join lateral (select coalesce(sum({LOST}), 0) as amount from cancellation c where c.payment_id = p.id) h
         where p.amount_forfeited <> h.amount""",
    ),
    Invariant(
        name="allocated_is_what_refunds_took",
        looks_at="payment",
        sql=f"""
        with counted as (
            select l.payment_id, l.position, sum(l.amount) as amount from leg l
              join cancellation c on c.payment_id = l.payment_id and c.id = l.cancellation_id
             where (l.kind = 'refund' and {LIVE} and (c.state <> 'failed' or l.state = 'succeeded')) or (l.kind = 'void' and {COUNTS})
             group by 1, 2
        ), forfeited as (
            select c.payment_id, f.n - 1 as position, sum(f.amount) as amount
              from cancellation c cross join lateral unnest(c.forfeited) with ordinality f(amount, n) group by 1, 2
        )
        select format('%s source=%s allocated=%s amount=%s legs=%s forfeited=%s',
                      {PAY}, a.n - 1, a.amount, f.amount, coalesce(k.amount, 0), coalesce(g.amount, 0))
          from payment p
          cross join lateral unnest(p.allocated) with ordinality a(amount, n)
          cross join lateral (select (p.funding->(a.n - 1)::int->>'amount')::bigint as amount) f
          left join counted k on k.payment_id = p.id and k.position = a.n - 1
          left join forfeited g on g.payment_id = p.id and g.position = a.n - 1
         where a.amount <> coalesce(k.amount, 0) + coalesce(g.amount, 0) or a.amount > coalesce(f.amount, 0)
        union all
        select format('%s source=%s funding=none', {PAY}, k.position)
          from counted k join payment p on p.id = k.payment_id where k.position not between 0 and cardinality(p.allocated) - 1""",
    ),
    Invariant(
        name="no_source_gets_more_than_it_paid",
        looks_at="leg",
        sql=f"""
        select format('%s source=%s returned=%s amount=%s', {PAY}, l.position, l.amount, f.amount)
          from (select payment_id, cancellation_id, position, sum(amount) as amount from leg where state = 'succeeded' group by 1, 2, 3) l
          join payment p on p.id = l.payment_id
          cross join lateral (select (p.funding->l.position->>'amount')::bigint as amount) f
         where l.amount > coalesce(f.amount, 0)""",
    ),
    Invariant(
        name="quantities_are_what_was_cancelled",
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
        select format('%s item=%s cancelled=%s cancellations=%s', {PAY}, q.n - 1, q.quantity, coalesce(t.at_most, 0))
          from payment p
          cross join lateral unnest(p.cancelled_quantities) with ordinality q(quantity, n)
          left join taken t on t.payment_id = p.id and t.reference = p.items->(q.n - 1)::int->>0
         where q.quantity not between coalesce(t.at_least, 0) and coalesce(t.at_most, 0)
            or q.quantity > coalesce((p.items->(q.n - 1)::int->>1)::bigint, 0)""",
    ),
    Invariant(
        name="refund_is_its_legs",
        looks_at="cancellation",
        sql=f"""
        select format('%s amount=%s legs=%s voided=%s cancellation=%s state=%s worst_leg=%s',
                      {RFD}, c.refund_amount, g.amount, v.amount, c.amount, c.refund_state, g.state)
          from cancellation c
          cross join lateral (
               select sum(l.amount) as amount, ({WORST_FIRST})[min(array_position({WORST_FIRST}, l.state))] as state from leg l
                where l.payment_id = c.payment_id and l.refund_id = c.refund_id and {LIVE}) g
          cross join lateral (
               select coalesce(sum(l.amount), 0) as amount from leg l
                where l.payment_id = c.payment_id and l.cancellation_id = c.id and l.kind = 'void' and l.state = 'succeeded') v
         where c.refund_id is not null
           and (c.refund_amount is distinct from g.amount
                -- A refund that was closed with nothing paid gives the promotions back that it had not.
                or (c.refund_amount + v.amount + {LOST} is distinct from c.amount and not (c.state = 'failed' and c.forfeited = '{{}}'))
                or c.refund_state is distinct from g.state)""",
    ),
    Invariant(
        name="legs_follow_their_order",
        looks_at="leg",
        sql=f"""
        select {LEG} from leg l
          left join payment p on p.id = l.payment_id
          left join cancellation r on r.payment_id = l.payment_id and r.refund_id = l.refund_id
          left join leg o on o.payment_id = l.payment_id and o.id = l.replaces
         where l.currency is distinct from p.currency
            or (l.kind = 'refund') <> (r.id is not null)
            or (r.id is not null and (r.id <> l.cancellation_id or r.currency <> l.currency))
            or (l.replaces is not null and (o.id is null
                or not (o.state in ('failed', 'returned') or (o.state = 'succeeded' and l.state in ('failed', 'returned')))
                or (o.cancellation_id, o.kind, o.position, o.amount) <> (l.cancellation_id, l.kind, l.position, l.amount)
                or (select count(*) from leg s where s.payment_id = l.payment_id and s.replaces = l.replaces) > 1))""",
    ),
)
