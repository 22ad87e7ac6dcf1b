"""Many processes, of which one takes a step at a time; a seed says which, so that every run takes the same steps in the same order."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from tests.crash.steps import Moment, Steps
from tests.factories import Clock

T = TypeVar("T")
STALL = 0.003  # of the steps are followed by a pause in which every lease ends
STALL_SECONDS = 11
TICK = timedelta(milliseconds=1)  # no two steps at the same moment


class Turns:
    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self.taken = 0
        self.stalls = 0
        self._chance = chance
        self._clock = clock
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._alive = 0
        self._changed = asyncio.Event()

    async def wait(self, place: int) -> None:
        """Until it is this one's turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting[place] = turn
        self._changed.set()
        await turn

    async def run(self, works: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """All of them to their end, a step at a time; the place of each is its number."""
        self._alive = len(works)
        async with asyncio.TaskGroup() as group:
            for place, work in enumerate(works):
                group.create_task(self._one(place, work))
            while self._alive:
                while len(self._waiting) < self._alive:
                    self._changed.clear()
                    await self._changed.wait()
                if self._alive:
                    self._let_one_go()

    def _let_one_go(self) -> None:
        place = self._chance.choice(sorted(self._waiting))
        self.taken += 1
        self._clock.advance(TICK)
        if self._chance.random() < STALL:
            self.stalls += 1
            self._clock.advance(timedelta(seconds=STALL_SECONDS))
        self._waiting.pop(place).set_result(None)

    async def _one(self, place: int, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await self.wait(place)
            await work()
        finally:
            self._alive -= 1
            self._changed.set()


class TurnSteps(Steps):
    """The steps of one process among others: each waits for its turn."""

    def __init__(self, turns: Turns, place: int, at: int | None = None, moment: Moment = "before") -> None:
        super().__init__(at, moment)
        self._turns = turns
        self._place = place

    async def take(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        await self._turns.wait(self._place)
        return await super().take(name, call)
