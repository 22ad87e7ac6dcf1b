"""Keep what was heard of each leg, and what a person has ordered for one that is stuck; stuck money has an owner and a clock.

The clocks of cancellations that are stuck already begin now, for five days: their policies' own times cannot be told here.
"""

from alembic import op
from workflows.storage import guards

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

RECOVERY = "create type recovery as enum ('retry', 'redirect', 'close')"
COLUMNS = {"first_sent_at": "timestamptz", "recovery": "recovery", "answers": "jsonb not null default '[]'"}

_OURS = "'{awaiting_agent,awaiting_second_approval,needs_attention}'::cancellation_state[]"
_CLOCKED = "'{awaiting_agent,awaiting_merchant,awaiting_return,awaiting_second_approval,needs_attention,offered}'::cancellation_state[]"
CHECKS = {
    "raised_once": "not raised or (state = any ('{awaiting_agent,needs_attention}'::cancellation_state[]) and clock_id is null)",
    "due_from_us": f"num_nonnulls(first_response_due_at, resolution_due_at) = 0 or state = any ({_OURS})",
    "waits_with_a_clock": f"clock_id is not null or raised or state <> all ({_CLOCKED})",
}

_DECIDED_BY_US = "'{awaiting_agent,awaiting_second_approval}'::cancellation_state[]"
_WAITING = "'{awaiting_agent,awaiting_merchant,awaiting_return,awaiting_second_approval,offered}'::cancellation_state[]"
CHECKS_BEFORE = {
    "raised_once": "not raised or (state = 'awaiting_agent' and clock_id is null)",
    "due_from_us": f"num_nonnulls(first_response_due_at, resolution_due_at) = 0 or state = any ({_DECIDED_BY_US})",
    "waits_with_a_clock": f"clock_id is not null or raised or state <> all ({_WAITING})",
}

BEGIN_CLOCKS = """
with stuck as (
    update cancellation
       set clock_id = gen_random_uuid(), clock_started_at = now(), deadline_at = now() + interval '5 days', on_deadline = 'agent'
     where state = 'needs_attention' and clock_id is null and not raised
    returning payment_id, clock_id, deadline_at
)
insert into job (payment_id, id, kind, subject_id, run_at, attempt)
select payment_id, gen_random_uuid(), 'deadline', clock_id, deadline_at, 0 from stuck
"""
END_CLOCKS = """
update cancellation
   set clock_id = null, clock_started_at = null, deadline_at = null, on_deadline = null, raised = false,
       first_response_due_at = null, resolution_due_at = null
 where state = 'needs_attention'
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute(RECOVERY)
    op.execute("alter table leg " + ", ".join(f"add column {name} {type_}" for name, type_ in COLUMNS.items()))
    op.execute(guards.grant_update("leg", list(COLUMNS)))
    op.execute("alter table leg add constraint leg_ordered_while_it_waits check (recovery is null or state = 'requires_action') not valid")
    _replace(CHECKS)
    op.execute(BEGIN_CLOCKS)


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    _replace(CHECKS_BEFORE)
    op.execute(END_CLOCKS)
    op.execute("alter table leg drop constraint leg_ordered_while_it_waits")
    op.execute("alter table leg " + ", ".join(f"drop column {name}" for name in COLUMNS))
    op.execute("drop type recovery")


def _replace(checks: dict[str, str]) -> None:
    for name, check in checks.items():
        # A wider one takes its place at once.
        op.execute(f"-- squawk-ignore ban-drop-constraint\nalter table cancellation drop constraint cancellation_{name}")
        op.execute(f"alter table cancellation add constraint cancellation_{name} check ({check}) not valid")
