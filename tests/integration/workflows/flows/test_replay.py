"""What the owner of the tables changes by hand, and puts every guard back in its place, is found: by its name, or by the records."""

# ruff: noqa: S608 -- the statements are put together of our own words

from dataclasses import dataclass

import asyncpg
import pytest

from tests.database import Database
from tests.integration.workflows.populated import results_of, where
from workflows.domain.replay.comparison import CANCELLATIONS, LEGS, PAYMENT, REFERENCE, TEXTS
from workflows.flows.check import SCHEMA

pytestmark = pytest.mark.slow

# As one who knows the schema does it: no trigger fires but those that always do, and those are put aside for as long as it takes.
ASIDE = "alter table {0} disable trigger user"
BACK = """
do $$ declare x record; begin
  for x in select tgname from pg_trigger where tgrelid = '{0}'::regclass and not tgisinternal loop
    execute format('alter table {0} enable always trigger %I', x.tgname);
  end loop;
end $$
"""
DUE, LEASED = "jobs_are_due_in_time", "leases_end"


@dataclass(frozen=True)
class Tampering:
    """What is done to one table, the invariant that must name it, and a part of what it must say."""

    what: str
    table: str
    sql: str
    name: str
    says: str


def updated(what: str, table: str, change: str, whose: str, name: str, says: str) -> Tampering:  # noqa: PLR0917 -- a line of the table
    column = "id" if table == "payment" else "payment_id"
    return Tampering(what, table, f"update {table} set {change} where {where(whose, column)}", name, says)


TAMPERINGS = (
    updated("reference", "payment", "reference = 'another'", "late", REFERENCE, "reference=another makes=pay_"),
    updated("reference", "payment", "reference = 'another'", "late", PAYMENT, "field=reference records=late row=another"),
    updated("wallet", "payment", "wallet_id = 'w-2'", "late", PAYMENT, "field=wallet_id records=w-1 row=w-2"),
    updated(
        "amounts, all of them",
        "payment",
        "amount = 2000, funding = jsonb_set(funding, '{0,amount}', '2000')",
        "late",
        PAYMENT,
        "field=amount records=1000 row=2000",
    ),
    updated("charged back", "payment", "amount_charged_back = 5", "late", PAYMENT, "field=amount_charged_back records=0 row=5"),
    updated("a cancellation's amount", "cancellation", "amount = amount + 1", "lost", CANCELLATIONS, "field=amount records=100 row=101"),
    updated("a leg's amount", "leg", "amount = amount - 1", "lost", LEGS, "field=amount records=100 row=99"),
    updated("authorised_at", "payment", "authorised_at = authorised_at - interval '1 year'", "late", PAYMENT, "field=authorised_at"),
    updated("completed_at", "payment", "completed_at = completed_at + interval '1 day'", "late", PAYMENT, "field=completed_at"),
    updated("created_at", "payment", "created_at = created_at - interval '1 hour'", "late", PAYMENT, "field=created_at"),
    updated("updated_at", "payment", "updated_at = updated_at + interval '100 years'", "late", PAYMENT, "field=updated_at"),
    updated(
        "when it was requested", "cancellation", "created_at = created_at - interval '9 days'", "asked", CANCELLATIONS, "field=created_at"
    ),
    updated(
        "when it is decided", "cancellation", "deadline_at = deadline_at + interval '1 day'", "asked", CANCELLATIONS, "field=deadline_at"
    ),
    updated("a leg's time", "leg", "created_at = created_at - interval '1 day'", "lost", LEGS, "field=created_at"),
    updated("a leg's first attempt", "leg", "first_sent_at = first_sent_at + interval '9 days'", "lost", LEGS, "field=first_sent_at"),
    updated(
        "requester",
        "cancellation",
        "requester_id = 'mallory'",
        "asked",
        CANCELLATIONS,
        "field=requester_id records=wallet-backend row=mallory",
    ),
    updated("reason", "cancellation", "reason = 'damaged'", "asked", CANCELLATIONS, "field=reason records=unauthorised row=damaged"),
    updated("rule", "cancellation", "rule = 'none'", "asked", CANCELLATIONS, "field=rule"),
    updated(
        "approvals",
        "cancellation",
        """approvals = '[{"by": "anna", "role": "agent", "at": "2026-11-02T02:00:00Z"}]'""",
        "asked",
        CANCELLATIONS,
        "field=approvals records=[] row=[{'at'",
    ),
    updated("second approval", "cancellation", "second_approval = not second_approval", "asked", CANCELLATIONS, "field=second_approval"),
    updated("assignee", "cancellation", "assigned_to = 'mallory'", "asked", CANCELLATIONS, "field=assigned_to records=none row=mallory"),
    updated("where a leg goes", "leg", "provider_reference = 'mallory'", "lost", LEGS, "field=provider_reference"),
    updated("a leg's source", "leg", "position = 7", "lost", LEGS, "field=position"),
    updated("a note", "personal_text", "value = '\"another note\"'", "asked", TEXTS, "name=note digest=differs"),
    updated("a note's salt", "personal_text", "salt = 'another'", "asked", TEXTS, "name=note digest=differs"),
    updated("a job is put off", "job", "run_at = run_at + interval '100 years'", "lost", DUE, "kind=move"),
    updated("a deadline is put off", "job", "run_at = run_at + interval '100 years'", "asked", DUE, "kind=deadline"),
    updated("a job is leased", "job", "leased_until = run_at + interval '100 years'", "lost", LEASED, "kind=move"),
    Tampering(
        "a row too many",
        "leg",
        f"""insert into leg select (jsonb_populate_record(l, jsonb_build_object(
        'id', '{"0" * 8}-0000-7000-8000-000000000001', 'position', 7))).* from leg l where {where("lost")}""",
        LEGS,
        "records=none",
    ),
    Tampering("trigger", "record", "drop trigger record_guard on record", SCHEMA, "trigger record.record_guard do=drop trigger if exists"),
    Tampering("a quiet trigger", "job", "alter table record disable trigger record_guard", SCHEMA, "enabled=D"),
    Tampering(
        "rights",
        "record",
        "grant update on record to refundry_app",
        SCHEMA,
        "rights of refundry_app on record do=revoke update on record from refundry_app",
    ),
    Tampering("rights of everybody", "payment", "grant delete on payment to public", SCHEMA, "do=revoke delete on payment from public"),
    Tampering(
        "a column's rights",
        "payment",
        "grant update (wallet_id) on payment to refundry_app",
        SCHEMA,
        "do=revoke update (wallet_id) on public.payment from refundry_app",
    ),
    Tampering(
        "constraint",
        "payment",
        "alter table payment drop constraint payment_refunds_within_amount",
        SCHEMA,
        "constraint payment.payment_refunds_within_amount do=make constraint",
    ),
    Tampering("index", "leg", "drop index one_live_leg_per_source", SCHEMA, "index one_live_leg_per_source"),
    Tampering("column", "leg", "alter table leg alter amount drop not null", SCHEMA, "column leg.amount"),
    Tampering(
        "function",
        "record",
        "create or replace function refuse_change() returns trigger language plpgsql as $$ begin return null; end $$",
        SCHEMA,
        "function public.refuse_change()",
    ),
    Tampering("row security", "leg", "alter table leg enable row level security", SCHEMA, "table leg"),
    Tampering("a rule", "leg", "create rule quiet as on update to leg do instead nothing", SCHEMA, "do=drop rule quiet on leg"),
)


