"""Index the queue by kind and rail: a worker claims no job of a rail that it does not have."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    with op.get_context().autocommit_block():  # an index that is built beside the running queue cannot be built in a transaction
        op.execute("drop index concurrently if exists job_due")
        op.execute("drop index concurrently if exists job_leased")
        op.execute("create index concurrently if not exists job_due on job (kind, provider, run_at) where leased_until is null")
        op.execute(
            "create index concurrently if not exists job_leased on job (kind, provider, leased_until) where leased_until is not null"
        )


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    with op.get_context().autocommit_block():
        op.execute("drop index concurrently if exists job_due")
        op.execute("drop index concurrently if exists job_leased")
        op.execute("create index concurrently if not exists job_due on job (kind, run_at) where leased_until is null")
        op.execute("create index concurrently if not exists job_leased on job (kind, leased_until) where leased_until is not null")
