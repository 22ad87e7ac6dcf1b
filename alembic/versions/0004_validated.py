"""Validate what 0003 promised, in a transaction of its own: reading the tables blocks nobody who writes."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

VALIDATED = {
    "payment": ("payment_refunds_within_amount", "payment_refunded_means_all"),
    "cancellation": (
        "cancellation_waits_with_a_clock",
        "cancellation_clock_has_an_end",
        "cancellation_raised_once",
        "cancellation_reminders_in_range",
        "cancellation_offers_at_most_three",
        "cancellation_offer_is_no_more",
        "cancellation_offered_is_less",
        "cancellation_declined_by_somebody",
        "cancellation_forfeited_positive",
        "cancellation_three_persons",
        "cancellation_second_is_a_supervisor",
        "cancellation_agent_has_approved",
        "cancellation_declined_by_is_a_word",
    ),
    "job": ("job_kind_is_a_word",),
}


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    for table, names in VALIDATED.items():
        for name in names:
            op.execute(f"alter table {table} validate constraint {name}")


def downgrade() -> None:
    """Nothing is undone: a validated constraint promises no more than one that is not."""
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
