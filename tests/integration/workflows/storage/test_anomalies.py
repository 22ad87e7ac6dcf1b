"""What is kept of anomalies: one for each word, in the state that its steps make, and nothing of it breaks the books."""

import io
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from rich.console import Console

from service.settings import Settings
from service.terminal.check import run_check
from service.terminal.invariant_texts import NOTICE_TEXTS
from tests.database import Database, in_thread
from tests.harness import START, ScriptedCore
from workflows.domain.decisions import anomalies
from workflows.domain.decisions.anomalies import Resolution
from workflows.domain.enums import ActorRole, AnomalyAction, AnomalyState, Channel
from workflows.domain.model import Actor, Anomaly, Snapshot
from workflows.flows.check import notice, run_checks
from workflows.flows.legs import successor_rules
from workflows.storage.snapshot import SnapshotQuery

NOTE, ADOPT, REFUND = AnomalyAction.note, AnomalyAction.adopt, AnomalyAction.refund


async def snapshot_of(core: ScriptedCore, payment: UUID) -> Snapshot:
    legs = await core.legs(payment)
    found = await core.store.load(SnapshotQuery(payment_id=payment, leg_id=legs[0].id if legs else None, shown=True))
    assert found is not None
    return found


async def resolve(core: ScriptedCore, payment: UUID, action: AnomalyAction, by: str = "agent-1", role: ActorRole = ActorRole.agent) -> None:
    anomaly = (await snapshot_of(core, payment)).anomalies[0]
    actor = Actor(role=role, id=by, channel=Channel.system)
    before = await snapshot_of(core, payment)
    terms = await core.runner.runtime.terms(before.payment)
    context = core.runner.runtime.context(actor, "r-1", before.payment.updated_at)
    resolution, rules = Resolution(action=action, note="seen"), successor_rules(core.runner.runtime, core.worker.rails)
    change = anomalies.resolve(before, anomaly, resolution, terms=terms, successors=rules, context=context)
    await core.store.apply(change)


async def kept(core: ScriptedCore, payment: UUID) -> list[Anomaly]:
    return list((await snapshot_of(core, payment)).anomalies)


async def no_violation(core: ScriptedCore, database: Database) -> None:
    connection = await asyncpg.connect(database.app_url, ssl=False)
    try:
        checked = await run_checks(connection)
    finally:
        await connection.close()
    assert [(one.name, one.examples) for one in checked if one.broken] == []


@pytest.mark.parametrize("first", ["notification", "query"])
async def test_the_same_late_word_by_notification_and_by_query_is_one_anomaly(core: ScriptedCore, first: str) -> None:
    payment = await core.pay("p-1", sources=("pending/mismatch",))
    await core.ask(payment)
    await core.work(seconds=0)
    (leg,) = await core.legs(payment)
    assert leg.state == "processing"

    if first == "notification":
        await core.say(leg, "mismatch")
        await core.work(seconds=0)
    await core.work(seconds=4000)
    asked = core.rail.calls[leg.rail_key]
    if first == "query":
        await core.say(leg, "mismatch")
        await core.work(seconds=0)

    assert asked >= 2, "the rail was asked, and said it too"
    assert [one.kind for one in await kept(core, payment)] == ["amount_mismatch"]
    assert await core.pool.fetchval("select count(*) from notification where handled_at is not null") == 1
    assert await core.pool.fetchval("select count(*) from record where type = 'payment.anomaly'") == 1


@pytest.mark.slow
async def test_a_state_is_what_the_steps_make_of_it(core: ScriptedCore, database: Database) -> None:
    payment = await core.pay("p-1", settled=False)
    await core.fail(payment)
    await core.complete(payment)
    states = [(await kept(core, payment))[0].state]
    for by, role in (("agent-1", ActorRole.agent), ("supervisor-1", ActorRole.supervisor)):
        await resolve(core, payment, REFUND, by, role)
        states.append((await kept(core, payment))[0].state)

    assert states == [AnomalyState.open, AnomalyState.awaiting_second_approval, AnomalyState.resolved]
    (anomaly,) = await kept(core, payment)
    assert [(step.number, step.by, step.closes) for step in anomaly.steps] == [(1, "agent-1", False), (2, "supervisor-1", True)]
    await core.work()
    await no_violation(core, database)


@pytest.mark.slow
async def test_the_books_hold_after_an_adoption(core: ScriptedCore, database: Database) -> None:
    payment = await core.pay("p-1", sources=("ok", "decline"))
    await core.ask(payment)
    await core.work()
    failed = next(leg for leg in await core.legs(payment) if leg.state == "failed")
    await core.say(failed, "ok")
    await core.work()

    await resolve(core, payment, ADOPT)

    assert await core.pool.fetchval("select state from payment") == "refunded"
    await no_violation(core, database)


@pytest.mark.slow
async def test_what_nobody_has_resolved_is_noticed_and_breaks_nothing(core: ScriptedCore, database: Database) -> None:
    for number, action in enumerate((None, None, NOTE, REFUND)):
        payment = await core.pay(f"p-{number}", settled=False)
        await core.fail(payment)
        core.clock.now += timedelta(minutes=1)
        await core.complete(payment)
        if action is not None:
            await resolve(core, payment, action)
    settings, printed = Settings(database_url=database.app_url, sandbox_url=None), io.StringIO()
    statuses: list[int] = []

    noticed = await notice(core.pool)
    in_thread(lambda: statuses.append(run_check(settings, Console(file=printed, width=200))))

    assert [(one.name, one.count, one.oldest_at) for one in noticed if one.name.startswith("anomalies")] == [
        ("anomalies_open", 2, START + timedelta(minutes=1)),
        ("anomalies_awaiting_second_approval", 1, START + timedelta(minutes=4)),
    ]
    assert {one.name for one in noticed} == set(NOTICE_TEXTS)
    assert statuses == [0]
    assert f"anomalies_open: 2 {NOTICE_TEXTS['anomalies_open']}, the oldest since 2026-11-02 02:01 UTC." in printed.getvalue()
    assert "anomalies_awaiting_second_approval: 1 " in printed.getvalue()
