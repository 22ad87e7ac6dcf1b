"""A snapshot holds the payment as it stood at one moment, what is unfinished, and what was asked for; nothing of another's."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from tests.factories import WALLET
from tests.harness import ScriptedCore
from workflows.clock_and_ids import new_id
from workflows.domain.decisions.requests import CancellationRequest
from workflows.domain.enums import CancellationState, Reason
from workflows.domain.model import CANCELLATIONS_SHOWN, Snapshot
from workflows.storage.snapshot import SnapshotQuery, load, load_for_registration, load_many

MANY = 22  # cancellations of one payment, more than are shown


async def must_load(core: ScriptedCore, query: SnapshotQuery) -> Snapshot:
    found = await load(core.pool, query)
    assert found is not None
    return found


async def with_one_done_and_one_open(core: ScriptedCore) -> tuple[UUID, UUID, UUID]:
    """A payment with a finished cancellation and one under way: the ids of all three."""
    payment = await core.pay("p-1")
    await core.ask(payment, 100)
    await core.work()
    await core.ask(payment, 200)
    done, begun = await core.pool.fetch("select id from cancellation order by id")
    return payment, done["id"], begun["id"]


async def test_of_an_unknown_payment_there_is_no_snapshot(core: ScriptedCore) -> None:
    payment = await core.pay("p-1")

    assert await load(core.pool, SnapshotQuery(payment_id=new_id())) is None
    assert set(await load_many(core.pool, [new_id(), payment])) == {payment}


async def test_finished_cancellations_are_loaded_where_they_are_asked_for(core: ScriptedCore) -> None:
    payment, done, begun = await with_one_done_and_one_open(core)
    usual = SnapshotQuery(payment_id=payment)
    leg = await core.pool.fetchval("select id from leg where cancellation_id = $1", done)

    async def ids(query: SnapshotQuery) -> set[UUID]:
        found = await must_load(core, query)
        assert {one.cancellation_id for one in found.legs} == {one.id for one in found.cancellations}
        return {one.id for one in found.cancellations}

    assert await ids(usual) == {begun}
    assert await ids(replace(usual, cancellation_id=done)) == {done, begun}
    assert await ids(replace(usual, leg_id=leg)) == {done, begun}
    assert await ids(replace(usual, cancellation_id=new_id(), leg_id=new_id())) == {begun}


async def test_a_client_reference_finds_the_cancellation_of_this_payment_alone(core: ScriptedCore) -> None:
    found = []
    for reference in ("p-1", "p-2"):
        payment = await core.pay(reference)
        wish = CancellationRequest(actor=WALLET, reason=Reason.changed_mind, client_reference="c-1")
        await core.request(payment, wish=wish)
        await core.work()
        snapshot = await must_load(core, SnapshotQuery(payment_id=payment, client_reference="c-1"))
        found.append([one.payment_id == payment for one in snapshot.cancellations])

    assert found == [[True], [True]]


async def test_a_page_holds_what_one_by_one_is_loaded(core: ScriptedCore) -> None:
    payment, done, _ = await with_one_done_and_one_open(core)
    other = await core.pay("p-2")

    page = await load_many(core.pool, [payment, other], [done])

    for id_, cancellation in ((payment, done), (other, None)):
        assert page[id_] == await must_load(core, SnapshotQuery(payment_id=id_, cancellation_id=cancellation, shown=True))


async def test_texts_are_those_of_the_payment_and_of_the_cancellations_that_are_there(core: ScriptedCore) -> None:
    payment, done, begun = await with_one_done_and_one_open(core)
    await core.ask(await core.pay("p-2"))

    shown = await must_load(core, SnapshotQuery(payment_id=payment, shown=True))
    more = await must_load(core, SnapshotQuery(payment_id=payment, shown=True, cancellation_id=done))

    assert {text.subject_id for text in shown.texts} == {payment, begun}
    assert {text.subject_id for text in more.texts} == {payment, done, begun}
    assert shown.text(payment, "metadata") == {"order": "p-1"}
    assert (await must_load(core, SnapshotQuery(payment_id=payment))).texts == ()


@pytest.mark.slow
async def test_the_newest_cancellations_are_named_oldest_first(core: ScriptedCore) -> None:
    payment = await core.pay("p-1")
    for _ in range(MANY):
        await core.ask(payment, 10)
        await core.work()
    ids = [row["id"] for row in await core.pool.fetch("select id from cancellation order by id")]

    shown = await must_load(core, SnapshotQuery(payment_id=payment, shown=True))

    assert len(ids) == MANY
    assert list(shown.cancellation_ids) == ids[-CANCELLATIONS_SHOWN:]
    assert {one.state for one in (await must_load(core, SnapshotQuery(payment_id=payment, cancellation_id=ids[0]))).cancellations} == {
        CancellationState.completed
    }


async def test_requests_are_counted_since_a_moment_and_by_who_asks(core: ScriptedCore) -> None:
    payment = await core.pay("p-1")
    for _ in range(2):
        await core.ask(payment, 10)
        await core.work(seconds=60)
    last = await core.pool.fetchval("select max(created_at) from cancellation")
    query = SnapshotQuery(payment_id=payment, caller=WALLET.id, requests_since=last - timedelta(days=1))

    async def counted(wanted: SnapshotQuery) -> tuple[int, int]:
        found = await must_load(core, wanted)
        return found.requests_last_day, found.requests_made

    assert await counted(query) == (2, 2)
    assert await counted(replace(query, caller="another")) == (2, 0)
    assert await counted(replace(query, requests_since=last - timedelta(microseconds=1))) == (1, 1)
    assert await counted(replace(query, requests_since=last)) == (0, 0)


async def test_a_reply_is_found_under_its_caller_key_and_scope_only(core: ScriptedCore) -> None:
    payment = await core.pay("p-1")
    kept = await core.request(payment, key="k-1")
    query = SnapshotQuery(payment_id=payment, caller=WALLET.id, key="k-1")

    assert (await must_load(core, query)).reply == kept
    for other in (replace(query, key="k-2"), replace(query, caller="another"), replace(query, scope_id=new_id()), replace(query, key=None)):
        assert (await must_load(core, other)).reply is None


async def test_a_registration_finds_the_payment_that_is_there(core: ScriptedCore) -> None:
    payment = await core.pay("p-1")
    version = await core.pool.fetchval("select version from policy")

    known = await load_for_registration(core.pool, payment, core.clock(), "m-1")
    unknown = await load_for_registration(core.pool, new_id(), core.clock(), "m-1")

    assert known.found is not None
    assert known.found.payment == (await must_load(core, SnapshotQuery(payment_id=payment))).payment
    assert (unknown.found, unknown.merchant, unknown.merchant_rules_version, unknown.policy_version) == (None, None, None, version)
