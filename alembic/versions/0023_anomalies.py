"""Keep what people do about anomalies, step by step, and list anomalies."""

from alembic import op
from workflows.storage import guards

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

STEP = """
create table anomaly_step (
  scope_id uuid not null,
  anomaly_id uuid not null,
  number counted_from_one not null,
  action anomaly_action not null,
  by text not null,
  role actor_role not null,
  at timestamptz not null,
  closes boolean not null,
  primary key (scope_id, anomaly_id, number),
  constraint step_of_an_anomaly foreign key (scope_id, anomaly_id) references anomaly (scope_id, id),
  constraint anomaly_step_proposal_is_a_refund check (closes or (action = 'refund' and number < 2)),
  constraint anomaly_step_at_most_two check (number <= 2)
)
"""
# Built beside running work, and before all else: a migration that was interrupted is run again.
INDEXES = {
    "anomaly_id": "anomaly (id)",
    "anomaly_newest": "anomaly (created_at nulls first, id nulls first)",
    "anomaly_kind": "anomaly (kind, created_at, id)",
    "anomaly_provider": "anomaly (provider, created_at, id) where provider is not null",
}


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    with op.get_context().autocommit_block():
        for name, on in INDEXES.items():
            op.execute(f"create index concurrently if not exists {name} on {on}")
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("create type anomaly_action as enum ('note', 'adopt', 'refund')")
    op.execute(STEP)
    op.execute("create index anomaly_step_proposal on anomaly_step (scope_id, anomaly_id) where not closes")
    op.execute("create unique index one_resolution_per_anomaly on anomaly_step (scope_id, anomaly_id) where closes")
    for statement in (
        *guards.grant("anomaly_step", ("select", "insert")),
        *guards.refuse("anomaly_step", ("update", "delete", "truncate")),
    ):
        op.execute(statement)


def downgrade() -> None:
    """What people have done about anomalies is history."""
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute(
        """
do $$
begin
  if exists (select from anomaly_step) then
    raise exception 'Anomalies have been resolved; a downgrade would forget it. Restore a backup if that is meant.';
  end if;
end
$$
"""
    )
    op.execute("drop table anomaly_step")
    op.execute("drop type anomaly_action")
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
