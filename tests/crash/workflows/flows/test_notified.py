"""Words of the rail that come late, in the wrong order, or not at all, to the same end as those that come in time."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from tests.crash.mortal import MortalCore, mortal_core, terms
from tests.database import Cluster
from workflows.domain.enums import CancellationState, LegState, PaymentState
from workflows.domain.model import Snapshot


@pytest.fixture(scope="module")
async def core(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MortalCore]:
    async with mortal_core(cluster, tmp_path_factory.mktemp("disorder")) as made:
        yield made
        await made.check()


async def refunded_unheard(core: MortalCore, reference: str, fault: str) -> UUID:
    """A refund that the rail has made, and returned, before anybody heard of either."""
    made = terms(reference, core.clock, 1_250, provider_references=[f"timeout_after_effect,return_after:1s{fault}"], completed=True)
    payment = await core.register(made)
    await core.request(payment, "once")
    await core.worker.drain()
    core.clock.advance(timedelta(milliseconds=1_100))
    await core.rail.apply_due()
    return payment


def assert_reopened(found: Snapshot) -> None:
    """What came back is reserved again, and a person has to find another way for it."""
    row, (leg,), (cancellation,) = found.payment, found.legs, found.cancellations
    assert leg.state in {LegState.returned, LegState.failed}, "failed where nobody had heard that it had arrived"
    assert leg.failure_code in {"account_closed", "returned_account_closed"}
    assert cancellation.state is CancellationState.needs_attention
    assert (row.state, row.amount_refunded, row.amount_reserved) == (PaymentState.refunding, 0, 1_250)
    assert row.allocated == (1_250,), "its share stays reserved for it"


@pytest.mark.parametrize("newest_first", [False, True])
async def test_returned_is_heard_before_succeeded(core: MortalCore, newest_first: bool) -> None:
    payment = await refunded_unheard(core, f"order-{newest_first}", "")

    await core.tell(newest_first=newest_first, only=lambda one: one == payment)
    await core.worker.drain()
    while await core.pass_time():
        await core.worker.drain()

    assert_reopened(await core.snapshot(payment))
    assert await core.pool.fetchval("select count(*) from anomaly where payment_id = $1", payment) == 0, "the order is no oddity"


async def test_returned_is_all_that_is_ever_heard(core: MortalCore) -> None:
    """The rail drops its words; asked, it says that the money came back, which it could only after it had gone."""
    payment = await refunded_unheard(core, "asked", ",drop_notification")

    for _ in range(10):
        await core.pass_time()
        await core.worker.drain()

    assert_reopened(await core.snapshot(payment))
    assert not await core.pass_time(), "nobody goes on asking"
    types = [row["type"] for row in await core.pool.fetch("select type from record where payment_id = $1 order by sequence", payment)]
    said = types.index("refund.unknown")
    assert types[said : said + 3] == ["refund.unknown", "refund.failed", "cancellation.needs_attention"]
    assert types[said + 3 :] == ["cancellation.timed_out", "cancellation.escalated"], "said once; then it is a supervisor's"
