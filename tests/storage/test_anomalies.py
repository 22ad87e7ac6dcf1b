"""What is kept of anomalies: one for each word, in the state that its steps make, and nothing of it breaks the books."""

import io
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from rich.console import Console

from service.settings import Settings
from service.terminal.check import run_check
from service.terminal.invariant_texts import NOTICE_TEXTS
from tests.database import Database, in_thread
from tests.storage.world import START, World, world
from workflows.domain.decisions import anomalies
from workflows.domain.decisions.anomalies import Resolution
from workflows.domain.enums import ActorRole, AnomalyAction, AnomalyState, Channel
from workflows.domain.model import Actor, Anomaly, Snapshot
from workflows.flows.check import notice, run_checks
from workflows.flows.legs import successor_rules
from workflows.storage.snapshot import SnapshotQuery

NOTE, ADOPT, REFUND = AnomalyAction.note, AnomalyAction.adopt, AnomalyAction.refund


@pytest.fixture
async def made(database: Database) -> AsyncIterator[World]:
    async with world(database.app_url) as one:
        yield one


async def snapshot_of(made: World, payment: UUID) -> Snapshot:
    legs = await made.legs(payment)
    found = await made.store.load(SnapshotQuery(payment_id=payment, leg_id=legs[0].id if legs else None, shown=True))
    assert found is not None
    return found


async def resolve(made: World, payment: UUID, action: AnomalyAction, by: str = "agent-1", role: ActorRole = ActorRole.agent) -> None:
    anomaly = (await snapshot_of(made, payment)).anomalies[0]
    actor = Actor(role=role, id=by, channel=Channel.system)
    before = await snapshot_of(made, payment)
    terms = await made.runner.runtime.terms(before.payment)
    context = made.runner.runtime.context(actor, "r-1", before.payment.updated_at)
    resolution, rules = Resolution(action=action, note="seen"), successor_rules(made.runner.runtime, made.worker.rails)
    change = anomalies.resolve(before, anomaly, resolution, terms=terms, successors=rules, context=context)
    await made.store.apply(change)


async def kept(made: World, payment: UUID) -> list[Anomaly]:
    return list((await snapshot_of(made, payment)).anomalies)


async def no_violation(made: World, database: Database) -> None:
    connection = await asyncpg.connect(database.app_url, ssl=False)
    try:
        checked = await run_checks(connection)
    finally:
        await connection.close()
    assert [(one.name, one.examples) for one in checked if one.broken] == []


@pytest.mark.parametrize("first", ["notification", "query"])
async def test_the_same_late_word_by_notification_and_by_query_is_one_anomaly(made: World, first: str) -> None:
    payment = await made.register("p-1", sources=("pending/mismatch",))
    await made.request(payment)
    await made.work(seconds=0)
    (leg,) = await made.legs(payment)
    assert leg.state == "processing"

    if first == "notification":
        await made.say(leg, "mismatch")
        await made.work(seconds=0)
    await made.work(seconds=4000)
    asked = made.rail.calls[leg.rail_key]
    if first == "query":
        await made.say(leg, "mismatch")
        await made.work(seconds=0)

    assert asked >= 2, "the rail was asked, and said it too"
    assert [one.kind for one in await kept(made, payment)] == ["amount_mismatch"]
    assert await made.pool.fetchval("select count(*) from notification where handled_at is not null") == 1
    assert await made.pool.fetchval("select count(*) from record where type = 'payment.anomaly'") == 1


async def test_a_state_is_what_the_steps_make_of_it(made: World, database: Database) -> None:
    payment = await made.register("p-1", settled=False)
    await made.fail(payment)
    await made.complete(payment)
    states = [(await kept(made, payment))[0].state]
    for by, role in (("agent-1", ActorRole.agent), ("supervisor-1", ActorRole.supervisor)):
        await resolve(made, payment, REFUND, by, role)
        states.append((await kept(made, payment))[0].state)

    assert states == [AnomalyState.open, AnomalyState.awaiting_second_approval, AnomalyState.resolved]
    (anomaly,) = await kept(made, payment)
    assert [(step.number, step.by, step.closes) for step in anomaly.steps] == [(1, "agent-1", False), (2, "supervisor-1", True)]
    await made.work()
    await no_violation(made, database)


async def test_the_books_hold_after_an_adoption(made: World, database: Database) -> None:
    payment = await made.register("p-1", sources=("ok", "decline"))
    await made.request(payment)
    await made.work()
    failed = next(leg for leg in await made.legs(payment) if leg.state == "failed")
    await made.say(failed, "ok")
    await made.work()

    await resolve(made, payment, ADOPT)

    assert await made.pool.fetchval("select state from payment") == "refunded"
    await no_violation(made, database)


async def test_what_nobody_has_resolved_is_noticed_and_breaks_nothing(made: World, database: Database) -> None:
    for number, action in enumerate((None, None, NOTE, REFUND)):
        payment = await made.register(f"p-{number}", settled=False)
        await made.fail(payment)
        made.now += timedelta(minutes=1)
        await made.complete(payment)
        if action is not None:
            await resolve(made, payment, action)
    settings, printed = Settings(database_url=database.app_url, sandbox_url=None), io.StringIO()
    statuses: list[int] = []

    noticed = await notice(made.pool)
    in_thread(lambda: statuses.append(run_check(settings, Console(file=printed, width=200))))

    assert [(one.name, one.count, one.oldest_at) for one in noticed if one.name.startswith("anomalies")] == [
        ("anomalies_open", 2, START + timedelta(minutes=1)),
        ("anomalies_awaiting_second_approval", 1, START + timedelta(minutes=4)),
    ]
    assert {one.name for one in noticed} == set(NOTICE_TEXTS)
    assert statuses == [0]
    assert f"anomalies_open: 2 {NOTICE_TEXTS['anomalies_open']}, the oldest since 2026-11-02 02:01 UTC." in printed.getvalue()
    assert "anomalies_awaiting_second_approval: 1 " in printed.getvalue()
