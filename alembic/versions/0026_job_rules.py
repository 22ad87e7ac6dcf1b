"""Keep each job until what it is for is done, under the attempt that claimed it, and let nobody put it off for ever."""

from alembic import op
from workflows.storage import guards

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

EVERYTHING = ("select", "insert", "update", "delete")
# By name of the trigger and of its function.
TRIGGERS = {
    "job_delete_rules": (
        "job",
        """
create function job_delete_rules() returns trigger language plpgsql as $$
begin
  if (old.leased_until is null) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'DELETE on "job" is refused: nobody has claimed it',
      hint = 'Claim the job, do what it asks for, and end it under its attempt.',
      schema = 'public',
      table = 'job',
      constraint = 'job_is_claimed';
  end if;
  return old;
end
$$;
create trigger job_delete_rules before delete on job
  for each row
  execute function job_delete_rules();
alter table job enable always trigger job_delete_rules;
""",
    ),
    "job_deleted_rules": (
        "job",
        """
create function job_deleted_rules() returns trigger language plpgsql as $$
begin
  if (true) then
   if (case old.kind
      when 'move' then not exists (select from public.leg l where l.payment_id = old.payment_id and l.id = old.subject_id
        and l.state = any ('{processing,requires_action,scheduled,submitted,unknown}'::public.leg_state[]))
      when 'deadline' then not exists (select from public.cancellation c
        where c.payment_id = old.payment_id and c.clock_id = old.subject_id)
      else not exists (select from public.notification n
        where n.payment_id = old.payment_id and n.id = old.subject_id and n.handled_at is null) end) is not true then
    raise exception using
      errcode = 'restrict_violation',
      message = 'DELETE on "job" is refused: what it is for is not done',
      hint = 'End it together with the change that ends the leg, the clock or the notification; else put it off.',
      schema = 'public',
      table = 'job',
      constraint = 'job_is_needed';
   end if;
  end if;
  return null;
end
$$;
create trigger job_deleted_rules after delete on job
  for each row
  execute function job_deleted_rules();
alter table job enable always trigger job_deleted_rules;
""",
    ),
    "job_update_rules": (
        "job",
        """
create function job_update_rules() returns trigger language plpgsql as $$
begin
  if (new.attempt not in (old.attempt, old.attempt + 1)
      or (new.attempt = old.attempt
      and (new.leased_until > old.leased_until or (old.leased_until is null and new.leased_until is not null)))) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "job" is refused: each claim raises its attempt by one, and no lease is longer than it was claimed for',
      hint = 'Claim the job again once its lease is over.',
      schema = 'public',
      table = 'job',
      constraint = 'job_attempt';
  end if;
  if (new.leased_until > greatest(clock_timestamp(), old.run_at, old.leased_until) + interval '2 years'
      or (new.run_at > old.run_at and (old.leased_until is null
      or (new.kind <> 'deadline' and new.run_at > greatest(clock_timestamp(), old.run_at, old.leased_until) + interval '40 days')))) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "job" is refused: only whoever claimed it puts it off, for 40 days at most, and no lease is longer than 2 years',
      hint = 'Claim it, and put it off for less: it can be put off again.',
      schema = 'public',
      table = 'job',
      constraint = 'job_comes_back';
  end if;
  if (new.kind = 'deadline' and new.run_at > old.run_at) then
   if (not exists (select from public.cancellation c
      where c.payment_id = new.payment_id and c.clock_id = new.subject_id and c.deadline_at < new.run_at)) is not true then
    raise exception using
      errcode = 'restrict_violation',
      message = 'UPDATE on "job" is refused: its clock would strike too late',
      hint = 'Put it off until the deadline at most.',
      schema = 'public',
      table = 'job',
      constraint = 'job_strikes_in_time';
   end if;
  end if;
  return new;
end
$$;
create trigger job_update_rules before update on job
  for each row
  execute function job_update_rules();
alter table job enable always trigger job_update_rules;
""",
    ),
}


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    for _, sql in TRIGGERS.values():
        function, _, rest = sql.partition("$$;")
        for statement in (function + "$$", *filter(str.strip, rest.split(";"))):
            op.execute(statement)
    for statement in (
        *guards.grant("job", EVERYTHING, update=("run_at", "attempt", "leased_until")),
        *guards.refuse("job", ("truncate",)),
    ):
        op.execute(statement)


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    for name, (table, _) in TRIGGERS.items():
        op.execute(f"drop trigger {name} on {table}")
        op.execute(f"drop function {name}()")
    op.execute("drop trigger job_guard on job")
    for statement in guards.grant("job", EVERYTHING):
        op.execute(statement)
