"""The migrations lead to exactly the schema that the tables declare, and back."""

import asyncio
import json
import sys
from collections.abc import Callable
from enum import StrEnum
from io import StringIO
from uuid import UUID

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import CheckConstraint, Column, Connection, Index, Integer, MetaData, Table, create_mock_engine, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ENUM
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from alembic import command
from service.migrations import head
from tests import ROOT, lint_migrations
from tests.database import Database, catalog, shape
from tests.integration.workflows.storage import rows
from workflows.domain import enums
from workflows.domain.ids import rail_key
from workflows.storage.tables import FUNCTIONS, metadata

pytestmark = pytest.mark.slow

# A refund as a row of its own, as it was before migration 0013.
REFUND_BEFORE: rows.Row = {
    "payment_id": rows.id_(rows.PAYMENT),
    "id": rows.id_(rows.REFUND),
    "cancellation_id": rows.id_(rows.CANCELLATION),
    "version": 1,
    "state": "scheduled",
    "amount": 100,
    "currency": "CNY",
    "created_at": rows.NOW,
    "updated_at": rows.NOW,
    "merchant_id": "m",
}
MIGRATORS_LOCK = 0x7265_6675_6E64_7279


async def alembic(url: str, work: Callable[[Config], object]) -> str:
    """Run one of alembic's commands with the project's own configuration; what it printed."""
    output = StringIO()
    config = Config(toml_file=ROOT / "pyproject.toml", stdout=output)
    config.attributes["url"] = url
    await asyncio.to_thread(work, config)
    return output.getvalue()


async def alembic_program(url: str, *arguments: str) -> tuple[int, str]:
    """Run alembic as an operator does: exit status and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alembic", "-x", f"url={url}", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def up(config: Config) -> None:
    command.upgrade(config, "head")


def down(config: Config) -> None:
    command.downgrade(config, "base")


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("_")


def copied() -> MetaData:
    copy = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(copy)
    return copy


async def differences(database: Database, wanted: MetaData) -> list[str]:
    """What alembic's autogeneration would change."""

    def compare(connection: Connection) -> list[str]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return [str(difference) for difference in compare_metadata(context, wanted)]

    url = database.owner_url.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(compare)
    finally:
        await engine.dispose()


async def create_all(database: Database, declared: MetaData) -> None:
    statements: list[str] = []
    engine = create_mock_engine(
        "postgresql+asyncpg://",
        lambda statement, *_, **__: statements.append(str(statement.compile(dialect=postgresql.dialect()))),  # type: ignore[no-untyped-call]  # SQLAlchemy's own
    )
    declared.create_all(engine, checkfirst=False)
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    try:
        await connection.execute(";".join((*FUNCTIONS.values(), *statements)))
    finally:
        await connection.close()


async def test_alembic_check_finds_nothing_to_migrate(database: Database) -> None:
    assert "No new upgrade operations detected" in await alembic(database.owner_url, command.check)


async def test_alembic_finds_a_table_a_column_and_an_index_that_no_migration_made(database: Database) -> None:
    changed = copied()
    Table("forgotten", changed, Column("id", Integer, primary_key=True))
    changed.tables["worker"].append_column(Column("forgotten", Integer))
    Index("forgotten_index", changed.tables["leg"].c.amount)

    found = await differences(database, changed)

    assert await differences(database, copied()) == []
    assert [difference.split("'")[1] for difference in found] == ["add_table", "add_index", "add_column"]


async def test_migrated_and_declared_schema_are_the_same_to_the_letter(database: Database, empty_database: Database) -> None:
    await create_all(empty_database, metadata)

    assert await shape(database.owner_url) == await shape(empty_database.owner_url)


async def test_the_comparison_sees_what_alembic_does_not(database: Database, empty_database: Database) -> None:
    changed = copied()
    checks = changed.tables["payment"].constraints
    limit = next(check for check in checks if isinstance(check, CheckConstraint) and check.name == "payment_refunds_within_amount")
    limit.sqltext = text("amount between 1 and 10")
    ready = next(index for index in changed.tables["job"].indexes if index.name == "job_due")
    ready.dialect_options["postgresql"]["where"] = text("attempt = 0")
    changed.tables["leg"].dialect_options["postgresql"]["with"] = {"fillfactor": "70"}
    await create_all(empty_database, changed)

    difference = set(await shape(empty_database.owner_url)) - set(await shape(database.owner_url))

    assert difference == {
        "constraint payment payment_refunds_within_amount CHECK (amount::bigint >= 1 AND amount::bigint <= 10)",
        "CREATE INDEX job_due ON public.job USING btree (kind, provider, run_at) WHERE (attempt = 0)",
        "options leg p {fillfactor=70}",
    }


