"""The schema: payments and what becomes of them, their audit trail, and the work that is due.

Written out as SQL, words and all, as it was on its day: what tables.py says later is for later migrations.
"""

from collections.abc import Iterator

from alembic import op
from workflows.storage import app_role, guards

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PAYMENT = """
create table payment (
  id uuid primary key,
  version integer not null,
  reference text not null,
  uetr uuid not null,
  wallet_id text not null,
  merchant_id text not null,
  order_reference text,
  category text not null,
  amount bigint not null,
  currency text not null,
  funding jsonb not null,
  items jsonb not null,
  earned jsonb not null,
  state text not null,
  origin_state text,
  fulfilment text not null,
  authorised_at timestamptz not null,
  completed_at timestamptz,
  shipped_at timestamptz,
  delivered_at timestamptz,
  failure_code text,
  amount_refunded bigint not null,
  amount_reserved bigint not null,
  amount_charged_back bigint not null,
  disputes_open integer not null,
  allocated bigint[] not null,
  cancelled_quantities bigint[] not null,
  policy_version text not null,
  merchant_rules_version text,
  partial_refunds integer not null,
  last_partial_at timestamptz,
  sequence integer not null,
  head bytea not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint payment_amount_in_range check (amount between 1 and 1000000000000000),
  constraint payment_refunds_within_amount
    check (amount_refunded >= 0 and amount_reserved >= 0 and amount_refunded + amount_reserved <= amount),
  constraint payment_charged_back_positive check (amount_charged_back >= 0),
  constraint payment_refunded_means_all check (state <> 'refunded' or amount_refunded + amount_charged_back >= amount),
  constraint payment_origin_while_requested check ((origin_state is not null) = (state = 'cancel_requested')),
  constraint payment_origin_state_is_a_word check (origin_state is null or origin_state in ('pending', 'completed')),
  constraint payment_settled_has_a_time
    check (state not in ('completed', 'refunding', 'refunded') or completed_at is not null),
  constraint payment_settled_after_authorised check (completed_at is null or completed_at >= authorised_at),
  constraint payment_chain_has_a_head check (version >= 1 and sequence >= 1 and octet_length(head) = 32),
  constraint payment_currency_is_a_code check (currency ~ '^[A-Z]{3}$'),
  constraint payment_allocated_by_source check (cardinality(allocated) = jsonb_array_length(funding)),
  constraint payment_cancelled_by_item check (cardinality(cancelled_quantities) = jsonb_array_length(items)),
  constraint payment_shares_positive check (0 <= all (allocated) and 0 <= all (cancelled_quantities)),
  constraint payment_shares_known
    check (array_position(allocated, null) is null and array_position(cancelled_quantities, null) is null),
  constraint payment_counts_positive check (disputes_open >= 0 and partial_refunds >= 0),
  constraint payment_state_is_a_word
    check (state in ('pending', 'completed', 'cancel_requested', 'refunding', 'refunded', 'cancelled', 'failed')),
  constraint payment_fulfilment_is_a_word
    check (fulfilment in ('none', 'preparing', 'shipped', 'delivered', 'returned')),
  constraint payment_category_is_a_word
    check (category in ('general', 'digital', 'perishable', 'custom_made', 'service', 'transfer', 'travel')),
  constraint payment_failure_code_is_a_word
    check (failure_code is null or failure_code in ('insufficient_funds', 'network', 'provider_outage', 'limit_exceeded',
      'instrument_invalid', 'merchant_error', 'other'))
) with (fillfactor = 80)
"""

