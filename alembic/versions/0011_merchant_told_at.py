"""Keep when a merchant told of shipping, delivery and return: windows never close by a date that only he gave."""

from alembic import op
from workflows.storage import guards

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("alter table payment add column merchant_told_at jsonb not null default '{}'")
    op.execute(guards.grant_update("payment", ["merchant_told_at"]))


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("alter table payment drop column merchant_told_at")