async def test_the_words_of_the_database_are_those_of_the_code_in_their_order(database: Database) -> None:
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    try:
        rows = await connection.fetch(
            "select enumtypid::regtype::text, array_agg(enumlabel::text order by enumsortorder) from pg_enum group by enumtypid"
        )
    finally:
        await connection.close()
    vocabularies = {snake(name): found for name, found in vars(enums).items() if isinstance(found, type) and issubclass(found, StrEnum)}
    used = {column.type for table in metadata.sorted_tables for column in table.columns if isinstance(column.type, ENUM)}

    assert dict(rows) == {str(type_.name): [word.value for word in vocabularies[str(type_.name)]] for type_ in used}


async def test_up_down_and_up_again(empty_database: Database) -> None:
    url = empty_database.owner_url
    nothing = await catalog(url)

    await alembic(url, up)
    everything = await catalog(url)
    await alembic(url, down)
    left = await catalog(url)
    await alembic(url, up)

    assert len(everything) > len(nothing)
    assert left == nothing
    assert await catalog(url) == everything


async def test_a_downgrade_destroys_no_records(database: Database) -> None:
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    try:
        before = await catalog(database.owner_url)

        with pytest.raises(DBAPIError, match="This database holds records"):
            await alembic(database.owner_url, down)

        assert await connection.fetchval("select array_agg(type) from record") == ["policy.published"]
        await alembic(database.owner_url, up)  # the later migrations had gone back one by one
        assert await catalog(database.owner_url) == before
    finally:
        await connection.close()


async def test_cancellations_that_are_there_get_their_merchant(database: Database) -> None:
    await alembic(database.owner_url, lambda config: command.downgrade(config, "0009"))
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    try:
        for table, row in (*list(rows.FIRST.items())[:2], ("refund", REFUND_BEFORE)):
            await rows.insert(connection, table, row)

        await alembic(database.owner_url, up)

        assert await connection.fetchval("select merchant_id from cancellation") == "m"
    finally:
        await connection.close()


@pytest.mark.parametrize("raised", [False, True])
async def test_stuck_money_gets_its_clock_and_loses_it_on_the_way_back(database: Database, raised: bool) -> None:
    """What is stuck has no clock before 0020. A raised case has none after it either."""
    clock = {"clock_id": rows.id_(rows.PAYMENT), "clock_started_at": rows.NOW}
    due = {"state": "needs_attention", "deadline_at": rows.NOW, "on_deadline": "agent", "raised": raised, **({} if raised else clock)}
    shown = "select clock_id is not null, deadline_at is not null, raised from cancellation"
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    try:
        await rows.insert(connection, "payment", rows.PAYMENT_ROW)
        await rows.insert(connection, "cancellation", {**rows.CANCELLATION_ROW, **due})

        await alembic(database.owner_url, lambda config: command.downgrade(config, "0019"))
        before = await connection.fetchrow(shown)
        await alembic(database.owner_url, up)
        after = await connection.fetchrow(shown)

        assert (tuple(before or ()), tuple(after or ())) == ((False, False, False), (True, True, False))
        assert await connection.fetchval(
            "select count(*) from job j join cancellation c on j.subject_id = c.clock_id and j.kind = 'deadline' and j.attempt = 0"
        )
    finally:
        await connection.close()


async def test_rechecks_are_given_up_on_the_way_back(database: Database) -> None:
    """Whether claimed or not; the version before knows no such job."""
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    try:
        await rows.insert(connection, "payment", rows.PAYMENT_ROW)
        for number, leased in ((1, None), (2, rows.NOW)):
            id_ = f"00000000-0000-7000-8000-00000000000{number}"
            await rows.insert(connection, "job", {**rows.JOB_ROW, "id": id_, "subject_id": id_, "kind": "recheck", "leased_until": leased})

        await alembic(database.owner_url, lambda config: command.downgrade(config, "0026"))
        left = await connection.fetchval("select count(*) from job")
        await alembic(database.owner_url, up)

        assert left == 0
    finally:
        await connection.close()


