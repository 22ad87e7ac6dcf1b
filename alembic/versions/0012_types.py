"""Give words enum types and plain ranges domains, and let short functions check what was long.

Each statement parses every CHECK of the tables that it writes to anew: that was half of its cost. Types are parsed once a session.

This rewrites payment, cancellation, refund, leg, record, anomaly and job, each once and with its indexes, in one transaction, and
locks each of them from its turn until the end: nobody reads or writes meanwhile. As measured: some 10 seconds for each million
records or payments. Stop the service first, and start the new one
afterwards: the one before cannot write to these tables, and statements that it had prepared fail. The way back takes as long.

Adding a word later is a plain migration: `alter type <type> add value '<word>' after '<word>'`, which rewrites nothing. It may not
be used in the transaction that adds it: put it into an `autocommit_block()`, and say in `downgrade` that a word stays.
"""

from collections.abc import Iterator

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TYPES = {
    "payment_state": "pending completed cancel_requested refunding refunded cancelled failed",
    "payment_failure": "insufficient_funds network provider_outage limit_exceeded instrument_invalid merchant_error other",
    "category": "general digital perishable custom_made service transfer travel",
    "fulfilment": "none preparing shipped delivered returned",
    "cancellation_state": "awaiting_merchant offered awaiting_return awaiting_agent awaiting_second_approval executing needs_attention"
    " completed refused declined withdrawn failed",
    "route": "void automatic merchant return agent",
    "reason": "changed_mind duplicate wrong_amount not_received not_as_described damaged unauthorised technical merchant_request other",
    "channel": "app hotline chat social email bot merchant system",
    "actor_role": "wallet agent supervisor merchant auditor operator system provider",
    "refusal": "window-closed window-not-open no-rule category-excluded channel-not-allowed limit-reached",
    "on_deadline": "accept agent decline",
    "leg_state": "scheduled held submitted processing unknown requires_action succeeded failed returned",
    "leg_kind": "refund void",
    "source": "balance card bank coupon points cashback",
    "outcome_source": "reply notification query reconciliation person",
    "job_kind": "move notification deadline",
    "anomaly_kind": "amount_mismatch captured_late voided_late paid_after_failure paid_twice contradiction unknown_key unreadable",
}
DOMAINS = {
    "amount": "bigint constraint amount_in_range check (value between 1 and 1000000000000000)",
    "amount_or_zero": "bigint constraint amount_not_negative check (value >= 0)",
    "amounts_or_zero": "bigint[] constraint amounts_not_negative check (array_position(value, null) is null and 0 <= all (value))",
    "currency_code": "text constraint currency_is_a_code check (value ~ '^[A-Z]{3}$')",
    "counter": "integer constraint counter_not_negative check (value >= 0)",
    "counted_from_one": "integer constraint counts_from_one check (value >= 1)",
    "reminder_count": "integer constraint reminders_in_range check (value between 0 and 2)",
    "offer_count": "integer constraint offers_at_most_three check (value between 0 and 3)",
    "sha256_digest": "bytea constraint digest_is_sha256 check (octet_length(value) = 32)",
}
FUNCTIONS = {
    "shares_within_funding(bigint[], jsonb)": """
create function shares_within_funding(shares bigint[], funding jsonb) returns boolean
language plpgsql immutable strict parallel safe as $$
declare
  sources constant integer := pg_catalog.jsonb_array_length(funding);
begin
  if sources not between 1 and 10 or pg_catalog.cardinality(shares) <> sources then
    return false;
  end if;
  for n in 1..sources loop
    if (shares[n] between 0 and (funding->(n - 1)->>'amount')::bigint) is not true then
      return false;
    end if;
  end loop;
  return true;
end
$$
""",
    "quantities_within_items(bigint[], jsonb)": """
create function quantities_within_items(quantities bigint[], items jsonb) returns boolean
language plpgsql immutable strict parallel safe as $$
begin
  if pg_catalog.cardinality(quantities) <> pg_catalog.jsonb_array_length(items) then
    return false;
  end if;
  for n in 1..pg_catalog.cardinality(quantities) loop
    if (quantities[n] between 0 and (items->(n - 1)->>1)::bigint) is not true then
      return false;
    end if;
  end loop;
  return true;
end
$$
""",
    "persons_differ(text, jsonb, jsonb)": """
create function persons_differ(requester text, merchant jsonb, approvals jsonb) returns boolean
language plpgsql immutable parallel safe as $$
declare
  first pg_catalog.text;
  second pg_catalog.text;
  merchants pg_catalog.text;
begin
  if approvals = '[]' then
    return true;
  end if;
  first := approvals->0->>'by';
  second := approvals->1->>'by';
  merchants := merchant->>'decided_by';
  return pg_catalog.jsonb_array_length(approvals) <= 2
    and (first <> requester) is not false and (second <> requester) is not false and (second <> first) is not false
    and (merchants <> first) is not false and (merchants <> second) is not false;
end
$$
""",
}


