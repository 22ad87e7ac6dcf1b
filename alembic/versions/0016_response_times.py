"""Keep how soon agents are to answer: the tier, and what is due. Whoever helped to a decision does not approve it.

And how much time the merchant has in all, of which `merchant_time_left_us` is left while the customer thinks about an offer.
"""

from alembic import op
from workflows.storage import guards

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

COLUMNS = {
    "merchant_time_us": "bigint",
    "tier": "text",
    "first_response_due_at": "timestamptz",
    "resolution_due_at": "timestamptz",
    "first_responded_at": "timestamptz",
}


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("alter table cancellation " + ", ".join(f"add column {name} {type_}" for name, type_ in COLUMNS.items()))
    op.execute(guards.grant_update("cancellation", list(COLUMNS)))
    op.execute(
        "alter table cancellation add constraint cancellation_due_from_us check"
        " (num_nonnulls(first_response_due_at, resolution_due_at) = 0"
        " or state = any ('{awaiting_agent,awaiting_second_approval}'::cancellation_state[])) not valid"
    )
    op.execute(
        "alter table cancellation add constraint cancellation_helpers_do_not_approve check"
        " ((merchant is null or merchant->>'taken_by' is null"
        " or not approvals @> jsonb_build_array(jsonb_build_object('by', merchant->>'taken_by')))"
        " and (goods is null or goods->>'received_by' is null"
        " or not approvals @> jsonb_build_array(jsonb_build_object('by', goods->>'received_by')))) not valid"
    )


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("alter table cancellation drop constraint cancellation_helpers_do_not_approve")
    op.execute("alter table cancellation drop constraint cancellation_due_from_us")
    op.execute("alter table cancellation " + ", ".join(f"drop column {name}" for name in COLUMNS))
