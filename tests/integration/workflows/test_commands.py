"""The one loop by which everything changes: what it loads, when it writes, when it gives up."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from tests.database import Database
from tests.harness import ScriptedCore, scripted_core
from workflows.commands import Decision, Write, execute
from workflows.domain.changes import Change
from workflows.domain.errors import LeaseLost, NotFound, Unavailable
from workflows.domain.model import Snapshot
from workflows.domain.ports import Order, Outcome
from workflows.storage.apply import Applied, ApplyResult, Conflict, Fence, Lost
from workflows.storage.snapshot import SnapshotQuery
from workflows.storage.store import Store

CHANGE: Any = object()  # nobody looks into it here


class Scripted(Store):
    """Answers each write as told."""

    def __init__(self, *answers: ApplyResult) -> None:
        super().__init__(None)
        self.answers = list(answers)
        self.written: list[Change] = []

    async def apply(self, change: Change, **_: Any) -> ApplyResult:
        self.written.append(change)
        return self.answers.pop(0)


class Loading:
    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> int:
        self.times += 1
        return self.times


def write(loaded: int) -> Decision[str]:
    return Decision(f"decided upon {loaded}", Write(change=CHANGE))


async def test_what_was_decided_upon_a_lost_race_is_decided_anew() -> None:
    store, load = Scripted(Conflict, Conflict, Applied), Loading()

    assert await execute(store, load, write) == "decided upon 3"
    assert len(store.written) == load.times == 3


async def test_nothing_is_written_where_there_is_nothing_to_write() -> None:
    store, load = Scripted(), Loading()

    assert await execute(store, load, Decision) == 1
    assert store.written == []


async def test_a_lost_lease_ends_it_at_once() -> None:
    store, load = Scripted(Lost), Loading()

    with pytest.raises(LeaseLost):
        await execute(store, load, write)
    assert load.times == 1


async def test_who_always_comes_second_gives_up() -> None:
    store, load = Scripted(*[Conflict] * 3), Loading()

    with pytest.raises(Unavailable):
        await execute(store, load, write, attempts=3)
    assert load.times == 3


async def test_what_a_decision_raises_ends_it() -> None:
    def refuse(_: int) -> Decision[str]:
        raise NotFound

    with pytest.raises(NotFound):
        await execute(Scripted(), Loading(), refuse)


class Watching(Store):
    """Counts the snapshots that are loaded, and holds what a change says of the time after it against what is then loaded."""

    loads = 0
    compared = 0

    async def load(self, wanted: SnapshotQuery) -> Snapshot | None:
        self.loads += 1
        return await super().load(wanted)

    async def apply(self, change: Change, *, fence: Fence | None = None, **more: Any) -> ApplyResult:
        answer = await super().apply(change, fence=fence, **more)
        if answer is Applied and change.before is not None:
            after = change.after(change.before)
            for row in after.cancellations:
                await self._compare(after, SnapshotQuery(payment_id=change.payment.id, cancellation_id=row.id))
        return answer

    async def _compare(self, after: Snapshot, query: SnapshotQuery) -> None:
        loaded = await Store.load(self, query)
        assert loaded is not None
        assert loaded.payment == after.payment
        id_ = query.cancellation_id or UUID(int=0)
        assert loaded.cancellation(id_) == after.cancellation(id_)
        assert _legs(loaded, id_) == _legs(after, id_)
        self.compared += 1


def _legs(snapshot: Snapshot, cancellation_id: UUID) -> dict[UUID, object]:
    return {leg.id: leg for leg in snapshot.legs if leg.cancellation_id == cancellation_id}


@pytest.fixture
async def core(database: Database) -> AsyncIterator[ScriptedCore]:
    async with scripted_core(database.app_url) as one:
        object.__setattr__(one.runner.runtime, "store", Watching(one.pool))
        yield one


def watching(core: ScriptedCore) -> Watching:
    store = core.runner.runtime.store
    assert isinstance(store, Watching)
    return store


async def test_a_refund_is_loaded_once_and_written_twice(core: ScriptedCore) -> None:
    payment = await core.pay("p-1")
    await core.ask(payment)
    before = watching(core).loads

    await core.work()

    assert watching(core).loads - before == 1
    assert [leg.state for leg in await core.legs(payment)] == ["succeeded"]


@pytest.mark.parametrize("script", ["ok", "pending/ok", "unknown/ok", "decline", "unavailable/ok"])
async def test_what_is_carried_from_step_to_step_is_what_is_there(core: ScriptedCore, script: str) -> None:
    payment = await core.pay("p-1", sources=(script, "ok"))
    await core.ask(payment, 700)
    for _ in range(4):
        await core.work(seconds=120)

    assert watching(core).compared > 4


async def test_what_changed_while_the_rail_was_called_is_seen(core: ScriptedCore) -> None:
    payment = await core.pay("p-1")
    await core.ask(payment)
    refund = core.rail.refund

    async def meanwhile(order: Order) -> Outcome:
        outcome = await refund(order)
        await core.pool.execute("update payment set version = version + 1, amount_charged_back = 1 where id = $1", payment)
        return outcome

    core.rail.refund = meanwhile  # type: ignore[method-assign]  # for this call
    before = watching(core).loads
    await core.work()

    assert watching(core).loads - before == 2
    assert await core.pool.fetchrow("select amount_charged_back, amount_refunded from payment") == (1, 1000)