CANCELLATION = """
create table cancellation (
  payment_id uuid not null,
  id uuid not null,
  version integer not null,
  state text not null,
  route text,
  reason text not null,
  amount bigint not null,
  currency text not null,
  items jsonb not null,
  partial boolean not null,
  channel text not null,
  requester_role text not null,
  requester_id text not null,
  client_reference text,
  fingerprint text not null,
  rule text,
  policy_version text not null,
  "window" jsonb,
  facts jsonb not null,
  refusal text,
  refusal_next_steps jsonb not null,
  deadline_at timestamptz,
  on_deadline text,
  second_approval boolean not null,
  override_ticket text,
  assigned_to text,
  approvals jsonb not null,
  reopened boolean not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (payment_id, id),
  constraint cancellation_of_a_payment foreign key (payment_id) references payment (id),
  constraint cancellation_amount_in_range
    check (amount between 0 and 1000000000000000 and (amount > 0 or state = 'refused')),
  constraint cancellation_refused_says_why check ((state = 'refused') = (refusal is not null)),
  constraint cancellation_has_a_route check (state = 'refused' or route is not null),
  constraint cancellation_deadline_says_what_then check ((deadline_at is null) = (on_deadline is null)),
  constraint cancellation_reopened_later
    check (not reopened or state in ('needs_attention', 'executing', 'completed', 'failed')),
  constraint cancellation_state_is_a_word
    check (state in ('awaiting_merchant', 'offered', 'awaiting_return', 'awaiting_agent', 'awaiting_second_approval',
      'executing', 'needs_attention', 'completed', 'refused', 'declined', 'withdrawn', 'failed')),
  constraint cancellation_route_is_a_word
    check (route is null or route in ('void', 'automatic', 'merchant', 'return', 'agent')),
  constraint cancellation_reason_is_a_word
    check (reason in ('changed_mind', 'duplicate', 'wrong_amount', 'not_received', 'not_as_described', 'damaged',
      'unauthorised', 'technical', 'merchant_request', 'other')),
  constraint cancellation_channel_is_a_word
    check (channel in ('app', 'hotline', 'chat', 'social', 'email', 'bot', 'merchant', 'system')),
  constraint cancellation_requester_role_is_a_word
    check (requester_role in ('wallet', 'agent', 'supervisor', 'merchant', 'auditor', 'operator', 'system', 'provider')),
  constraint cancellation_refusal_is_a_word
    check (refusal is null or refusal in ('window-closed', 'window-not-open', 'no-rule', 'category-excluded',
      'channel-not-allowed', 'limit-reached')),
  constraint cancellation_on_deadline_is_a_word
    check (on_deadline is null or on_deadline in ('accept', 'agent', 'decline'))
) with (fillfactor = 80)
"""

REFUND = """
create table refund (
  payment_id uuid not null,
  id uuid not null,
  cancellation_id uuid not null,
  version integer not null,
  state text not null,
  amount bigint not null,
  currency text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (payment_id, id),
  constraint refund_of_a_cancellation
    foreign key (payment_id, cancellation_id) references cancellation (payment_id, id),
  constraint refund_amount_in_range check (amount between 1 and 1000000000000000),
  constraint refund_state_is_a_word
    check (state in ('scheduled', 'held', 'submitted', 'processing', 'unknown', 'requires_action', 'succeeded', 'failed',
      'returned'))
) with (fillfactor = 80)
"""

LEG = """
create table leg (
  payment_id uuid not null,
  id uuid not null,
  cancellation_id uuid not null,
  refund_id uuid,
  kind text not null,
  source text not null,
  position integer not null,
  provider text not null,
  provider_reference text not null,
  amount bigint not null,
  currency text not null,
  state text not null,
  rail_key text not null,
  outcome_source text,
  provider_refund_id text,
  rail_reference text,
  attempts integer not null,
  failure_code text,
  next_attempt_at timestamptz,
  sent_at timestamptz,
  replaces uuid,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (payment_id, id),
  constraint leg_of_a_cancellation
    foreign key (payment_id, cancellation_id) references cancellation (payment_id, id),
  constraint leg_of_a_refund foreign key (payment_id, refund_id) references refund (payment_id, id),
  constraint leg_amount_in_range check (amount between 1 and 1000000000000000),
  constraint leg_refund_leg_has_a_refund check ((kind = 'refund') = (refund_id is not null)),
  constraint leg_counts_positive check (attempts >= 0 and position >= 0),
  constraint leg_rail_key_for_ever check (rail_key = replace(payment_id::text || id::text, '-', '')),
  constraint leg_kind_is_a_word check (kind in ('refund', 'void')),
  constraint leg_source_is_a_word check (source in ('balance', 'card', 'bank', 'coupon', 'points', 'cashback')),
  constraint leg_state_is_a_word
    check (state in ('scheduled', 'held', 'submitted', 'processing', 'unknown', 'requires_action', 'succeeded', 'failed',
      'returned')),
  constraint leg_outcome_source_is_a_word
    check (outcome_source is null or outcome_source in ('reply', 'notification', 'query', 'reconciliation', 'person'))
) with (fillfactor = 80)
"""

