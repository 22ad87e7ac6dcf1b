"""What no change of a row may do, whoever makes it: rules over the old and the new row as data, and the triggers made of them.

A column right says which columns the application may set; these say to what. All rules of a table are one function of a trigger, since a
session keeps a function's expressions planned, while a trigger's own WHEN is read anew by every statement.

`ROW_RULES` says how it is now; a migration spells out its own part. A test compares a migrated database with them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Literal

from workflows.domain.enums import LEG_ON_ITS_WAY, PaymentState
from workflows.domain.machines import CANCELLATION, LEG, PAYMENT, Machine

LEASE_MAX = "2 years"  # of a row that waited until now; a moment that is given to `claim` may lie that far ahead of the database's
WAIT_MAX = "40 days"  # a rail is asked again within 30 days, a fifth more or less


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRule:
    """What is refused, under the rule's name: SQL over `old` and `new`. Tables and types are named with their schema.

    `unless` is asked only where `when` holds, and may read other rows. With `after` it sees all that the statement writes.
    """

    name: str
    table: str
    event: Literal["update", "delete"]
    when: str
    unless: str = ""
    why: str
    hint: str
    after: bool = False

    @property
    def trigger(self) -> str:
        """The trigger's name, and its function's."""
        return f"{self.table}_{self.event}d_rules" if self.after else f"{self.table}_{self.event}_rules"

    def check(self) -> str:
        """The rule as a statement of PL/pgSQL."""
        said = {
            "message": f'{self.event.upper()} on "{self.table}" is refused: {self.why}',
            "hint": self.hint,
            "schema": "public",
            "table": self.table,
            "constraint": self.name,
        }
        using = ",\n      ".join(f"{name} = '{text}'" for name, text in said.items())
        refuse = f"raise exception using\n      errcode = 'restrict_violation',\n      {using};"
        if not self.unless:
            return f"  if ({self.when}) then\n    {refuse}\n  end if;"
        return f"  if ({self.when}) then\n   if ({self.unless}) is not true then\n    {refuse}\n   end if;\n  end if;"


Steps = Mapping[str, tuple[str, ...]]


def steps_of(machine: Machine[StrEnum, StrEnum], *also: tuple[StrEnum, StrEnum]) -> Steps:
    """From each state to which others one change may lead: the machine's arrows, and those that a change takes one after the other."""
    arrows = {(row.source, row.target) for row in machine.rows if row.source is not row.target} | set(also)
    found: dict[str, tuple[str, ...]] = {}
    for source, target in sorted(arrows):
        found[source.value] = (*found.get(source.value, ()), target.value)
    return found


def not_a_step(type_: str, steps: Steps) -> str:
    """SQL for: the state changes, and no step leads there. `type_` names the states' enum."""
    cases = "\n      ".join(
        f"when '{source}' then\n        '{{{','.join(targets)}}}'::public.{type_}[]" for source, targets in steps.items()
    )
    return f"new.state <> old.state and new.state <> all (case old.state\n      {cases}\n      else '{{}}'::public.{type_}[] end)"


def falls(*columns: str) -> str:
    """SQL for: one of these is less than it was."""
    return "\n      or ".join(f"new.{column} < old.{column}" for column in columns)


def second_value(*columns: str) -> str:
    """SQL for: the first of these has a value already, and one of them changes."""
    old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("old", "new"))
    return f"old.{columns[0]} is not null\n      and ({new})\n      is distinct from ({old})"


