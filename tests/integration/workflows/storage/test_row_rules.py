"""What the application's role must never do to a row is refused by name, and the legitimate step beside it is accepted."""

# ruff: noqa: S608 -- the names in the statements are our own

from collections.abc import AsyncIterator
from enum import StrEnum

import asyncpg
import pytest

from tests.database import Cluster, Database
from tests.integration.workflows.storage.rows import (
    CANCELLATION_ROW,
    FREE,
    JOB_ROW,
    LEG,
    LEG_ROW,
    NO_REFUND,
    NOTIFICATION_ROW,
    NOW,
    PAYMENT,
    PAYMENT_ROW,
    Connection,
    Row,
    id_,
    insert,
)
from workflows.domain.enums import CancellationState, LegState, PaymentState
from workflows.domain.machines import CANCELLATION, LEG_ROWS, PAYMENT_ROWS
from workflows.domain.machines import LEG as LEG_MACHINE
from workflows.domain.machines import PAYMENT as PAYMENT_MACHINE
from workflows.storage.row_rules import ROW_RULES, steps_of, triggers

PENDING, CLOCK, WORD, MERCHANT_ASKED = 30, 31, 8, 32
SOURCES = [
    {"source": "balance", "amount": 600, "provider": "sandbox", "provider_reference": "a"},
    {"source": "coupon", "amount": 400, "provider": "sandbox", "provider_reference": "b"},
]
ONE = '[{"source": "balance", "amount": %d, "provider": "%s", "provider_reference": "%s"}]'
ITEMS = '[["a", 1, 500], ["b", 1, 400]]'
TWO = '[{"source": "balance", "amount": 500}, {"source": "coupon", "amount": 400}]'

# One payment that is pending with two sources, one with a single source, one that is settled with a refund on its way, one with a clock.
ROWS: list[tuple[str, Row]] = [
    ("payment", {**PAYMENT_ROW, "funding": [{**SOURCES[0], "amount": 1000}], "fulfilment": "shipped", "partial_refunds": 1}),
    ("payment", {**PAYMENT_ROW, "id": id_(PENDING), "state": "pending", "completed_at": None, "funding": SOURCES, "allocated": [0, 0]}),
    (
        "payment",
        {
            **PAYMENT_ROW,
            "id": id_(FREE),
            "state": "pending",
            "completed_at": None,
            "items": [],
            "cancelled_quantities": [],
            "funding": [{**SOURCES[0], "amount": 1000}],
        },
    ),
    ("cancellation", CANCELLATION_ROW),
    ("leg", {**LEG_ROW, "state": "processing", "replaces": None, "attempts": 2, "first_sent_at": NOW}),
    (
        "cancellation",
        {
            **CANCELLATION_ROW,
            **NO_REFUND,
            "payment_id": id_(FREE),
            "id": id_(MERCHANT_ASKED),
            "state": "awaiting_agent",
            "clock_id": id_(CLOCK),
            "clock_started_at": NOW,
            "deadline_at": "2036-11-02T10:00:00Z",
            "on_deadline": "agent",
        },
    ),
    ("notification", NOTIFICATION_ROW),
    ("job", JOB_ROW),
    ("job", {**JOB_ROW, "id": id_(40), "payment_id": id_(FREE), "kind": "deadline", "subject_id": id_(CLOCK), "provider": ""}),
    ("job", {**JOB_ROW, "id": id_(41), "kind": "notification", "subject_id": id_(WORD)}),
    ("job", {**JOB_ROW, "id": id_(42), "subject_id": id_(43)}),  # of a leg that has none of it any more
]

SETTLED, LOWERED, SINGLE = f"where id = '{id_(PAYMENT)}'", f"where id = '{id_(PENDING)}'", f"where id = '{id_(FREE)}'"
MOVES, STRIKES, HEARD, DONE = (f"where id = '{id_(number)}'" for number in (7, 40, 41, 42))
CLAIMED = "update job set attempt = attempt + 1, leased_until = clock_timestamp() + interval '1 minute'"
ARRIVED = (
    "with l as (update leg set state = 'succeeded'), c as (update cancellation set refund_state = 'succeeded' where refund_id is not null)"
    f" update payment set amount_refunded = 100, state = 'completed' {SETTLED}"
)

