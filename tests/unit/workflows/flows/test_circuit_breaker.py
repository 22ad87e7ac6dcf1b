"""When a rail is paused, tried and taken up again."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rails import SCHEDULE
from workflows.domain.ports import (
    Absent,
    Declined,
    Done,
    NeedsAction,
    Order,
    Outcome,
    Pending,
    Provider,
    ProviderNotification,
    ProviderUnavailable,
    Returned,
    Settled,
    Unknown,
)
from workflows.domain.rail_states import BreakerState
from workflows.flows.circuit_breaker import BreakerConfig, CircuitBreaker
from workflows.flows.guarded_rail import GuardedProvider, answered
from workflows.flows.rails import Rails

CONFIG = BreakerConfig(failures=3, pause_seconds=10, pause_seconds_max=35)
ORDER = Order(rail_key="a", payment_reference="p", provider_reference="ok", amount=1, currency="CNY")
AWAY, BACK = Unknown("timeout"), Declined("account_closed")


@dataclass
class Ticks:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Scripted:
    """Answers with `outcome`, or when `answers` says so."""

    name: str = "sandbox"
    schedule = SCHEDULE
    outcome: Outcome = AWAY
    answers: asyncio.Future[Outcome] | None = None
    calls: list[str] = field(default_factory=list)

    async def refund(self, order: Order) -> Outcome:
        return await self._answer(order, "refund")

    async def void(self, order: Order) -> Outcome:
        return await self._answer(order, "void")

    async def find(self, order: Order) -> Outcome:
        return await self._answer(order, "find")

    async def cancel(self, order: Order) -> Outcome:
        return await self._answer(order, "cancel")

    def successor_reference(self, provider_reference: str) -> str:
        return provider_reference + "+"

    def read(self, body: bytes) -> ProviderNotification | None:
        return ProviderNotification(body.decode(), self.outcome)

    async def _answer(self, order: Order, call: str) -> Outcome:
        assert order is ORDER or call == "find"
        self.calls.append(call)
        return self.outcome if self.answers is None else await self.answers


@dataclass
class Guarded:
    clock: Ticks = field(default_factory=Ticks)
    rail: Scripted = field(default_factory=Scripted)

    def __post_init__(self) -> None:
        self.breaker = CircuitBreaker(CONFIG, self.clock)
        self.provider: Provider = GuardedProvider(self.rail, self.breaker)

    async def hear(self, *outcomes: Outcome) -> None:
        for self.rail.outcome in outcomes:
            await self.provider.refund(ORDER)

    async def ask(self, outcome: Outcome) -> None:
        self.rail.outcome = outcome
        await Rails(providers={"sandbox": self.provider}).probe("sandbox")

    @property
    def state(self) -> tuple[str, int]:
        return self.breaker.state.value, self.breaker.room(16)


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


@pytest.mark.parametrize(
    ("outcome", "said"),
    [(Unknown("timeout"), False), (Unknown("connection"), False), (Unknown("unavailable"), False), (Unknown("http_500"), False),
     (Unknown("http_503"), False), (ProviderUnavailable(), False), (ProviderUnavailable(1.0), False), (Unknown("unreadable"), None),
     (Unknown("http_409"), True), (Declined("x"), True), (Done(1, "CNY"), True), (Pending(), True), (NeedsAction(), True),
     (Settled(), True), (Absent(), True), (Returned(), True)],
)  # fmt: skip
def test_what_counts_as_an_answer(outcome: Outcome, said: bool | None) -> None:
    assert answered(outcome) is said


async def test_it_opens_after_so_many_failures_one_after_the_other(guarded: Guarded) -> None:
    await guarded.hear(AWAY, AWAY, BACK, AWAY, AWAY)
    assert guarded.state == ("closed", 16)

    await guarded.hear(ProviderUnavailable())

    assert guarded.state == ("open", 0)


async def test_every_kind_of_call_counts(guarded: Guarded) -> None:
    for call in (guarded.provider.void, guarded.provider.find, guarded.provider.cancel):
        assert await call(ORDER) == AWAY

    assert guarded.state == ("open", 0)
    assert guarded.rail.calls == ["void", "find", "cancel"]


async def test_what_cannot_be_read_counts_neither_way(guarded: Guarded) -> None:
    await guarded.hear(AWAY, AWAY, *[Unknown("unreadable")] * 9)
    assert guarded.state == ("closed", 16)

    await guarded.hear(AWAY)

    assert guarded.state == ("open", 0)


async def test_after_the_pause_one_may_try_and_its_success_closes(guarded: Guarded) -> None:
    await guarded.hear(AWAY, AWAY, AWAY)
    guarded.clock.now += 9.99
    assert guarded.state == ("open", 0)
    guarded.clock.now += 0.02
    assert guarded.state == ("half_open", 0), "no order is spent on it"

    await guarded.ask(Absent())

    assert guarded.state == ("closed", 16)
    await guarded.hear(AWAY, AWAY)
    assert guarded.state == ("closed", 16), "failures are counted anew"


async def test_a_rail_that_stays_away_is_paused_twice_as_long_and_no_longer_than_the_most(guarded: Guarded) -> None:
    await guarded.hear(AWAY, AWAY, AWAY)
    pauses = []
    for _ in range(4):
        began = guarded.clock.now
        while guarded.breaker.state is BreakerState.open:
            guarded.clock.now += 0.5
        pauses.append(guarded.clock.now - began)
        await guarded.ask(AWAY)

    assert pauses == [10, 20, 35, 35]
    guarded.clock.now += 35
    await guarded.ask(Absent())
    await guarded.hear(BACK, AWAY, AWAY, AWAY)
    guarded.clock.now += 10
    assert guarded.state == ("half_open", 0), "the first pause is the short one again"


async def test_a_rail_that_answers_questions_and_no_order_is_paused_longer_each_time(guarded: Guarded) -> None:
    pauses = []
    for _ in range(4):
        await guarded.hear(AWAY, AWAY, AWAY)
        began = guarded.clock.now
        while guarded.breaker.state is BreakerState.open:
            guarded.clock.now += 0.5
        pauses.append(guarded.clock.now - began)
        await guarded.ask(Absent())
        assert guarded.state == ("closed", 16)

    assert pauses == [10, 20, 35, 35]


async def test_a_probe_must_be_readable(guarded: Guarded) -> None:
    await guarded.hear(AWAY, AWAY, AWAY)
    guarded.clock.now += 10

    await guarded.ask(Unknown("unreadable"))

    assert guarded.state == ("open", 0)


@pytest.mark.parametrize("pause", [0, 10])
@pytest.mark.parametrize("late", [AWAY, BACK])
async def test_a_call_that_was_on_its_way_when_it_opened_decides_nothing(guarded: Guarded, late: Outcome, pause: int) -> None:
    guarded.rail.answers = asyncio.get_running_loop().create_future()
    on_its_way = asyncio.create_task(guarded.provider.find(ORDER))
    await asyncio.sleep(0)
    answers, guarded.rail.answers = guarded.rail.answers, None
    await guarded.hear(AWAY, AWAY, AWAY)
    guarded.clock.now += pause
    before = guarded.state

    answers.set_result(late)

    assert await on_its_way == late, "it just finishes"
    assert guarded.state == before


async def test_a_call_that_begins_in_the_pause_is_made_and_decides_nothing(guarded: Guarded) -> None:
    await guarded.hear(AWAY, AWAY, AWAY)

    await guarded.hear(BACK)

    assert guarded.rail.calls == ["refund"] * 4
    assert guarded.state == ("open", 0)


async def test_it_says_for_how_long_it_has_been_so(guarded: Guarded) -> None:
    guarded.clock.now += 5
    assert guarded.breaker.state_seconds == 5
    await guarded.hear(AWAY, AWAY, AWAY)
    guarded.clock.now += 4
    assert guarded.breaker.state_seconds == 4
    guarded.clock.now += 7
    assert (guarded.breaker.state, guarded.breaker.state_seconds) == (BreakerState.half_open, 1)


def test_the_rest_is_the_rails_own(guarded: Guarded) -> None:
    assert guarded.provider.name == "sandbox"
    assert guarded.provider.schedule is SCHEDULE
    assert guarded.provider.successor_reference("a") == "a+"
    assert guarded.provider.read(b"k") == ProviderNotification("k", AWAY)


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.floats(0, 50)), max_size=60))
def test_it_is_closed_after_every_answer_that_counts_and_never_open_without_its_failures(told: list[tuple[bool | None, float]]) -> None:
    clock = Ticks()
    breaker = CircuitBreaker(CONFIG, clock)
    row = 0
    for good, wait in told:
        clock.now += wait
        before = breaker.state
        breaker.end(breaker.begin(), answered=good)
        row = 0 if good else row + (good is False)
        if before is not BreakerState.open and good:
            assert breaker.state is BreakerState.closed
        if before is BreakerState.closed and breaker.state is BreakerState.open:
            assert row >= CONFIG.failures
        if before is BreakerState.open:
            assert breaker.state is before
