"""Keep anomalies as rows, give each job its rail, and hold source by source that no more goes back than was paid.

What failed and returned legs had taken of their source stays taken now, until a person ends their refund.
"""

from alembic import op
from workflows.storage import guards

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KINDS = (
    "'amount_mismatch', 'captured_late', 'voided_late', 'paid_after_failure', 'paid_twice', 'contradiction', 'unknown_key', 'unreadable'"
)

ANOMALY = f"""
create table anomaly (
  scope_id uuid not null,
  id uuid not null,
  payment_id uuid,
  kind text not null,
  word text not null,
  provider text,
  leg_id uuid,
  data jsonb not null,
  created_at timestamptz not null,
  primary key (scope_id, id),
  constraint anomaly_of_a_payment foreign key (payment_id) references payment (id),
  constraint anomaly_scope_is_the_payments check (payment_id is null or payment_id = scope_id),
  constraint anomaly_kind_is_a_word check (kind in ({_KINDS}))
)"""
ONE_A_WORD = "create unique index one_anomaly_per_word on anomaly (scope_id, word)"

# What the legs of unfinished refunds had given back of their sources, and now keep.
_KEPT = """
select l.payment_id, l.position, sum(l.amount) as amount from leg l
  join cancellation c on c.payment_id = l.payment_id and c.id = l.cancellation_id and c.state <> 'failed'
 where l.kind = 'refund' and l.state in ('failed', 'returned')
   and not exists (select from leg s where s.payment_id = l.payment_id and s.replaces = l.id)
 group by 1, 2"""


def _moved(sign: str) -> str:
    return f"""
with kept as ({_KEPT})
update payment p set allocated = (
    select array_agg(a.amount {sign} coalesce(k.amount, 0) order by a.n)
      from unnest(p.allocated) with ordinality a(amount, n) left join kept k on k.payment_id = p.id and k.position = a.n - 1)
 where p.id in (select payment_id from kept)"""  # noqa: S608 -- our own words


_WITHIN = " and ".join(f"allocated[{n + 1}] <= (funding->{n}->>'amount')::bigint" for n in range(10))
CHECKS = {
    "payment_source_within_funding": _WITHIN,
    "payment_sources_in_range": "jsonb_array_length(funding) between 1 and 10",
}


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute(ANOMALY)
    op.execute(ONE_A_WORD)
    for statement in (*guards.refuse("anomaly", ("update", "delete", "truncate")), *guards.grant("anomaly", ("select", "insert"))):
        op.execute(statement)
    op.execute("alter table job add column provider text not null default ''")
    op.execute(
        "update job j set provider = l.provider from leg l where j.kind = 'move' and l.payment_id = j.payment_id and l.id = j.subject_id"
    )
    op.execute(
        "update job j set provider = n.provider from notification n"
        " where j.kind = 'notification' and n.payment_id = j.payment_id and n.id = j.subject_id"
    )
    op.execute(_moved("+"))
    # Where nobody said when a payment was authorised, the moment is ours, and a clock behind ours may tell an earlier settlement.
    op.execute("-- squawk-ignore ban-drop-constraint\nalter table payment drop constraint payment_settled_after_authorised")
    for name, condition in CHECKS.items():
        op.execute(f"alter table payment add constraint {name} check ({condition}) not valid")


def downgrade() -> None:
    """What rails have said is never dropped."""
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute(
        """
do $$
begin
  if exists (select from anomaly) then
    raise exception 'Rails have said what no transition allows; a downgrade would forget it. Restore a backup if that is meant.';
  end if;
end
$$
"""
    )
    for name in CHECKS:
        op.execute(f"-- squawk-ignore ban-drop-constraint\nalter table payment drop constraint {name}")
    settled = "completed_at is null or completed_at >= authorised_at"
    op.execute(f"alter table payment add constraint payment_settled_after_authorised check ({settled}) not valid")
    op.execute(_moved("-"))
    op.execute("alter table job drop column provider")
    op.execute("drop table anomaly")
