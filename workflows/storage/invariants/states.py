"""The states: of payments and cancellations, and what belongs to what."""

from workflows.storage.invariants.form import CAN, LEG, LIVE, LOST, MAY_STILL_ARRIVE, OPEN, PAY, UNFINISHED, Invariant, id_of

STATES = (
    Invariant(
        name="payment_state_is_its_cancellations",
        looks_at="payment",
        sql=f"""{UNFINISHED}
        select format('%s state=%s origin=%s asking=%s moving=%s refunded=%s amount=%s', {PAY}, p.state,
                      coalesce(p.origin_state::text, '-'), coalesce(u.asking, 0), coalesce(u.moving, 0), p.amount_refunded, p.amount)
          from payment p left join unfinished u on u.payment_id = p.id
         where case p.state
               when 'cancel_requested' then u.asking = 1 and (p.origin_state = 'completed') = (p.completed_at is not null)
               when 'refunding' then u.moving > 0
               when 'pending' then u.payment_id is null and p.completed_at is null and p.amount_refunded < p.amount
               when 'completed' then u.payment_id is null and p.completed_at is not null
                    and p.amount_refunded + p.amount_charged_back + p.amount_forfeited < p.amount
               when 'refunded' then (u.payment_id is null or p.amount_charged_back > 0)
                    and p.amount_refunded + p.amount_charged_back + p.amount_forfeited >= p.amount
               when 'failed' then u.payment_id is null and p.failure_code is not null
               when 'cancelled' then u.payment_id is null and cardinality(p.allocated) = (
                    select count(distinct l.position) from leg l
                      join cancellation c on c.payment_id = l.payment_id and c.id = l.cancellation_id and c.state in ('completed', 'failed')
                     where l.payment_id = p.id and l.kind = 'void' and l.state = 'succeeded')
               end is not true
            or (p.state = 'cancel_requested') <> (p.origin_state is not null)""",
    ),
    Invariant(
        name="cancellation_state_is_its_legs",
        looks_at="cancellation",
        sql=f"""
        select format('%s state=%s legs=%s waiting=%s missing=%s', {CAN}, c.state, g.legs, g.waiting, g.missing)
          from cancellation c
          left join payment p on p.id = c.payment_id
          cross join lateral (
               select count(*) as legs, count(*) filter (where l.kind = 'refund') as refunds,
                      count(*) filter (where l.state in ({MAY_STILL_ARRIVE})) as waiting,
                      count(*) filter (where l.state <> 'succeeded') as missing,
                      count(*) filter (where l.kind = 'refund' and l.state <> 'succeeded') as unpaid
                 from leg l where l.payment_id = c.payment_id and l.cancellation_id = c.id and {LIVE}) g
         where case c.state
               when 'executing' then g.waiting > 0
               when 'needs_attention' then g.missing > 0
               -- Paid; or forfeited whole; or released, or failed before it settled, though a late capture may have been refunded since.
               when 'completed' then (g.refunds > 0 and g.unpaid = 0)
                    or (g.refunds = 0 and (p.failure_code is not null or (g.legs > 0 and g.missing = 0)
                        or {LOST} = c.amount))
               when 'failed' then g.waiting = 0 or p.amount_charged_back > 0
               else g.legs = 0
               end is not true""",
    ),
    Invariant(
        name="one_open_cancellation",
        looks_at="cancellation",
        sql=f"""
        select format('%s open=%s', {id_of("pay", "c.payment_id")}, count(*)) from cancellation c
         where not c.reopened and c.state in ({OPEN}) group by c.payment_id having count(*) > 1""",
    ),
    Invariant(
        name="policies_exist",
        looks_at="payment",
        sql=f"""
        select format('%s policy_version=%s', {PAY}, p.policy_version) from payment p
         where not exists (select from policy o where o.version = p.policy_version)
        union all
        select format('%s policy_version=%s', {CAN}, c.policy_version) from cancellation c left join payment p on p.id = c.payment_id
         where not exists (select from policy o where o.version = c.policy_version)
           and c.policy_version is distinct from p.merchant_rules_version""",
    ),
    Invariant(
        name="merchants_exist",
        looks_at="payment",
        sql=f"""
        select format('%s merchant_rules_version=%s', {PAY}, p.merchant_rules_version) from payment p
         where p.merchant_rules_version is not null and not exists (
               select from merchant m
                where m.merchant_id = p.merchant_id and m.merchant_id || '@' || m.version = p.merchant_rules_version
                  and m.changed_at <= p.authorised_at)
        union all
        select format('%s@%s first=%s', m.merchant_id, m.version, m.changed_at) from merchant m
          left join merchant b on b.merchant_id = m.merchant_id and b.version = m.version - 1
         where m.version > 1 and (b.version is null or b.changed_at > m.changed_at)""",
    ),
    Invariant(
        name="parts_belong",
        looks_at="cancellation",
        sql=f"""
        select {CAN} from cancellation c where not exists (select from payment p where p.id = c.payment_id)
        union all
        select {LEG} from leg l
         where not exists (select from cancellation c where c.payment_id = l.payment_id and c.id = l.cancellation_id)
        union all
        select {id_of("txt", "t.id")} from personal_text t
         where (not exists (select from payment p where p.id = t.payment_id)
                and not exists (select from anomaly a where a.scope_id = t.payment_id and a.id = t.subject_id))
            or (t.subject_id <> t.payment_id
                and not exists (select from cancellation c where c.payment_id = t.payment_id and c.id = t.subject_id)
                and not exists (select from anomaly a where a.scope_id = t.payment_id and a.id = t.subject_id))""",
    ),
)
