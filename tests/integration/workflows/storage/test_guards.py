"""Who may do what to which table: every kind of statement on every table, as the application and as the owner."""

# ruff: noqa: S608 -- the names in the statements are our own

from collections.abc import AsyncIterator, Iterator
from itertools import product

import asyncpg
import pytest

from tests.database import Cluster, Database
from tests.integration.workflows.storage.rows import FIRST, NO_REFUND, SECOND, Connection, insert, insert_first
from workflows.storage import guards, tables
from workflows.storage.tables import metadata

VERBS = ("select", "insert", "update", "delete", "truncate")

# What the application may do: the one expectation, written down beside nothing else.
APPLICATION = {
    "payment": {"select", "insert", "update"},
    "cancellation": {"select", "insert", "update"},
    "leg": {"select", "insert", "update"},
    "record": {"select", "insert"},
    "personal_text": {"select", "insert", "delete"},
    "kept_reply": {"select", "insert", "delete"},
    "job": {"select", "insert", "update", "delete"},
    "notification": {"select", "insert", "update"},
    "anomaly": {"select", "insert"},
    "anomaly_step": {"select", "insert"},
    "policy": {"select", "insert"},
    "merchant": {"select", "insert"},
    "worker": {"select", "insert", "update", "delete"},
    "alembic_version": {"select"},
}
# What nobody may do, the owner included.
REFUSED = {
    "payment": {"delete", "truncate"},
    "cancellation": {"delete", "truncate"},
    "leg": {"delete", "truncate"},
    "record": {"update", "delete", "truncate"},
    "personal_text": {"update", "truncate"},
    "kept_reply": {"update", "truncate"},
    "job": {"truncate"},
    "anomaly": {"update", "delete", "truncate"},
    "anomaly_step": {"update", "delete", "truncate"},
    "policy": {"update", "delete", "truncate"},
    "merchant": {"update", "delete", "truncate"},
}
# Columns that the application may set after it has written the row; where a table is not named, all or none.
UPDATED = {
    "payment": "version amount funding items state origin_state fulfilment completed_at shipped_at delivered_at failure_code"
    " amount_refunded amount_reserved amount_charged_back amount_forfeited return_received_at"
    " disputes_open allocated cancelled_quantities partial_refunds"
    " last_partial_at sequence head updated_at merchant_told_at",
    "cancellation": "version state route amount items partial rule policy_version window facts refusal refusal_next_steps deadline_at"
    " on_deadline second_approval override_ticket assigned_to approvals reopened updated_at clock_id clock_started_at"
    " reminders merchant merchant_time_left_us offers offer_amount goods declined_by raised forfeited"
    " merchant_time_us tier first_response_due_at resolution_due_at first_responded_at"
    " refund_id refund_version refund_state refund_amount refund_created_at refund_updated_at",
    "leg": "state outcome_source provider_refund_id rail_reference attempts failure_code next_attempt_at sent_at updated_at "
    "first_sent_at recovery answers",
    "notification": "handled_at verdict",
    "job": "run_at attempt leased_until",
}


def columns(table: str) -> list[str]:
    return ["version_num"] if table == "alembic_version" else list(metadata.tables[table].columns.keys())


def statement(verb: str, table: str) -> str:
    """A statement of that kind, which touches no row: the right to it is asked for all the same."""
    column = UPDATED.get(table, columns(table)[-1]).split()[0]
    return {
        "select": f"select * from {table} limit 0",
        "insert": f"insert into {table} select * from {table} where false",
        "update": f"update {table} set {column} = {column} where false",
        "delete": f"delete from {table} where false",
        "truncate": f"truncate {table} cascade",
    }[verb]


def column_rights() -> Iterator[tuple[str, str, bool]]:
    for table, verbs in APPLICATION.items():
        listed = UPDATED[table].split() if table in UPDATED else columns(table)
        for column in columns(table):
            yield table, column, "update" in verbs and column in listed


@pytest.fixture(scope="module")
async def shared(cluster: Cluster) -> AsyncIterator[Database]:
    async with cluster.clone() as database:
        yield database


@pytest.fixture(scope="module")
async def possessor(shared: Database) -> AsyncIterator[Connection]:
    """The owner, with a row in every table."""
    connection = await asyncpg.connect(shared.owner_url, ssl=False)
    await insert_first(connection)
    yield connection
    await connection.close()