_LATEST = "greatest(clock_timestamp(), old.run_at, old.leased_until)"
_LOAD_AGAIN = "Load the payment again, and decide upon what it is now."
_PAYMENT = (
    RowRule(
        name="payment_steps",
        table="payment",
        event="update",
        # Returned money of a refund that was closed: reopened, and given up again.
        when=not_a_step("payment_state", steps_of(PAYMENT, (PaymentState.refunded, PaymentState.completed)))  # type: ignore[arg-type]  # of its own states
        + "\n      or (new.state <> old.state and new.state in ('pending', 'failed') and new.completed_at is not null)",
        why="no step leads from its state to this one",
        hint=_LOAD_AGAIN,
    ),
    RowRule(
        name="payment_amount_falls",
        table="payment",
        event="update",
        when="new.amount <> old.amount or new.funding <> old.funding or new.items <> old.items",
        unless="case when new.amount < old.amount then"
        "\n      old.state = 'pending' and new.state = 'pending' and old.amount_refunded = 0 and old.amount_reserved = 0"
        "\n      and new.amount = (select sum((f->>'amount')::pg_catalog.int8) from jsonb_array_elements(new.funding) f)"
        "\n      and new.amount = coalesce((select sum((i->>2)::pg_catalog.int8) from jsonb_array_elements(new.items) i), new.amount)"
        "\n    else new.amount = old.amount and new.items = old.items and old.completed_at is null and new.completed_at is not null"
        "\n      and jsonb_array_length(new.funding) = 1 and jsonb_array_length(old.funding) = 1"
        "\n      and (new.funding->0) - 'provider_reference' = (old.funding->0) - 'provider_reference' end",
        why="what was paid only falls, with its sources and items, while it is pending",
        hint="Lower a pending payment by a modification. A source gets its reference when the payment completes.",
    ),
    RowRule(
        name="payment_refunded_arrived",
        table="payment",
        event="update",
        when="new.amount_refunded <> old.amount_refunded",
        # Money that is with the customer: what a refund paid out, and what a void released where the rest was refunded or given up.
        unless="new.amount_refunded = (select coalesce(sum(l.amount), 0) from public.leg l"
        "\n      where l.payment_id = new.id and l.state = 'succeeded' and (l.kind = 'refund' or exists ("
        "\n        select from public.cancellation c where c.payment_id = l.payment_id and c.id = l.cancellation_id"
        "\n          and (c.refund_id is not null or c.state = 'failed'))))",
        after=True,
        why="amount_refunded is what its legs have paid out, no more and no less",
        hint="Change the leg and the payment in one statement.",
    ),
    RowRule(
        name="payment_settles_once",
        table="payment",
        event="update",
        when=f"({second_value('completed_at')})\n      or ({second_value('failure_code')})",
        why="a payment settles once, and fails once",
        hint=_LOAD_AGAIN,
    ),
    RowRule(
        name="payment_goes_on",
        table="payment",
        event="update",
        when=falls("version", "sequence", "partial_refunds", "fulfilment"),
        why="its version, its records, its count of refunds and its goods only go on",
        hint=_LOAD_AGAIN,
    ),
)
_PARTS = (
    RowRule(
        name="cancellation_steps",
        table="cancellation",
        event="update",
        when=not_a_step("cancellation_state", steps_of(CANCELLATION)),  # type: ignore[arg-type]  # of its own states
        why="no step leads from its state to this one",
        hint=_LOAD_AGAIN,
    ),
    RowRule(
        name="cancellation_amount_falls",
        table="cancellation",
        event="update",
        when=f"{falls('version')} or new.amount > old.amount\n      or (old.refund_id is not null and new.amount <> old.amount)",
        why="what was asked for only falls, until there is a refund of it",
        hint="Ask for more by a cancellation of its own.",
    ),
    RowRule(
        name="cancellation_refund_once",
        table="cancellation",
        event="update",
        when=second_value("refund_id", "refund_amount", "refund_created_at"),
        why="what a refund was made with is written once",
        hint="Ask for more by a cancellation of its own.",
    ),
    RowRule(
        name="leg_steps",
        table="leg",
        event="update",
        when=not_a_step("leg_state", steps_of(LEG)),  # type: ignore[arg-type]  # of its own states
        why="no step leads from its state to this one",
        hint=_LOAD_AGAIN,
    ),
    RowRule(
        name="leg_goes_on",
        table="leg",
        event="update",
        when=f"{falls('attempts')} or ({second_value('first_sent_at')})",
        why="attempts are only added, and it was first sent once",
        hint=_LOAD_AGAIN,
    ),
    RowRule(
        name="notification_handled_once",
        table="notification",
        event="update",
        when=second_value("handled_at", "verdict"),
        why="a word is handled once",
        hint="Write down what else is known of it as an anomaly.",
    ),
)
_JOB = (
    RowRule(
        name="job_is_claimed",
        table="job",
        event="delete",
        when="old.leased_until is null",
        why="nobody has claimed it",
        hint="Claim the job, do what it asks for, and end it under its attempt.",
    ),
    RowRule(
        name="job_is_needed",
        table="job",
        event="delete",
        when="true",
        unless="case old.kind"
        "\n      when 'move' then not exists (select from public.leg l where l.payment_id = old.payment_id and l.id = old.subject_id"
        f"\n        and l.state = any ('{{{','.join(sorted(LEG_ON_ITS_WAY))}}}'::public.leg_state[]))"
        "\n      when 'deadline' then not exists (select from public.cancellation c"
        "\n        where c.payment_id = old.payment_id and c.clock_id = old.subject_id)"
        "\n      else not exists (select from public.notification n"
        "\n        where n.payment_id = old.payment_id and n.id = old.subject_id and n.handled_at is null) end",
        after=True,
        why="what it is for is not done",
        hint="End it together with the change that ends the leg, the clock or the notification; else put it off.",
    ),
    RowRule(
        name="job_attempt",
        table="job",
        event="update",
        when="new.attempt not in (old.attempt, old.attempt + 1)\n      or (new.attempt = old.attempt"
        "\n      and (new.leased_until > old.leased_until or (old.leased_until is null and new.leased_until is not null)))",
        why="each claim raises its attempt by one, and no lease is longer than it was claimed for",
        hint="Claim the job again once its lease is over.",
    ),
    RowRule(
        name="job_comes_back",
        table="job",
        event="update",
        when=f"new.leased_until > {_LATEST} + interval '{LEASE_MAX}'\n      or (new.run_at > old.run_at and (old.leased_until is null"
        f"\n      or (new.kind <> 'deadline' and new.run_at > {_LATEST} + interval '{WAIT_MAX}')))",
        why=f"only whoever claimed it puts it off, for {WAIT_MAX} at most, and no lease is longer than {LEASE_MAX}",
        hint="Claim it, and put it off for less: it can be put off again.",
    ),
    RowRule(
        name="job_strikes_in_time",
        table="job",
        event="update",
        when="new.kind = 'deadline' and new.run_at > old.run_at",
        unless="not exists (select from public.cancellation c"
        "\n      where c.payment_id = new.payment_id and c.clock_id = new.subject_id and c.deadline_at < new.run_at)",
        why="its clock would strike too late",
        hint="Put it off until the deadline at most.",
    ),
)
ROW_RULES: tuple[RowRule, ...] = (*_PAYMENT, *_PARTS, *_JOB)


def triggers(rules: Iterable[RowRule]) -> Iterator[tuple[str, str]]:
    """Each trigger's name, and the SQL of its function and itself. ALWAYS: also under `session_replication_role`.

    Without `set search_path`, which costs more than the rest: nothing is looked up where a session may put its own.
    """
    for name, group in groupby(sorted(rules, key=lambda rule: rule.trigger), key=lambda rule: rule.trigger):
        listed = list(group)
        first, checks = listed[0], "\n".join(rule.check() for rule in listed)
        row, timing = ("null", "after") if first.after else ("new" if first.event == "update" else "old", "before")
        # One rule of its own is asked less often than the row is written.
        when = f" when ({first.when})" if first.after and first.event == "update" and len(listed) == 1 else ""
        yield (
            name,
            (
                f"create function {name}() returns trigger language plpgsql as $$\nbegin\n{checks}\n  return {row};\nend\n$$;\n"
                f"create trigger {name} {timing} {first.event} on {first.table}\n  for each row{when}\n  execute function {name}();\n"
                f"alter table {first.table} enable always trigger {name};\n"
            ),
        )
