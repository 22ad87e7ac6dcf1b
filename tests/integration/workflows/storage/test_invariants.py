"""Every invariant holds over what the core writes, and each one that is broken on purpose is found by its name."""

# ruff: noqa: S608 -- the statements are put together of our own words

import io
import random
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from rich.console import Console

from service.settings import Settings
from service.terminal.check import run_check
from service.terminal.invariant_texts import INVARIANT_TEXTS
from tests.database import Database, in_thread
from tests.harness import ScriptedCore, scripted_core
from tests.integration.workflows.populated import ITEMS, results_of, where
from tests.rails import WORDS
from workflows.domain.enums import CancellationState, PaymentState, Reason
from workflows.domain.errors import RefundryError
from workflows.domain.ids import payment_id, public
from workflows.domain.model import ItemQuantity
from workflows.domain.replay.comparison import REPLAYED
from workflows.flows.check import COLUMNS, EXAMPLES_MAX, IN_CHAINS, LINKED, SCHEMA, SEALED, STORY, UNBROKEN, InvariantResult, run_checks
from workflows.flows.check_rail import MOVED
from workflows.storage.invariants import IN_SQL

pytestmark = pytest.mark.slow

# The records and the catalog; see flows/test_replay.py and test_catalog.py.
BROKEN_BY_NEARLY_ALL = {*REPLAYED, SCHEMA}
NAMES = {invariant.name for invariant in IN_SQL} | set(IN_CHAINS)
ALL = NAMES | BROKEN_BY_NEARLY_ALL

# What guards a database from within is put aside, as a mistaken operator or a damaged disk would.
UNPROTECT = """
do $$ declare x record; begin
  for x in select conrelid::regclass as t, conname from pg_constraint
            where contype in ('c', 'f') and conrelid <> 0 and connamespace = 'public'::regnamespace order by contype desc loop
    execute format('alter table %s drop constraint %I', x.t, x.conname);
  end loop;
  for x in select contypid::regtype as d, conname from pg_constraint
            where contype = 'c' and contypid <> 0 and connamespace = 'public'::regnamespace loop
    execute format('alter domain %s drop constraint %I', x.d, x.conname);
  end loop;
  for x in select i.indexrelid::regclass as i from pg_index i join pg_class c on c.oid = i.indrelid
            where i.indisunique and not i.indisprimary and c.relnamespace = 'public'::regnamespace loop
    execute format('drop index %s', x.i);
  end loop;
  for x in select distinct tgrelid::regclass as t from pg_trigger where not tgisinternal loop
    execute format('alter table %s disable trigger user', x.t);
  end loop;
end $$
"""


def broken(results: dict[str, InvariantResult]) -> set[str]:
    """Those that one kind of damage breaks; nearly every one breaks what is in `BROKEN_BY_NEARLY_ALL` too."""
    return {name for name, result in results.items() if result.broken} - BROKEN_BY_NEARLY_ALL


async def test_what_the_core_writes_breaks_nothing(copy: Database) -> None:
    results = await results_of(copy.app_url)

    assert set(results) == ALL
    assert [(result.name, result.examples) for result in results.values() if result.broken] == []
    assert all(result.looked_at > 0 for result in results.values())


async def test_the_populated_database_holds_every_state_that_the_core_can_reach_today(copy: Database) -> None:
    connection = await asyncpg.connect(copy.app_url, ssl=False)
    payments = {row[0] for row in await connection.fetch("select state from payment")}
    cancellations = {row[0] for row in await connection.fetch("select state from cancellation")}
    await connection.close()

    assert payments == set(PaymentState)
    assert cancellations == set(CancellationState) - {
        CancellationState.awaiting_merchant,
        CancellationState.offered,
        CancellationState.awaiting_return,
        CancellationState.awaiting_second_approval,
        CancellationState.declined,
        CancellationState.failed,
    }


async def test_a_migrated_database_without_payments_passes(database: Database) -> None:
    assert broken(await results_of(database.app_url)) == set()


def rewrite(reference: str, sequence: int, old: str, new: str) -> str:
    """Change a record's body, and its hash with it, as somebody would who knows how."""
    body = f"replace(body, '{old}', '{new}')"
    return f"""update record set body = {body}, hash = sha256('\\x00'::bytea || convert_to({body}, 'UTF8'))
                where {where(reference)} and sequence = {sequence}"""


def payment(reference: str, change: str) -> str:
    return f"update payment set {change} where {where(reference, 'id')}"


@dataclass(frozen=True)
class Broken:
    """A damage, the invariant that must name it, and those that cannot but notice it too."""

    name: str
    sql: str
    too: set[str] = field(default_factory=set)


