"""A town of payments: several workers, people, a rail with faults and a bearer of its words, all of whom may die at any step."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from service.sandbox.faults import RandomFaults
from service.sandbox.ledger import OwedNotification, Status, notification_body
from tests.crash.deciding import ACCEPT, AGENT, OTHER_AGENT, SUPERVISOR, Step, by, take
from tests.crash.mortal import MortalCore, terms
from tests.crash.recovering import OTHER_SUPERVISOR, assert_owned, first_open, resolve, tell
from tests.crash.steps import Killed, SteppingStore, Steps
from tests.crash.turns import Turns, TurnSteps
from tests.factories import WALLET
from workflows.domain.decisions import anomalies, permitted, recovery
from workflows.domain.decisions.requests import CancellationRequest
from workflows.domain.enums import ActorRole, AnomalyAction, LegKind, Reason
from workflows.domain.ids import rail_key
from workflows.domain.legs import SuccessorRules
from workflows.domain.model import IdempotentResponse, Snapshot
from workflows.domain.ports import RailSchedule
from workflows.storage.snapshot import SnapshotQuery

T = TypeVar("T")
SCHEDULE = RailSchedule(
    enquiries=tuple(timedelta(seconds=seconds) for seconds in (1, 5, 60, 1800)),
    sends_again=True,
    unknown_max=timedelta(hours=1),
    processing_max=timedelta(hours=2),
)
RATE = 0.2
KINDS = (
    "timeout_after_effect",
    "timeout_before_effect",
    "unavailable",
    "garbage",
    "slow:15s",
    "pending:15s",
    "drop_notification",
    "duplicate_notification",
    "early_notification",
)
REFERENCES = (
    *("ok",) * 6,
    *KINDS,
    "unavailable:2",
    "decline:account_closed",
    "pending:20s,decline:insufficient_funds",
    "timeout_after_effect,decline:account_closed",
    "requires_action",
    "timeout_after_effect,requires_action",
    "return_after:90s",
    "pending:20s,return_after:60s",
    "pending:21600s",
    "captured_meanwhile",
)
SUCCESSORS = (
    *("ok",) * 5,
    "decline:account_closed",
    "requires_action",
    "return_after:60s",
    "timeout_after_effect",
    "pending:20s",
    "pending:18000s",
)
PEOPLE = (AGENT, OTHER_AGENT, SUPERVISOR, OTHER_SUPERVISOR)
WORKERS, PERSONS, NEW_MAX = 3, 2, 20
SPANS = tuple(timedelta(seconds=seconds) for seconds in (1, 1, 1, 5, 5, 30, 30, 120, 660))
ROUNDS_MAX = 1_000
UNENDED = """
select c.payment_id, c.id, c.state::text, l.kind::text, l.state::text as leg, l.failure_code, l.provider_reference, l.answers
  from cancellation c left join leg l on l.payment_id = c.payment_id and l.cancellation_id = c.id
 where c.clock_id is not null or c.state in ('executing', 'needs_attention') order by l.id desc limit 5"""


@dataclass
class Soak:
    """So many payments, from the first to the last that ends. What happens follows from the seed alone."""

    core: MortalCore
    count: int
    seed: int
    figures: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.turns = Turns(self.chance, self.core.clock)
        self.payments: list[UUID] = []
        self.misled: set[UUID] = set()  # cancellations of which a person said a leg had failed that its rail may still pay
        self.at_rail: int | None = None  # when the rail's next work is due
        self._keys = 0
        self.rules = SuccessorRules("sandbox", lambda _, __: self.chance.choice(SUCCESSORS))

    async def run(self) -> None:
        await self.core.rail.set_random_faults(RandomFaults(rate=RATE, kinds=KINDS, seed=self.seed))
        self.places = [self.core.beside() for _ in range(WORKERS + PERSONS + 2)]
        for number in range(len(self.places)):
            self._start(number)
        for round_ in range(ROUNDS_MAX):
            if len(self.payments) == self.count and await self._all_ended():
                self.figures |= {"rounds": round_, "steps": self.turns.taken, "stalls": self.turns.stalls}
                return
            await self.turns.run([partial(self._living, number, work) for number, work in enumerate(self._works())])
            await self._pass_time()
            if round_ % 10 == 0:
                await assert_owned(self.core)
        raise AssertionError(await self.core.pool.fetch(UNENDED))

    def _works(self) -> list[Callable[[MortalCore], Awaitable[None]]]:
        return [*[self._work] * WORKERS, *[self._see_to_it] * PERSONS, self._bear_words, self._ask]

    def _start(self, number: int) -> None:
        """A process in this place; the one before it has ended."""
        moment = self.chance.choice(("before", "after"))
        self.places[number].start(TurnSteps(self.turns, number, self.chance.randrange(5, 150), moment))  # type: ignore[arg-type]  # of the two

    async def _living(self, number: int, work: Callable[[MortalCore], Awaitable[None]]) -> None:
        try:
            await work(self.places[number])
        except Killed as death:
            self.figures["kills"] += 1
            self.figures[f"killed at {str(death).partition('(')[0]}"] += 1
            self._start(number)

    async def _pass_time(self) -> None:
        """A moment; once all have asked, at least until something is due, here or at the rail."""
        clock = self.core.clock
        clock.advance(self.chance.choice(SPANS))
        if len(self.payments) == self.count:
            due = await self.core.pool.fetchval("select min(run_at) from job where leased_until is null and kind <> 'deadline'")
            at_rail = await self.core.rail.apply_due()
            moments = [due or clock.now, clock.now if at_rail is None else datetime.fromtimestamp(at_rail / 1000, UTC)]
            clock.now = max(clock.now, min(moments))
        self.at_rail = await self.core.rail.apply_due()

    async def _all_ended(self) -> bool:
        return not await self.core.pool.fetchval(
            """select exists (select from cancellation c where c.clock_id is not null or c.state in ('executing', 'needs_attention'))
                   or exists (select from job where kind <> 'deadline')
                   or exists (select from anomaly a where a.kind = 'paid_after_failure' and not exists (
                       select from anomaly_step s where s.anomaly_id = a.id and s.closes))"""
        ) and not (await self.core.rail.notices() or self.at_rail or await self._untold_returns())

    async def _untold_returns(self) -> list[str]:
        """The keys under which money came back without a word: the rail tells of it once, and who does not hear it must read its book."""
        returned = [m.rail_key for m in await self.core.rail.movements() if m.returned_ms is not None]
        arrived = {
            rail_key(row["payment_id"], row["id"])
            for row in await self.core.pool.fetch("select payment_id, id from leg where state = 'succeeded' and kind = 'refund'")
        }
        return [key for key in returned if key in arrived]

    # -- the rail's words, and the workers --------------------------------------------------------------------------

    async def _work(self, place: MortalCore) -> None:
        for lane in place.worker.lanes:
            for claim in await place.worker.claim(lane, 6):
                await place.worker.do(claim)

    async def _bear_words(self, place: MortalCore) -> None:
        """In any order: lost, twice, or kept back for a later round."""
        notices = await self.core.rail.notices()
        self.chance.shuffle(notices)
        for notice in notices:
            if self.chance.random() < 0.7:
                copies = self.chance.choice((0, 1, 1, 1, 2))
                self.figures[f"words told {copies} times"] += 1
                await place.tell_one(notice, copies=copies)
        if not notices and len(self.payments) == self.count:
            for key in await self._untold_returns():
                entry = await self.core.rail.entry(key)
                assert entry is not None
                self.figures["read in the rail's book"] += 1
                await place.tell_one(OwedNotification(-1, key, notification_body(entry), 0), copies=1)

    # -- the wallet -------------------------------------------------------------------------------------------------

    async def _ask(self, place: MortalCore) -> None:
        for _ in range(min(NEW_MAX, self.count - len(self.payments))):
            await self._ask_for_one(place)
        if len(self.payments) < self.count:
            for row in await self._some(
                "select id, state::text from payment where state in ('completed', 'pending', 'cancel_requested')", 6
            ):
                if row["state"] == "completed":
                    await self._said(place, partial(place.request, row["id"], self._key(), self._wish()))
                elif self.chance.random() < 0.3:
                    await self._said(place, partial(place.complete, row["id"], self._key()))
                elif row["state"] == "pending":
                    await self._said(place, partial(place.request, row["id"], self._key()))

    async def _ask_for_one(self, place: MortalCore) -> None:
        amounts = [self.chance.randrange(100, 50_000) for _ in range(self.chance.choice((1, 1, 2, 3)))]
        references = [self.chance.choice(REFERENCES) for _ in range(3)]
        completed = self.chance.random() < 0.6
        number = len(self.payments)
        made = terms(f"soak-{number}", place.clock, *amounts, provider_references=references, completed=completed)
        payment = await self._again(place, partial(place.register, made))
        self.payments.append(payment)
        await self._said(place, partial(place.request, payment, self._key(), self._wish() if completed else None))

    def _wish(self) -> CancellationRequest:
        amount = None if self.chance.random() < 0.5 else self.chance.randrange(1, 50_000)
        return CancellationRequest(actor=WALLET, reason=Reason.changed_mind, amount=amount)

    # -- people -----------------------------------------------------------------------------------------------------

    async def _see_to_it(self, place: MortalCore) -> None:
        waiting = "select id, payment_id, state::text from cancellation where clock_id is not null or state = 'needs_attention'"
        for row in await self._some(waiting, 12):
            if row["state"] == "awaiting_merchant":
                await self._take(place, row["payment_id"], row["id"], ACCEPT)
            elif self.chance.random() < 0.6:
                await self._recover(place, row["payment_id"], row["id"])
        unseen = """select id, payment_id, leg_id from anomaly a
                     where payment_id is not null and not exists (select from anomaly_step s where s.anomaly_id = a.id and s.closes)"""
        for row in await self._some(unseen, 6):
            await self._resolve(place, row["payment_id"], row["id"], row["leg_id"])

    async def _recover(self, place: MortalCore, payment: UUID, cancellation: UUID) -> None:
        found = await self._load(SnapshotQuery(payment_id=payment, cancellation_id=cancellation, shown=True))
        row = found.cancellation(cancellation)
        assert row is not None
        actor = self.chance.choice(PEOPLE)
        offered = permitted.actions(found, row, await place.runner.runtime.terms(found.payment), actor, place.clock())
        action = self.chance.choice([*offered, "approve"])
        match action:
            case "retry" | "redirect":
                decide = recovery.retry if action == "retry" else recovery.redirect
                await self._take(place, payment, cancellation, Step(actor, partial(decide, successors=self.rules)), action)
            case "close" if cancellation not in self.misled and self.chance.random() < 0.4:
                await self._take(place, payment, cancellation, Step(actor, recovery.close), action)
            case "record_outcome" if actor.role is ActorRole.supervisor:
                await self._tell(place, found, cancellation, Step(actor, recovery.close))
            case _:
                self.figures["looked on"] += 1

    async def _tell(self, place: MortalCore, found: Snapshot, cancellation: UUID, who: Step) -> None:
        """What the rail's book says. Of a refund that it still has before it, a person may say too early that it failed.

        Not of a void: its refund then is not sent, and what the rail did after all only a person can settle (an anomaly `voided_late`).
        """
        row = found.cancellation(cancellation)
        assert row is not None
        leg = found.leg(first_open(found, row))
        assert leg is not None
        entry = await self.core.rail.entry(leg.rail_key)
        match None if entry is None else entry.status:
            case Status.succeeded:
                succeeded = True
            case Status.declined:
                succeeded = False
            case Status.pending if leg.kind is LegKind.refund and self.chance.random() < 0.5:
                succeeded = False
                self.misled.add(cancellation)
            case _:
                return
        step = tell(succeeded=succeeded, which=lambda _, __: leg.id)
        await self._take(place, found.payment.id, cancellation, by(who.actor, step), "told succeeded" if succeeded else "told failed")

    async def _resolve(self, place: MortalCore, payment: UUID, anomaly: UUID, leg: UUID | None) -> None:
        found = await self._load(SnapshotQuery(payment_id=payment, leg_id=leg, shown=True))
        one = next(each for each in found.anomalies if each.id == anomaly)
        actor = self.chance.choice(PEOPLE)
        offered = anomalies.actions(found, one, actor)
        wanted = next((each for each in (AnomalyAction.adopt, AnomalyAction.refund) if each in offered), AnomalyAction.note)
        if wanted in offered and (wanted is not AnomalyAction.note or self.chance.random() < 0.1):
            act = partial(resolve, place, payment, self._key(), anomaly, wanted, actor=actor)
            await self._said(place, act, f"anomaly {wanted.value}")

    async def _take(self, place: MortalCore, payment: UUID, cancellation: UUID, step: Step, name: str | None = None) -> None:
        await self._said(place, partial(take, place, payment, step, self._key(), cancellation=cancellation), name)

    # -- what all of them do ----------------------------------------------------------------------------------------

    async def _said(self, place: MortalCore, act: Callable[[], Awaitable[IdempotentResponse]], name: str | None = None) -> None:
        """A command under its key, and again where the process died of it: somebody was faster, or it is done."""
        reply = await self._again(place, act)
        assert reply.status in {200, 409}, reply
        if name is not None:
            self.figures[f"{name}: {reply.status}"] += 1

    async def _again(self, place: MortalCore, act: Callable[[], Awaitable[T]]) -> T:
        try:
            return await act()
        except Killed:
            self.figures["kills"] += 1
            self.figures["killed in a command"] += 1
            self._start(self.places.index(place))
            return await act()

    async def _load(self, query: SnapshotQuery) -> Snapshot:
        found = await SteppingStore(self.core.pool, Steps()).load(query)
        assert found is not None
        return found

    async def _some(self, statement: str, most: int) -> list[dict[str, Any]]:
        rows = [dict(row) for row in await self.core.pool.fetch(f"{statement} order by id")]
        return self.chance.sample(rows, min(most, len(rows)))

    def _key(self) -> str:
        self._keys += 1
        return f"key-{self._keys}"
