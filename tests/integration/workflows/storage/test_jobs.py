"""Which jobs a worker takes, by whose clock, and how long they are certainly its own."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

from tests.harness import ScriptedCore
from workflows.clock_and_ids import new_id
from workflows.domain.enums import JobKind
from workflows.flows.rails import Rails
from workflows.storage.jobs import Claim, Queue
from workflows.storage.notifications import ReceivedNotification
from workflows.worker import Worker, WorkerConfig

LEASE = timedelta(seconds=10)
MOVES = [Queue(JobKind.move, "sandbox")]


async def claim(core: ScriptedCore, *, now: datetime | None) -> list[Claim]:
    return await core.store.claim(MOVES, now=now, monotonic=100.0, lease=LEASE, limit=5)


async def test_a_worker_takes_no_job_of_a_rail_that_it_lacks(core: ScriptedCore) -> None:
    leg = await core.leg()
    before = await core.pool.fetchrow("select * from job where subject_id = $1", leg.id)
    rails = Rails(providers={})
    without = Worker(core.runner.runtime, rails, WorkerConfig())

    assert await without.drain() == 0
    assert await core.pool.fetchrow("select * from job where subject_id = $1", leg.id) == before, "not even put off"
    assert await core.worker.drain() == 1


async def test_leases_and_due_times_are_the_databases_whatever_the_worker_believes(core: ScriptedCore) -> None:
    """No moment is given: the database's own clock counts, as in production."""
    await core.leg()
    await core.pool.execute("update job set attempt = attempt + 1, leased_until = clock_timestamp()")
    await core.pool.execute("update job set run_at = clock_timestamp() + interval '1 hour', leased_until = null")
    assert await claim(core, now=None) == []
    await core.pool.execute("update job set run_at = clock_timestamp() - interval '1 second'")

    (taken,) = await claim(core, now=None)

    left = await core.pool.fetchval("select leased_until - clock_timestamp() from job")
    assert timedelta(0) < left <= LEASE
    assert taken.expires == 100.0 + LEASE.total_seconds()
    assert await claim(core, now=None) == [], "leased"
    await core.pool.execute("update job set leased_until = clock_timestamp() - interval '1 second'")
    assert [again.attempt for again in await claim(core, now=None)] == [taken.attempt + 1]


async def test_a_worker_that_has_no_time_left_does_not_call(core: ScriptedCore) -> None:
    """It was frozen between its intent and its call, for longer than its lease."""
    leg = await core.leg()
    ticks = iter((0.0, LEASE.total_seconds() - 0.5))  # when the job is taken, and before the call
    runtime = replace(core.runner.runtime, monotonic=lambda: next(ticks))
    worker = Worker(runtime, replace(core.worker.rails, call_seconds_max=1.0), WorkerConfig(lease=LEASE))
    (taken,) = await worker.claim(worker.lanes[0], 1)
    await worker.do(taken)

    assert core.rail.calls == {}, "the rail heard nothing"
    assert [now.state for now in await core.legs(leg.payment_id)] == ["submitted"], "and the intent is on record"
    await core.work()
    assert [now.state for now in await core.legs(leg.payment_id)] == ["succeeded"]


async def test_a_change_is_judged_and_recorded_at_one_moment(core: ScriptedCore) -> None:
    """A process whose clock is behind the payment's last change decides at that change's moment, as its record will say."""
    payment = await core.pay("p-1", settled=False)
    await core.complete(payment)
    core.clock.now += timedelta(minutes=40)
    await core.pay("p-2")
    await core.pool.execute("update payment set updated_at = $2 where id = $1", payment, core.clock.now)
    core.clock.now -= timedelta(minutes=30)

    await core.ask(payment)

    row = await core.pool.fetchrow("select route, rule, created_at from cancellation")
    assert row["created_at"] == core.clock.now + timedelta(minutes=30)
    assert (row["route"], row["rule"]) == ("merchant", "ask-the-merchant"), "the half hour of second thoughts was over"


async def test_one_rail_does_not_speak_for_anothers_leg(core: ScriptedCore) -> None:
    """Another rail knows our key, and says, with its own good signature, that the money arrived."""
    payment = await core.pay("p-1", sources=("pending",))
    await core.ask(payment)
    await core.work()
    (leg,) = await core.legs(payment)
    assert leg.state == "processing"
    other = replace(core.worker.rails, providers={"sandbox": core.rail, "other": core.rail})
    body = json.dumps({"rail_key": leg.rail_key, "word": "ok", "amount": leg.amount, "currency": leg.currency}).encode()
    incoming = ReceivedNotification(payment_id=leg.payment_id, provider="other", rail_id="n-1", body=body, received_at=core.clock.now)
    await core.store.store_notification(incoming, id=new_id(), job_id=new_id())

    await Worker(core.runner.runtime, other, WorkerConfig()).drain()

    assert [now.state for now in await core.legs(leg.payment_id)] == ["processing"]
    assert await core.pool.fetchval("select kind from anomaly where leg_id = $1", leg.id) == "contradiction"
    assert await core.pool.fetchval("select verdict from notification") == "anomaly"
