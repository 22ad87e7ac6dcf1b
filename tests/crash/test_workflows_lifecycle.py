"""The real commands, worker, database and rail in any order, with faults and deaths; after each step the auditor compares."""

import asyncio
import tempfile
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from service.sandbox.faults import RandomFaults
from tests.crash.auditor import AGENT_MAY, Account, Book, Line, Shown
from tests.crash.case import Person, Seen
from tests.crash.choices import LEGAL, STEPS
from tests.crash.deciding import Step, answer, newest, take
from tests.crash.mortal import LEASE, MortalCore, mortal_core, terms
from tests.crash.steps import Killed, Steps
from tests.database import Cluster
from tests.factories import WALLET, Clock
from workflows.domain.decisions.requests import CancellationRequest
from workflows.domain.enums import LegState, MerchantDecision, PaymentState, Reason
from workflows.domain.errors import RefundryError
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

EXAMPLES = [3, pytest.param(30, marks=pytest.mark.long)]
_BOUNDED = settings(
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
)


class Lifecycle(RuleBasedStateMachine):
    """Up to three payments at a time in one service of their own."""

    cluster: ClassVar[Cluster]

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory(prefix="refundry-lifecycle-")
        self.accounts: dict[UUID, Account] = {}
        self.cases: dict[UUID, UUID] = {}  # the newest cancellation of each payment that was not refused
        self.returning: set[UUID] = set()
        self.keys = 0
        self.core: MortalCore = self.run(self.stack.enter_async_context(mortal_core(self.cluster, Path(self.folder.name))))

        self._register([600_000], ["ok"] * 3, timedelta(hours=1), "", [])
        self._request(0, None, {})

    def run(self, work: Awaitable[T]) -> T:
        async def done() -> T:
            return await work

        return self.runner.run(done())

    # -- what callers do --------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.accounts) < PAYMENTS_MAX)
    @rule(
        amounts=st.lists(st.integers(1, 100_000) | st.just(600_000), min_size=1, max_size=3),
        faults=st.lists(st.sampled_from(FAULTS), min_size=3, max_size=3),
        completed=st.sampled_from((None, timedelta(0), timedelta(hours=1), timedelta(hours=1))),
        secret=st.sampled_from(("", "", "captured_meanwhile", RETURNS)),
        pieces=st.lists(st.integers(1, 7), max_size=2),
    )
    def register(self, amounts: list[int], faults: list[str], completed: timedelta | None, secret: str, pieces: list[int]) -> None:
        self._register(amounts, faults, completed, secret, pieces)

    def _register(self, amounts: list[int], faults: list[str], completed: timedelta | None, secret: str, pieces: list[int]) -> None:
        if secret == RETURNS:
            faults = ["ok" if fault == "drop_notification" else fault for fault in faults]
        told = [f"{fault},{secret}" if secret else fault for fault in faults]
        reference = f"life-{len(self.accounts)}"
        lines = _lines(sum(amounts), pieces)
        at = self.core.clock() - (completed or timedelta(0))  # an hour after it settled, nothing is given back unasked
        settled = completed is not None
        made = terms(reference, Clock(at), *amounts, provider_references=told, completed=settled, items=_items(lines))
        payment = self.run(self.core.register(made))
        assert self.run(self.core.register(made)) == payment, "the same again is the same payment"
        if secret == RETURNS:
            self.returning.add(payment)
        self.accounts[payment] = Account(sum(amounts), lines, at, at if settled else None, captured=secret == "captured_meanwhile")

    @precondition(lambda self: self.accounts)
    @rule(which=st.integers(0, 2), part=st.none() | st.integers(1, 120_000), theft=st.booleans())
    def request(self, which: int, part: int | None, theft: bool) -> None:
        self._request(which, part, {}, theft=theft)

    @precondition(lambda self: self.accounts)
    @rule(which=st.integers(0, 2), line=st.integers(0, 1), count=st.integers(1, 4))
    def request_items(self, which: int, line: int, count: int) -> None:
        names = list(self._chosen(which)[1].lines)
        if names:
            self._request(which, None, {names[line % len(names)]: count})

    def _request(self, which: int, part: int | None, pieces: dict[str, int], *, theft: bool = False) -> None:
        payment, account = self._chosen(which)
        shown, now = self._shown(payment), self.core.clock()
        theft = theft and (account.completed_at is None or now < account.completed_at + AGENT_MAY)
        expected = account.request(now, part, pieces, shown, theft=theft)
        items = tuple(ItemQuantity(reference=name, quantity=count) for name, count in pieces.items()) or None
        reason = Reason.unauthorised if theft else Reason.changed_mind
        requested = CancellationRequest(actor=WALLET, reason=reason, amount=part, items=items)
        reply = self._twice(lambda key: self.core.request(payment, key, requested))
        if reply.status == 200 and expected != "PolicyRefused":
            self.cases[payment] = self.run(newest(self.core, payment))
        assert _said(reply, self._snapshot(payment)) == expected, (reply, shown, account)

    @precondition(lambda self: self.cases)
    @rule(
        which=st.integers(0, 2),
        choices=st.lists(st.integers(0, 59), min_size=1, max_size=4),
        dies=st.none() | st.tuples(st.integers(0, 1), st.sampled_from(("before", "after"))),
    )
    def decide(self, which: int, choices: list[int], dies: tuple[int, Any] | None) -> None:
        """Steps on the newest wish, two of three legal ones. Where the process dies of one, it is repeated under its key."""
        payment, cancellation = list(self.cases.items())[which % len(self.cases)]
        for choice in choices:
            case = self._shown(payment).case
            legal = LEGAL.get("" if case is None else case.state, tuple(STEPS)) if choice % 3 else tuple(STEPS)
            self._step(payment, cancellation, legal[choice // 3 % len(legal)], dies)
            self.audit()

    def _step(self, payment: UUID, cancellation: UUID, name: str, dies: tuple[int, Any] | None) -> None:
        account, shown = self.accounts[payment], self._shown(payment)
        assert account.last is not None
        offer = account.last.amount // 2
        step = answer(MerchantDecision.offer, offer) if name == "offer" else STEPS[name]
        expected = account.decide(name.partition(" ")[0], _person(step), self.core.clock(), shown, offer=offer)
        if dies is not None:
            self.core.start(Steps(*dies))
            with suppress(Killed):
                self._told(payment, step, f"key-{self.keys + 1}", cancellation)
            self.core.start()
        self.keys += 1
        told = self._told(payment, step, f"key-{self.keys}", cancellation)
        assert told == expected, (name, told, expected, shown, account)
        if not told.isalpha():
            assert self._told(payment, step, f"key-{self.keys}", cancellation) == told

    def _told(self, payment: UUID, step: Step, key: str, cancellation: UUID) -> str:
        """The status with the state that was reached or is in the way, or the name of the refusal."""
        try:
            reply = self.run(take(self.core, payment, step, key, cancellation=cancellation))
        except RefundryError as why:
            return type(why).__name__
        if reply.status == 200:
            return f"200 {reply.body.decode().partition(' ')[0]}"
        return f"409 {reply.headers['state']}" if "state" in reply.headers else reply.body.decode()

    @precondition(lambda self: self.accounts)
    @rule(which=st.integers(0, 2))
    def complete(self, which: int) -> None:
        payment, account = self._chosen(which)
        expected = account.complete(self.core.clock(), self._shown(payment))
        assert _done(self._twice(lambda key: self.core.complete(payment, key))) == expected

    @precondition(lambda self: self.accounts)
    @rule(which=st.integers(0, 2))
    def fail(self, which: int) -> None:
        payment, account = self._chosen(which)
        expected = account.fail(self._shown(payment))
        assert _done(self._twice(lambda key: self.core.fail(payment, key))) == expected

    # -- what the worker, the rail, chance and time do --------------------------------------------------------------

    @rule()
    def work(self) -> None:
        self.run(self.core.drain())

    @precondition(lambda self: self.accounts)
    @rule(at=st.integers(0, 12), moment=st.sampled_from(("before", "after")))
    def die_at_work(self, at: int, moment: Any) -> None:
        """Its leases are still held: the next process must wait for them."""
        self.core.start(Steps(at, moment))
        with suppress(Killed):
            self.run(self.core.drain())
        self.core.start()

    @precondition(lambda self: self.accounts)
    @rule(at=st.integers(0, 12))
    def freeze_at_work(self, at: int) -> None:
        """Another worker takes its jobs over; then it wakes, and goes on where it was."""
        other = self.core.beside()

        async def frozen() -> None:
            other.clock.advance(LEASE + timedelta(seconds=1))
            await other.rail.apply_due()
            await other.drain()

        self.core.start(Steps(also=(at, frozen)))
        self.run(self.core.drain())
        self.core.start()

    @precondition(lambda self: self.accounts)
    @rule(copies=st.integers(1, 2), newest_first=st.booleans())
    def tell(self, copies: int, newest_first: bool) -> None:
        self.run(self.core.tell(copies=copies, newest_first=newest_first))

    @precondition(lambda self: self.accounts)
    @rule()
    def lose_words(self) -> None:
        """Not those of money that came back: of a refund that has arrived, nobody asks the rail again."""
        self.run(self.core.forget_notices(lambda payment: payment not in self.returning))

    @rule(early=st.booleans())
    def tell_early(self, early: bool) -> None:
        self.core.rail.before_reply(self._tell_early if early else None)

    async def _tell_early(self) -> None:
        await self.core.tell()

    @rule(rate=st.sampled_from((0.0, 0.3, 0.8)), seed=st.integers(0, 5))
    def faults(self, rate: float, seed: int) -> None:
        self.run(self.core.rail.set_random_faults(RandomFaults(rate=rate, kinds=RANDOM_FAULTS, seed=seed)))

    @rule(span=st.sampled_from(SPANS))
    def pass_time(self, span: timedelta) -> None:
        self.core.clock.advance(span)
        self.run(self.core.rail.apply_due())

    @precondition(lambda self: self.cases)
    @rule(which=st.integers(0, 2), off=st.sampled_from((timedelta(microseconds=-1), timedelta(0), timedelta(minutes=5))))
    def pass_time_to_a_deadline(self, which: int, off: timedelta) -> None:
        case = self._shown(list(self.cases)[which % len(self.cases)]).case
        if case is not None and case.deadline is not None:
            self.core.clock.now = max(self.core.clock.now, case.deadline + off)
            self.run(self.core.rail.apply_due())

    # -- what the auditor says --------------------------------------------------------------------------------------

    @invariant()
    def audit(self) -> None:
        for payment, account in getattr(self, "accounts", {}).items():
            account.observe(self._shown(payment), self._book(payment), self.core.clock())
            self._legs_within_sources(payment)

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        try:
            self._settle()
            self.audit()
            for payment, account in self.accounts.items():
                account.end(self._shown(payment), self._book(payment), self.core.clock())
                self._legs_are_the_book(payment)
            self.run(self.core.check())
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()

    def _settle(self) -> None:
        """All faults off, all words told, all time passed."""
        core = self.core
        core.rail.before_reply(None)
        self.run(core.rail.set_random_faults(RandomFaults()))
        for _ in range(200):
            self.run(core.drain())
            self.run(core.tell())
            self.audit()
            if not self.run(core.pass_time()):
                core.clock.advance(timedelta(seconds=120))
                self.run(core.rail.apply_due())
                if not self.run(core.rail.notices()):
                    return
        raise AssertionError(self.run(core.pool.fetch("select * from job")))

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
        moved = self.run(self.core.rail.movements(found.payment.reference))
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
        return self.run(self.core.snapshot(payment))

    def _shown(self, payment: UUID) -> Shown:
        found = self._snapshot(payment)
        row, case = found.payment, found.cancellation(self.cases[payment]) if payment in self.cases else None
        seen = None if case is None else Seen(case.state.value, case.deadline_at, case.raised)
        return Shown(row.state.value, row.amount_refunded, row.amount_reserved, seen)

    def _book(self, payment: UUID) -> Book:
        moved = self.run(self.core.rail.movements(self._snapshot(payment).payment.reference))
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


def _person(step: Step) -> Person:
    return Person(step.actor.id, step.actor.role.value)


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


@pytest.mark.parametrize("examples", EXAMPLES)
def test_a_life_in_any_order(cluster: Cluster, examples: int) -> None:
    Lifecycle.cluster = cluster
    run_state_machine_as_test(Lifecycle, settings=settings(_BOUNDED, max_examples=examples))
