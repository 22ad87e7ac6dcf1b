"""Many hand-offs that fall due together, and whether refunds are as quick meanwhile. Two workers do both.

Cancellations are requested at a steady rate, first with nothing else due, then while the hand-offs fall due. How long a refund takes is
read from the database: from the approval to the word of the rail that the money is back.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

import aiohttp
import asyncpg

from tests.bench import client, stage, stock, whole
from tests.bench.figures import Figures, quantile
from tests.bench.numbered import payment_id
from tests.bench.plan import Plan, Reporter
from workflows.domain.enums import Role

_EVERY_SECONDS = 0.1  # a cancellation is requested
_DECIDED = "select count(*) from cancellation where state = 'awaiting_agent'"
_TOOK = (
    "select extract(epoch from refund_updated_at - refund_created_at)::float from cancellation"
    " where payment_id = any($1) and refund_state = 'succeeded'"
)
_DUE = (
    "update cancellation set deadline_at = now() - interval '1 second' where payment_id = $1",
    "update job set run_at = now() - interval '1 second' where payment_id = $1",
)

Advance = Callable[[int], None]


def measure(plan: Plan, figures: Figures, reporter: Reporter) -> None:
    with (
        reporter.part(f"{plan.deadlines:,} deadlines, and refunds", plan.deadlines) as advance,
        whole.up(plan.directory / "deadlines", "--workers", "2") as (_, running),
    ):
        figures.add_all("deadlines", asyncio.run(_measured(running, plan, advance)))


async def _measured(running: whole.Running, plan: Plan, advance: Advance) -> dict[str, float]:
    signed, url, count = stage.token(running.directory, Role.wallet), running.server.owner_url(), plan.refunds
    made = stage.register(running.api, signed, "refund-original")
    await stock.fill(url, stock.Original(made, "refund-original", stock.PAYMENT_AND_RECORD), 1, count)
    handed_off = stage.register(running.api, signed, "hand-off-original", age=timedelta(days=2))
    stage.cancel(running.api, signed, handed_off)
    await stock.settle(url)
    connection = await asyncpg.connect(url, ssl=False)
    try:
        asked = await _ask(running.api, signed, range(1, count // 2), asyncio.create_task(asyncio.sleep(plan.deadline_seconds)))
        alone = await _seconds(connection, asked)
        with whole.stopped(running.workers):
            await _fall_due(connection, url, handed_off, count + 1, plan.deadlines)
            await stock.settle(url)
        struck = asyncio.create_task(_struck(url, plan.deadlines, advance))
        beside = await _seconds(connection, await _ask(running.api, signed, range(count // 2, count), struck))
        decided = await struck
    finally:
        await connection.close()
    return {
        "count": plan.deadlines,
        "s": decided,
        "per_second": plan.deadlines / decided,
        **{
            f"{when}.p{share}_s": quantile(took, share / 100) for when, took in (("alone", alone), ("beside", beside)) for share in (50, 95)
        },
    }


async def _ask(api: str, signed: str, numbers: Sequence[int], until: asyncio.Task[object]) -> list[int]:
    """Request the cancellation of one payment after the other at a steady rate, and give those that were asked for."""
    asked: list[int] = []
    async with aiohttp.ClientSession(api, headers={"authorization": f"Bearer {signed}"}) as session, asyncio.TaskGroup() as group:
        for number in numbers:
            if until.done():
                break
            group.create_task(_cancel(session, number))
            asked.append(number)
            await asyncio.sleep(_EVERY_SECONDS)
    return asked


async def _cancel(session: aiohttp.ClientSession, number: int) -> None:
    [subject] = client.payments([number])
    path, headers = client.CANCEL.path.replace("%s", subject), {"idempotency-key": subject, "content-type": "application/json"}
    async with session.post(path, data=client.CANCEL.body, headers=headers) as answer:
        assert answer.status == int(client.CANCEL.expected), await answer.text()


async def _seconds(connection: asyncpg.Connection, numbers: Sequence[int]) -> list[float]:
    """How long each of these refunds took; waits for the last one."""
    payments = [payment_id(number) for number in numbers]
    while len(found := await connection.fetch(_TOOK, payments)) < len(payments):
        await asyncio.sleep(0.1)
    return [row[0] for row in found]


async def _struck(url: str, count: int, advance: Advance) -> float:
    connection = await asyncpg.connect(url, ssl=False)
    try:
        return await whole.drained(connection, _DECIDED, count, advance)
    finally:
        await connection.close()


async def _fall_due(connection: asyncpg.Connection, url: str, payment: UUID, first: int, count: int) -> None:
    """The hand-off's time is over, and so is that of its copies; with it they are `count`."""
    async with connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        for statement in _DUE:
            await connection.execute(statement, payment)
    await stock.fill(url, stock.Original(payment, "hand-off-original"), first, count - 1)
