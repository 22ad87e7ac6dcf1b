"""How the lists are answered among a hundred thousand payments: by an index, whatever is asked for and however rare it is."""

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.integration.workflows.storage import crowd
from tests.integration.workflows.storage.explained import ROWS_MAX, Connection, Explained, must_be_short
from workflows.domain.ids import payment_id
from workflows.storage import anomalies, search
from workflows.storage.list_filters import AnomalyFilter, CancellationFilter, ListOrder, PaymentFilter, Place, RecordFilter, RefundFilter

pytestmark = pytest.mark.slow

LIMIT = 51
WAITING_MAX = 3_500  # cancellations of the crowd that wait: what no index has besides the deadline is looked up in each of them
NOBODY = UUID(int=1)


def _first_id(at: datetime) -> UUID:
    return UUID(int=(int(at.timestamp() * 1000) << 80) | 0x7 << 76 | 0x2 << 62)


MIDDLE = Place(crowd.MIDDLE, _first_id(crowd.MIDDLE))
MIDDLE_DEADLINE = Place(crowd.DEADLINE, _first_id(crowd.START + timedelta(days=10)))


def _soonest(**members: Any) -> CancellationFilter:
    return CancellationFilter(order=ListOrder.deadline, **members)


PAYMENTS = {
    "nothing": PaymentFilter(),
    "reference": PaymentFilter(reference=crowd.KNOWN),
    "reference that nobody has": PaymentFilter(reference="order-none"),
    **{f"wallet_id {name}": PaymentFilter(wallet_id=name) for name in ("wallet-7", "wallet-quiet", "none")},
    **{f"merchant_id {name}": PaymentFilter(merchant_id=name) for name in ("merchant-big", "merchant-7", "merchant-quiet", "none")},
    **{f"order_reference {name}": PaymentFilter(order_reference=name) for name in ("basket", "basket-7", "none")},
    **{f"state {name}": PaymentFilter(state=name) for name in ("completed", "pending", "refunding", "failed", "refunded")},
    "created_from": PaymentFilter(created_from=crowd.LATE),
    "created_from and created_to": PaymentFilter(created_from=crowd.START, created_to=crowd.START + timedelta(hours=1)),
    "created_from the future": PaymentFilter(created_from=crowd.NOW),
    "sort=updated": PaymentFilter(order=ListOrder.updated),
    "updated_from": PaymentFilter(order=ListOrder.updated, updated_from=crowd.LATE),
    "updated_from the future": PaymentFilter(order=ListOrder.updated, updated_from=crowd.NOW),
}
CANCELLATIONS = {
    "nothing": CancellationFilter(),
    **{f"state {name}": CancellationFilter(state=name) for name in ("withdrawn", "completed", "awaiting_agent", "failed", "offered")},
    **{f"route {name}": CancellationFilter(route=name) for name in ("automatic", "return", "void")},
    **{f"merchant_id {name}": CancellationFilter(merchant_id=name) for name in ("merchant-big", "merchant-7", "merchant-quiet", "none")},
    "payment_id": CancellationFilter(payment_id=payment_id(crowd.KNOWN)),
    "payment_id that nobody has": CancellationFilter(payment_id=NOBODY),
    **{f"assigned_to {name}": CancellationFilter(assigned_to=name) for name in ("agent-busy", "agent-gone", "none")},
    "overdue": CancellationFilter(overdue=True),
    "overdue, created_from and created_to": CancellationFilter(overdue=True, created_from=crowd.START, created_to=crowd.NOW),
    "not overdue": CancellationFilter(overdue=False),
    "overdue of a state that is over": CancellationFilter(overdue=True, state="completed"),
    **{f"wallet_id {name}": CancellationFilter(wallet_id=name) for name in ("wallet-7", "wallet-quiet", "none")},
    "wallet_id, created_from and created_to": CancellationFilter(wallet_id="wallet-7", created_from=crowd.START, created_to=crowd.NOW),
    "sort=updated": CancellationFilter(order=ListOrder.updated),
    "updated_from": CancellationFilter(order=ListOrder.updated, updated_from=crowd.LATE),
    "updated_from the future": CancellationFilter(order=ListOrder.updated, updated_from=crowd.NOW),
    "created_from": CancellationFilter(created_from=crowd.LATE),
    "created_from and created_to": CancellationFilter(created_from=crowd.START, created_to=crowd.START + timedelta(hours=1)),
}
# The same and more, oldest deadline first. Whoever waits longest in the crowd has the rare values.
DEADLINES = {
    **{name: replace(wanted, order=ListOrder.deadline) for name, wanted in CANCELLATIONS.items() if wanted.order is ListOrder.created},
    **{
        f"state {name}": _soonest(state=name) for name in ("awaiting_merchant", "awaiting_agent", "awaiting_return", "completed", "offered")
    },
    **{f"assigned_to {name}": _soonest(assigned_to=name) for name in ("agent-busy", "agent-new", "agent-gone", "none")},
    **{
        f"merchant_id {merchant} and state {state}": _soonest(merchant_id=merchant, state=state)
        for merchant in ("merchant-big", "merchant-7", "merchant-quiet", "none")
        for state in ("awaiting_merchant", "awaiting_return", "completed", "offered")
    },
    **{f"merchant_id {name} and overdue": _soonest(merchant_id=name, overdue=True) for name in ("merchant-big", "merchant-quiet")},
    "merchant_id and assigned_to": _soonest(merchant_id="merchant-big", assigned_to="agent-new"),
    "merchant_id and created_to": _soonest(merchant_id="merchant-big", created_to=crowd.NOW),
    "overdue of a state": _soonest(overdue=True, state="awaiting_agent"),
    "not overdue of an agent": _soonest(overdue=False, assigned_to="agent-new"),
}
REFUNDS = {
    "nothing": RefundFilter(),
    **{f"wallet_id {name}": RefundFilter(wallet_id=name) for name in ("wallet-7", "wallet-quiet", "none")},
    **{
        f"wallet_id {name}, created_from and created_to": RefundFilter(wallet_id=name, created_from=crowd.START, created_to=crowd.NOW)
        for name in ("wallet-7", "wallet-quiet", "none")
    },
    "created_from": RefundFilter(created_from=crowd.LATE),
    "created_from and created_to": RefundFilter(created_from=crowd.START, created_to=crowd.START + timedelta(hours=1)),
    "sort=updated": RefundFilter(order=ListOrder.updated),
    "updated_from": RefundFilter(order=ListOrder.updated, updated_from=crowd.LATE),
    "updated_from the future": RefundFilter(order=ListOrder.updated, updated_from=crowd.NOW),
    "payment_id": RefundFilter(payment_id=payment_id(crowd.KNOWN)),
    "cancellation_id that nobody has": RefundFilter(cancellation_id=NOBODY),
    **{f"state {name}": RefundFilter(state=name) for name in ("succeeded", "processing", "failed", "held")},
    **{f"provider {name}": RefundFilter(provider=name) for name in ("sandbox", "wallet", "olden", "none")},
    **{f"merchant_id {name}": RefundFilter(merchant_id=name) for name in ("merchant-big", "merchant-7", "merchant-quiet", "none")},
}
ANOMALIES = {
    "nothing": AnomalyFilter(),
    **{f"kind {name}": AnomalyFilter(kind=name) for name in ("contradiction", "voided_late", "unreadable")},
    **{f"provider {name}": AnomalyFilter(provider=name) for name in ("sandbox", "olden", "none")},
    "kind and provider": AnomalyFilter(kind="contradiction", provider="sandbox"),
    "payment_id": AnomalyFilter(payment_id=payment_id(crowd.KNOWN)),
    "payment_id that nobody has": AnomalyFilter(payment_id=NOBODY),
    "state awaiting_second_approval": AnomalyFilter(state="awaiting_second_approval"),
    "state resolved": AnomalyFilter(state="resolved"),
    "state open of a kind": AnomalyFilter(state="open", kind="voided_late"),
    "created_from": AnomalyFilter(created_from=crowd.LATE),
    "created_from and created_to": AnomalyFilter(created_from=crowd.START, created_to=crowd.START + timedelta(hours=1)),
}
RECORDS = {
    "nothing": RecordFilter(),
    **{f"actor {name}": RecordFilter(actor=name) for name in ("backend", "clerk", "none")},
    **{f"merchant_id {name}": RecordFilter(merchant_id=name) for name in ("merchant-big", "merchant-7", "merchant-quiet", "none")},
    **{f"type {name}": RecordFilter(type=name) for name in ("payment.registered", "payment.charged_back", "payment.voided")},
    "payment_id": RecordFilter(payment_id=payment_id(crowd.KNOWN)),
    "from": RecordFilter(from_=crowd.LATE),
    "to": RecordFilter(to=crowd.START + timedelta(hours=1)),
    "from and to": RecordFilter(from_=crowd.START, to=crowd.START + timedelta(hours=1)),
    "type, from and to": RecordFilter(type="payment.completed", from_=crowd.START, to=crowd.START + timedelta(hours=1)),
    "from the future": RecordFilter(from_=crowd.NOW),
}


