"""What PostgreSQL says of the schema: the same to every reader, and otherwise for every object that somebody changed."""

from typing import Any

import asyncpg
import pytest

from tests.database import Database
from tests.write_catalog import fresh_catalog
from workflows.storage.catalog import catalog_differences, read_catalog, wanted_catalog


async def test_the_application_sees_the_same(database: Database) -> None:
    assert list(catalog_differences(await fresh_catalog(database.app_url), wanted_catalog())) == []


OWNED_BY = """
do $$ declare x record; begin
  for x in select oid::regclass as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' loop
    execute format('alter table %s owner to {0}', x.name);
  end loop;
  for x in select oid::regprocedure as name from pg_proc where pronamespace = 'public'::regnamespace loop
    execute format('alter function %s owner to {0}', x.name);
  end loop;
end $$
"""


async def test_the_owner_may_have_any_name(database: Database) -> None:
    owner = await asyncpg.connect(database.owner_url, ssl=False)
    try:
        await owner.execute("create role another_owner createrole")
        await owner.execute(OWNED_BY.format("another_owner"))
        found = await fresh_catalog(database.app_url)
        await owner.execute(OWNED_BY.format("current_user"))
    finally:
        await owner.execute("drop role if exists another_owner")
        await owner.close()

    assert list(catalog_differences(found, wanted_catalog())) == []


# What somebody might do to a database, and the object that is otherwise then.
CHANGES = {
    "alter table worker add column mine integer": "column worker.mine",
    "alter table worker alter column beat_at drop not null": "column worker.beat_at",
    "alter table worker alter column beat_at set default now()": "column worker.beat_at",
    "alter table payment drop constraint payment_refunds_within_amount": "constraint payment.payment_refunds_within_amount",
    "create unique index mine on payment (wallet_id)": "index mine",
    "drop index job_due": "index job_due",
    "alter table job disable trigger job_guard": "trigger job.job_guard",
    "alter table job enable trigger job_guard": "trigger job.job_guard",  # no longer always: replication would pass it by
    "create rule mine as on delete to worker do instead nothing": "rule worker.mine",
    "alter table payment enable row level security": "table payment",
    "create policy mine on payment using (true)": "policy payment.mine",
    "create table mine (id integer)": "table mine",
    "alter type route add value 'mine'": "words public.route",
    "create function mine() returns int language sql as 'select 1'": "function public.mine()",
    "grant truncate on payment to refundry_app": "rights of refundry_app on payment",
    "grant select on payment to public": "rights of public on payment",
    "grant update (amount) on payment to public": "rights of public on payment.amount",
    "grant create on schema public to public": "rights of public on schema public",
    "alter role refundry_app bypassrls": "role refundry_app",
    "alter role refundry_app set session_replication_role = replica": "setting session_replication_role of refundry_app",
    "grant pg_write_all_data to refundry_app": "membership of refundry_app in pg_write_all_data",
}


@pytest.mark.slow
async def test_every_change_shows_at_its_object(owner: Any) -> None:
    """Each is taken back: the roles are those of the whole server."""
    wanted = wanted_catalog()
    unseen = []
    for change, name in CHANGES.items():
        transaction = owner.transaction()
        await transaction.start()
        try:
            await owner.execute(change)
            found = list(catalog_differences(await read_catalog(owner), wanted))
        finally:
            await transaction.rollback()
        if not any(line.startswith(f"{name} do=") for line in found):
            unseen.append((change, found))

    assert unseen == []
