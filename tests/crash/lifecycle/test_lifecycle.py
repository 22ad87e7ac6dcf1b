"""The real commands, worker, database and rail in any order, with faults and deaths; after each step the auditor compares."""

import asyncio
import tempfile
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from service.sandbox.faults import RandomFaults
from tests.crash.lifecycle.auditor import Account, Book, Line, Shown
from tests.crash.steps import Killed, Steps
from tests.crash.world import LEASE, WALLET, World, terms, world_on
from tests.database import Cluster
from workflows.domain.decisions.requests import CancellationRequest
from workflows.domain.enums import LegState, PaymentState, Reason
from workflows.domain.model import IdempotentResponse, Item, ItemQuantity, Snapshot

T = TypeVar("T")
PAYMENTS_MAX = 3
FAULTS = (
    "ok",
    "ok",
    "timeout_after_effect",
    "timeout_before_effect",
    "unavailable:2",
    "pending:20s",
    "garbage",
    "drop_notification",
    "slow:40s",
)
RETURNS = "return_after:90s"
RANDOM_FAULTS = ("timeout_after_effect", "timeout_before_effect", "unavailable", "garbage", "pending:15s")
SPANS = tuple(
    timedelta(**span)
    for span in ({"seconds": 1}, {"seconds": 11}, {"seconds": 100}, {"minutes": 31}, {"days": 2}, {"days": 8}, {"days": 16})
)

_BOUNDED = settings(
    max_examples=30,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
)


