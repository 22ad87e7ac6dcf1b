"""Validate what 0007 promised, in a transaction of its own: reading the tables blocks nobody who writes."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("alter table payment validate constraint payment_source_within_funding")
    op.execute("alter table payment validate constraint payment_sources_in_range")


def downgrade() -> None:
    """Nothing is undone: a validated constraint promises no more than one that is not."""
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
