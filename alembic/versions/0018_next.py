"""Index the cases that nobody has by their urgency, what is due by when, and agents' requests by who asked."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

DUE = "least(first_response_due_at, resolution_due_at, deadline_at)"
INDEXES = {
    "cancellation_due": f"({DUE}) where {DUE} is not null",
    "cancellation_next": f"(state, raised, {DUE}, id)"
    " where assigned_to is null and state = any ('{awaiting_agent,awaiting_second_approval}'::cancellation_state[])",
    "cancellation_by_agents": "(requester_id, created_at) where requester_role = any ('{agent,supervisor}'::actor_role[])",
}


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    with op.get_context().autocommit_block():  # an index that is built beside running work cannot be built in a transaction
        for name, definition in INDEXES.items():
            op.execute(f"drop index concurrently if exists {name}")  # what a build that failed has left
            op.execute(f"create index concurrently if not exists {name} on cancellation {definition}")


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