class Lifecycle(RuleBasedStateMachine):
    """Up to three payments at a time in one world of their own."""

    cluster: ClassVar[Cluster]

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory(prefix="refundry-lifecycle-")
        self.accounts: dict[UUID, Account] = {}
        self.returning: set[UUID] = set()
        self.keys = 0
        self.world: World = self.run(self.stack.enter_async_context(world_on(self.cluster, Path(self.folder.name))))

    def run(self, work: Awaitable[T]) -> T:
        async def done() -> T:
            return await work

        return self.runner.run(done())

    # -- what callers do --------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.accounts) < PAYMENTS_MAX)
    @rule(
        amounts=st.lists(st.integers(1, 100_000), min_size=1, max_size=3),
        faults=st.lists(st.sampled_from(FAULTS), min_size=3, max_size=3),
        completed=st.booleans(),
        secret=st.sampled_from(("", "", "captured_meanwhile", RETURNS)),
        pieces=st.lists(st.integers(1, 7), max_size=2),
    )
    def register(self, amounts: list[int], faults: list[str], completed: bool, secret: str, pieces: list[int]) -> None:
        if secret == RETURNS:
            faults = ["ok" if fault == "drop_notification" else fault for fault in faults]
        told = [f"{fault},{secret}" if secret else fault for fault in faults]
        reference = f"life-{len(self.accounts)}"
        lines = _lines(sum(amounts), pieces)
        made = terms(reference, self.world.clock, *amounts, provider_references=told, completed=completed, items=_items(lines))
        payment = self.run(self.world.register(made))
        assert self.run(self.world.register(made)) == payment, "the same again is the same payment"
        now = self.world.clock()
        if secret == RETURNS:
            self.returning.add(payment)
        self.accounts[payment] = Account(sum(amounts), lines, now, now if completed else None, captured=secret == "captured_meanwhile")

    @precondition(lambda self: self.accounts)
    @rule(which=st.integers(0, 2), part=st.none() | st.integers(1, 120_000))
    def request(self, which: int, part: int | None) -> None:
        self._request(which, part, {})

    @precondition(lambda self: self.accounts)
    @rule(which=st.integers(0, 2), line=st.integers(0, 1), count=st.integers(1, 4))
    def request_items(self, which: int, line: int, count: int) -> None:
        names = list(self._chosen(which)[1].lines)
        if names:
            self._request(which, None, {names[line % len(names)]: count})

    def _request(self, which: int, part: int | None, pieces: dict[str, int]) -> None:
        payment, account = self._chosen(which)
        shown = self._shown(payment)
        expected = account.request(self.world.clock(), part, pieces, shown)
        items = tuple(ItemQuantity(reference=name, quantity=count) for name, count in pieces.items()) or None
        requested = CancellationRequest(actor=WALLET, reason=Reason.changed_mind, amount=part, items=items)
        reply = self._twice(lambda key: self.world.request(payment, key, requested))
        assert _said(reply, self._snapshot(payment)) == expected, (reply, shown, account)

    @precondition(lambda self: self.accounts)
    @rule(which=st.integers(0, 2))
    def withdraw(self, which: int) -> None:
        payment, account = self._chosen(which)
        if self._snapshot(payment).open_cancellation is not None:
            expected = account.withdraw()
            assert _done(self._twice(lambda key: self.world.withdraw(payment, key))) == expected

    @precondition(lambda self: self.accounts)
    @rule(which=st.integers(0, 2))
    def complete(self, which: int) -> None:
        payment, account = self._chosen(which)
        expected = account.complete(self.world.clock(), self._shown(payment))
        assert _done(self._twice(lambda key: self.world.complete(payment, key))) == expected

    @precondition(lambda self: self.accounts)
    @rule(which=st.integers(0, 2))
    def fail(self, which: int) -> None:
        payment, account = self._chosen(which)
        expected = account.fail(self._shown(payment))
        assert _done(self._twice(lambda key: self.world.fail(payment, key))) == expected

    # -- what the worker, the rail, chance and time do --------------------------------------------------------------

    @rule()
    def work(self) -> None:
        self.run(self.world.drain())

    @precondition(lambda self: self.accounts)
    @rule(at=st.integers(0, 12), moment=st.sampled_from(("before", "after")))
    def die_at_work(self, at: int, moment: Any) -> None:
        """Its leases are still held: the next process must wait for them."""
        self.world.start(Steps(at, moment))
        with suppress(Killed):
            self.run(self.world.drain())
        self.world.start()

    @precondition(lambda self: self.accounts)
    @rule(at=st.integers(0, 12))
    def freeze_at_work(self, at: int) -> None:
        """Another worker takes its jobs over; then it wakes, and goes on where it was."""
        other = self.world.beside()

        async def frozen() -> None:
            other.clock.advance(LEASE + timedelta(seconds=1))
            await other.rail.apply_due()
            await other.drain()

        self.world.start(Steps(also=(at, frozen)))
        self.run(self.world.drain())
        self.world.start()

    @precondition(lambda self: self.accounts)
    @rule(copies=st.integers(1, 2), newest_first=st.booleans())
    def tell(self, copies: int, newest_first: bool) -> None:
        self.run(self.world.tell(copies=copies, newest_first=newest_first))

    @precondition(lambda self: self.accounts)
    @rule()
    def lose_words(self) -> None:
        """Not those of money that came back: of a refund that has arrived, nobody asks the rail again."""
        self.run(self.world.forget_notices(lambda payment: payment not in self.returning))

    @rule(early=st.booleans())
    def tell_early(self, early: bool) -> None:
        self.world.rail.before_reply(self._tell_early if early else None)

    async def _tell_early(self) -> None:
        await self.world.tell()

    @rule(rate=st.sampled_from((0.0, 0.3, 0.8)), seed=st.integers(0, 5))
    def faults(self, rate: float, seed: int) -> None:
        self.run(self.world.rail.set_random_faults(RandomFaults(rate=rate, kinds=RANDOM_FAULTS, seed=seed)))

    @rule(span=st.sampled_from(SPANS))
    def pass_time(self, span: timedelta) -> None:
        self.world.clock.advance(span)
        self.run(self.world.rail.apply_due())

    # -- what the auditor says --------------------------------------------------------------------------------------

    @invariant()
    def audit(self) -> None:
        for payment, account in getattr(self, "accounts", {}).items():
            account.observe(self._shown(payment), self._book(payment))
            self._legs_within_sources(payment)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.run(self._settle())
            self.audit()
            for payment, account in self.accounts.items():
                account.end(self._shown(payment), self._book(payment))
                self._legs_are_the_book(payment)
            self.run(self.world.check())
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()

    async def _settle(self) -> None:
        """All faults off, all words told, all time passed."""
        world = self.world
        world.rail.before_reply(None)
        await world.rail.set_random_faults(RandomFaults())
        for _ in range(200):
            await world.drain()
            await world.tell()
            if not await world.pass_time():
                world.clock.advance(timedelta(seconds=120))
                await world.rail.apply_due()
                if not await world.rail.notices():
                    return
        raise AssertionError(await world.pool.fetch("select * from job"))

    def _legs_within_sources(self, payment: UUID) -> None:
        found = self._snapshot(payment)
        for position, source in enumerate(found.payment.funding):
            live = [leg for leg in found.legs if leg.position == position and leg.state not in {LegState.failed, LegState.returned}]
            assert sum(leg.amount for leg in live) <= source.amount

    def _legs_are_the_book(self, payment: UUID) -> None:
        """The rail's ledger and ours, movement by movement: what arrived and stayed, and what is all that the rail moved besides."""
        found = self._snapshot(payment)
        assert all(leg.state in {LegState.succeeded, LegState.failed, LegState.returned} for leg in found.legs), found.legs
        ours = {(leg.rail_key, leg.kind.value, leg.amount) for leg in found.legs if leg.state is LegState.succeeded}
        moved = self.run(self.world.rail.movements(found.payment.reference))
        assert {(m.rail_key, m.kind, m.amount) for m in moved if m.returned_ms is None} == ours
        gone = {leg.rail_key for leg in found.legs if leg.state in {LegState.failed, LegState.returned}}
        assert {m.rail_key for m in moved if m.returned_ms is not None} <= gone
        if found.payment.state is PaymentState.refunded:
            back = [sum(leg.amount for leg in found.legs if leg.position == at and leg.state is LegState.succeeded) for at in range(3)]
            assert back[: len(found.payment.funding)] == [source.amount for source in found.payment.funding], (
                "the last empties every source"
            )

    # -- reading ----------------------------------------------------------------------------------------------------

    def _chosen(self, which: int) -> tuple[UUID, Account]:
        return list(self.accounts.items())[which % len(self.accounts)]

    def _snapshot(self, payment: UUID) -> Snapshot:
        return self.run(self.world.snapshot(payment))

    def _shown(self, payment: UUID) -> Shown:
        row = self._snapshot(payment).payment
        return Shown(row.state.value, row.amount_refunded, row.amount_reserved)

    def _book(self, payment: UUID) -> Book:
        moved = self.run(self.world.rail.movements(self._snapshot(payment).payment.reference))
        return Book(
            voided=sum(m.amount for m in moved if m.kind == "void"),
            refunded=sum(m.amount for m in moved if m.kind == "refund"),
            returned=sum(m.amount for m in moved if m.returned_ms is not None),
        )

    def _twice(self, send: Any) -> IdempotentResponse:
        """A command and its repetition under the same key, which must get the same answer."""
        self.keys += 1
        first: IdempotentResponse = self.run(send(f"key-{self.keys}"))
        assert self.run(send(f"key-{self.keys}")) == first
        return first