async def attempt(connection: Connection, sql: str) -> asyncpg.PostgresError | None:
    """What the database says to this statement; whatever it did is undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(sql)
    except asyncpg.PostgresError as error:
        return error
    finally:
        await transaction.rollback()
    return None


# What CHECKs call with the rights of whoever writes.
FUNCTIONS = {"shares_within_funding", "quantities_within_items", "persons_differ"}


async def test_the_application_executes_what_checks_call(possessor: Connection) -> None:
    granted = await possessor.fetch(
        "select proname::text, prosecdef from pg_proc, aclexplode(proacl) where pronamespace = 'public'::regnamespace"
        " and grantee = 'refundry_app'::regrole and privilege_type = 'EXECUTE'"
    )

    assert {tuple(row) for row in granted} == {(name, False) for name in FUNCTIONS}
    assert set(tables.FUNCTIONS) == FUNCTIONS


async def test_every_table_has_its_expectation(possessor: Connection) -> None:
    existing = await possessor.fetch(
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
    )

    assert set(APPLICATION) == {row["relname"] for row in existing}
    assert (
        await possessor.fetch("select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('v','m','f','S')")
        == []
    )


async def test_the_application_may_do_what_it_must_and_nothing_else(application: Connection, subtests: pytest.Subtests) -> None:
    for table, verb in product(APPLICATION, VERBS):
        with subtests.test(f"{verb} {table}"):
            said = await attempt(application, statement(verb, table))
            if verb in APPLICATION[table]:
                assert said is None
            else:
                assert isinstance(said, asyncpg.InsufficientPrivilegeError)


async def test_the_application_sets_only_columns_that_may_change(application: Connection, subtests: pytest.Subtests) -> None:
    for table, column, allowed in column_rights():
        with subtests.test(f"{table}.{column}"):
            said = await attempt(application, f'update {table} set "{column}" = "{column}" where false')
            assert isinstance(said, asyncpg.InsufficientPrivilegeError) != allowed, said


def test_the_code_knows_these_rights() -> None:
    assert {table: set(rights.verbs) for table, rights in guards.RIGHTS.items()} == APPLICATION
    assert {table: set(verbs) for table, verbs in guards.TRIGGERS.items()} == REFUSED
    assert {table: guards.RIGHTS[table].update for table in UPDATED} == {table: set(listed.split()) for table, listed in UPDATED.items()}
    assert all(names <= set(columns(table)) for table, names in guards.IMMUTABLE.items())


@pytest.mark.parametrize("table", [table for table, verbs in APPLICATION.items() if "update" in verbs])
async def test_the_application_may_lock_rows_that_it_may_change(application: Connection, table: str) -> None:
    assert await attempt(application, f"select * from {table} for update") is None


@pytest.mark.parametrize(
    "sql",
    [
        "create table intruder (id int)",
        "create schema intruder",
        "create function public.intruder() returns int language sql as 'select 1'",
        "create index intruder on payment (amount)",
        "create trigger intruder before insert on record for each row execute function refuse_change()",
        "alter table record disable trigger record_guard",
        "alter table record disable trigger all",
        "alter table payment disable trigger payment_update_rules",
        "drop function payment_update_rules() cascade",
        "alter table payment drop constraint payment_refunds_within_amount",
        "alter table record owner to refundry_app",
        "drop table record",
        "drop function refuse_change()",
        "drop trigger record_guard on record",
        "lock table record in access exclusive mode",
        "set session_replication_role = replica",
        "set role refundry",
        "grant update on record to refundry_app",
        "create role intruder",
        "alter role refundry_app superuser",
    ],
)
async def test_the_application_cannot_lift_a_rule(application: Connection, sql: str) -> None:
    said = await attempt(application, sql)

    # GRANT without the right to grant is a warning and grants nothing, unless there is no right on the object at all.
    if sql.startswith("grant") and said is None:
        assert await application.fetchval("select has_table_privilege('record', 'update')") is False
    else:
        assert isinstance(said, asyncpg.InsufficientPrivilegeError), said


@pytest.mark.parametrize("verb", ["update", "delete", "truncate"])
@pytest.mark.parametrize("table", FIRST)
async def test_not_even_the_owner_changes_history(possessor: Connection, table: str, verb: str) -> None:
    said = await attempt(possessor, statement(verb, table))

    if verb in REFUSED.get(table, ()):
        assert isinstance(said, asyncpg.RestrictViolationError)
        assert (said.table_name, said.constraint_name) == (table, f"{table}_guard")
        assert said.args[0] == f'{verb.upper()} on "{table}" is refused: its rows are history'
        assert said.hint
    else:
        assert said is None


@pytest.mark.parametrize(("table", "verb"), [(table, verb) for table, verbs in REFUSED.items() for verb in sorted(verbs)])
async def test_history_is_kept_from_replication_roles_too(possessor: Connection, table: str, verb: str) -> None:
    said = await attempt(possessor, f"set local session_replication_role = replica; {statement(verb, table)}")

    assert isinstance(said, asyncpg.RestrictViolationError)


@pytest.mark.parametrize(
    "sql",
    [
        "update record set body = '{}'",
        "delete from record",
        "insert into record select * from record on conflict (chain_id, sequence) do update set body = '{}'",
        "with changed as (update record set body = '{}' returning 1) select * from changed",
        "merge into record using (select 1) as one on true when matched then update set body = '{}'",
        "truncate payment cascade",
    ],
)
async def test_a_record_survives_every_way_to_change_it(possessor: Connection, sql: str) -> None:
    before = await possessor.fetch("select * from record")

    said = await attempt(possessor, sql)

    assert isinstance(said, asyncpg.RestrictViolationError)
    assert len(before) == 2  # the first policy's, and the one that is put in here
    assert await possessor.fetch("select * from record") == before


@pytest.mark.parametrize(
    "change",
    [
        "refund_id = gen_random_uuid()",
        "refund_amount = 99",
        "refund_created_at = refund_created_at + interval '1 second'",
        "refund_id = null, refund_version = null, refund_state = null, refund_amount = null, refund_created_at = null,"
        " refund_updated_at = null",
    ],
)
async def test_what_a_refund_was_made_with_is_written_once(possessor: Connection, change: str) -> None:
    said = await attempt(possessor, f"update cancellation set {change}")
    as_replica = await attempt(possessor, f"set local session_replication_role = replica; update cancellation set {change}")

    assert isinstance(said, asyncpg.RestrictViolationError)
    assert said.constraint_name == "cancellation_refund_once"
    assert isinstance(as_replica, asyncpg.RestrictViolationError)
    assert await attempt(possessor, "update cancellation set refund_state = 'succeeded', refund_amount = refund_amount") is None


async def test_a_refund_may_be_added_to_a_cancellation(possessor: Connection) -> None:
    without = {**SECOND["cancellation"], **NO_REFUND}
    await insert(possessor, "cancellation", without)
    given = "refund_id = gen_random_uuid(), refund_version = 1, refund_state = 'scheduled', refund_amount = 5"
    key = f"id = '{without['id']}'"

    added = f"update cancellation set {given}, refund_created_at = now(), refund_updated_at = now() where {key}"
    assert await possessor.execute(added) == "UPDATE 1"


async def test_no_name_of_the_applications_own_gets_round_four_eyes(database: Database) -> None:
    """`pg_temp` stands before everything else where a type is looked up."""
    owner = await asyncpg.connect(database.owner_url, ssl=False)
    connection = await asyncpg.connect(database.app_url, ssl=False)
    try:
        await insert_first(owner)
        await owner.execute("update cancellation set requester_id = 'more than a letter'")
        for session in (connection, await asyncpg.connect(database.owner_url, ssl=False)):
            await session.execute('create domain pg_temp.text as pg_catalog."char"')
            with pytest.raises(asyncpg.CheckViolationError) as refused:
                await session.execute("update cancellation set approvals = jsonb_build_array(jsonb_build_object('by', requester_id))")
            assert refused.value.constraint_name == "cancellation_three_persons"
            await session.close()
    finally:
        await owner.close()


async def test_the_application_writes_and_changes_what_its_work_needs(database: Database) -> None:
    """Whole rows, with all triggers, foreign keys and rights in force."""
    connection = await asyncpg.connect(database.app_url, ssl=False)
    try:
        await insert_first(connection)
        for table, row in SECOND.items():
            await insert(connection, table, row)
        for table, listed in UPDATED.items():
            assignments = ", ".join(f'"{column}" = excluded."{column}"' for column in listed.split())
            key = ", ".join(column.name for column in metadata.tables[table].primary_key)
            upsert = f"insert into {table} select * from {table} on conflict ({key}) do update set {assignments}"
            assert await connection.execute(upsert) != "INSERT 0 0"
        await connection.execute("update leg set state = 'failed'")  # whose job is done
        await connection.execute("update notification set handled_at = received_at, verdict = 'known' where handled_at is null")
        await connection.execute("update job set attempt = attempt + 1, leased_until = run_at")
        for table in ("personal_text", "kept_reply", "job", "worker"):
            assert await connection.execute(f"delete from {table}") == "DELETE 2"
    finally:
        await connection.close()