RESERVED, REFUNDED, ALLOCATED = "reserved_is_what_is_open", "refunded_is_what_arrived", "allocated_is_what_refunds_took"
SOURCE = "no_source_gets_more_than_it_paid"
STATE, CANCELLATION, REFUND = "payment_state_is_its_cancellations", "cancellation_state_is_its_legs", "refund_is_its_legs"
FOLLOW, STEP, HEAD, TOLD = "legs_follow_their_order", "legs_have_a_next_step", "payment_holds_the_head", "records_tell_what_moved"
VERSIONS = "versions_are_on_record"
NOBODY = "00000000-0000-0000-0000-000000000001"

BROKEN = [
    Broken("refunds_within_amount", payment("asked", "amount_reserved = 1001"), {RESERVED}),
    Broken("refunds_within_amount", payment("asked", "amount_charged_back = -1")),
    Broken("funding_makes_up_amount", payment("late", "amount = 999")),
    Broken("funding_makes_up_amount", payment("partial", 'items = \'[["a", 3, 700], ["b", 1, 301]]\'')),
    Broken("funding_makes_up_amount", payment("pending", 'funding = \'[{"amount": "many"}]\''), {ALLOCATED}),
    Broken(REFUNDED, payment("stuck", "amount_refunded = amount_refunded - 1")),
    Broken(RESERVED, payment("moving", "amount_reserved = amount_reserved - 1")),
    Broken(RESERVED, payment("returned", "amount_reserved = 0")),
    Broken(RESERVED, payment("forfeited", "amount_forfeited = amount_forfeited + 1")),
    Broken("refunds_within_amount", payment("all forfeited", "amount_forfeited = 1001"), {RESERVED}),
    Broken(CANCELLATION, f"update cancellation set forfeited = '{{}}' where {where('all forfeited')}", {ALLOCATED, RESERVED}),
    Broken(ALLOCATED, payment("captured", "allocated[1] = 0")),
    Broken(ALLOCATED, payment("stuck", "allocated[2] = 699")),
    Broken(ALLOCATED, f"update leg set position = 7 where {where('whole')} and position = 1", {SOURCE}),
    Broken(SOURCE, f"update leg set amount = amount + 1 where {where('whole')} and position = 0", {REFUND, REFUNDED, ALLOCATED, TOLD}),
    Broken("quantities_are_what_was_cancelled", payment("partial", "cancelled_quantities[1] = 1")),
    Broken("quantities_are_what_was_cancelled", payment("withdrawn", "cancelled_quantities[1] = 2")),
    Broken(REFUND, f"update cancellation set refund_amount = refund_amount + 1 where {where('moving')}"),
    Broken(REFUND, f"update cancellation set refund_state = 'processing' where {where('stuck')}"),
    Broken(REFUND, f"delete from leg where {where('stuck')} and state = 'failed'", {CANCELLATION, ALLOCATED}),
    Broken(FOLLOW, f"update leg set currency = 'USD' where {where('moving')}"),
    Broken(FOLLOW, f"update leg set replaces = '{NOBODY}' where {where('moving')} and position = 0"),
    Broken(FOLLOW, f"update leg set refund_id = null where {where('lost')}", {REFUND}),
    Broken(STATE, payment("moving", "state = 'completed'"), {HEAD}),
    Broken(STATE, payment("asked", "origin_state = 'pending'")),
    Broken(STATE, payment("late", "state = 'refunded'"), {HEAD}),
    Broken(STATE, payment("withdrawn", "state = 'refunding'"), {HEAD}),
    Broken(STATE, payment("pending", "state = 'cancelled'"), {HEAD}),
    Broken(STATE, payment("mooted", "failure_code = null"), {CANCELLATION}),
    Broken(STATE, payment("whole", "state = 'completed'"), {HEAD}),
    Broken(CANCELLATION, f"update cancellation set state = 'completed' where {where('moving')}", {STATE, RESERVED}),
    Broken(CANCELLATION, f"update cancellation set state = 'executing' where {where('stuck')}"),
    Broken(CANCELLATION, f"update cancellation set state = 'awaiting_agent' where {where('lost')}", {STATE}),
    Broken(CANCELLATION, f"update cancellation set state = 'needs_attention' where {where('asked')}"),
    Broken(
        "one_open_cancellation",
        f'insert into cancellation select (jsonb_populate_record(c, \'{{"id": "{NOBODY}"}}\')).* from cancellation c'
        f" where {where('asked')}",
        {STATE, RESERVED, "quantities_are_what_was_cancelled"},
    ),
    Broken("policies_exist", payment("late", "policy_version = 'none'")),
    Broken("policies_exist", f"update cancellation set policy_version = 'none' where {where('late')}"),
    Broken("merchants_exist", payment("pinned", "merchant_rules_version = 'm-1@7'")),
    Broken("merchants_exist", payment("pinned", "merchant_rules_version = 'm-2@1'")),
    Broken("merchants_exist", payment("pinned", "authorised_at = authorised_at - interval '1 day'")),
    Broken("merchants_exist", "delete from merchant where version = 1", {VERSIONS}),
    Broken(VERSIONS, "update merchant set version = 3 where version = 2", {"merchants_exist"}),
    Broken(VERSIONS, "update merchant set changed_by = 'nobody' where version = 1"),
    Broken(VERSIONS, "update merchant set changed_at = changed_at - interval '1 second' where version = 1"),
    Broken(VERSIONS, "update policy set published_at = published_at + interval '1 second'"),
    Broken(VERSIONS, "update policy set version = 'other'", {"policies_exist"}),
    Broken(VERSIONS, "update record set type = 'payment.noted' where type = 'merchant.changed' and body like '%m-1@2%'", {COLUMNS}),
    Broken("parts_belong", f"update personal_text set subject_id = '{NOBODY}' where {where('late')} and name = 'note'"),
    Broken("parts_belong", f"update personal_text set subject_id = '{NOBODY}' where {where('odd')} and value->>'note' = 'seen'"),
    Broken("parts_belong", f"update cancellation set payment_id = '{NOBODY}' where {where('late')}"),
    Broken(
        "parts_belong", f"update leg set cancellation_id = '{NOBODY}' where {where('moving')}", {CANCELLATION, RESERVED, ALLOCATED, FOLLOW}
    ),
    Broken(FOLLOW, f"update cancellation set refund_id = '{NOBODY}' where {where('moving')}", {REFUND}),
    Broken(STEP, f"delete from job where {where('moving')}"),
    Broken(STEP, f"delete from job where {where('fresh')}"),
    Broken(STEP, f'insert into job select (jsonb_populate_record(j, \'{{"id": "{NOBODY}"}}\')).* from job j where {where("lost")}'),
    Broken("clocks_have_a_job", f"delete from job where {where('asked')}"),
    Broken("clocks_have_a_job", f"update cancellation set clock_id = '{NOBODY}' where {where('asked')}"),
    Broken("jobs_are_due_in_time", f"update job set run_at = run_at + interval '100 years' where {where('lost')}"),
    Broken("jobs_are_due_in_time", f"update job set run_at = run_at + interval '100 years' where {where('asked')}"),
    Broken("leases_end", f"update job set leased_until = run_at + interval '100 years' where {where('lost')}"),
    Broken("jobs_have_a_subject", f"update job set subject_id = '{NOBODY}' where {where('lost')}", {STEP}),
    Broken("jobs_have_a_subject", "update job set kind = 'move' where kind = 'notification'", {"notifications_are_heard"}),
    Broken("notifications_are_heard", "delete from job where kind = 'notification'"),
    Broken("notifications_are_heard", "update notification set verdict = null where handled_at is not null"),
    Broken("replies_belong", f"update kept_reply set scope_id = '{NOBODY}'"),
    Broken(HEAD, payment("late", "sequence = sequence - 1")),
    Broken(HEAD, payment("late", "head = sha256('')")),
    Broken(HEAD, f"delete from record where {where('whole')} and sequence = (select max(sequence) from record where {where('whole')})"),
    Broken("payment_registered_first", f"update record set type = 'dream' where {where('late')} and sequence = 1", {COLUMNS}),
    Broken(
        "payment_registered_first",
        f"update record set type = 'payment.registered' where {where('asked')} and sequence = 2",
        {COLUMNS, HEAD},
    ),
    Broken("records_belong", f"update record set merchant_id = 'm-2' where {where('late')}"),
    Broken("records_belong", f"update record set payment_id = null where {where('late')}", {COLUMNS}),
    Broken(TOLD, f"update leg set amount = amount - 1 where {where('whole')} and position = 0", {REFUND, REFUNDED, ALLOCATED}),
    Broken(UNBROKEN, f"delete from record where {where('voided')} and sequence = 2"),
    Broken(UNBROKEN, f"delete from record where {where('voided')} and sequence = 1", {"payment_registered_first"}),
    Broken(SEALED, f"update record set body = replace(body, 'changed_mind', 'technical') where {where('late')} and sequence = 2"),
    Broken(SEALED, f"update record set body = 'gone' where {where('late')} and sequence = 2", {COLUMNS, LINKED, STORY, HEAD}),
    Broken(SEALED, f"update record set body = '[' || body || ']' where {where('late')} and sequence = 2", {COLUMNS, LINKED, STORY, HEAD}),
    Broken(LINKED, rewrite("voided", 2, '"channel":"app"', '"channel":"bot"')),
    Broken(LINKED, f"update record set hash = sha256('') where {where('voided')} and sequence = 2", {SEALED}),
    Broken(COLUMNS, f"update record set actor_id = 'nobody' where {where('voided')} and sequence = 2"),
    Broken(COLUMNS, f"update record set occurred_at = occurred_at + interval '1 microsecond' where {where('pending')}"),
    Broken(COLUMNS, f"update record set chain = 'service' where {where('voided')} and sequence = 2", {"records_belong"}),
    Broken(STORY, rewrite("voided", 3, '"from_state":"pending"', '"from_state":"failed"'), {LINKED}),
    Broken(STORY, f"update record set occurred_at = occurred_at - interval '1 day' where {where('voided')} and sequence = 3", {COLUMNS}),
]


