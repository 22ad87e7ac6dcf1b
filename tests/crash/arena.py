"""Two who decide about one cancellation at the same moment, from two processes, again and again.

Most pairs are let loose with a delay from a seed. The others are steered: one after the other, or the one between the other's read and
its write. So each outcome is seen whatever the machine does, and of the steered pairs it is known who must win.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from functools import partial
from typing import Any
from uuid import UUID

from tests.crash.deciding import Step, newest, settled_payment, take, wish
from tests.crash.mortal import MortalCore
from tests.crash.steps import Steps
from tests.factories import WALLET
from workflows.domain.decisions.requests import CancellationRequest
from workflows.domain.enums import JobKind, Reason
from workflows.domain.model import Actor, IdempotentResponse
from workflows.storage.jobs import Claim, Queue

SEED = 11
PAIRS = 1_000
FEW = 24  # of a variant of a race, and where it is to be quick
STEERED_MAX = 20  # of each order that is steered; of few pairs every second one is
AT_ONCE = 8
DELAY_SECONDS_MAX = 0.004  # about as long as a command takes
AMOUNT = 1_250
OFFER = 800
WRITE = 1  # a command's and a claimed job's steps are two: it reads, and it writes
MICROSECOND = timedelta(microseconds=1)


class Order(Enum):
    """Who comes when."""

    one_first = auto()
    other_first = auto()
    one_between = auto()  # the one between the other's read and write: it comes first
    other_between = auto()
    free = auto()


@dataclass(frozen=True, slots=True)
class Pair:
    """One payment's race. `delay`: how much later the other starts, in seconds; below zero: earlier."""

    payment: UUID
    cancellation: UUID
    order: Order
    delay: float
    claim: Claim | None = None


Act = Callable[[MortalCore, Pair], Awaitable[IdempotentResponse | None]]
Said = tuple[int, str]  # status; the state that was reached, or lost to


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What must be said and found where one of the two came first. None: a worker is told nothing."""

    one: Said | None
    other: Said | None
    state: str
    records: tuple[str, ...]  # of the cancellation, after its request
    refunded: int = 0
    reserved: int = 0


@dataclass
class Arena:
    """Two processes of one service, each with connections and a clock of its own."""

    one: MortalCore
    other: MortalCore
    seen: Counter[str] = field(default_factory=Counter)

    async def hand_off(self, count: int, *, amount: int = AMOUNT, actor: Actor = WALLET) -> list[UUID]:
        """So many payments with a cancellation each that waits for the merchant."""
        return await self.open(count, wish(Reason.changed_mind, actor), amount=amount)

    async def open(self, count: int, asked: CancellationRequest, *, amount: int = AMOUNT, delivered: bool = False) -> list[UUID]:
        """So many payments with this request each."""

        async def made(number: int) -> UUID:
            payment = await self.one.register(settled_payment(f"race-{number}", self.one.clock(), amount, delivered=delivered))
            reply = await self.one.request(payment, "ask", asked)
            assert reply.status == 200, reply.body
            return payment

        return await spread([partial(made, number) for number in range(count)])

    async def race(self, payments: list[UUID], one: Act, other: Act, *, claims: dict[UUID, Claim] | None = None) -> dict[UUID, list[Any]]:
        """Let the two loose on every payment. Answers by payment who was told what."""
        chance = random.Random(SEED)
        orders: list[Order] = [order for order in WINNERS for _ in range(min(STEERED_MAX, len(payments) // 8))]
        orders += [Order.free] * (len(payments) - len(orders))
        chance.shuffle(orders)
        pairs = [
            Pair(
                payment,
                await newest(self.one, payment),
                order,
                chance.uniform(-DELAY_SECONDS_MAX, DELAY_SECONDS_MAX),
                (claims or {}).get(payment),
            )
            for payment, order in zip(payments, orders, strict=True)
        ]
        told = await spread([partial(self._meet, pair, one, other) for pair in pairs])
        return {pair.payment: [pair.order, *said] for pair, said in zip(pairs, told, strict=True)}

    async def _meet(self, pair: Pair, one: Act, other: Act) -> list[Any]:
        match pair.order:
            case Order.one_first:
                return [await one(self.one, pair), await other(self.other, pair)]
            case Order.other_first:
                second = await other(self.other, pair)
                return [await one(self.one, pair), second]
            case Order.one_between:
                return (await self._between(pair, self.other, other, self.one, one))[::-1]
            case Order.other_between:
                return await self._between(pair, self.one, one, self.other, other)
            case Order.free:
                pair_of_them = (late(-pair.delay, partial(one, self.one, pair)), late(pair.delay, partial(other, self.other, pair)))
                return list(await asyncio.gather(*pair_of_them))

    async def _between(self, pair: Pair, slow: MortalCore, slows: Act, quick: MortalCore, quicks: Act) -> list[Any]:
        """The quick one decides after the slow one has read, and before it writes."""
        told: list[Any] = []

        async def happens() -> None:
            told.append(await quicks(quick, pair))

        slower = slow.beside()
        slower.start(Steps(also=(WRITE, happens)))
        first = await slows(slower, pair)
        assert told, "the quick one had its turn"
        return [first, *told]

    async def claim_deadlines(self) -> dict[UUID, Claim]:
        """Every deadline that is due, in the hands of the one process's worker."""
        [lane] = [lane for lane in self.one.worker.lanes if lane.queues == (Queue(JobKind.deadline),)]
        return {claim.payment_id: claim for claim in await self.one.worker.claim(lane, 10 * PAIRS)}

    async def assert_ended(self, told: dict[UUID, list[Any]], first: dict[str, Outcome]) -> None:
        """Each payment has exactly one of the outcomes, of which `first` names who came first; all is as that outcome has it."""
        for core in (self.other, self.one):  # the one's clock may be ahead, and its work due a little later
            await core.drain()
        found = await self.one.runner.runtime.store.load_many(list(told))
        closed = {
            row["payment_id"]: row["state"]
            for row in await self.one.pool.fetch("select payment_id, state from cancellation where payment_id = any ($1)", list(told))
        }
        records = await cancellation_records(self.one)
        moved: dict[str, list[int]] = {}
        for movement in await self.one.rail.movements():
            moved.setdefault(movement.payment_reference, []).append(movement.amount)
        for payment, (order, one, other) in told.items():
            who = next((name for name, outcome in first.items() if (said(one), said(other)) == (outcome.one, outcome.other)), None)
            if len({(outcome.one, outcome.other) for outcome in first.values()}) == 1:  # nothing is told: the records must tell
                who = next((name for name, outcome in first.items() if records[payment] == outcome.records), None)
            assert who is not None, (order, said(one), said(other), records[payment])
            outcome, row = first[who], found[payment].payment
            assert order is Order.free or WINNERS[order] == who, (order, who)
            assert (closed[payment], records[payment]) == (outcome.state, outcome.records), (who, closed[payment], records[payment])
            assert (row.amount_refunded, row.amount_reserved) == (outcome.refunded, outcome.reserved)
            assert moved.get(row.reference, []) == ([outcome.refunded] if outcome.refunded else []), "the rail moved it once"
            self.seen[who] += 1
        assert set(self.seen) == set(first), self.seen
        assert not await self.one.pool.fetchval("select count(*) from job where kind = 'move'")
        assert not await self.one.pool.fetchval(UNSTRUCK), "each running clock has its job"
        await self.one.check()


