"""Index cancellations by their deadline, all and each merchant's: the queues of those who must decide.

The index that `overdue` had is replaced, once the new ones are there.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

INDEXES = {
    "cancellation_soonest": "(deadline_at nulls first, id nulls first, state, route, assigned_to)",
    "cancellation_merchant_soonest": "(merchant_id, deadline_at, id, state, route)",
}
REPLACED = {"cancellation_deadline": "(deadline_at)"}


def upgrade() -> None:
    _replace(REPLACED, by=INDEXES)


def downgrade() -> None:
    _replace(INDEXES, by=REPLACED)


def _replace(old: dict[str, str], *, by: dict[str, str]) -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    with op.get_context().autocommit_block():  # an index that is built beside running work cannot be built in a transaction
        for name, columns in by.items():
            op.execute(f"drop index concurrently if exists {name}")  # what a build that failed has left
            op.execute(f"create index concurrently if not exists {name} on cancellation {columns} where deadline_at is not null")
        for name in old:
            op.execute(f"drop index concurrently if exists {name}")
