"""Goods on their way back: sent by the customer, looked at by the merchant."""

from msgspec.structs import replace

from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.clocks import arrive, clock_data
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import CancellationTrigger, ReturnCondition
from workflows.domain.machines import CANCELLATION, GuardFacts
from workflows.domain.model import Cancellation, DataValue, ReturnedGoods, Snapshot
from workflows.domain.record_types import RecordType

_NOTHING_YET = ReturnedGoods(carrier=None, shipped_at=None, received_at=None, condition=None)


def ship(
    snapshot: Snapshot, cancellation: Cancellation, *, carrier: str, tracking_number: str, terms: PolicyContext, context: Context
) -> Change:
    """The customer has sent the goods: from now on the merchant's time to look at them runs.

    Said again, it corrects the carrier or the number; the clock is not started a second time.
    """
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.return_shipped)
    builder = ChangeBuilder(snapshot, context)
    goods = cancellation.goods or _NOTHING_YET
    first = goods.shipped_at is None
    row = replace(cancellation, goods=replace(goods, carrier=carrier, shipped_at=goods.shipped_at or builder.context.now))
    data: dict[str, DataValue] = {"carrier": carrier, **builder.keep_text(row.id, "return_tracking_number", tracking_number)}
    if first:
        arrive(builder, row, state, terms, said=RecordType.cancellation_return_shipped, data=data)
    else:
        row = builder.put_cancellation(row)
        builder.record_cancellation(RecordType.cancellation_return_shipped, row, data | clock_data(row))
    return builder.build()


def receive(
    snapshot: Snapshot, cancellation: Cancellation, *, condition: ReturnCondition, note: str | None, terms: PolicyContext, context: Context
) -> Change:
    """The merchant says what came back: intact, it is paid; else an agent has to look."""
    intact = condition is ReturnCondition.intact
    facts = GuardFacts(intact=intact, second_approval=cancellation.second_approval)
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.return_received, facts)
    builder = ChangeBuilder(snapshot, context)
    goods = replace(
        cancellation.goods or _NOTHING_YET, received_at=builder.context.now, condition=condition, received_by=builder.context.actor.id
    )
    row = replace(cancellation, goods=goods)
    if condition is not ReturnCondition.missing:
        builder.set_payment(replace(builder.payment, return_received_at=builder.context.now))
    data: dict[str, DataValue] = {"condition": condition.value}
    if note is not None:
        data |= builder.keep_text(row.id, "return_note", note)
    arrive(builder, row, state, terms, said=RecordType.cancellation_return_received, data=data)
    return builder.build()
