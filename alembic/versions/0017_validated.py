"""Validate what 0016 promised, in a transaction of its own: reading the table blocks nobody who writes."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("alter table cancellation validate constraint cancellation_due_from_us")
    op.execute("alter table cancellation validate constraint cancellation_helpers_do_not_approve")


def downgrade() -> None:
    """Nothing is undone: a validated constraint promises no more than one that is not."""
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