RECORD = """
create table record (
  chain_id uuid not null,
  sequence integer not null,
  id uuid not null,
  chain text not null,
  payment_id uuid,
  merchant_id text,
  type text not null,
  occurred_at timestamptz not null,
  actor_role text not null,
  actor_id text not null,
  body text not null,
  hash bytea not null,
  primary key (chain_id, sequence),
  constraint record_of_a_payment foreign key (payment_id) references payment (id),
  constraint record_chain_is_the_payments check (payment_id is null or payment_id = chain_id),
  constraint record_sequence_from_one check (sequence >= 1),
  constraint record_hash_is_sha256 check (octet_length(hash) = 32)
)
"""

PERSONAL_TEXT = """
create table personal_text (
  payment_id uuid not null,
  id uuid not null,
  subject_id uuid not null,
  name text not null,
  value jsonb not null,
  salt bytea not null,
  primary key (payment_id, id),
  constraint personal_text_of_a_payment foreign key (payment_id) references payment (id)
)
"""

KEPT_REPLY = """
create table kept_reply (
  scope_id uuid not null,
  caller text not null,
  key text not null,
  fingerprint text not null,
  status integer not null,
  body bytea not null,
  headers jsonb not null,
  created_at timestamptz not null,
  primary key (scope_id, caller, key)
)
"""

JOB = """
create table job (
  payment_id uuid not null,
  id uuid not null,
  kind text not null,
  subject_id uuid not null,
  run_at timestamptz not null,
  attempt integer not null,
  leased_until timestamptz,
  primary key (payment_id, id),
  constraint job_kind_is_a_word check (kind in ('move', 'notification'))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500)
"""

NOTIFICATION = """
create table notification (
  payment_id uuid not null,
  id uuid not null,
  provider text not null,
  rail_id text not null,
  body bytea not null,
  received_at timestamptz not null,
  handled_at timestamptz,
  verdict text,
  primary key (payment_id, id)
)
"""

POLICY = """
create table policy (
  version text primary key,
  ordinal integer not null,
  effective_from timestamptz not null,
  document jsonb not null,
  published_at timestamptz not null,
  published_by text not null
)
"""

WORKER = """
create table worker (
  id uuid primary key,
  beat_at timestamptz not null
)
"""

TABLES = (PAYMENT, CANCELLATION, REFUND, LEG, RECORD, PERSONAL_TEXT, KEPT_REPLY, JOB, NOTIFICATION, POLICY, WORKER)