@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first page", "later page"])
async def test_payments(crowded: Connection, after: Place | None) -> None:
    for name, wanted in PAYMENTS.items():
        explained = Explained(crowded)
        await search.payments(explained, wanted, after, LIMIT)
        await must_be_short(explained, f"payments by {name}")


@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first page", "later page"])
async def test_cancellations(crowded: Connection, after: Place | None) -> None:
    for name, wanted in CANCELLATIONS.items():
        explained = Explained(crowded)
        await search.cancellations(explained, wanted, after, LIMIT, now=crowd.NOW)
        await must_be_short(explained, f"cancellations by {name}")


@pytest.mark.parametrize("after", [None, MIDDLE_DEADLINE], ids=["first page", "later page"])
async def test_cancellations_by_deadline(crowded: Connection, after: Place | None) -> None:
    for name, wanted in DEADLINES.items():
        explained = Explained(crowded)
        await search.cancellations(explained, wanted, after, LIMIT, now=crowd.NOW)
        await must_be_short(explained, f"cancellations by deadline, by {name}", rows_max=ROWS_MAX if _in_index(wanted) else WAITING_MAX)


@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first page", "later page"])
async def test_refunds(crowded: Connection, after: Place | None) -> None:
    known = await crowded.fetchval("select id from cancellation where payment_id = $1", payment_id(crowd.KNOWN))
    for name, wanted in {**REFUNDS, "cancellation_id": RefundFilter(cancellation_id=known)}.items():
        explained = Explained(crowded)
        await search.refunds(explained, wanted, after, LIMIT)
        await must_be_short(explained, f"refunds by {name}")


