"""Let jobs ask a rail again of refunds that it has confirmed."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    with op.get_context().autocommit_block():  # a word may not be used in the transaction that adds it
        op.execute("alter type job_kind add value if not exists 'recheck' after 'deadline'")


def downgrade() -> None:
    """The questions are given up. An enum type loses no word: the version before never uses this one."""
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    # What nobody has claimed is not deleted.
    op.execute("update job set attempt = attempt + 1, leased_until = clock_timestamp() where kind::text = 'recheck'")
    op.execute("delete from job where kind::text = 'recheck'")
