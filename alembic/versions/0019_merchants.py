"""Keep what is told of merchants, version by version, with their own terms."""

from alembic import op
from workflows.storage import guards

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

MERCHANT = """
create table merchant (
  merchant_id text not null,
  version counted_from_one not null,
  name text not null,
  contact jsonb not null,
  webhook text,
  rules jsonb not null,
  auto_accept_up_to jsonb not null,
  changed_at timestamptz not null,
  changed_by text not null,
  primary key (merchant_id, version)
)
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute(MERCHANT)
    for statement in (*guards.grant("merchant", ("select", "insert")), *guards.refuse("merchant", ("update", "delete", "truncate"))):
        op.execute(statement)


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("drop table merchant")
