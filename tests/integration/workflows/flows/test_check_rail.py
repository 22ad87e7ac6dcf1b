"""Our books beside the rail's own: what agrees is passed over, and every way of disagreeing is named."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.harness import ScriptedCore
from workflows.domain.enums import LegState
from workflows.domain.legs import Leg
from workflows.flows.check import InvariantResult
from workflows.flows.check_rail import Moved, check_rail

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def legs(core: ScriptedCore) -> dict[str, Leg]:
    """A leg that arrived, one that failed, one under way, and a void."""
    found = {}
    for name, script, settled in (("arrived", "ok", True), ("failed", "decline", True), ("moving", "pending", True), ("void", "ok", False)):
        payment = await core.pay(name, sources=(script,), settled=settled)
        await core.ask(payment)
        await core.work()
        (found[name],) = await core.legs(payment)
    assert [leg.state for leg in found.values()] == ["succeeded", "failed", "processing", "succeeded"]
    return found


def moved(leg: Leg, **members: object) -> Moved:
    line = Moved(rail_key=leg.rail_key, kind=leg.kind.value, amount=leg.amount, currency=leg.currency, returned_at=None)
    return replace(line, **members)  # type: ignore[arg-type]  # of any member


async def compare(core: ScriptedCore, *pages: Sequence[Moved]) -> InvariantResult:
    async def all_pages() -> AsyncIterator[Sequence[Moved]]:
        for page in pages:
            yield page

    keys = {line.rail_key for page in pages for line in page}

    async def asked(key: str) -> bool:
        return key in keys

    async with core.pool.acquire() as connection:
        return await check_rail(connection, "sandbox", all_pages(), asked)


@pytest.mark.slow
async def test_what_agrees_is_no_violation(core: ScriptedCore) -> None:
    found = await legs(core)

    for under_way in ([], [moved(found["moving"])]):
        result = await compare(core, [moved(found["arrived"])], [moved(found["void"]), *under_way])
        assert (result.examples, result.looked_at) == ([], 2 + len(under_way))


async def test_each_disagreement_is_named(core: ScriptedCore) -> None:
    found = await legs(core)
    agreed = [moved(found["arrived"]), moved(found["void"])]
    stranger = replace(agreed[0], rail_key="0" * 64)

    for lines, words in (
        ([*agreed, moved(found["failed"])], "leg_state=failed"),
        ([*agreed, stranger], "leg=none"),
        ([*agreed, replace(stranger, rail_key="not ours")], "leg=none"),
        ([agreed[1], moved(found["arrived"], amount=999)], "leg_kind=refund leg_currency=CNY leg_amount=1000"),
        ([agreed[1], moved(found["arrived"], kind="void")], "leg_kind=refund leg_currency=CNY leg_amount=1000"),
        ([agreed[1], moved(found["arrived"], returned_at=LONG_AGO)], "leg_state=succeeded returned_at="),
        ([agreed[1]], "leg_state=succeeded movement=none"),
    ):
        result = await compare(core, lines)
        assert result.violations == 1, (words, result.examples)
        assert words in result.examples[0]


@pytest.mark.slow
async def test_a_return_that_was_not_told_yet_is_waited_for(core: ScriptedCore) -> None:
    found = await legs(core)
    now: datetime = await core.pool.fetchval("select clock_timestamp()")

    result = await compare(core, [moved(found["arrived"], returned_at=now - timedelta(minutes=1)), moved(found["void"])])

    assert result.violations == 0
    await core.say(found["arrived"], "returned")
    await core.work()
    assert (await core.legs(found["arrived"].payment_id))[0].state is LegState.returned
    assert (await compare(core, [moved(found["arrived"]), moved(found["void"])])).violations == 1


async def test_what_came_back_before_anybody_heard_that_it_had_gone_agrees(core: ScriptedCore) -> None:
    """The leg failed: nothing arrived. The rail's book has both, that it went out and that it came back."""
    payment = await core.pay("returned unheard", sources=("pending",), settled=True)
    await core.ask(payment)
    await core.work()
    (leg,) = await core.legs(payment)
    await core.say(leg, "returned")
    await core.work()
    (leg,) = await core.legs(payment)
    assert leg.state is LegState.failed

    assert (await compare(core, [moved(leg, returned_at=LONG_AGO)])).violations == 0
    assert (await compare(core, [moved(leg)])).violations == 1, "it moved and did not come back"
