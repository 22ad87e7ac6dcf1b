"""Validate what 0020 promised, in a transaction of its own: reading the tables blocks nobody who writes."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("alter table leg validate constraint leg_ordered_while_it_waits")
    for name in ("raised_once", "due_from_us", "waits_with_a_clock"):
        op.execute(f"alter table cancellation validate constraint cancellation_{name}")


def downgrade() -> None:
    """Nothing is undone: a validated constraint promises no more than one that is not."""
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