def _lines(amount: int, pieces: list[int]) -> dict[str, Line]:
    """As many lines as there are numbers of pieces, worth the whole together; none where a piece would be worth nothing."""
    if not pieces or amount < 20 * len(pieces):
        return {}
    first = amount // len(pieces)
    amounts = [first] * (len(pieces) - 1) + [amount - first * (len(pieces) - 1)]
    return {f"line-{number}": Line(quantity, worth) for number, (quantity, worth) in enumerate(zip(pieces, amounts, strict=True))}


def _items(lines: dict[str, Line]) -> tuple[Item, ...]:
    return tuple(Item(reference=name, quantity=line.quantity, amount=line.amount) for name, line in lines.items())


def _done(reply: IdempotentResponse) -> str:
    return "done" if reply.status == 200 else "refused"


def _said(reply: IdempotentResponse, after: Snapshot) -> str:
    """The refusal's name, or the route that the newest cancellation took."""
    if reply.status != 200:
        return reply.body.decode()
    route = after.cancellations[-1].route
    assert route is not None
    return route.value


def test_a_life_in_any_order(cluster: Cluster) -> None:
    Lifecycle.cluster = cluster
    chosen = settings() if settings.get_current_profile_name() == "long" else _BOUNDED
    run_state_machine_as_test(Lifecycle, settings=chosen)
