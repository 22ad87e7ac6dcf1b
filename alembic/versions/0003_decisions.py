"""Decisions by merchants and agents: clocks, offers, returns, four eyes, forfeited promotions.

Cancellations that wait already get a clock each, and a job that strikes it: their deadlines were shown before, and now they count.
Every CHECK is added here without looking at the rows that are there, and validated by the next migration, which blocks nobody.
"""

from collections.abc import Iterator

from alembic import op
from workflows.storage import guards

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None

_WAITING = "'awaiting_agent', 'awaiting_merchant', 'awaiting_return', 'awaiting_second_approval', 'offered'"

COLUMNS = (
    "alter table payment add column return_received_at timestamptz",
    "alter table payment add column amount_forfeited bigint not null default 0",
    "alter table cancellation add column clock_id uuid",
    "alter table cancellation add column clock_started_at timestamptz",
    "alter table cancellation add column reminders integer not null default 0",
    "alter table cancellation add column merchant jsonb",
    "alter table cancellation add column merchant_time_left_us bigint",
    "alter table cancellation add column offers integer not null default 0",
    "alter table cancellation add column offer_amount bigint",
    "alter table cancellation add column goods jsonb",
    "alter table cancellation add column declined_by text",
    "alter table cancellation add column raised boolean not null default false",
    "alter table cancellation add column forfeited bigint[] not null default '{}'",
)

# What each table holds from now on, by name.
CHECKS = {
    "payment": {
        "payment_refunds_within_amount": """amount_refunded >= 0 and amount_reserved >= 0 and amount_forfeited >= 0
          and amount_refunded + amount_reserved + amount_forfeited <= amount""",
        "payment_refunded_means_all": "state <> 'refunded' or amount_refunded + amount_forfeited + amount_charged_back >= amount",
    },
    "cancellation": {
        "cancellation_waits_with_a_clock": f"state not in ({_WAITING}) or clock_id is not null or raised",
        "cancellation_clock_has_an_end": """(clock_id is null) = (clock_started_at is null)
          and (clock_id is null or deadline_at >= clock_started_at)""",
        "cancellation_raised_once": "not raised or (state = 'awaiting_agent' and clock_id is null)",
        "cancellation_reminders_in_range": "reminders between 0 and 2",
        "cancellation_offers_at_most_three": "offers between 0 and 3",
        "cancellation_offer_is_no_more": "offer_amount is null or (offers > 0 and offer_amount between 1 and amount)",
        "cancellation_offered_is_less": "state <> 'offered' or offer_amount < amount",
        "cancellation_declined_by_somebody": "(state = 'declined') = (declined_by is not null)",
        "cancellation_forfeited_positive": "array_position(forfeited, null) is null and 0 <= all (forfeited)",
        "cancellation_three_persons": """jsonb_array_length(approvals) <= 2
          and coalesce(approvals->0->>'by' <> requester_id, true)
          and coalesce(approvals->1->>'by' <> requester_id, true) and coalesce(approvals->1->>'by' <> approvals->0->>'by', true)
          and coalesce(merchant->>'decided_by' <> approvals->0->>'by', true)
          and coalesce(merchant->>'decided_by' <> approvals->1->>'by', true)""",
        "cancellation_second_is_a_supervisor": """not second_approval or state not in ('executing', 'needs_attention')
          or coalesce(approvals->-1->>'role' = 'supervisor', false)""",
        "cancellation_agent_has_approved": """route <> 'agent' or state not in ('executing', 'needs_attention')
          or jsonb_array_length(approvals) > 0""",
        "cancellation_declined_by_is_a_word": """declined_by is null or declined_by in
          ('wallet', 'agent', 'supervisor', 'merchant', 'auditor', 'operator', 'system', 'provider')""",
    },
    "job": {"job_kind_is_a_word": "kind in ('move', 'notification', 'deadline')"},
}
# Checks that had the same name before, as they were.
BEFORE = {
    "payment": {
        "payment_refunds_within_amount": "amount_refunded >= 0 and amount_reserved >= 0 and amount_refunded + amount_reserved <= amount",
        "payment_refunded_means_all": "state <> 'refunded' or amount_refunded + amount_charged_back >= amount",
    },
    "job": {"job_kind_is_a_word": "kind in ('move', 'notification')"},
}

WIND_UP = (
    f"""
update cancellation set clock_id = gen_random_uuid(), clock_started_at = updated_at,
       deadline_at = greatest(coalesce(deadline_at, updated_at), updated_at), on_deadline = coalesce(on_deadline, 'agent')
 where state in ({_WAITING})""",  # noqa: S608 -- our own words
    f"""
insert into job (payment_id, id, kind, subject_id, run_at, attempt)
select payment_id, gen_random_uuid(), 'deadline', clock_id, deadline_at, 0 from cancellation where state in ({_WAITING})""",  # noqa: S608 -- our own words
)

ADDED = {
    "payment": ("return_received_at", "amount_forfeited"),
    "cancellation": (
        *("clock_id", "clock_started_at", "reminders", "merchant", "merchant_time_left_us", "offers", "offer_amount"),
        *("goods", "declined_by", "raised", "forfeited"),
    ),
}
REFUSE_TO_FORGET = """
do $$
begin
  if exists (select from cancellation where offers > 0 or merchant is not null or goods is not null or declined_by is not null
             or jsonb_array_length(approvals) > 0) or exists (select from payment where amount_forfeited > 0) then
    raise exception 'Merchants or agents have decided here; a downgrade would forget it. Restore a backup if that is meant.';
  end if;
end
$$
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    grants = (guards.grant_update(table, columns) for table, columns in ADDED.items())
    for statement in (*COLUMNS, *_dropped(BEFORE), *_added("job"), *WIND_UP, *_added("payment", "cancellation"), *grants):
        op.execute(statement)


def downgrade() -> None:
    """What people have decided is never dropped; before that, the clocks go and the deadlines are only shown again."""
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute(REFUSE_TO_FORGET)
    op.execute("delete from job where kind = 'deadline'")
    for statement in (*_dropped(CHECKS), *_added(*BEFORE, checks=BEFORE)):
        op.execute(statement)
    for table, columns in ADDED.items():
        for column in columns:
            op.execute(f"alter table {table} drop column {column}")


def _dropped(checks: dict[str, dict[str, str]]) -> Iterator[str]:
    for table, named in checks.items():
        for name in named:
            # Its successor of the same name stands before this transaction ends.
            yield f"-- squawk-ignore ban-drop-constraint\nalter table {table} drop constraint {name}"


def _added(*tables: str, checks: dict[str, dict[str, str]] = CHECKS) -> Iterator[str]:
    for table in tables:
        for name, condition in checks[table].items():
            yield f"alter table {table} add constraint {name} check ({condition}) not valid"
