"""How the lists are answered among a hundred thousand payments: by an index, whatever is asked for and however rare it is."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.database import Cluster
from tests.factories import completed
from tests.integration.workflows.storage import crowd
from workflows.domain.ids import payment_id
from workflows.storage import agent_requests, anomalies, next_cases, search
from workflows.storage.agent_requests import AgentRequestsQuery
from workflows.storage.list_filters import AnomalyFilter, CancellationFilter, ListOrder, PaymentFilter, Place, RecordFilter, RefundFilter
from workflows.storage.next_cases import NextCasesQuery

pytestmark = pytest.mark.slow

Connection = Any  # asyncpg ships no types
Plan = dict[str, Any]

LIMIT = 51
ROWS_MAX = 2_000  # that any node of a plan may look at, for a page of fifty
SMALL = 10_000  # rows of a table that may be read whole
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


@dataclass
class Explained:
    """Stands in for the pool: runs a statement, and keeps its plans, the one for its values and the one for any."""

    connection: Connection
    plans: dict[str, Plan] = field(default_factory=dict)

    async def fetchrow(self, statement: str, *arguments: Any) -> Any:
        return (await self.fetch(statement, *arguments))[0]

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        await self.connection.execute(f"prepare listed as {statement}")
        for mode in ("force_custom_plan", "force_generic_plan"):
            await self.connection.execute(f"set plan_cache_mode = {mode}")
            given = f"({', '.join(map(_literal, arguments))})" if arguments else ""
            text = await self.connection.fetchval(f"explain (analyze, timing off, format json) execute listed{given}")
            self.plans[mode] = json.loads(text)[0]["Plan"]
        await self.connection.execute("deallocate listed")
        return list(await self.connection.fetch(statement, *arguments))


@pytest.fixture(scope="module")
async def connection(cluster: Cluster) -> AsyncIterator[Connection]:
    async with cluster.clone() as made:
        connected = await asyncpg.connect(made.owner_url, ssl=False)
        try:
            await crowd.fill(connected)
            yield connected
        finally:
            await connected.close()


@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first page", "later page"])
async def test_payments(connection: Connection, after: Place | None) -> None:
    for name, wanted in PAYMENTS.items():
        explained = Explained(connection)
        await search.payments(explained, wanted, after, LIMIT)
        await _must_be_short(explained, f"payments by {name}")


@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first page", "later page"])
async def test_cancellations(connection: Connection, after: Place | None) -> None:
    for name, wanted in CANCELLATIONS.items():
        explained = Explained(connection)
        await search.cancellations(explained, wanted, after, LIMIT, now=crowd.NOW)
        await _must_be_short(explained, f"cancellations by {name}")


@pytest.mark.parametrize("after", [None, MIDDLE_DEADLINE], ids=["first page", "later page"])
async def test_cancellations_by_deadline(connection: Connection, after: Place | None) -> None:
    for name, wanted in DEADLINES.items():
        explained = Explained(connection)
        await search.cancellations(explained, wanted, after, LIMIT, now=crowd.NOW)
        await _must_be_short(explained, f"cancellations by deadline, by {name}", rows_max=ROWS_MAX if _in_index(wanted) else WAITING_MAX)


@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first page", "later page"])
async def test_refunds(connection: Connection, after: Place | None) -> None:
    known = await connection.fetchval("select id from cancellation where payment_id = $1", payment_id(crowd.KNOWN))
    for name, wanted in {**REFUNDS, "cancellation_id": RefundFilter(cancellation_id=known)}.items():
        explained = Explained(connection)
        await search.refunds(explained, wanted, after, LIMIT)
        await _must_be_short(explained, f"refunds by {name}")


@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first page", "later page"])
async def test_anomalies(connection: Connection, after: Place | None) -> None:
    for name, wanted in ANOMALIES.items():
        explained = Explained(connection)
        await anomalies.page(explained, wanted, after, LIMIT)
        await _must_be_short(explained, f"anomalies by {name}")


async def test_what_is_open_is_found_among_all_that_was_resolved(connection: Connection) -> None:
    """The one list that walks what it does not show: an anomaly never changes, so that no index can hold the open ones alone."""
    for state, count in (("open", 10), ("awaiting_second_approval", 10)):
        found = await anomalies.page(connection, AnomalyFilter(state=state), None, LIMIT)
        assert len(found) == count
        assert found == sorted(found, key=lambda one: (one.at, one.id), reverse=True)


async def test_an_anomaly_is_found_by_its_id(connection: Connection) -> None:
    explained = Explained(connection)
    known = await connection.fetchval("select id from anomaly where payment_id = $1", payment_id(crowd.KNOWN))

    (found,) = await anomalies.load(explained, [known])

    assert found.anomaly.id == known
    await _must_be_short(explained, "an anomaly")


@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first page", "later page"])
async def test_records(connection: Connection, after: Place | None) -> None:
    for name, wanted in RECORDS.items():
        explained = Explained(connection)
        await search.records(explained, wanted, after, LIMIT)
        await _must_be_short(explained, f"records by {name}")


@pytest.fixture
async def busy_team(connection: Connection) -> AsyncIterator[None]:
    """Thousands of cases that nobody has, some of them raised or for a second person, and some agents who asked for much."""
    change = connection.transaction()
    await change.start()
    await connection.execute(
        "update cancellation set assigned_to = null, raised = uuid_extract_timestamp(id) > $1 and deadline_at < $2,"
        " clock_id = case when uuid_extract_timestamp(id) > $1 and deadline_at < $2 then null else clock_id end,"
        " clock_started_at = case when uuid_extract_timestamp(id) > $1 and deadline_at < $2 then null else clock_started_at end"
        " where state = 'awaiting_agent'",
        crowd.START,
        crowd.NOW,
    )
    await connection.execute(
        "update cancellation set requester_role = 'agent', requester_id = 'agent-' || abs(hashtext(id::text)) % 20"
        " where abs(hashtext(payment_id::text)) % 4 = 0"
    )
    await connection.execute("analyze cancellation")
    yield
    await change.rollback()


@pytest.mark.usefixtures("busy_team")
@pytest.mark.parametrize("is_supervisor", [True, False], ids=["supervisor", "agent"])
@pytest.mark.parametrize("sub", ["agent-7", "nobody"])
async def test_the_next_cases(connection: Connection, is_supervisor: bool, sub: str) -> None:
    explained = Explained(connection)
    wanted = NextCasesQuery(
        sub=sub, is_supervisor=is_supervisor, now=crowd.NOW, scope_id=payment_id("some"), key="k", without=[payment_id("none")]
    )

    found = await next_cases.load(explained, wanted)

    await _must_be_short(explained, f"the next cases of {wanted}", rows_max=200)
    rows = await connection.fetch(
        "select id from cancellation where state = 'awaiting_agent' and requester_id <> $1 and ($2 or not raised and deadline_at > $3)"
        " order by least(deadline_at, first_response_due_at, resolution_due_at), id limit 20",
        sub,
        is_supervisor,
        crowd.NOW,
    )
    assert [one for _, one in found.cases] == [row["id"] for row in rows]
    assert len(rows) == next_cases.CASES_MAX


@pytest.mark.usefixtures("busy_team")
@pytest.mark.parametrize("sub", ["agent-7", "nobody"])
async def test_what_an_agent_asked_for(connection: Connection, sub: str) -> None:
    explained = Explained(connection)
    wanted = AgentRequestsQuery(sub=sub, since=crowd.LATE)

    found = await agent_requests.load(explained, wanted, completed().payment)

    await _must_be_short(explained, f"what {sub} asked for", rows_max=500)
    made = "from cancellation where requester_id = $1 and created_at > $2"
    count = await connection.fetchval(f"select count(*) {made}", sub, wanted.since)
    assert found.requests == count
    assert (count > 0) is (sub == "agent-7")


async def test_every_member_of_a_filter_is_asked_for() -> None:
    for cases in (PAYMENTS, CANCELLATIONS, REFUNDS, ANOMALIES, RECORDS):
        usual = {one.name: one.default for wanted in cases.values() for one in fields(wanted)}
        asked = {name for wanted in cases.values() for name in usual if getattr(wanted, name) != usual[name]}
        assert asked == set(usual)


async def test_every_page_holds_what_it_should(connection: Connection) -> None:
    """The ways around a walk find what the walk would find."""
    everywhere: list[Any] = []
    after = None
    while page := await search.refunds(connection, RefundFilter(provider="olden"), after, 40):
        everywhere += page
        after = Place(crowd.NOW, page[-1][2])
    overdue = await search.cancellations(connection, CancellationFilter(overdue=True), None, 1_000, now=crowd.NOW)

    olden = await connection.fetch("select distinct refund_id from leg where provider = 'olden'")
    late = await connection.fetch("select id from cancellation where deadline_at <= $1 order by created_at desc, id desc", crowd.NOW)
    assert len(everywhere) == len(olden)
    assert {row[2] for row in everywhere} == {row["refund_id"] for row in olden}
    assert [one for _, one, _ in overdue] == [row["id"] for row in late] != []
    known = await search.payments(connection, PaymentFilter(reference=crowd.KNOWN), None, 2)
    assert [one for one, _ in known] == [payment_id(crowd.KNOWN)]


async def test_who_follows_along_sees_every_payment_once(connection: Connection) -> None:
    seen: list[UUID] = []
    after = None
    wanted = PaymentFilter(updated_from=crowd.LATE + timedelta(days=1), order=ListOrder.updated)
    while page := await search.payments(connection, wanted, after, 100):
        seen += [one for one, _ in page]
        after = page[-1][1]

    changed = await connection.fetch("select id from payment where updated_at >= $1 order by updated_at, id", wanted.updated_from)
    assert seen == [row["id"] for row in changed] != []


def _in_index(wanted: CancellationFilter) -> bool:
    """Whether what the queue is narrowed by stands in the index that has its order."""
    assigned = wanted.assigned_to is not None and wanted.merchant_id is not None
    return not assigned and wanted.created_from is None and wanted.created_to is None


async def _must_be_short(explained: Explained, name: str, *, rows_max: int = ROWS_MAX) -> None:
    for mode, plan in explained.plans.items():
        for node in _nodes(plan):
            what = f"{name}, {mode}: {json.dumps(node, indent=1)}"
            if node["Node Type"] == "Seq Scan":
                size = await explained.connection.fetchval("select reltuples from pg_class where relname = $1", node["Relation Name"])
                assert size <= SMALL, what
            if "Relation Name" in node or "Index Name" in node:
                assert _examined(node) <= rows_max, what


def _examined(node: Plan) -> float:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield {name: value for name, value in plan.items() if name != "Plans"}
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _literal(value: object) -> str:
    match value:
        case bool() | int():
            return str(value)
        case list():
            return f"'{{{','.join(map(str, value))}}}'"
        case datetime():
            return f"'{value.isoformat()}'"
        case _:
            return f"'{value}'"