def test_every_invariant_is_broken_at_least_once() -> None:
    assert {each.name for each in BROKEN} == NAMES


@pytest.mark.parametrize("damage", BROKEN, ids=lambda each: each.name)
async def test_what_is_broken_is_found_by_name(copy: Database, damage: Broken) -> None:
    owner = await asyncpg.connect(copy.owner_url, ssl=False)
    await owner.execute(UNPROTECT)
    status = await owner.execute(damage.sql)
    await owner.close()

    results = await results_of(copy.app_url)

    assert status.split()[-1] != "0"
    assert broken(results) == {damage.name} | damage.too
    assert 0 < len(results[damage.name].examples) <= results[damage.name].violations


async def test_an_example_names_the_payment_and_only_the_first_are_kept(copy: Database) -> None:
    owner = await asyncpg.connect(copy.owner_url, ssl=False)
    await owner.execute(UNPROTECT)
    await owner.execute(payment("stuck", "amount_refunded = 299"))
    await owner.execute("update record set hash = sha256('')")
    records = await owner.fetchval("select count(*) from record")
    await owner.close()

    results = await results_of(copy.app_url)

    assert results[REFUNDED].examples == [f"{public('pay', payment_id('stuck'))} refunded=299 legs=300"]
    assert results[SEALED].violations == results[SEALED].looked_at == records
    assert len(results[SEALED].examples) == EXAMPLES_MAX


