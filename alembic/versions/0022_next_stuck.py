"""Index stuck cases among those that nobody has."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

DUE = "least(first_response_due_at, resolution_due_at, deadline_at)"
OURS = "'{awaiting_agent,awaiting_second_approval,needs_attention}'::cancellation_state[]"
OURS_BEFORE = "'{awaiting_agent,awaiting_second_approval}'::cancellation_state[]"


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    _index(OURS)


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    _index(OURS_BEFORE)


def _index(ours: str) -> None:
    with op.get_context().autocommit_block():  # an index that is built beside running work cannot be built in a transaction
        op.execute("drop index concurrently if exists cancellation_next")
        op.execute(
            f"create index concurrently if not exists cancellation_next on cancellation (state, raised, {DUE}, id)"
            f" where assigned_to is null and state = any ({ours})"
        )