def quoted(words: str) -> str:
    return ", ".join(f"'{word}'" for word in words.split())


# Each column's type from now on, and before.
COLUMNS = {
    "payment": {
        **dict.fromkeys(("version", "sequence"), ("counted_from_one", "integer")),
        **dict.fromkeys(("disputes_open", "partial_refunds"), ("counter", "integer")),
        **dict.fromkeys(("amount_refunded", "amount_reserved", "amount_charged_back", "amount_forfeited"), ("amount_or_zero", "bigint")),
        **dict.fromkeys(("state", "origin_state"), ("payment_state", "text")),
        "amount": ("amount", "bigint"),
        "currency": ("currency_code", "text"),
        "category": ("category", "text"),
        "fulfilment": ("fulfilment", "text"),
        "failure_code": ("payment_failure", "text"),
        "head": ("sha256_digest", "bytea"),
    },
    "cancellation": {
        "state": ("cancellation_state", "text"),
        **{word: (word, "text") for word in ("route", "reason", "channel", "refusal", "on_deadline")},
        **dict.fromkeys(("requester_role", "declined_by"), ("actor_role", "text")),
        "reminders": ("reminder_count", "integer"),
        "offers": ("offer_count", "integer"),
        "forfeited": ("amounts_or_zero", "bigint[]"),
    },
    "refund": {"state": ("leg_state", "text"), "amount": ("amount", "bigint")},
    "leg": {
        "kind": ("leg_kind", "text"),
        "source": ("source", "text"),
        "state": ("leg_state", "text"),
        "outcome_source": ("outcome_source", "text"),
        "amount": ("amount", "bigint"),
        **dict.fromkeys(("attempts", "position"), ("counter", "integer")),
    },
    "record": {"sequence": ("counted_from_one", "integer"), "hash": ("sha256_digest", "bytea")},
    "anomaly": {"kind": ("anomaly_kind", "text")},
    "job": {"kind": ("job_kind", "text")},
}
DEFAULTS = {("payment", "amount_forfeited"): "0", ("cancellation", "reminders"): "0", ("cancellation", "offers"): "0"}
DEFAULTS[("cancellation", "forfeited")] = "'{}'"

_WAITING = "awaiting_agent awaiting_merchant awaiting_return awaiting_second_approval offered"


def _array(states: str) -> str:
    return f"'{{{','.join(states.split())}}}'::cancellation_state[]"


_MOVING = _array("executing needs_attention")
CHECKS = {
    "payment": {
        "refunds_within_amount": "amount_refunded + amount_reserved + amount_forfeited <= amount",
        "refunded_means_all": "state <> 'refunded' or amount_refunded + amount_forfeited + amount_charged_back >= amount",
        "origin_while_requested": "(origin_state is not null) = (state = 'cancel_requested')",
        "origin_is_pending_or_completed": "origin_state = any ('{completed,pending}'::payment_state[])",
        "settled_has_a_time": "completed_at is not null or state <> all ('{completed,refunded,refunding}'::payment_state[])",
        "source_within_funding": "shares_within_funding(allocated, funding)",
        "cancelled_by_item": "quantities_within_items(cancelled_quantities, items)",
    },
    "cancellation": {
        "amount_in_range": """amount between 0 and 1000000000000000
          and (amount > 0 or state = any ('{completed,refused}'::cancellation_state[]))""",
        "refused_says_why": "(state = 'refused') = (refusal is not null)",
        "has_a_route": "state = 'refused' or route is not null",
        "waits_with_a_clock": f"clock_id is not null or raised or state <> all ({_array(_WAITING)})",
        "raised_once": "not raised or (state = 'awaiting_agent' and clock_id is null)",
        "offered_is_less": "state <> 'offered' or offer_amount < amount",
        "declined_by_somebody": "(state = 'declined') = (declined_by is not null)",
        "three_persons": "persons_differ(requester_id, merchant, approvals)",
        "second_is_a_supervisor": f"""not second_approval or state <> all ({_MOVING})
          or coalesce(approvals->-1->>'role' = 'supervisor', false)""",
        "agent_has_approved": f"route <> 'agent' or state <> all ({_MOVING}) or approvals <> '[]'",
        "reopened_later": "not reopened or state = any ('{completed,executing,failed,needs_attention}'::cancellation_state[])",
    },
    "leg": {"refund_leg_has_a_refund": "(kind = 'refund') = (refund_id is not null)"},
}

