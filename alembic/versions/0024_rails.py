"""Index the legs that are on their way, and let a worker say how its rails' circuit breakers stand."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

INDEX = "leg_on_its_way"
ON_ITS_WAY = "state = any ('{processing,requires_action,scheduled,submitted,unknown}'::leg_state[])"


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("alter table worker add column if not exists rails jsonb not null default '{}'")
    with op.get_context().autocommit_block():  # an index that is built beside running work cannot be built in a transaction
        op.execute(f"drop index concurrently if exists {INDEX}")  # what a build that failed has left
        op.execute(f"create index concurrently if not exists {INDEX} on leg (payment_id, id) where {ON_ITS_WAY}")


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("alter table worker drop column if exists rails")
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {INDEX}")
