"""Which jobs a worker takes, by whose clock, and how long they are certainly its own."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.database import Database
from tests.storage.world import World, world
from workflows.clock_and_ids import new_id
from workflows.domain.enums import JobKind
from workflows.domain.legs import Leg
from workflows.flows.rails import Rails
from workflows.storage.clock import DatabaseClock
from workflows.storage.jobs import Claim, Queue
from workflows.storage.notifications import ReceivedNotification
from workflows.worker import Worker, WorkerConfig

LEASE = timedelta(seconds=10)
MOVES = [Queue(JobKind.move, "sandbox")]


@pytest.fixture
async def made(database: Database) -> AsyncIterator[World]:
    async with world(database.app_url) as one:
        yield one


async def a_leg(made: World) -> Leg:
    payment = await made.register("p-1")
    await made.request(payment)
    return (await made.legs(payment))[0]


async def claim(made: World, *, now: datetime | None) -> list[Claim]:
    return await made.store.claim(MOVES, now=now, monotonic=100.0, lease=LEASE, limit=5)


async def test_a_worker_takes_no_job_of_a_rail_that_it_lacks(made: World) -> None:
    leg = await a_leg(made)
    before = await made.pool.fetchrow("select * from job where subject_id = $1", leg.id)
    rails = Rails(providers={})
    without = Worker(made.runner.runtime, rails, WorkerConfig())

    assert await without.drain() == 0
    assert await made.pool.fetchrow("select * from job where subject_id = $1", leg.id) == before, "not even put off"
    assert await made.worker.drain() == 1


async def test_leases_and_due_times_are_the_databases_whatever_the_worker_believes(made: World) -> None:
    """No moment is given: the database's own clock counts, as in production."""
    await a_leg(made)
    await made.pool.execute("update job set attempt = attempt + 1, leased_until = clock_timestamp()")
    await made.pool.execute("update job set run_at = clock_timestamp() + interval '1 hour', leased_until = null")
    assert await claim(made, now=None) == []
    await made.pool.execute("update job set run_at = clock_timestamp() - interval '1 second'")

    (taken,) = await claim(made, now=None)

    left = await made.pool.fetchval("select leased_until - clock_timestamp() from job")
    assert timedelta(0) < left <= LEASE
    assert taken.expires == 100.0 + LEASE.total_seconds()
    assert await claim(made, now=None) == [], "leased"
    await made.pool.execute("update job set leased_until = clock_timestamp() - interval '1 second'")
    assert [again.attempt for again in await claim(made, now=None)] == [taken.attempt + 1]


async def test_a_worker_that_has_no_time_left_does_not_call(made: World) -> None:
    """It was frozen between its intent and its call, for longer than its lease."""
    leg = await a_leg(made)
    ticks = iter((0.0, LEASE.total_seconds() - 0.5))  # when the job is taken, and before the call
    runtime = replace(made.runner.runtime, monotonic=lambda: next(ticks))
    worker = Worker(runtime, replace(made.worker.rails, call_seconds_max=1.0), WorkerConfig(lease=LEASE))
    (taken,) = await worker.claim(worker.lanes[0], 1)
    await worker.do(taken)

    assert made.rail.calls == {}, "the rail heard nothing"
    assert [now.state for now in await made.legs(leg.payment_id)] == ["submitted"], "and the intent is on record"
    await made.work()
    assert [now.state for now in await made.legs(leg.payment_id)] == ["succeeded"]


async def test_the_databases_clock_needs_no_time_of_day_of_ours(made: World) -> None:
    ticks = [1_000.0]
    clock = DatabaseClock(made.pool, monotonic=lambda: ticks[0])
    with pytest.raises(RuntimeError):
        clock()
    before: datetime = await made.pool.fetchval("select clock_timestamp()")
    await clock.set_again()
    after: datetime = await made.pool.fetchval("select clock_timestamp()")

    first = clock()
    assert before <= first <= after
    assert first.utcoffset() == timedelta(0)
    ticks[0] += 60
    assert clock() == first + timedelta(minutes=1)


async def test_a_change_is_judged_and_recorded_at_one_moment(made: World) -> None:
    """A process whose clock is behind the payment's last change decides at that change's moment, as its record will say."""
    payment = await made.register("p-1", settled=False)
    await made.complete(payment)
    made.now += timedelta(minutes=40)
    await made.register("p-2")
    await made.pool.execute("update payment set updated_at = $2 where id = $1", payment, made.now)
    made.now -= timedelta(minutes=30)

    await made.request(payment)

    row = await made.pool.fetchrow("select route, rule, created_at from cancellation")
    assert row["created_at"] == made.now + timedelta(minutes=30)
    assert (row["route"], row["rule"]) == ("merchant", "ask-the-merchant"), "the half hour of second thoughts was over"


async def test_one_rail_does_not_speak_for_anothers_leg(made: World) -> None:
    """Another rail knows our key, and says, with its own good signature, that the money arrived."""
    payment = await made.register("p-1", sources=("pending",))
    await made.request(payment)
    await made.work()
    (leg,) = await made.legs(payment)
    assert leg.state == "processing"
    other = replace(made.worker.rails, providers={"sandbox": made.rail, "other": made.rail})
    body = json.dumps({"rail_key": leg.rail_key, "word": "ok", "amount": leg.amount, "currency": leg.currency}).encode()
    incoming = ReceivedNotification(payment_id=leg.payment_id, provider="other", rail_id="n-1", body=body, received_at=made.now)
    await made.store.store_notification(incoming, id=new_id(), job_id=new_id())

    await Worker(made.runner.runtime, other, WorkerConfig()).drain()

    assert [now.state for now in await made.legs(leg.payment_id)] == ["processing"]
    assert await made.pool.fetchval("select kind from anomaly where leg_id = $1", leg.id) == "contradiction"
    assert await made.pool.fetchval("select verdict from notification") == "anomaly"