@pytest.mark.parametrize("done", TAMPERINGS, ids=lambda each: each.what)
async def test_what_the_owner_changes_is_found(copy: Database, done: Tampering) -> None:
    owner = await asyncpg.connect(copy.owner_url, ssl=False)
    quietly = done.name is not SCHEMA
    for statement in (ASIDE.format(done.table), done.sql, BACK.format(done.table)) if quietly else (done.sql,):
        status = await owner.execute(statement)
        assert status.split()[-1] != "0"
    await owner.close()

    results = await results_of(copy.app_url)

    assert [one for one in results[done.name].examples if done.says in one], results[done.name].examples
    assert results[SCHEMA].broken is not quietly, results[SCHEMA].examples


async def test_a_chain_that_contradicts_its_row(copy: Database) -> None:
    """Sealed anew, with the head that the payment keeps, so that no hash is wrong."""
    owner = await asyncpg.connect(copy.owner_url, ssl=False)
    await owner.execute(ASIDE.format("record"))
    await owner.execute(ASIDE.format("payment"))
    await owner.execute(
        f"""with said as (
                update record set body = replace(body, '"wallet_id":"w-1"', '"wallet_id":"w-9"') where {where("pending")} returning body
            ), sealed as (
                update payment set head = sha256('\\x00'::bytea || convert_to(said.body, 'UTF8')) from said where {where("pending", "id")}
                returning head
            ) select from sealed"""
    )
    await owner.execute(f"update record set hash = (select head from payment where {where('pending', 'id')}) where {where('pending')}")
    await owner.execute(BACK.format("record"))
    await owner.execute(BACK.format("payment"))
    await owner.close()

    results = await results_of(copy.app_url)

    assert {name for name, result in results.items() if result.broken} == {PAYMENT}
    assert "field=wallet_id records=w-9 row=w-1" in results[PAYMENT].examples[0]


async def test_another_revision_is_said_once(copy: Database) -> None:
    owner = await asyncpg.connect(copy.owner_url, ssl=False)
    await owner.execute("update alembic_version set version_num = '0003'")
    await owner.execute("alter table payment drop constraint payment_refunds_within_amount")
    await owner.close()

    results = await results_of(copy.app_url)

    (only,) = results[SCHEMA].examples
    assert only.startswith("revision=0003 must_be=")
    assert "do=run `refundry migrate`" in only
