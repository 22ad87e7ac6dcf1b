"""Each constraint refuses what it is there for, and it alone does."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM

from tests.database import Cluster
from tests.integration.workflows.storage.rows import (
    CANCELLATION,
    EARLIER,
    FIRST,
    FREE,
    LEG,
    NO_REFUND,
    NOBODY,
    NOW,
    PAYMENT,
    REFUND,
    SECOND,
    Connection,
    Row,
    id_,
    insert,
    insert_first,
)
from workflows.storage.tables import metadata

TOO_MUCH = 10**15 + 1
WORD = "nonsense"
ALL_BACK = {"state": "refunded", "amount_refunded": 1000}

CLOCK: Row = {"clock_id": id_(NOBODY), "clock_started_at": NOW, "deadline_at": NOW, "on_deadline": "agent"}
WAITS: Row = {"payment_id": id_(FREE), "state": "awaiting_agent", **CLOCK}
MOVES: Row = {"payment_id": id_(FREE), "state": "executing"}


def approved(*persons: str) -> list[Row]:
    return [{"by": person, "role": "agent", "at": NOW} for person in persons]


# Table, constraint or unique index, and what makes the table's second row violate it: once for each of its edges.
CASES: list[tuple[str, str, Row]] = [
    ("payment", "payment_pkey", {"id": id_(PAYMENT)}),
    ("payment", "payment_refunds_within_amount", {"amount_refunded": 600, "amount_reserved": 401}),
    ("payment", "payment_refunds_within_amount", {"amount_refunded": 600, "amount_reserved": 300, "amount_forfeited": 101}),
    ("payment", "payment_refunded_means_all", {"state": "refunded", "amount_refunded": 998, "amount_charged_back": 1}),
    ("payment", "payment_origin_while_requested", {"state": "cancel_requested"}),
    ("payment", "payment_origin_while_requested", {"origin_state": "pending"}),
    ("payment", "payment_origin_is_pending_or_completed", {"state": "cancel_requested", "origin_state": "refunding"}),
    ("payment", "payment_settled_has_a_time", {"completed_at": None}),
    ("payment", "payment_settled_has_a_time", {"completed_at": None, "state": "refunding"}),
    ("payment", "payment_settled_has_a_time", {"completed_at": None, **ALL_BACK}),
    ("payment", "payment_source_within_funding", {"allocated": [1001]}),
    ("payment", "payment_source_within_funding", {"allocated": [-1]}),
    ("payment", "payment_source_within_funding", {"allocated": [None]}),
    ("payment", "payment_source_within_funding", {"allocated": [0, 0]}),
    ("payment", "payment_source_within_funding", {"allocated": []}),
    ("payment", "payment_source_within_funding", {"allocated": [0], "funding": [{}]}),
    ("payment", "payment_source_within_funding", {"allocated": [], "funding": []}),
    ("payment", "payment_source_within_funding", {"allocated": [0] * 11, "funding": [{"amount": 100}] * 11}),
    ("payment", "payment_source_within_funding", {"allocated": [0, 601], "funding": [{"amount": 400}, {"amount": 600}]}),
    ("payment", "payment_cancelled_by_item", {"cancelled_quantities": [0]}),
    ("payment", "payment_cancelled_by_item", {"cancelled_quantities": [0, -1]}),
    ("payment", "payment_cancelled_by_item", {"cancelled_quantities": [0, None]}),
    ("payment", "payment_cancelled_by_item", {"cancelled_quantities": [3, 0]}),
    ("payment", "payment_cancelled_by_item", {"cancelled_quantities": [0, 2]}),
    ("cancellation", "cancellation_pkey", {"id": id_(CANCELLATION)}),
    ("cancellation", "cancellation_amount_in_range", {"amount": -1}),
    ("cancellation", "cancellation_amount_in_range", {"amount": 0}),
    ("cancellation", "cancellation_amount_in_range", {"amount": TOO_MUCH}),
    ("cancellation", "cancellation_refused_says_why", {"state": "refused"}),
    ("cancellation", "cancellation_refused_says_why", {"refusal": "no-rule"}),
    ("cancellation", "cancellation_has_a_route", {"route": None}),
    ("cancellation", "cancellation_deadline_says_what_then", {"deadline_at": NOW}),
    ("cancellation", "cancellation_deadline_says_what_then", {"on_deadline": "agent"}),
    ("cancellation", "cancellation_reopened_later", {"reopened": True}),
    ("cancellation", "one_open_cancellation_per_payment", {"state": "awaiting_agent", **CLOCK}),
    ("cancellation", "cancellation_waits_with_a_clock", {**WAITS, "clock_id": None, "clock_started_at": None}),
    ("cancellation", "cancellation_clock_has_an_end", {**CLOCK, "clock_id": None}),
    ("cancellation", "cancellation_clock_has_an_end", {**CLOCK, "clock_started_at": None}),
    ("cancellation", "cancellation_clock_has_an_end", {**CLOCK, "deadline_at": EARLIER}),
    ("cancellation", "cancellation_raised_once", {"raised": True}),
    ("cancellation", "cancellation_raised_once", {**WAITS, "raised": True}),
    ("cancellation", "cancellation_helpers_do_not_approve", {"merchant": {"taken_by": "a-1"}, "approvals": approved("a-1")}),
    ("cancellation", "cancellation_helpers_do_not_approve", {"goods": {"received_by": "a-2"}, "approvals": approved("a-1", "a-2")}),
    ("cancellation", "cancellation_due_from_us", {"first_response_due_at": NOW}),
    ("cancellation", "cancellation_due_from_us", {"resolution_due_at": NOW}),
    ("cancellation", "cancellation_offer_is_no_more", {"offers": 1, "offer_amount": 101}),
    ("cancellation", "cancellation_offer_is_no_more", {"offers": 1, "offer_amount": 0}),
    ("cancellation", "cancellation_offer_is_no_more", {"offer_amount": 50}),
    ("cancellation", "cancellation_offered_is_less", {**WAITS, "state": "offered", "offers": 1, "offer_amount": 100}),
    ("cancellation", "cancellation_declined_by_somebody", {"state": "declined"}),
    ("cancellation", "cancellation_declined_by_somebody", {"declined_by": "merchant"}),
    ("cancellation", "cancellation_three_persons", {"approvals": approved("r")}),
    ("cancellation", "cancellation_three_persons", {"approvals": approved("a-1", "r")}),
    ("cancellation", "cancellation_three_persons", {"approvals": approved("a-1", "a-1")}),
    ("cancellation", "cancellation_three_persons", {"approvals": approved("a-1", "a-2", "a-3")}),
    ("cancellation", "cancellation_three_persons", {"merchant": {"decided_by": "a-1"}, "approvals": approved("a-1")}),
    ("cancellation", "cancellation_three_persons", {"merchant": {"decided_by": "a-2"}, "approvals": approved("a-1", "a-2")}),
    ("cancellation", "cancellation_second_is_a_supervisor", {**MOVES, "second_approval": True}),
    ("cancellation", "cancellation_second_is_a_supervisor", {**MOVES, "second_approval": True, "approvals": approved("a-1")}),
    ("cancellation", "cancellation_agent_has_approved", {**MOVES, "route": "agent"}),
    ("cancellation", "one_cancellation_per_client_reference", {"client_reference": "c-1"}),
    ("cancellation", "cancellation_refund_is_whole", {"refund_id": None}),
    ("cancellation", "cancellation_refund_is_whole", {**NO_REFUND, "refund_state": "failed"}),
    ("cancellation", "refund_id", {"refund_id": id_(REFUND)}),
    ("leg", "leg_pkey", {"id": id_(LEG)}),
    ("leg", "leg_refund_leg_has_a_refund", {"refund_id": None}),
    ("leg", "leg_refund_leg_has_a_refund", {"kind": "void"}),
    ("leg", "leg_ordered_while_it_waits", {"recovery": "retry"}),
    ("leg", "one_successor_per_leg", {"replaces": id_(NOBODY)}),
    ("leg", "one_live_leg_per_source", {"position": 0}),
    ("leg", "one_live_leg_per_source", {"position": 0, "state": "succeeded"}),
    ("record", "record_pkey", {"sequence": 1}),
    ("record", "record_chain_is_the_payments", {"chain_id": id_(NOBODY)}),
    ("personal_text", "personal_text_pkey", {"id": FIRST["personal_text"]["id"]}),
    ("kept_reply", "kept_reply_pkey", {"key": "k"}),
    ("job", "job_pkey", {"id": FIRST["job"]["id"]}),
    ("job", "one_job_per_subject", {"kind": "move"}),
    ("notification", "notification_pkey", {"id": FIRST["notification"]["id"]}),
    ("notification", "one_notification_per_rail_id", {"rail_id": "n-1"}),
    ("anomaly", "anomaly_pkey", {"id": FIRST["anomaly"]["id"]}),
    ("anomaly", "one_anomaly_per_word", {"word": "w"}),
    ("anomaly", "anomaly_of_a_payment", {"payment_id": id_(NOBODY), "scope_id": id_(NOBODY)}),
    ("anomaly", "anomaly_scope_is_the_payments", {"scope_id": id_(NOBODY)}),
    ("anomaly_step", "anomaly_step_pkey", {"anomaly_id": FIRST["anomaly"]["id"]}),
    ("anomaly_step", "step_of_an_anomaly", {"anomaly_id": id_(NOBODY)}),
    ("anomaly_step", "one_resolution_per_anomaly", {**FIRST["anomaly_step"], "number": 2}),
    ("anomaly_step", "anomaly_step_proposal_is_a_refund", {"action": "note"}),
    ("anomaly_step", "anomaly_step_proposal_is_a_refund", {"number": 2}),
    ("anomaly_step", "anomaly_step_at_most_two", {"number": 3, "action": "note", "closes": True}),
    ("policy", "policy_pkey", {"version": "p"}),
    ("policy", "policy_ordinal", {"ordinal": 101}),
    ("merchant", "merchant_pkey", {"version": 1}),
    ("worker", "worker_pkey", {"id": FIRST["worker"]["id"]}),
]

# Table, the domain of the column, the domain's constraint, and what is out of its range: once for each column and edge.
RANGES: list[tuple[str, str, str, Row]] = [
    *(("payment", "amount", "amount_in_range", {"amount": amount}) for amount in (0, TOO_MUCH)),
    *(("cancellation", "amount", "amount_in_range", {"refund_amount": amount}) for amount in (0, TOO_MUCH)),
    *(("leg", "amount", "amount_in_range", {"amount": amount}) for amount in (0, TOO_MUCH)),
    *(
        ("payment", "amount_or_zero", "amount_not_negative", {column: -1})
        for column in ("amount_refunded", "amount_reserved", "amount_forfeited", "amount_charged_back")
    ),
    *(("cancellation", "amounts_or_zero", "amounts_not_negative", {"forfeited": amounts}) for amounts in ([0, -1], [None])),
    *(("payment", "currency_code", "currency_is_a_code", {"currency": code}) for code in ("cny", "CNYX", "CNY\n")),
    *(("payment", "counter", "counter_not_negative", {column: -1}) for column in ("disputes_open", "partial_refunds")),
    *(("leg", "counter", "counter_not_negative", {column: -1}) for column in ("attempts", "position")),
    *(("payment", "counted_from_one", "counts_from_one", {column: 0}) for column in ("version", "sequence")),
    ("record", "counted_from_one", "counts_from_one", {"sequence": 0}),
    ("merchant", "counted_from_one", "counts_from_one", {"version": 0}),
    ("anomaly_step", "counted_from_one", "counts_from_one", {"number": 0}),
    *(("cancellation", "reminder_count", "reminders_in_range", {"reminders": count}) for count in (-1, 3)),
    *(("cancellation", "offer_count", "offers_at_most_three", {"offers": count}) for count in (-1, 4)),
    ("payment", "sha256_digest", "digest_is_sha256", {"head": "\\x" + "ab" * 31}),
    ("record", "sha256_digest", "digest_is_sha256", {"hash": "\\x" + "ab" * 33}),
]
WORDS = [(table.name, column.name) for table in metadata.sorted_tables for column in table.columns if isinstance(column.type, ENUM)]

# What lies just inside the limits, or looks like a violation and is none.
ALLOWED: list[tuple[str, Row]] = [
    *((table, {}) for table in SECOND),
    ("payment", {"amount": 1}),
    ("payment", {"amount": TOO_MUCH - 1}),
    ("payment", {"amount_refunded": 600, "amount_reserved": 400}),
    ("payment", {"state": "refunded", "amount_refunded": 999, "amount_charged_back": 1}),
    ("payment", {"amount_charged_back": 5000}),  # a fact from elsewhere, however absurd
    ("payment", {"state": "cancel_requested", "origin_state": "pending", "completed_at": None}),
    ("cancellation", {"state": "refused", "refusal": "no-rule", "amount": 0, "route": None}),
    ("cancellation", {"state": "executing", "reopened": True}),  # not counted by the one-open rule
    ("cancellation", {"payment_id": id_(PAYMENT), "client_reference": "c-2"}),
    ("cancellation", NO_REFUND),
    ("cancellation", {"refund_id": id_(REFUND), "payment_id": id_(FREE)}),
    ("cancellation", WAITS),
    ("cancellation", {**WAITS, "clock_id": None, "clock_started_at": None, "raised": True}),
    ("cancellation", {**WAITS, "state": "offered", "offers": 3, "offer_amount": 99}),
    ("cancellation", {**MOVES, "route": "agent", "approvals": approved("a-1")}),
    (
        "cancellation",
        {**MOVES, "second_approval": True, "approvals": [*approved("a-1"), {"by": "s-1", "role": "supervisor", "at": NOW}]},
    ),
    ("payment", {"amount_refunded": 600, "amount_forfeited": 400, "state": "refunded"}),
    ("leg", {"position": 0, "state": "failed"}),
    ("leg", {"position": 0, "kind": "void", "refund_id": None}),
    ("record", {"payment_id": None, "chain_id": id_(NOBODY), "sequence": 1}),
]


@pytest.fixture(scope="module")
async def shared(cluster: Cluster) -> AsyncIterator[Connection]:
    """One database for the module: every test leaves it as it was."""
    async with cluster.clone() as database:
        connection = await asyncpg.connect(database.owner_url, ssl=False)
        await insert_first(connection)
        yield connection
        await connection.close()


@pytest.fixture
async def undone(shared: Connection) -> AsyncIterator[Connection]:
    transaction = shared.transaction()
    await transaction.start()
    yield shared
    await transaction.rollback()


def named(case: Any) -> str | None:
    return case if isinstance(case, str) else None


@pytest.mark.parametrize(("table", "constraint", "change"), CASES, ids=named)
async def test_a_violation_is_refused_by_exactly_this_constraint(undone: Connection, table: str, constraint: str, change: Row) -> None:
    row = {**SECOND[table], **change}

    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        async with undone.transaction():
            await insert(undone, table, row)

    assert (refusal.value.table_name, refusal.value.constraint_name) == (table, constraint)
    is_index = await undone.fetchval("select not exists (select from pg_constraint where conname = $1)", constraint)
    await undone.execute(f"drop index {constraint}" if is_index else f"alter table {table} drop constraint {constraint} cascade")
    await insert(undone, table, row)  # nothing else has anything against it


@pytest.mark.parametrize(("table", "domain", "constraint", "change"), RANGES, ids=named)
async def test_a_value_out_of_its_range_is_refused(undone: Connection, table: str, domain: str, constraint: str, change: Row) -> None:
    row = {**SECOND[table], **change}

    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        async with undone.transaction():
            await insert(undone, table, row)

    assert (refusal.value.data_type_name, refusal.value.constraint_name) == (domain, constraint)
    await undone.execute(f"alter domain {domain} drop constraint {constraint}")
    await insert(undone, table, row)  # nothing else has anything against it


@pytest.mark.parametrize(("table", "column"), WORDS)
async def test_a_word_that_is_none_is_refused(undone: Connection, table: str, column: str) -> None:
    with pytest.raises(asyncpg.InvalidTextRepresentationError, match=f'invalid input value for enum .*: "{WORD}"'):
        await insert(undone, table, {**SECOND[table], column: WORD})


@pytest.mark.parametrize(("table", "change"), ALLOWED, ids=named)
async def test_what_is_within_the_limits_is_accepted(undone: Connection, table: str, change: Row) -> None:
    await insert(undone, table, {**SECOND[table], **change})


async def test_every_constraint_has_a_violation(shared: Connection) -> None:
    declared = await shared.fetch(
        """
        select conrelid::regclass::text, conname::text from pg_constraint
          where connamespace = 'public'::regnamespace and contype <> 'n' and conrelid <> 0 and conrelid <> 'alembic_version'::regclass
        union
        select indrelid::regclass::text, indexrelid::regclass::text from pg_index join pg_class on pg_class.oid = indexrelid
          where relnamespace = 'public'::regnamespace and indisunique and indrelid <> 'alembic_version'::regclass
        """
    )

    assert {(table, constraint) for table, constraint, _ in CASES} == {tuple(row) for row in declared}


def test_every_column_with_a_range_has_a_value_out_of_it() -> None:
    declared = {
        (table.name, column.name, column.type.name)
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, DOMAIN)
    }

    assert {(table, column, domain) for table, domain, _, change in RANGES for column in change} == declared


async def test_every_column_that_is_not_null_is_given_a_value(shared: Connection) -> None:
    """The rows that the cases start from leave out nothing by accident, and NOT NULL is what the tables say."""
    wanted = await shared.fetch(
        "select attrelid::regclass::text as table, attname from pg_attribute join pg_class on pg_class.oid = attrelid"
        " where relnamespace = 'public'::regnamespace and relkind = 'r' and attnum > 0 and attnotnull and relname <> 'alembic_version'"
    )

    for row in wanted:
        incomplete = {name: value for name, value in SECOND[row["table"]].items() if name != row["attname"]}
        with pytest.raises(asyncpg.NotNullViolationError) as refusal:
            await insert(shared, row["table"], incomplete)
        assert refusal.value.column_name == row["attname"]
