"""One after the other: each has his turn when all who came before had theirs, whatever becomes of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from workflows.domain.errors import Overloaded
from workflows.turns import WHILE_WAITING, Turns

HANG_SECONDS_MAX = 30


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_SECONDS_MAX):
        while not condition():
            await asyncio.sleep(0)


async def test_all_have_their_turn_in_the_order_in_which_they_came() -> None:
    turns, key, order = Turns(), uuid4(), list[str]()

    async def work(name: str) -> None:
        async with turns.turn(key, name):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    async with asyncio.timeout(HANG_SECONDS_MAX), asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(work(name))

    assert order == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]
    assert len(turns) == 0


async def test_nobody_waits_for_what_is_done_about_another_thing() -> None:
    turns = Turns()

    async with asyncio.timeout(HANG_SECONDS_MAX), turns.turn(uuid4(), "one"), turns.turn(uuid4(), "other"):
        assert len(turns) == 2


async def test_who_waits_or_is_at_work_is_known_by_name() -> None:
    turns, key = Turns(), uuid4()
    ended = asyncio.Event()

    async def wait() -> None:
        async with turns.turn(key, "second"):
            await ended.wait()

    async with turns.turn(key, "first"):
        waiting = asyncio.create_task(wait())
        await until(lambda: len(turns) == 2)
        assert turns.is_queued(key, "first")
        assert turns.is_queued(key, "second")
        assert not turns.is_queued(uuid4(), "first")
    await until(lambda: len(turns) == 1)
    assert not turns.is_queued(key, "first")
    ended.set()
    await waiting
    assert not turns.is_queued(key, "second")


async def test_who_fails_or_gives_up_waiting_stands_in_nobodys_way() -> None:
    turns, key = Turns(), uuid4()

    async def wait() -> None:
        async with turns.turn(key, "second"):
            raise AssertionError("it has no turn")

    async def fail() -> None:
        async with turns.turn(key, "first"):
            await until(lambda: len(turns) == 2)
            waiting.cancel()
            raise Overloaded

    failing = asyncio.create_task(fail())
    await until(lambda: len(turns) == 1)
    waiting = asyncio.create_task(wait())
    await asyncio.wait([failing, waiting])

    assert isinstance(failing.exception(), Overloaded)
    assert waiting.cancelled()
    async with asyncio.timeout(HANG_SECONDS_MAX), turns.turn(key, "third"):
        assert len(turns) == 1


async def test_what_is_held_is_lent_only_while_waiting() -> None:
    turns, key, told = Turns(), uuid4(), list[str]()

    @asynccontextmanager
    async def lent() -> AsyncIterator[None]:
        told.append("lent")
        yield
        told.append("back")

    async def second() -> None:
        async with turns.turn(key, "second"):
            told.append("works")

    WHILE_WAITING.set(lent)
    async with asyncio.timeout(HANG_SECONDS_MAX):
        async with turns.turn(key, "first"):
            assert told == [], "it did not wait"
            waiting = asyncio.create_task(second())
            await until(lambda: told == ["lent"])
        await waiting

    assert told == ["lent", "back", "works"]


async def test_a_turn_that_is_interrupted_on_the_way_back_is_the_next_ones() -> None:
    turns, key = Turns(), uuid4()

    @asynccontextmanager
    async def interrupted() -> AsyncIterator[None]:
        yield
        raise Overloaded

    async def second() -> None:
        WHILE_WAITING.set(interrupted)
        async with turns.turn(key, "second"):
            raise AssertionError("it has no turn")

    async with turns.turn(key, "first"):
        waiting = asyncio.create_task(second())
        await until(lambda: len(turns) == 2)
    with pytest.raises(Overloaded):
        await waiting

    async with asyncio.timeout(HANG_SECONDS_MAX), turns.turn(key, "third"):
        assert len(turns) == 1