async def test_what_is_there_keeps_its_words_and_its_refunds_both_ways(database: Database) -> None:
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    try:
        await rows.insert_first(connection, without="anomaly_step")  # which no downgrade forgets
        await rows.insert(connection, "cancellation", {**rows.SECOND["cancellation"], **rows.NO_REFUND})
        tables = [table for table in rows.FIRST if table not in ("policy", "merchant", "anomaly_step")]
        before = {table: await contents(connection, table) for table in tables}

        await alembic(database.owner_url, lambda config: command.downgrade(config, "0011"))
        refunds = await contents(connection, "refund")
        keys = {row["rail_key"] for row in await contents(connection, "leg")}
        await alembic(database.owner_url, up)

        assert refunds == [{**REFUND_BEFORE, "created_at": "2026-11-02T10:00:00+00:00", "updated_at": "2026-11-02T10:00:00+00:00"}]
        assert keys == {rail_key(UUID(rows.id_(rows.PAYMENT)), UUID(rows.id_(rows.LEG)))}
        assert {table: await contents(connection, table) for table in tables} == before
    finally:
        await connection.close()


async def contents(connection: rows.Connection, table: str) -> list[rows.Row]:
    await connection.execute("set timezone = 'UTC'")
    return [json.loads(row[0]) for row in await connection.fetch(f"select to_jsonb(t) from {table} t order by to_jsonb(t)::text")]  # noqa: S608 -- our own names


async def test_two_migrators_at_once_both_succeed(empty_database: Database, database: Database) -> None:
    url = empty_database.owner_url

    both = await asyncio.gather(alembic_program(url, "upgrade", "head"), alembic_program(url, "upgrade", "head"))

    assert [status for status, _ in both] == [0, 0], both
    assert await shape(url) == await shape(database.owner_url)


async def test_a_migrator_waits_for_the_one_at_work(empty_database: Database) -> None:
    url = empty_database.owner_url
    asked = "select true from pg_stat_activity where query like '%pg_try_advisory_lock%' and pid <> pg_backend_pid()"
    other = await asyncpg.connect(url, ssl=False)
    try:
        await other.execute("select pg_advisory_lock($1)", MIGRATORS_LOCK)
        waiting = asyncio.create_task(alembic(url, up))
        while not (waiting.done() or await other.fetchval(asked)):
            await asyncio.sleep(0)
        assert await shape(url) == []
        assert not waiting.done()
    finally:
        await other.close()

    await waiting
    assert await shape(url) != []


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg", "postgres"])
async def test_an_address_may_have_any_of_the_usual_schemes(database: Database, scheme: str) -> None:
    url = database.owner_url.replace("postgresql", scheme, 1)

    assert f"{head()} (head)" in await alembic(url, command.current)


async def test_without_an_address_alembic_says_what_to_give() -> None:
    with pytest.raises(CommandError, match="refundry migrate"):
        await alembic("", command.current)


def test_the_migrations_are_linted() -> None:
    assert lint_migrations.findings() == []


def test_the_linter_finds_a_lock_that_stops_everybody() -> None:
    found = lint_migrations.lint("set lock_timeout = '3s';\nalter table payment alter column version type bigint;", "bad")

    assert any("changing-column-type" in line for line in found)


@pytest.mark.parametrize(
    ("sql", "missing"),
    [
        ("set local lock_timeout = '3s';\nset local statement_timeout = '9s';\ncreate table a ();", 0),
        ("set local lock_timeout = '3s';\ncreate table a ();\nset local statement_timeout = '9s';", 1),
        ("create table a ();\nset local lock_timeout = '3s';\nset local statement_timeout = '9s';", 1),
        ("create table a ();", 2),
    ],
)
def test_a_migration_must_begin_with_its_limits(sql: str, missing: int) -> None:
    assert len(lint_migrations.missing_timeouts(sql, "0002")) == missing
