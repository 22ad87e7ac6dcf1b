"""The work that is waiting, and the records: nothing is forgotten, nothing is untold."""

from workflows.domain import ids
from workflows.domain.enums import JobKind
from workflows.storage.invariants.form import AMOUNT_TOLD, CAN, LEG, ON_ITS_WAY, PAY, Invariant, id_of

# Where replies are kept that belong to no payment: the collections whose POST takes an idempotency key.
COLLECTIONS = ("/v1/policies", "/v1/cancellations/next", "/v1/anomalies", "/v1/webhook-endpoints", "/v1/bulk-cancellations")
# Between two questions at a rail no more than this may lie, by the settings; a rail that wants to be left alone longer is asked then.
ENQUIRY_DAYS_MAX = 31

WORK = (
    Invariant(
        name="legs_have_a_next_step",
        looks_at="leg",
        sql=f"""
        select format('%s state=%s jobs=%s', {LEG}, l.state, j.jobs) from leg l
          cross join lateral (
               select count(*) as jobs from job j
                where j.payment_id = l.payment_id and j.kind = '{JobKind.move}' and j.subject_id = l.id) j
         where l.state in ({ON_ITS_WAY}) and j.jobs <> 1""",
    ),
    Invariant(
        name="clocks_have_a_job",
        looks_at="cancellation",
        sql=f"""
        select format('%s state=%s jobs=%s', {CAN}, c.state, j.jobs) from cancellation c
          cross join lateral (
               select count(*) as jobs from job j
                where j.payment_id = c.payment_id and j.kind = '{JobKind.deadline}' and j.subject_id = c.clock_id) j
         where c.clock_id is not null and j.jobs <> 1""",
    ),
    Invariant(
        name="jobs_have_a_subject",
        looks_at="job",
        sql=f"""
        select format('%s kind=%s', {id_of("job", "j.id")}, j.kind) from job j
         where not case j.kind
               when '{JobKind.move}' then exists (select from leg l where l.payment_id = j.payment_id and l.id = j.subject_id)
               when '{JobKind.recheck}' then exists (select from leg l where l.payment_id = j.payment_id and l.id = j.subject_id)
               when '{JobKind.notification}'
               then exists (select from notification n where n.payment_id = j.payment_id and n.id = j.subject_id)
               when '{JobKind.deadline}'  -- a clock that was stopped leaves its job, which then finds nothing to do
               then exists (select from cancellation c where c.payment_id = j.payment_id)
               else false end""",
    ),
    Invariant(
        name="jobs_are_due_in_time",
        looks_at="job",
        # A job that was lost is put back as due at once, however late that is: hence the present moment beside the schedule.
        sql=f"""
        select format('%s kind=%s run_at=%s due_by=%s', {id_of("job", "j.id")}, j.kind, j.run_at, d.by) from job j
          left join leg l on j.kind in ('{JobKind.move}', '{JobKind.recheck}') and l.payment_id = j.payment_id and l.id = j.subject_id
          left join cancellation c on j.kind = '{JobKind.deadline}' and c.payment_id = j.payment_id and c.clock_id = j.subject_id
          left join notification n on j.kind = '{JobKind.notification}' and n.payment_id = j.payment_id and n.id = j.subject_id
          cross join lateral (select greatest(clock_timestamp(), case j.kind
               when '{JobKind.deadline}' then c.deadline_at
               when '{JobKind.notification}' then n.received_at + interval '{ENQUIRY_DAYS_MAX} days'
               else least(coalesce(l.next_attempt_at, 'infinity'), l.updated_at + interval '{ENQUIRY_DAYS_MAX} days') end) as by) d
         where coalesce(l.id, c.id, n.id) is not null and j.run_at > d.by""",
    ),
    Invariant(
        name="leases_end",
        looks_at="job",
        sql=f"""
        select format('%s kind=%s leased_until=%s', {id_of("job", "j.id")}, j.kind, j.leased_until)
          from job j left join payment p on p.id = j.payment_id
         where j.leased_until > interval '1 day' + greatest(
               clock_timestamp(), p.updated_at, least(j.run_at, p.updated_at + interval '{ENQUIRY_DAYS_MAX} days'))""",
    ),
    Invariant(
        name="notifications_are_heard",
        looks_at="notification",
        sql=f"""
        select {id_of("ntf", "n.id")} from notification n
         where (n.handled_at is null) <> (n.verdict is null)
            or (n.handled_at is null and not exists (
                select from job j where j.payment_id = n.payment_id and j.kind = '{JobKind.notification}' and j.subject_id = n.id))""",
    ),
    Invariant(
        name="replies_belong",
        looks_at="kept_reply",
        sql=f"""
        select format('scope=%s caller=%s', k.scope_id, k.caller) from kept_reply k
         where not exists (select from payment p where p.id = k.scope_id)
           and k.scope_id::text not in ({", ".join(f"'{ids.scope_id(path)}'" for path in COLLECTIONS)})""",
    ),
)

