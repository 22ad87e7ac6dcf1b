"""Keep what a payment was registered with, and let pieces that are worth nothing be cancelled."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_AMOUNT = "cancellation_amount_in_range"
_MOVED = "amount between 0 and 1000000000000000 and (amount > 0 or state = 'refused')"
_COUNTED = "amount between 0 and 1000000000000000 and (amount > 0 or state in ('refused', 'completed'))"


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("alter table payment add column if not exists registered jsonb")  # null: registered before, and compared with what it is now
    _replace(_COUNTED)


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    _replace(_MOVED)
    op.execute("alter table payment drop column registered")


def _replace(condition: str) -> None:
    """Another condition under the same name. It is looked for in the rows in a transaction of its own, which blocks nobody."""
    # Its successor of the same name stands before this transaction ends.
    op.execute(f"-- squawk-ignore ban-drop-constraint\nalter table cancellation drop constraint if exists {_AMOUNT}")
    op.execute(f"alter table cancellation add constraint {_AMOUNT} check ({condition}) not valid")
    with op.get_context().autocommit_block():
        op.execute(f"alter table cancellation validate constraint {_AMOUNT}")
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