def test_every_invariant_has_its_text() -> None:
    assert set(INVARIANT_TEXTS) == ALL | {MOVED}


async def test_the_terminal_says_what_holds(copy: Database) -> None:
    status, said = terminal(copy)

    assert status == 0
    assert f"All {len(ALL)} invariants hold" in said
    assert all(name in said for name in ALL)


async def test_the_terminal_says_what_is_broken(copy: Database) -> None:
    owner = await asyncpg.connect(copy.owner_url, ssl=False)
    await owner.execute(payment("late", "head = sha256('\x1b[2J')"))
    await owner.close()

    status, said = terminal(copy)

    assert status == 1
    assert f"1 of {len(ALL)} invariants are broken" in said
    assert public("pay", payment_id("late")) in said


def terminal(database: Database) -> tuple[int, str]:
    """What the command prints, and its status."""
    console = Console(file=io.StringIO(), width=200, color_system=None)
    statuses: list[int] = []
    in_thread(lambda: statuses.append(run_check(Settings(database_url=database.app_url), console)))
    assert isinstance(console.file, io.StringIO)
    return statuses[0], console.file.getvalue()


SCRIPTS = (
    "ok",
    "pending/ok",
    "unknown/ok",
    "unknown/absent/ok",
    "unavailable/ok",
    "decline",
    "action/ok",
    "settled",
    "mismatch",
    "pending",
)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_in_whatever_order_breaks_nothing(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    async with scripted_core(database.app_url) as core:
        payments = [
            await core.pay(
                f"p-{number}",
                sources=chance.choices(SCRIPTS, k=chance.randint(1, 3)),
                settled=chance.random() < 0.6,
                items=ITEMS if number % 3 == 0 else (),
            )
            for number in range(6)
        ]

        for _ in range(80):
            await _step(core, chance.choice(payments), chance)

        results = await run_checks(core.pool)
        assert [(result.name, result.examples) for result in results if result.broken] == []


async def _step(core: ScriptedCore, payment: UUID, chance: random.Random) -> None:
    """One thing that may happen to a payment; what the domain refuses is as good as what it does."""
    what = chance.choices(("ask", "ask_items", "withdraw", "complete", "fail", "say", "work", "wait"), (5, 2, 2, 1, 0.5, 4, 6, 0.3))[0]
    try:
        match what:
            case "ask":
                await core.ask(payment, chance.choice((None, None, 1, 333, 700)), reason=chance.choice(tuple(Reason)))
            case "ask_items":
                await core.ask(payment, items=[ItemQuantity(reference=chance.choice("ab"), quantity=1)])
            case "withdraw":
                await core.withdraw(payment)
            case "complete":
                await core.complete(payment)
            case "fail":
                await core.fail(payment)
            case "say" if legs := await core.legs(payment):
                await core.say(chance.choice(legs), chance.choice(WORDS))
            case "work":
                await core.work(seconds=chance.randint(0, 3))
            case "wait":
                core.clock.now += timedelta(minutes=20)
    except RefundryError:
        pass