WINNERS = {Order.one_first: "one", Order.one_between: "one", Order.other_first: "other", Order.other_between: "other"}
UNSTRUCK = """select count(*) from cancellation c where c.clock_id is not null
  and not exists (select from job j where j.payment_id = c.payment_id and j.kind = 'deadline' and j.subject_id = c.clock_id)"""


def takes(step: Step, key: str = "step") -> Act:
    return lambda core, pair: take(core, pair.payment, step, key, cancellation=pair.cancellation)


async def strikes(core: MortalCore, pair: Pair) -> None:
    assert pair.claim is not None
    await core.worker.do(pair.claim)


def said(reply: IdempotentResponse | None) -> Said | None:
    if reply is None:
        return None
    return reply.status, reply.headers["state"] if reply.status == 409 else reply.body.decode().partition(" ")[0]


async def late(seconds: float, act: Callable[[], Awaitable[Any]]) -> Any:
    if seconds > 0:
        await asyncio.sleep(seconds)
    return await act()


async def spread(work: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """All of it, a few at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(act: Callable[[], Awaitable[Any]]) -> Any:
        async with gate:
            return await act()

    return list(await asyncio.gather(*(one(act) for act in work)))


async def cancellation_records(core: MortalCore) -> dict[UUID, tuple[str, ...]]:
    """What became of each cancellation, without its request and its money's way; a strike with who did it."""
    rows = await core.pool.fetch(
        """select payment_id, array_agg(case when type = 'cancellation.timed_out' then type || ' by ' || actor_id else type end
             order by sequence) as types
           from record where type like 'cancellation.%' and type not in ('cancellation.requested', 'cancellation.handed_off',
             'cancellation.completed') group by payment_id"""
    )
    return {row["payment_id"]: tuple(kind.removeprefix("cancellation.") for kind in row["types"]) for row in rows}