INDEXES = (
    "create index payment_created on payment (created_at, id)",
    "create index payment_wallet on payment (wallet_id, created_at, id)",
    "create index payment_merchant on payment (merchant_id, created_at, id)",
    "create index payment_order on payment (order_reference) where order_reference is not null",
    "create index cancellation_id on cancellation (id)",
    "create index cancellation_created on cancellation (created_at, id)",
    "create unique index one_open_cancellation_per_payment on cancellation (payment_id) where not reopened and state in"
    " ('awaiting_agent', 'awaiting_merchant', 'awaiting_return', 'awaiting_second_approval', 'executing', 'needs_attention', 'offered')",
    "create unique index one_cancellation_per_client_reference on cancellation (payment_id, client_reference)"
    " where client_reference is not null",
    "create index refund_id on refund (id)",
    "create index refund_created on refund (created_at, id)",
    "create unique index one_refund_per_cancellation on refund (payment_id, cancellation_id)",
    "create unique index one_live_leg_per_source on leg (payment_id, cancellation_id, kind, position)"
    " where state not in ('failed', 'returned')",
    "create unique index one_successor_per_leg on leg (payment_id, replaces) where replaces is not null",
    "create index record_id on record (id)",
    "create index record_occurred on record using brin (occurred_at)",
    "create index kept_reply_created on kept_reply using brin (created_at)",
    "create unique index one_job_per_subject on job (payment_id, kind, subject_id)",
    "create index job_ready on job (run_at) where leased_until is null",
    "create index job_running on job (leased_until) where leased_until is not null",
    "create unique index one_notification_per_rail_id on notification (payment_id, provider, rail_id)",
    "create index notification_received on notification using brin (received_at)",
    "create unique index policy_ordinal on policy (ordinal)",
    "create index policy_effective on policy (effective_from, ordinal)",
)

# What the application may change after it has written it; all else it writes once.
UPDATED = {
    "payment": "version amount funding items state origin_state fulfilment completed_at shipped_at delivered_at failure_code"
    " amount_refunded amount_reserved amount_charged_back disputes_open allocated cancelled_quantities partial_refunds"
    " last_partial_at sequence head updated_at",
    "cancellation": "version state route amount items partial rule policy_version window facts refusal refusal_next_steps deadline_at"
    " on_deadline second_approval override_ticket assigned_to approvals reopened updated_at",
    "refund": "version state updated_at",
    "leg": "state outcome_source provider_refund_id rail_reference attempts failure_code next_attempt_at sent_at updated_at",
    "notification": "handled_at verdict",
}

# A migration that drops the audit trail must not be able to run where there is one.
REFUSE_TO_FORGET = """
do $$
begin
  if exists (select from record) then
    raise exception 'This database holds records; a downgrade would destroy them. Drop the database if that is meant.';
  end if;
end
$$
"""


def upgrade() -> None:
    # Waiting for a lock blocks everybody who comes after: rather give up, and be run again.
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    for statement in (*TABLES, *INDEXES, guards.CREATE_REFUSAL, *_triggers(), app_role.CREATE_APP_ROLE, *_grants()):
        op.execute(statement)


def downgrade() -> None:
    """Take away everything but the role, which belongs to the whole cluster: other databases may use it, and it has a password."""
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute(REFUSE_TO_FORGET)
    op.execute("drop table worker, policy, notification, job, kept_reply, personal_text, record, leg, refund, cancellation, payment")
    op.execute("drop function refuse_change()")
    op.execute("revoke all on alembic_version from refundry_app")
    op.execute("revoke usage on schema public from refundry_app")


def _triggers() -> Iterator[str]:
    for table in ("record", "policy"):
        yield from guards.refuse(table, ("update", "delete", "truncate"))
    for table in ("payment", "cancellation", "refund", "leg"):
        yield from guards.refuse(table, ("delete", "truncate"))
    for table in ("personal_text", "kept_reply"):
        yield from guards.refuse(table, ("update", "truncate"))


def _grants() -> Iterator[str]:
    yield "revoke create on schema public from public"  # databases older than PostgreSQL 15 let everybody create tables
    yield "grant usage on schema public to refundry_app"
    yield from guards.grant("alembic_version", ("select",))
    for table in ("record", "policy"):
        yield from guards.grant(table, ("select", "insert"))
    for table in ("personal_text", "kept_reply"):
        yield from guards.grant(table, ("select", "insert", "delete"))
    for table in ("job", "worker"):
        yield from guards.grant(table, ("select", "insert", "update", "delete"))
    for table, columns in UPDATED.items():
        yield from guards.grant(table, ("select", "insert", "update"), update=columns.split())