# Rule, and a statement of the application that it refuses.
ATTACKS: list[tuple[str, str]] = [
    ("payment_amount_falls", f"update payment set amount = 99000000, funding = '{ONE % (99000000, 'sandbox', 'a')}' {SETTLED}"),
    ("payment_amount_falls", f"update payment set amount = 99000000, funding = '{ONE % (99000000, 'sandbox', 'a')}' {SINGLE}"),
    ("payment_amount_falls", f"update payment set amount = 1001 {SETTLED}"),
    ("payment_amount_falls", f"update payment set amount = 999 {SETTLED}"),
    ("payment_amount_falls", f"update payment set amount = 900 {LOWERED}"),  # its sources still make up the old amount
    ("payment_amount_falls", f"update payment set amount = 900, funding = '{TWO}' {LOWERED}"),  # and so do its items
    ("payment_amount_falls", f"update payment set amount = 900, funding = '{ONE % (901, 'sandbox', 'a')}' {SINGLE}"),
    ("payment_amount_falls", f"update payment set amount = 900, funding = '{ONE % (900, 'sandbox', 'a')}', state = 'failed' {SINGLE}"),
    ("payment_amount_falls", f"update payment set funding = '{ONE % (1000, 'sandbox', 'mine')}' {SETTLED}"),
    ("payment_amount_falls", f"update payment set funding = '{ONE % (1000, 'sandbox', 'mine')}' {SINGLE}"),
    (
        "payment_amount_falls",
        f"update payment set funding = '{ONE % (1000, 'mine', 'a')}', completed_at = now(), state = 'completed' {SINGLE}",
    ),
    ("payment_amount_falls", f'update payment set items = \'[["a", 2, 1], ["b", 1, 999]]\' {SETTLED}'),
    ("payment_steps", f"update payment set state = 'pending' {SETTLED}"),
    ("payment_steps", f"update payment set state = 'failed', failure_code = 'network' {SETTLED}"),
    ("payment_steps", f"update payment set state = 'refunding', completed_at = now() {SINGLE}"),
    ("payment_refunded_arrived", f"update payment set amount_refunded = 100 {SETTLED}"),
    ("payment_refunded_arrived", f"update leg set state = 'succeeded'; update payment set amount_refunded = 101 {SETTLED}"),
    ("payment_refunded_arrived", f"{ARRIVED}; update payment set amount_refunded = 0 {SETTLED}"),
    ("payment_settles_once", f"update payment set completed_at = now() {SETTLED}"),
    ("payment_settles_once", f"update payment set completed_at = null, state = 'cancel_requested', origin_state = 'completed' {SETTLED}"),
    ("payment_goes_on", f"update payment set version = 0 + version - 0, sequence = sequence - 0, fulfilment = 'preparing' {SETTLED}"),
    ("payment_goes_on", f"update payment set partial_refunds = 0 {SETTLED}"),
    ("payment_goes_on", f"update payment set version = 5 {SETTLED}; update payment set version = 4 {SETTLED}"),
    ("payment_goes_on", f"update payment set sequence = 5 {SETTLED}; update payment set sequence = 4 {SETTLED}"),
    ("cancellation_steps", "update cancellation set state = 'withdrawn' where state = 'executing'"),
    ("cancellation_steps", "update cancellation set state = 'refused', refusal = 'no-rule' where state = 'executing'"),
    ("cancellation_amount_falls", "update cancellation set amount = 101 where state = 'awaiting_agent'"),
    ("cancellation_amount_falls", "update cancellation set amount = 99 where state = 'executing'"),
    ("cancellation_amount_falls", "update cancellation set version = 0 where state = 'executing'"),
    ("cancellation_refund_once", "update cancellation set refund_amount = 99 where state = 'executing'"),
    ("leg_steps", "update leg set state = 'scheduled'"),
    ("leg_steps", "update leg set state = 'returned'"),
    ("leg_steps", "update leg set state = 'succeeded'; update leg set state = 'failed'"),
    ("leg_steps", "update leg set state = 'failed'; update leg set state = 'scheduled'"),
    ("leg_goes_on", "update leg set attempts = 0"),
    ("leg_goes_on", "update leg set first_sent_at = now()"),
    (
        "notification_handled_once",
        "update notification set handled_at = now(), verdict = 'known'; update notification set verdict = 'applied'",
    ),
    ("notification_handled_once", "update notification set handled_at = now(); update notification set handled_at = null"),
    ("job_is_claimed", "delete from job"),
    *(("job_is_claimed", f"delete from job {which}") for which in (MOVES, STRIKES, HEARD, DONE)),
    *(("job_is_needed", f"{CLAIMED} {which}; delete from job {which}") for which in (MOVES, STRIKES, HEARD)),
    ("job_attempt", f"update job set attempt = attempt + 2 {MOVES}"),
    ("job_attempt", f"update job set attempt = attempt - 1 {MOVES}"),
    ("job_attempt", f"update job set leased_until = clock_timestamp() {MOVES}"),
    ("job_attempt", f"{CLAIMED} {MOVES}; update job set leased_until = leased_until + interval '1 second' {MOVES}"),
    ("job_comes_back", f"update job set attempt = attempt + 1, leased_until = clock_timestamp() + interval '100 years' {MOVES}"),
    ("job_comes_back", f"update job set attempt = attempt + 1, leased_until = clock_timestamp() + interval '2 years 1 minute' {MOVES}"),
    ("job_comes_back", f"update job set run_at = clock_timestamp() + interval '100 years' {MOVES}"),
    ("job_comes_back", f"update job set run_at = 'infinity' {HEARD}"),
    ("job_comes_back", f"update job set run_at = run_at + interval '1 second' {MOVES}"),  # nobody has claimed it
    ("job_comes_back", f"{CLAIMED} {MOVES}; update job set run_at = clock_timestamp() + interval '41 days', leased_until = null {MOVES}"),
    ("job_strikes_in_time", f"{CLAIMED} {STRIKES}; update job set run_at = '2036-11-02T10:00:00.000001Z' {STRIKES}"),
]

