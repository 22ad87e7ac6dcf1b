"""Let nobody change what a refund was made with, once it is there: column rights cannot tell a first value from a second."""

from alembic import op
from workflows.storage import guards

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

FIXED = ("refund_id", "refund_amount", "refund_created_at")


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '1min'")
    for statement in guards.refuse_second_value("cancellation", "cancellation_refund_once", FIXED):
        op.execute(statement)


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '1min'")
    op.execute("drop trigger cancellation_refund_once on cancellation")