_SHARES = " and ".join(f"allocated[{n + 1}] <= (funding->{n}->>'amount')::bigint" for n in range(10))
BEFORE = {
    "payment": {
        "amount_in_range": "amount between 1 and 1000000000000000",
        "refunds_within_amount": """amount_refunded >= 0 and amount_reserved >= 0 and amount_forfeited >= 0
          and amount_refunded + amount_reserved + amount_forfeited <= amount""",
        "charged_back_positive": "amount_charged_back >= 0",
        "refunded_means_all": "state <> 'refunded' or amount_refunded + amount_forfeited + amount_charged_back >= amount",
        "origin_while_requested": "(origin_state is not null) = (state = 'cancel_requested')",
        "settled_has_a_time": "state not in ('completed', 'refunding', 'refunded') or completed_at is not null",
        "chain_has_a_head": "version >= 1 and sequence >= 1 and octet_length(head) = 32",
        "currency_is_a_code": "currency ~ '^[A-Z]{3}$'",
        "allocated_by_source": "cardinality(allocated) = jsonb_array_length(funding)",
        "cancelled_by_item": "cardinality(cancelled_quantities) = jsonb_array_length(items)",
        "shares_positive": "0 <= all (allocated) and 0 <= all (cancelled_quantities)",
        "shares_known": "array_position(allocated, null) is null and array_position(cancelled_quantities, null) is null",
        "source_within_funding": _SHARES,
        "sources_in_range": "jsonb_array_length(funding) between 1 and 10",
        "counts_positive": "disputes_open >= 0 and partial_refunds >= 0",
    },
    "cancellation": {
        "amount_in_range": "amount between 0 and 1000000000000000 and (amount > 0 or state in ('refused', 'completed'))",
        "refused_says_why": "(state = 'refused') = (refusal is not null)",
        "has_a_route": "state = 'refused' or route is not null",
        "waits_with_a_clock": f"state not in ({quoted(_WAITING)}) or clock_id is not null or raised",
        "raised_once": "not raised or (state = 'awaiting_agent' and clock_id is null)",
        "reminders_in_range": "reminders between 0 and 2",
        "offers_at_most_three": "offers between 0 and 3",
        "offered_is_less": "state <> 'offered' or offer_amount < amount",
        "declined_by_somebody": "(state = 'declined') = (declined_by is not null)",
        "forfeited_positive": "array_position(forfeited, null) is null and 0 <= all (forfeited)",
        "three_persons": """jsonb_array_length(approvals) <= 2 and coalesce(approvals->0->>'by' <> requester_id, true)
          and coalesce(approvals->1->>'by' <> requester_id, true) and coalesce(approvals->1->>'by' <> approvals->0->>'by', true)
          and coalesce(merchant->>'decided_by' <> approvals->0->>'by', true)
          and coalesce(merchant->>'decided_by' <> approvals->1->>'by', true)""",
        "second_is_a_supervisor": """not second_approval or state not in ('executing', 'needs_attention')
          or coalesce(approvals->-1->>'role' = 'supervisor', false)""",
        "agent_has_approved": "route <> 'agent' or state not in ('executing', 'needs_attention') or jsonb_array_length(approvals) > 0",
        "reopened_later": "not reopened or state in ('needs_attention', 'executing', 'completed', 'failed')",
    },
    "refund": {"amount_in_range": "amount between 1 and 1000000000000000"},
    "leg": {
        "amount_in_range": "amount between 1 and 1000000000000000",
        "refund_leg_has_a_refund": "(kind = 'refund') = (refund_id is not null)",
        "counts_positive": "attempts >= 0 and position >= 0",
        "rail_key_for_ever": "rail_key = replace(payment_id::text || id::text, '-', '')",
    },
    "record": {"sequence_from_one": "sequence >= 1", "hash_is_sha256": "octet_length(hash) = 32"},
}
for _table, _columns in COLUMNS.items():  # each word's CHECK, as it was
    for _column, (_type, _before) in _columns.items():
        if _before == "text" and _type in TYPES:
            _allowed = "pending completed" if _column == "origin_state" else TYPES[_type]
            BEFORE.setdefault(_table, {})[f"{_column}_is_a_word"] = f"{_column} in ({quoted(_allowed)})"

