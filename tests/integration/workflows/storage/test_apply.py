"""The compare-and-swap and the fence, each alone: with changes that no unique index would stop in their place."""

from datetime import timedelta

from msgspec.structs import replace

from tests.factories import WALLET
from tests.harness import ScriptedCore
from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes
from workflows.domain.enums import JobKind
from workflows.domain.legs import Leg
from workflows.domain.model import IdempotentResponse
from workflows.storage.apply import Applied, Conflict, Lost
from workflows.storage.jobs import Claim, Queue
from workflows.storage.mapping import ResponseToKeep
from workflows.storage.snapshot import SnapshotQuery


async def put_off(core: ScriptedCore, leg: Leg, seconds: int) -> Change:
    """A change without a record: nothing but the payment's version can tell that it comes too late."""
    snapshot = await core.store.load(SnapshotQuery(payment_id=leg.payment_id, leg_id=leg.id))
    assert snapshot is not None
    context = core.runner.runtime.context(WALLET, None)
    change = outcomes.postpone(snapshot, replace(leg, next_attempt_at=core.clock.now + timedelta(seconds=seconds)), context)
    assert not change.records
    return change


async def claimed(core: ScriptedCore) -> Claim:
    (claim,) = await core.store.claim(
        [Queue(JobKind.move, "sandbox")], now=core.clock.now, monotonic=0.0, lease=timedelta(seconds=10), limit=1
    )
    return claim


async def test_of_two_changes_to_one_version_the_second_writes_nothing(core: ScriptedCore) -> None:
    leg = await core.leg()
    first, second = await put_off(core, leg, 10), await put_off(core, leg, 20)
    keep = ResponseToKeep(caller="c", key="k", reply=IdempotentResponse(fingerprint="f", status=200, body=b"{}"), at=core.clock.now)

    assert await core.store.apply(first) is Applied
    assert await core.store.apply(second, keep=keep) is Conflict

    (now,) = await core.legs(leg.payment_id)
    assert now.next_attempt_at == core.clock.now + timedelta(seconds=10)
    assert await core.pool.fetchval("select version from payment") == first.payment.version
    assert await core.pool.fetchval("select count(*) from kept_reply") == 0


async def test_who_lost_the_job_writes_nothing_and_leaves_it_to_its_holder(core: ScriptedCore) -> None:
    leg = await core.leg()
    late = await claimed(core)
    core.clock.now += timedelta(seconds=11)
    holder = await claimed(core)

    assert await core.store.apply(await put_off(core, leg, 10), fence=late.done()) is Lost

    (now,) = await core.legs(leg.payment_id)
    assert now.next_attempt_at == leg.next_attempt_at
    assert await core.pool.fetchval("select attempt from job") == holder.attempt == late.attempt + 1


async def test_a_change_that_comes_too_late_leaves_the_job_alone(core: ScriptedCore) -> None:
    leg = await core.leg()
    claim = await claimed(core)
    first, second = await put_off(core, leg, 10), await put_off(core, leg, 20)
    await core.store.apply(first)

    assert await core.store.apply(second, fence=claim.done()) is Conflict

    assert await core.pool.fetchval("select count(*) from job") == 1