# What the decisions write.
LEGITIMATE: list[str] = [
    f"update payment set amount = 900, funding = '{TWO}', items = '{ITEMS}' {LOWERED}",
    f"update payment set amount = 1, funding = '{ONE % (1, 'sandbox', 'a')}' {SINGLE}",
    f"update payment set state = 'completed', completed_at = now(), funding = '{ONE % (1000, 'sandbox', 'new')}' {SINGLE}",
    f"update payment set state = 'failed', failure_code = 'network' {SINGLE}",
    f"update payment set state = 'cancel_requested', origin_state = 'pending', amount_reserved = 1000 {SINGLE}",
    f"update payment set fulfilment = 'delivered', version = 2, sequence = 2 {SETTLED}",
    "update payment set amount = amount, funding = funding, items = items, completed_at = completed_at, state = state",
    ARRIVED,
    f"{ARRIVED}; with l as (update leg set state = 'returned') update payment set amount_refunded = 0, state = 'refunding' {SETTLED}",
    "update cancellation set state = 'declined', declined_by = 'agent', clock_id = null, clock_started_at = null, deadline_at = null,"
    " on_deadline = null where state = 'awaiting_agent'",
    "update cancellation set amount = 50, partial = true where state = 'awaiting_agent'",
    "update cancellation set state = 'needs_attention', raised = true where state = 'executing'",
    "update leg set state = 'requires_action', attempts = 3",
    f"{CLAIMED} {DONE}; delete from job {DONE}",
    f"{CLAIMED} {MOVES}; with l as (update leg set state = 'succeeded') delete from job {MOVES}",
    f"{CLAIMED} {HEARD}; with n as (update notification set handled_at = now(), verdict = 'known') delete from job {HEARD}",
    f"{CLAIMED} {STRIKES}; with c as (update cancellation set clock_id = null, clock_started_at = null, raised = true"
    f" where state = 'awaiting_agent') delete from job {STRIKES}",
    f"{CLAIMED} {MOVES}; update job set run_at = clock_timestamp() + interval '36 days', leased_until = null {MOVES}",
    f"{CLAIMED} {MOVES}; {CLAIMED} {MOVES}",
    f"update job set attempt = attempt + 1, leased_until = clock_timestamp() + interval '1 day' {MOVES}",
    f"{CLAIMED} {STRIKES}; update job set run_at = '2036-11-02T10:00:00Z', leased_until = null {STRIKES}",
    f"update job set run_at = least(run_at, clock_timestamp()) {MOVES}",
]


@pytest.fixture(scope="module")
async def shared(cluster: Cluster) -> AsyncIterator[Database]:
    async with cluster.clone() as database:
        owner = await asyncpg.connect(database.owner_url, ssl=False)
        for table, row in ROWS:
            await insert(owner, table, row)
        await owner.close()
        yield database