# What a change writes belongs together by the statement that writes it, and nothing is deleted: `refundry check` looks for the rest.
FOREIGN_KEYS = {
    "cancellation": ("cancellation_of_a_payment", "(payment_id) references payment (id)"),
    "leg": ("leg_of_a_cancellation", "(payment_id, cancellation_id) references cancellation (payment_id, id)"),
    "record": ("record_of_a_payment", "(payment_id) references payment (id)"),
    "personal_text": ("personal_text_of_a_payment", "(payment_id) references payment (id)"),
}
_OPEN = "awaiting_agent awaiting_merchant awaiting_return awaiting_second_approval executing needs_attention offered"
INDEXES = {
    "one_open_cancellation_per_payment": (
        "cancellation (payment_id) where not reopened and",
        f"state = any ({_array(_OPEN)})",
        f"state in ({quoted(_OPEN)})",
    ),
    "one_live_leg_per_source": (
        "leg (payment_id, cancellation_id, kind, position) where",
        "state <> all ('{failed,returned}'::leg_state[])",
        "state not in ('failed', 'returned')",
    ),
}
# The tables are rewritten once, as the docstring says: their constraints and indexes are made while they are locked anyway.
_REWRITES = "-- squawk-ignore changing-column-type, constraint-missing-not-valid, ban-drop-constraint, ban-drop-column, ban-drop-default\n"
# Another range later is `alter domain … add constraint … not valid` and `validate constraint`.
_RANGE = "-- squawk-ignore ban-create-domain-with-constraint\n"
_LOCKED = "-- squawk-ignore require-concurrent-index-creation, require-concurrent-index-deletion\n"


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '30min'")
    for name, words in TYPES.items():
        op.execute(f"create type {name} as enum ({quoted(words)})")
    for name, range_ in DOMAINS.items():
        op.execute(f"{_RANGE}create domain {name} as {range_}")
    for name, source in FUNCTIONS.items():
        op.execute(source)
        op.execute(f"grant execute on function {name} to refundry_app")
    for name in INDEXES:
        op.execute(f"{_LOCKED}drop index {name}")
    op.execute(f"{_REWRITES}alter table personal_text drop constraint {FOREIGN_KEYS['personal_text'][0]}")
    for table in COLUMNS:
        keys = [f"drop constraint {FOREIGN_KEYS[table][0]}"] if table in FOREIGN_KEYS else []
        keys += ["drop column rail_key"] if table == "leg" else []
        op.execute(f"{_REWRITES}alter table {table} {', '.join((*_changed(table, BEFORE, CHECKS, new=True), *keys))}")
    for name, (on, where, _) in INDEXES.items():
        op.execute(f"{_LOCKED}create unique index {name} on {on} {where}")


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '30min'")
    for name in INDEXES:
        op.execute(f"drop index {name}")
    op.execute("alter table leg add column rail_key text")
    op.execute("update leg set rail_key = replace(payment_id::text || id::text, '-', '')")
    op.execute("alter table leg alter column rail_key set not null")
    for table in COLUMNS:
        op.execute(f"alter table {table} {', '.join(_changed(table, CHECKS, BEFORE, new=False))}")
    for table, (name, key) in FOREIGN_KEYS.items():
        op.execute(f"alter table {table} add constraint {name} foreign key {key}")
    for name, (on, _, where) in INDEXES.items():
        op.execute(f"create unique index {name} on {on} {where}")
    for name in FUNCTIONS:
        op.execute(f"drop function {name}")
    for name in DOMAINS:
        op.execute(f"drop domain {name}")
    for name in TYPES:
        op.execute(f"drop type {name}")


def _changed(table: str, dropped: dict[str, dict[str, str]], added: dict[str, dict[str, str]], *, new: bool) -> Iterator[str]:
    """The clauses of one ALTER TABLE, which reads and writes the table once."""
    for name in dropped.get(table, {}):
        yield f"drop constraint {table}_{name}"
    for column, types in COLUMNS[table].items():
        type_ = types[0 if new else 1]
        default = DEFAULTS.get((table, column))
        if default is not None:
            yield f"alter column {column} drop default"
        yield f"alter column {column} type {type_} using {column}::{type_}"
        if default is not None:
            yield f"alter column {column} set default {default}"
    for name, condition in added.get(table, {}).items():
        yield f"add constraint {table}_{name} check ({' '.join(condition.split())})"