@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first page", "later page"])
async def test_anomalies(crowded: Connection, after: Place | None) -> None:
    for name, wanted in ANOMALIES.items():
        explained = Explained(crowded)
        await anomalies.page(explained, wanted, after, LIMIT)
        await must_be_short(explained, f"anomalies by {name}")


async def test_what_is_open_is_found_among_all_that_was_resolved(crowded: Connection) -> None:
    """The one list that walks what it does not show: an anomaly never changes, so that no index can hold the open ones alone."""
    for state, count in (("open", 10), ("awaiting_second_approval", 10)):
        found = await anomalies.page(crowded, AnomalyFilter(state=state), None, LIMIT)
        assert len(found) == count
        assert found == sorted(found, key=lambda one: (one.at, one.id), reverse=True)


async def test_an_anomaly_is_found_by_its_id(crowded: Connection) -> None:
    explained = Explained(crowded)
    known = await crowded.fetchval("select id from anomaly where payment_id = $1", payment_id(crowd.KNOWN))

    (found,) = await anomalies.load(explained, [known])

    assert found.anomaly.id == known
    await must_be_short(explained, "an anomaly")


@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first page", "later page"])
async def test_records(crowded: Connection, after: Place | None) -> None:
    for name, wanted in RECORDS.items():
        explained = Explained(crowded)
        await search.records(explained, wanted, after, LIMIT)
        await must_be_short(explained, f"records by {name}")


async def test_every_member_of_a_filter_is_asked_for() -> None:
    for cases in (PAYMENTS, CANCELLATIONS, REFUNDS, ANOMALIES, RECORDS):
        usual = {one.name: one.default for wanted in cases.values() for one in fields(wanted)}
        asked = {name for wanted in cases.values() for name in usual if getattr(wanted, name) != usual[name]}
        assert asked == set(usual)


async def test_every_page_holds_what_it_should(crowded: Connection) -> None:
    """The ways around a walk find what the walk would find."""
    everywhere: list[Any] = []
    after = None
    while page := await search.refunds(crowded, RefundFilter(provider="olden"), after, 40):
        everywhere += page
        after = Place(crowd.NOW, page[-1][2])
    overdue = await search.cancellations(crowded, CancellationFilter(overdue=True), None, 1_000, now=crowd.NOW)

    olden = await crowded.fetch("select distinct refund_id from leg where provider = 'olden'")
    late = await crowded.fetch("select id from cancellation where deadline_at <= $1 order by created_at desc, id desc", crowd.NOW)
    assert len(everywhere) == len(olden)
    assert {row[2] for row in everywhere} == {row["refund_id"] for row in olden}
    assert [one for _, one, _ in overdue] == [row["id"] for row in late] != []
    known = await search.payments(crowded, PaymentFilter(reference=crowd.KNOWN), None, 2)
    assert [one for one, _ in known] == [payment_id(crowd.KNOWN)]


async def test_who_follows_along_sees_every_payment_once(crowded: Connection) -> None:
    seen: list[UUID] = []
    after = None
    wanted = PaymentFilter(updated_from=crowd.LATE + timedelta(days=1), order=ListOrder.updated)
    while page := await search.payments(crowded, wanted, after, 100):
        seen += [one for one, _ in page]
        after = page[-1][1]

    changed = await crowded.fetch("select id from payment where updated_at >= $1 order by updated_at, id", wanted.updated_from)
    assert seen == [row["id"] for row in changed] != []


def _in_index(wanted: CancellationFilter) -> bool:
    """Whether what the queue is narrowed by stands in the index that has its order."""
    assigned = wanted.assigned_to is not None and wanted.merchant_id is not None
    return not assigned and wanted.created_from is None and wanted.created_to is None
