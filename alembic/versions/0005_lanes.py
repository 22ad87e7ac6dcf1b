"""Index the queue by kind, so that each of a worker's lanes claims its own and ten thousand deadlines stand in no refund's way."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    with op.get_context().autocommit_block():  # an index that is built beside the running queue cannot be built in a transaction
        op.execute("create index concurrently if not exists job_due on job (kind, run_at) where leased_until is null")
        op.execute("create index concurrently if not exists job_leased on job (kind, leased_until) where leased_until is not null")
        op.execute("drop index concurrently if exists job_ready")
        op.execute("drop index concurrently if exists job_running")


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    with op.get_context().autocommit_block():
        op.execute("create index concurrently if not exists job_ready on job (run_at) where leased_until is null")
        op.execute("create index concurrently if not exists job_running on job (leased_until) where leased_until is not null")
        op.execute("drop index concurrently if exists job_due")
        op.execute("drop index concurrently if exists job_leased")