@pytest.fixture(scope="module")
async def possessor(shared: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(shared.owner_url, ssl=False)
    yield connection
    await connection.close()


async def attempt(connection: Connection, sql: str) -> asyncpg.PostgresError | None:
    """What the database says; whatever was done is undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(sql)
    except asyncpg.PostgresError as error:
        return error
    finally:
        await transaction.rollback()
    return None


@pytest.mark.parametrize(("rule", "sql"), ATTACKS)
async def test_it_is_refused_by_name_and_says_what_to_do(application: Connection, rule: str, sql: str) -> None:
    said = await attempt(application, sql)

    assert isinstance(said, asyncpg.RestrictViolationError), said
    assert said.constraint_name == rule
    assert said.table_name == next(each.table for each in ROW_RULES if each.name == rule)
    assert "is refused: " in said.args[0]
    assert said.hint


@pytest.mark.parametrize("sql", LEGITIMATE)
async def test_what_decisions_write_is_accepted(application: Connection, sql: str) -> None:
    assert await attempt(application, sql) is None


@pytest.mark.parametrize(("rule", "sql"), [next(case for case in ATTACKS if case[0] == rule.name) for rule in ROW_RULES])
async def test_the_owner_and_a_replica_are_refused_too(possessor: Connection, rule: str, sql: str) -> None:
    for said in (await attempt(possessor, sql), await attempt(possessor, f"set local session_replication_role = replica; {sql}")):
        assert isinstance(said, asyncpg.RestrictViolationError), said
        assert said.constraint_name == rule


async def test_a_job_stays_what_it_is(application: Connection) -> None:
    for column, value in {"payment_id": id_(FREE), "id": id_(99), "kind": "deadline", "subject_id": id_(99), "provider": "mine"}.items():
        said = await attempt(application, f"update job set {column} = '{value}' {MOVES}")
        assert isinstance(said, asyncpg.InsufficientPrivilegeError), column


async def test_a_leg_stays_what_it_is(application: Connection) -> None:
    for change in (
        "amount = 99",
        "position = 1",
        f"payment_id = '{id_(LEG)}'",
        "provider = 'mine'",
        "provider_reference = 'x'",
        "kind = 'void'",
    ):
        assert isinstance(await attempt(application, f"update leg set {change}"), asyncpg.InsufficientPrivilegeError), change


@pytest.mark.parametrize(
    ("table", "states", "allowed"),
    [
        ("payment", PaymentState, {(row.source, row.target) for row in PAYMENT_ROWS} | {(PaymentState.refunded, PaymentState.completed)}),
        ("leg", LegState, {(row.source, row.target) for row in LEG_ROWS}),
        ("cancellation", CancellationState, {(row.source, row.target) for row in CANCELLATION.rows}),
    ],
)
async def test_a_state_leads_only_where_the_machine_does(
    possessor: Connection, table: str, states: type[StrEnum], allowed: set[tuple[StrEnum, StrEnum]]
) -> None:
    """Every pair of states, asked of the rule's own condition, with whatever else stands in the way set aside."""
    condition = next(rule.when for rule in ROW_RULES if rule.name == f"{table}_steps")
    listed = ", ".join(f"('{state.value}'::{table}_state, null::timestamptz)" for state in states)
    rows = await possessor.fetch(
        f"select old.state as source, new.state as target from (values {listed}) old(state, completed_at),"
        f" (values {listed}) new(state, completed_at) where ({condition}) is not true"
    )

    same = {(state, state) for state in states}
    assert {(row["source"], row["target"]) for row in rows} == {(s.value, t.value) for s, t in allowed | same}


async def test_the_migrated_rules_are_the_declared_ones(database: Database) -> None:
    """As PostgreSQL itself words them: those that are there, and the same made anew from the declaration."""
    owner = await asyncpg.connect(database.owner_url, ssl=False)
    shown = (
        "select pg_get_functiondef(p.oid) || pg_get_triggerdef(t.oid) || tgenabled::text from pg_trigger t join pg_proc p on p.oid = tgfoid"
        " where not tgisinternal and tgtype & 1 = 1 order by tgname"
    )
    try:
        migrated = await owner.fetch(shown)
        tables = {rule.trigger: rule.table for rule in ROW_RULES}
        for name, _ in triggers(ROW_RULES):
            await owner.execute(f"drop trigger {name} on {tables[name]}; drop function {name}()")
        assert await owner.fetch(shown) == [], "no row trigger is undeclared"
        for _, sql in triggers(ROW_RULES):
            await owner.execute(sql)

        assert await owner.fetch(shown) == migrated
    finally:
        await owner.close()


def test_every_rule_has_its_attack() -> None:
    assert {rule for rule, _ in ATTACKS} == {rule.name for rule in ROW_RULES}


def test_an_arrow_more_is_a_step_more() -> None:
    assert set(steps_of(LEG_MACHINE)["succeeded"]) == {"returned"}  # type: ignore[arg-type]  # of its own states
    assert set(steps_of(PAYMENT_MACHINE, (PaymentState.failed, PaymentState.pending))["failed"]) == {"refunding", "pending"}  # type: ignore[arg-type]  # as above
