"""Each constraint refuses what it is there for, and it alone does."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.database import Cluster
from tests.storage.rows import (
    CANCELLATION,
    EARLIER,
    FIRST,
    FREE,
    LEG,
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
    rail_key,
)

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
    ("payment", "payment_amount_in_range", {"amount": 0}),
    ("payment", "payment_amount_in_range", {"amount": TOO_MUCH}),
    ("payment", "payment_refunds_within_amount", {"amount_refunded": -1}),
    ("payment", "payment_refunds_within_amount", {"amount_reserved": -1}),
    ("payment", "payment_refunds_within_amount", {"amount_refunded": 600, "amount_reserved": 401}),
    ("payment", "payment_refunds_within_amount", {"amount_forfeited": -1}),
    ("payment", "payment_refunds_within_amount", {"amount_refunded": 600, "amount_reserved": 300, "amount_forfeited": 101}),
    ("payment", "payment_charged_back_positive", {"amount_charged_back": -1}),
    ("payment", "payment_refunded_means_all", {"state": "refunded", "amount_refunded": 998, "amount_charged_back": 1}),
    ("payment", "payment_origin_while_requested", {"state": "cancel_requested"}),
    ("payment", "payment_origin_while_requested", {"origin_state": "pending"}),
    ("payment", "payment_origin_state_is_a_word", {"state": "cancel_requested", "origin_state": "refunding"}),
    ("payment", "payment_settled_has_a_time", {"completed_at": None}),
    ("payment", "payment_settled_has_a_time", {"completed_at": None, "state": "refunding"}),
    ("payment", "payment_settled_has_a_time", {"completed_at": None, **ALL_BACK}),
    ("payment", "payment_chain_has_a_head", {"version": 0}),
    ("payment", "payment_chain_has_a_head", {"sequence": 0}),
    ("payment", "payment_chain_has_a_head", {"head": "\\x" + "ab" * 31}),
    ("payment", "payment_currency_is_a_code", {"currency": "cny"}),
    ("payment", "payment_currency_is_a_code", {"currency": "CNYX"}),
    ("payment", "payment_currency_is_a_code", {"currency": "CNY\n"}),
    ("payment", "payment_allocated_by_source", {"allocated": [0, 0]}),
    ("payment", "payment_allocated_by_source", {"allocated": []}),
    ("payment", "payment_cancelled_by_item", {"cancelled_quantities": [0]}),
    ("payment", "payment_shares_positive", {"allocated": [-1]}),
    ("payment", "payment_shares_positive", {"cancelled_quantities": [0, -1]}),
    ("payment", "payment_source_within_funding", {"allocated": [1001]}),
    ("payment", "payment_sources_in_range", {"funding": [], "allocated": []}),
    ("payment", "payment_shares_known", {"allocated": [None]}),
    ("payment", "payment_shares_known", {"cancelled_quantities": [0, None]}),
    ("payment", "payment_counts_positive", {"disputes_open": -1}),
    ("payment", "payment_counts_positive", {"partial_refunds": -1}),
    ("payment", "payment_state_is_a_word", {"state": WORD}),
    ("payment", "payment_fulfilment_is_a_word", {"fulfilment": WORD}),
    ("payment", "payment_category_is_a_word", {"category": WORD}),
    ("payment", "payment_failure_code_is_a_word", {"failure_code": WORD}),
    ("cancellation", "cancellation_pkey", {"id": id_(CANCELLATION)}),
    ("cancellation", "cancellation_of_a_payment", {"payment_id": id_(NOBODY)}),
    ("cancellation", "cancellation_amount_in_range", {"amount": -1}),
    ("cancellation", "cancellation_amount_in_range", {"amount": 0}),
    ("cancellation", "cancellation_amount_in_range", {"amount": TOO_MUCH}),
    ("cancellation", "cancellation_refused_says_why", {"state": "refused"}),
    ("cancellation", "cancellation_refused_says_why", {"refusal": "no-rule"}),
    ("cancellation", "cancellation_has_a_route", {"route": None}),
    ("cancellation", "cancellation_deadline_says_what_then", {"deadline_at": NOW}),
    ("cancellation", "cancellation_deadline_says_what_then", {"on_deadline": "agent"}),
    ("cancellation", "cancellation_reopened_later", {"reopened": True}),
    ("cancellation", "cancellation_state_is_a_word", {"state": WORD}),
    ("cancellation", "cancellation_route_is_a_word", {"route": WORD}),
    ("cancellation", "cancellation_reason_is_a_word", {"reason": WORD}),
    ("cancellation", "cancellation_channel_is_a_word", {"channel": WORD}),
    ("cancellation", "cancellation_requester_role_is_a_word", {"requester_role": WORD}),
    ("cancellation", "cancellation_refusal_is_a_word", {"state": "refused", "refusal": WORD}),
    ("cancellation", "cancellation_on_deadline_is_a_word", {"deadline_at": NOW, "on_deadline": WORD}),
    ("cancellation", "one_open_cancellation_per_payment", {"state": "awaiting_agent", **CLOCK}),
    ("cancellation", "cancellation_waits_with_a_clock", {**WAITS, "clock_id": None, "clock_started_at": None}),
    ("cancellation", "cancellation_clock_has_an_end", {**CLOCK, "clock_id": None}),
    ("cancellation", "cancellation_clock_has_an_end", {**CLOCK, "clock_started_at": None}),
    ("cancellation", "cancellation_clock_has_an_end", {**CLOCK, "deadline_at": EARLIER}),
    ("cancellation", "cancellation_raised_once", {"raised": True}),
    ("cancellation", "cancellation_raised_once", {**WAITS, "raised": True}),
    ("cancellation", "cancellation_reminders_in_range", {"reminders": 3}),
    ("cancellation", "cancellation_reminders_in_range", {"reminders": -1}),
    ("cancellation", "cancellation_offers_at_most_three", {"offers": 4}),
    ("cancellation", "cancellation_offers_at_most_three", {"offers": -1}),
    ("cancellation", "cancellation_offer_is_no_more", {"offers": 1, "offer_amount": 101}),
    ("cancellation", "cancellation_offer_is_no_more", {"offers": 1, "offer_amount": 0}),
    ("cancellation", "cancellation_offer_is_no_more", {"offer_amount": 50}),
    ("cancellation", "cancellation_offered_is_less", {**WAITS, "state": "offered", "offers": 1, "offer_amount": 100}),
    ("cancellation", "cancellation_declined_by_somebody", {"state": "declined"}),
    ("cancellation", "cancellation_declined_by_somebody", {"declined_by": "merchant"}),
    ("cancellation", "cancellation_declined_by_is_a_word", {"state": "declined", "declined_by": WORD}),
    ("cancellation", "cancellation_forfeited_positive", {"forfeited": [-1]}),
    ("cancellation", "cancellation_forfeited_positive", {"forfeited": [None]}),
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
    ("refund", "refund_pkey", {"id": id_(REFUND)}),
    ("refund", "refund_of_a_cancellation", {"cancellation_id": id_(NOBODY)}),
    ("refund", "refund_amount_in_range", {"amount": 0}),
    ("refund", "refund_amount_in_range", {"amount": TOO_MUCH}),
    ("refund", "refund_state_is_a_word", {"state": WORD}),
    ("refund", "one_refund_per_cancellation", {"cancellation_id": id_(CANCELLATION)}),
    ("leg", "leg_pkey", {"id": id_(LEG), "rail_key": rail_key(PAYMENT, LEG)}),
    ("leg", "leg_of_a_cancellation", {"cancellation_id": id_(NOBODY)}),
    ("leg", "leg_of_a_refund", {"refund_id": id_(NOBODY)}),
    ("leg", "leg_amount_in_range", {"amount": 0}),
    ("leg", "leg_amount_in_range", {"amount": TOO_MUCH}),
    ("leg", "leg_refund_leg_has_a_refund", {"refund_id": None}),
    ("leg", "leg_refund_leg_has_a_refund", {"kind": "void"}),
    ("leg", "leg_counts_positive", {"attempts": -1}),
    ("leg", "leg_counts_positive", {"position": -1}),
    ("leg", "one_successor_per_leg", {"replaces": id_(NOBODY)}),
    ("leg", "leg_rail_key_for_ever", {"rail_key": rail_key(PAYMENT, LEG)}),
    ("leg", "leg_kind_is_a_word", {"kind": WORD, "refund_id": None}),
    ("leg", "leg_source_is_a_word", {"source": WORD}),
    ("leg", "leg_state_is_a_word", {"state": WORD}),
    ("leg", "leg_outcome_source_is_a_word", {"outcome_source": WORD}),
    ("leg", "one_live_leg_per_source", {"position": 0}),
    ("leg", "one_live_leg_per_source", {"position": 0, "state": "succeeded"}),
    ("record", "record_pkey", {"sequence": 1}),
    ("record", "record_of_a_payment", {"payment_id": id_(NOBODY), "chain_id": id_(NOBODY)}),
    ("record", "record_chain_is_the_payments", {"chain_id": id_(NOBODY)}),
    ("record", "record_sequence_from_one", {"sequence": 0}),
    ("record", "record_hash_is_sha256", {"hash": "\\x" + "ab" * 33}),
    ("personal_text", "personal_text_pkey", {"id": FIRST["personal_text"]["id"]}),
    ("personal_text", "personal_text_of_a_payment", {"payment_id": id_(NOBODY)}),
    ("kept_reply", "kept_reply_pkey", {"key": "k"}),
    ("job", "job_pkey", {"id": FIRST["job"]["id"]}),
    ("job", "job_kind_is_a_word", {"kind": WORD}),
    ("job", "one_job_per_subject", {"kind": "move"}),
    ("notification", "notification_pkey", {"id": FIRST["notification"]["id"]}),
    ("notification", "one_notification_per_rail_id", {"rail_id": "n-1"}),
    ("anomaly", "anomaly_pkey", {"id": FIRST["anomaly"]["id"]}),
    ("anomaly", "one_anomaly_per_word", {"word": "w"}),
    ("anomaly", "anomaly_of_a_payment", {"payment_id": id_(NOBODY), "scope_id": id_(NOBODY)}),
    ("anomaly", "anomaly_scope_is_the_payments", {"scope_id": id_(NOBODY)}),
    ("anomaly", "anomaly_kind_is_a_word", {"kind": WORD}),
    ("policy", "policy_pkey", {"version": "p"}),
    ("policy", "policy_ordinal", {"ordinal": 101}),
    ("worker", "worker_pkey", {"id": FIRST["worker"]["id"]}),
]

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


@pytest.mark.parametrize(("table", "change"), ALLOWED, ids=named)
async def test_what_is_within_the_limits_is_accepted(undone: Connection, table: str, change: Row) -> None:
    await insert(undone, table, {**SECOND[table], **change})


async def test_every_constraint_has_a_violation(shared: Connection) -> None:
    declared = await shared.fetch(
        """
        select conrelid::regclass::text, conname::text from pg_constraint
          where connamespace = 'public'::regnamespace and contype <> 'n' and conrelid <> 'alembic_version'::regclass
        union
        select indrelid::regclass::text, indexrelid::regclass::text from pg_index join pg_class on pg_class.oid = indexrelid
          where relnamespace = 'public'::regnamespace and indisunique and indrelid <> 'alembic_version'::regclass
        """
    )

    assert {(table, constraint) for table, constraint, _ in CASES} == {tuple(row) for row in declared}


async def test_every_column_that_is_not_null_is_given_a_value(shared: Connection) -> None:
    """The rows that the cases start from leave out nothing by accident, and NOT NULL is what tables.py says."""
    wanted = await shared.fetch(
        "select attrelid::regclass::text as table, attname from pg_attribute join pg_class on pg_class.oid = attrelid"
        " where relnamespace = 'public'::regnamespace and relkind = 'r' and attnum > 0 and attnotnull and relname <> 'alembic_version'"
    )

    for row in wanted:
        incomplete = {name: value for name, value in SECOND[row["table"]].items() if name != row["attname"]}
        with pytest.raises(asyncpg.NotNullViolationError) as refusal:
            await insert(shared, row["table"], incomplete)
        assert refusal.value.column_name == row["attname"]
