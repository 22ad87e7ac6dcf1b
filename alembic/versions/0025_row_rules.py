"""Let payments, cancellations and legs change only as their machines do, and money fall only as it may."""

from alembic import op
from workflows.storage import guards

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

REFUND_ONCE = ("cancellation", "cancellation_refund_once", ("refund_id", "refund_amount", "refund_created_at"))
# By name of the trigger and of its function.
TRIGGERS = {
    "cancellation_update_rules": (
        "cancellation",
        """
create function cancellation_update_rules() returns trigger language plpgsql as $$
begin
  if (new.state <> old.state and new.state <> all (case old.state
      when 'awaiting_agent' then
        '{awaiting_second_approval,completed,declined,executing,withdrawn}'::public.cancellation_state[]
      when 'awaiting_merchant' then
        '{awaiting_agent,awaiting_return,awaiting_second_approval,completed,declined,executing,offered,withdrawn}'::public.cancellation_state[]
      when 'awaiting_return' then
        '{awaiting_agent,awaiting_second_approval,completed,declined,executing,withdrawn}'::public.cancellation_state[]
      when 'awaiting_second_approval' then
        '{awaiting_agent,completed,declined,executing,withdrawn}'::public.cancellation_state[]
      when 'completed' then
        '{needs_attention}'::public.cancellation_state[]
      when 'declined' then
        '{awaiting_agent}'::public.cancellation_state[]
      when 'executing' then
        '{completed,needs_attention}'::public.cancellation_state[]
      when 'needs_attention' then
        '{completed,executing,failed}'::public.cancellation_state[]
      when 'offered' then
        '{awaiting_agent,awaiting_merchant,awaiting_second_approval,completed,executing,withdrawn}'::public.cancellation_state[]
      else '{}'::public.cancellation_state[] end)) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "cancellation" is refused: no step leads from its state to this one',
      hint = 'Load the payment again, and decide upon what it is now.',
      schema = 'public',
      table = 'cancellation',
      constraint = 'cancellation_steps';
  end if;
  if (new.version < old.version or new.amount > old.amount
      or (old.refund_id is not null and new.amount <> old.amount)) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "cancellation" is refused: what was asked for only falls, until there is a refund of it',
      hint = 'Ask for more by a cancellation of its own.',
      schema = 'public',
      table = 'cancellation',
      constraint = 'cancellation_amount_falls';
  end if;
  if (old.refund_id is not null
      and (new.refund_id, new.refund_amount, new.refund_created_at)
      is distinct from (old.refund_id, old.refund_amount, old.refund_created_at)) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "cancellation" is refused: what a refund was made with is written once',
      hint = 'Ask for more by a cancellation of its own.',
      schema = 'public',
      table = 'cancellation',
      constraint = 'cancellation_refund_once';
  end if;
  return new;
end
$$;
create trigger cancellation_update_rules before update on cancellation
  for each row
  execute function cancellation_update_rules();
alter table cancellation enable always trigger cancellation_update_rules;
""",
    ),
    "leg_update_rules": (
        "leg",
        """
create function leg_update_rules() returns trigger language plpgsql as $$
begin
  if (new.state <> old.state and new.state <> all (case old.state
      when 'failed' then
        '{succeeded}'::public.leg_state[]
      when 'held' then
        '{failed,scheduled}'::public.leg_state[]
      when 'processing' then
        '{failed,requires_action,succeeded}'::public.leg_state[]
      when 'requires_action' then
        '{failed,processing,succeeded}'::public.leg_state[]
      when 'scheduled' then
        '{failed,held,submitted}'::public.leg_state[]
      when 'submitted' then
        '{failed,processing,requires_action,succeeded,unknown}'::public.leg_state[]
      when 'succeeded' then
        '{returned}'::public.leg_state[]
      when 'unknown' then
        '{failed,processing,requires_action,succeeded}'::public.leg_state[]
      else '{}'::public.leg_state[] end)) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "leg" is refused: no step leads from its state to this one',
      hint = 'Load the payment again, and decide upon what it is now.',
      schema = 'public',
      table = 'leg',
      constraint = 'leg_steps';
  end if;
  if (new.attempts < old.attempts or (old.first_sent_at is not null
      and (new.first_sent_at)
      is distinct from (old.first_sent_at))) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "leg" is refused: attempts are only added, and it was first sent once',
      hint = 'Load the payment again, and decide upon what it is now.',
      schema = 'public',
      table = 'leg',
      constraint = 'leg_goes_on';
  end if;
  return new;
end
$$;
create trigger leg_update_rules before update on leg
  for each row
  execute function leg_update_rules();
alter table leg enable always trigger leg_update_rules;
""",
    ),
    "notification_update_rules": (
        "notification",
        """
create function notification_update_rules() returns trigger language plpgsql as $$
begin
  if (old.handled_at is not null
      and (new.handled_at, new.verdict)
      is distinct from (old.handled_at, old.verdict)) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "notification" is refused: a word is handled once',
      hint = 'Write down what else is known of it as an anomaly.',
      schema = 'public',
      table = 'notification',
      constraint = 'notification_handled_once';
  end if;
  return new;
end
$$;
create trigger notification_update_rules before update on notification
  for each row
  execute function notification_update_rules();
alter table notification enable always trigger notification_update_rules;
""",
    ),
    "payment_update_rules": (
        "payment",
        """
create function payment_update_rules() returns trigger language plpgsql as $$
begin
  if (new.state <> old.state and new.state <> all (case old.state
      when 'cancel_requested' then
        '{cancelled,completed,failed,pending,refunded,refunding}'::public.payment_state[]
      when 'cancelled' then
        '{refunding}'::public.payment_state[]
      when 'completed' then
        '{cancel_requested,refunded,refunding}'::public.payment_state[]
      when 'failed' then
        '{refunding}'::public.payment_state[]
      when 'pending' then
        '{cancel_requested,completed,failed}'::public.payment_state[]
      when 'refunded' then
        '{completed,refunding}'::public.payment_state[]
      when 'refunding' then
        '{cancel_requested,completed,refunded}'::public.payment_state[]
      else '{}'::public.payment_state[] end)
      or (new.state <> old.state and new.state in ('pending', 'failed') and new.completed_at is not null)) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "payment" is refused: no step leads from its state to this one',
      hint = 'Load the payment again, and decide upon what it is now.',
      schema = 'public',
      table = 'payment',
      constraint = 'payment_steps';
  end if;
  if (new.amount <> old.amount or new.funding <> old.funding or new.items <> old.items) then
   if (case when new.amount < old.amount then
      old.state = 'pending' and new.state = 'pending' and old.amount_refunded = 0 and old.amount_reserved = 0
      and new.amount = (select sum((f->>'amount')::pg_catalog.int8) from jsonb_array_elements(new.funding) f)
      and new.amount = coalesce((select sum((i->>2)::pg_catalog.int8) from jsonb_array_elements(new.items) i), new.amount)
    else new.amount = old.amount and new.items = old.items and old.completed_at is null and new.completed_at is not null
      and jsonb_array_length(new.funding) = 1 and jsonb_array_length(old.funding) = 1
      and (new.funding->0) - 'provider_reference' = (old.funding->0) - 'provider_reference' end) is not true then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "payment" is refused: what was paid only falls, with its sources and items, while it is pending',
      hint = 'Lower a pending payment by a modification. A source gets its reference when the payment completes.',
      schema = 'public',
      table = 'payment',
      constraint = 'payment_amount_falls';
   end if;
  end if;
  if ((old.completed_at is not null
      and (new.completed_at)
      is distinct from (old.completed_at))
      or (old.failure_code is not null
      and (new.failure_code)
      is distinct from (old.failure_code))) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "payment" is refused: a payment settles once, and fails once',
      hint = 'Load the payment again, and decide upon what it is now.',
      schema = 'public',
      table = 'payment',
      constraint = 'payment_settles_once';
  end if;
  if (new.version < old.version
      or new.sequence < old.sequence
      or new.partial_refunds < old.partial_refunds
      or new.fulfilment < old.fulfilment) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "payment" is refused: its version, its records, its count of refunds and its goods only go on',
      hint = 'Load the payment again, and decide upon what it is now.',
      schema = 'public',
      table = 'payment',
      constraint = 'payment_goes_on';
  end if;
  return new;
end
$$;
create trigger payment_update_rules before update on payment
  for each row
  execute function payment_update_rules();
alter table payment enable always trigger payment_update_rules;
""",
    ),
    "payment_updated_rules": (
        "payment",
        """
create function payment_updated_rules() returns trigger language plpgsql as $$
begin
  if (new.amount_refunded <> old.amount_refunded) then
   if (new.amount_refunded = (select coalesce(sum(l.amount), 0) from public.leg l
      where l.payment_id = new.id and l.state = 'succeeded' and (l.kind = 'refund' or exists (
        select from public.cancellation c where c.payment_id = l.payment_id and c.id = l.cancellation_id
          and (c.refund_id is not null or c.state = 'failed'))))) is not true then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "payment" is refused: amount_refunded is what its legs have paid out, no more and no less',
      hint = 'Change the leg and the payment in one statement.',
      schema = 'public',
      table = 'payment',
      constraint = 'payment_refunded_arrived';
   end if;
  end if;
  return null;
end
$$;
create trigger payment_updated_rules after update on payment
  for each row when (new.amount_refunded <> old.amount_refunded)
  execute function payment_updated_rules();
alter table payment enable always trigger payment_updated_rules;
""",
    ),
}


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    op.execute("drop trigger cancellation_refund_once on cancellation")  # one of the rules now
    for _, sql in TRIGGERS.values():
        function, _, rest = sql.partition("$$;")
        for statement in (function + "$$", *filter(str.strip, rest.split(";"))):
            op.execute(statement)


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    for name, (table, _) in TRIGGERS.items():
        op.execute(f"drop trigger {name} on {table}")
        op.execute(f"drop function {name}()")
    for statement in guards.refuse_second_value(*REFUND_ONCE):
        op.execute(statement)