RECORDS = (
    Invariant(
        name="payment_holds_the_head",
        looks_at="payment",
        sql=f"""
        select format('%s sequence=%s last_record=%s', {PAY}, p.sequence, coalesce(e.sequence, 0)) from payment p
          left join record r on r.chain_id = p.id and r.sequence = p.sequence
          left join lateral (select max(sequence) as sequence from record where chain_id = p.id) e on true
         where r.hash is distinct from p.head or e.sequence is distinct from p.sequence
            or not starts_with(reverse(r.body), reverse(format(',"to_state":"%s","type":"%s"}}', p.state, r.type)))""",
    ),
    Invariant(
        name="payment_registered_first",
        looks_at="payment",
        sql=f"""
        select {PAY} from payment p
         where not exists (select from record r where r.chain_id = p.id and r.sequence = 1 and r.type = 'payment.registered')
        union all
        select {id_of("rec", "r.id")} from record r where r.type = 'payment.registered' and r.sequence <> 1""",
    ),
    Invariant(
        name="records_belong",
        looks_at="record",
        sql=f"""
        select format('%s chain=%s', {id_of("rec", "r.id")}, r.chain) from record r left join payment p on p.id = r.payment_id
         where case when r.payment_id is null then r.chain like 'pay\\_%'
               else p.id is null or r.chain_id <> p.id or r.chain <> {PAY} or r.merchant_id is distinct from p.merchant_id end""",
    ),
    Invariant(
        name="versions_are_on_record",
        looks_at="record",
        # Out of the text, as the amounts are: what somebody changed need not be JSON any more.
        sql="""
        with told as (
            select r.type, r.occurred_at, r.actor_id,
                   case r.type when 'policy.published' then substring(r.body from '"policy_version":"([^"]*)"')
                               else substring(r.body from '"merchant_rules_version":("(?:[^"\\\\]|\\\\.)*")') end as version
              from record r where r.payment_id is null and r.type in ('policy.published', 'merchant.changed')
        ), kept as (
            select 'policy.published' as type, version, published_at as at, published_by as by from policy
            union all
            select 'merchant.changed', to_json(merchant_id || '@' || version)::text, changed_at, changed_by from merchant
        )
        select format('version=%s type=%s records=%s', coalesce(k.version, t.version), coalesce(k.type, t.type), count(t.type))
          from kept k
          full join told t on t.type = k.type and t.version = k.version and t.occurred_at = k.at and t.actor_id = k.by
         group by k.version, t.version, k.type, t.type having count(k.type) <> 1 or count(t.type) <> 1""",
    ),
    Invariant(
        name="records_tell_what_moved",
        looks_at="payment",
        sql=f"""
        with told as (
            select r.payment_id, r.type, count(*) as n, sum({AMOUNT_TOLD}) as amount from record r
             where r.type in ('refund.succeeded', 'refund.returned', 'void.succeeded') group by 1, 2
        ), happened as (
            select l.payment_id, t.type, count(*) as n, sum(l.amount) as amount from leg l
             cross join lateral (values (l.kind::text || '.succeeded'),
                   (case l.state when 'returned' then l.kind::text || '.returned' end)) t(type)
             where l.state in ('succeeded', 'returned') and t.type is not null group by 1, 2
        )
        select format('%s type=%s records=%s amount=%s legs=%s legs_amount=%s', {id_of("pay", "coalesce(t.payment_id, h.payment_id)")},
                      coalesce(t.type, h.type), coalesce(t.n, 0), coalesce(t.amount, 0), coalesce(h.n, 0), coalesce(h.amount, 0))
          from told t full join happened h on h.payment_id = t.payment_id and h.type = t.type
         where (t.n, t.amount) is distinct from (h.n, h.amount)""",
    ),
)
