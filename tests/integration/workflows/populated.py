"""A payment for each way that the core knows, and what the invariants say of a database."""

from datetime import timedelta
from uuid import UUID

import asyncpg

from tests.harness import ScriptedCore
from workflows.domain.decisions.anomalies import Resolution, resolve
from workflows.domain.enums import ActorRole, AnomalyAction, Channel, Reason, Source
from workflows.domain.ids import payment_id
from workflows.domain.model import Actor, Item, ItemQuantity, MerchantContact
from workflows.domain.policies.merchants import MerchantDetails
from workflows.flows.change_merchant import ChangeMerchant, change_merchant
from workflows.flows.check import InvariantResult, run_checks
from workflows.flows.legs import successor_rules
from workflows.storage.snapshot import SnapshotQuery

ITEMS = (Item(reference="a", quantity=3, amount=700), Item(reference="b", quantity=1, amount=300))


async def populate(core: ScriptedCore) -> None:
    """A payment for each way that the core knows, some left half way."""
    await core.ask(await core.pay("whole", sources=("ok", "pending/ok")))
    partial = await core.pay("partial", items=ITEMS)
    await core.ask(partial, items=[ItemQuantity(reference="a", quantity=1)], key="k-1")
    await core.work()
    await core.ask(partial, items=[ItemQuantity(reference="a", quantity=1)])
    await core.ask(await core.pay("stuck", sources=("ok", "decline")))
    await core.ask(await core.pay("moving", sources=("ok", "pending")))
    await core.ask(await core.pay("lost", sources=("unknown",)), 100)
    await core.ask(await core.pay("asked", items=ITEMS), items=[ItemQuantity(reference="b", quantity=1)], reason=Reason.unauthorised)
    withdrawn = await core.pay("withdrawn", items=ITEMS)
    await core.ask(withdrawn, items=[ItemQuantity(reference="a", quantity=2)], reason=Reason.unauthorised)
    await core.withdraw(withdrawn)
    await core.ask(await core.pay("voided", sources=("ok", "ok"), settled=False))
    await core.ask(await core.pay("captured", sources=("ok", "settled"), settled=False))
    await core.work()
    await core.work()
    await core.ask(await core.pay("forfeited", sources=("ok", "ok")), 500, forfeit=Source.card)
    await core.ask(await core.pay("all forfeited"), forfeit=Source.balance)
    await core.work()
    overtaken = await core.pay("overtaken", sources=("ok", "ok"), settled=False)
    await core.ask(overtaken)
    await core.complete(overtaken)
    mooted = await core.pay("mooted", settled=False)
    await core.ask(mooted)
    await core.fail(mooted)
    returned = await core.pay("returned")
    await core.ask(returned)
    await core.work()
    await core.say((await core.legs(returned))[0], "returned")
    late = await core.pay("late")
    await core.pay("pending", settled=False)
    await core.work()
    await core.ask(await core.pay("fresh"))
    await core.say((await core.legs(returned))[0], "returned")
    core.clock.now += timedelta(days=500)
    await core.ask(late)
    for name in ("Shop", "Newer Shop"):
        await describe(core, name)
    await core.pay("pinned")
    odd = await core.pay("odd", settled=False)
    await core.fail(odd)
    await core.complete(odd)
    await note(core, odd)


async def note(core: ScriptedCore, payment: UUID) -> None:
    """The payment's anomaly is resolved by an agent."""
    actor = Actor(role=ActorRole.agent, id="anna", channel=Channel.system)
    snapshot = await core.store.load(SnapshotQuery(payment_id=payment, shown=True))
    assert snapshot is not None
    terms = await core.runner.runtime.terms(snapshot.payment)
    resolution = Resolution(action=AnomalyAction.note, note="seen")
    context = core.runner.runtime.context(actor, "r-1", snapshot.payment.updated_at)
    rules = successor_rules(core.runner.runtime, core.worker.rails)
    await core.store.apply(resolve(snapshot, snapshot.anomalies[0], resolution, terms=terms, successors=rules, context=context))


async def describe(core: ScriptedCore, name: str) -> None:
    details = MerchantDetails(name=name, contact=MerchantContact(email="help@shop.example"))
    actor = Actor(role=ActorRole.operator, id="olga", channel=Channel.system)
    await change_merchant(core.runner, ChangeMerchant(merchant_id="m-1", details=details, actor=actor, request_id="r-1", if_match=None))


async def results_of(url: str) -> dict[str, InvariantResult]:
    connection = await asyncpg.connect(url, ssl=False)
    try:
        return {result.name: result for result in await run_checks(connection)}
    finally:
        await connection.close()


def where(reference: str, column: str = "payment_id") -> str:
    return f"{column} = '{payment_id(reference)}'"
