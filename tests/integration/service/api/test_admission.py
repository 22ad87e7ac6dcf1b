"""More is asked than the service can do: who cannot be served soon is told at once, and one payment's lock is no other's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest

from service.api.admission import Admission
from service.api.context import Services
from service.app import create_app
from tests.harness import Api, Json, assert_problem, calling
from workflows.domain.errors import Overloaded
from workflows.turns import Turns

pytestmark = pytest.mark.slow

HANG_SECONDS_MAX = 20  # only bounds a hang


async def hold(admission: Admission, until: asyncio.Event) -> None:
    async with admission.place():
        await until.wait()


async def test_so_many_at_once_and_so_many_wait_and_the_next_is_refused_at_once() -> None:
    admission, end = Admission(places=2, waiting_max=3, wait_seconds_max=600), asyncio.Event()
    holders = [asyncio.create_task(hold(admission, end)) for _ in range(5)]
    await asyncio.sleep(0)

    assert admission.waiting == 3
    with pytest.raises(Overloaded) as refused:
        await hold(admission, end)

    assert 1 <= refused.value.retry_after_seconds <= 3
    end.set()
    await asyncio.gather(*holders)
    await hold(admission, end)
    assert (admission.waiting, admission.refused) == (0, 1)


async def test_who_waits_too_long_is_refused_and_takes_no_place() -> None:
    admission, end = Admission(places=1, waiting_max=3, wait_seconds_max=0.01), asyncio.Event()
    holder = asyncio.create_task(hold(admission, end))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await hold(admission, end)

    end.set()
    await holder
    for _ in range(3):
        await hold(admission, end)


async def test_who_waits_for_his_turn_lends_his_place() -> None:
    admission, turns, key = Admission(places=1, waiting_max=9, wait_seconds_max=600), Turns(), uuid4()
    begun: list[int] = []

    async def work(number: int) -> None:
        async with admission.place(), turns.turn(key, number):
            begun.append(number)

    async with asyncio.timeout(HANG_SECONDS_MAX):
        async with turns.turn(key, "somebody"):
            waiting = [asyncio.create_task(work(number)) for number in range(3)]
            await asyncio.sleep(0)
            for _ in range(5):
                await hold(admission, done())  # the only place
            assert begun == []
        await asyncio.gather(*waiting)
        await hold(admission, done())

    assert begun == [0, 1, 2]


def done() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@asynccontextmanager
async def small(api: Api, **more: int) -> AsyncIterator[tuple[httpx.AsyncClient, Services]]:
    app = create_app(api.settings.model_copy(update=more), clock=api.clock)
    async with calling(app) as http:
        yield http, app.state.services


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_SECONDS_MAX):
        while not is_so():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def locked(api: Api, *payments: Json) -> AsyncIterator[None]:
    """Somebody holds these payments' rows."""
    references = [payment["reference"] for payment in payments]
    async with api.owner.transaction():
        await api.owner.execute("select 1 from payment where reference = any ($1) for update", references)
        yield


@pytest.mark.long
async def test_beyond_its_places_and_its_queue_it_refuses_early_and_says_that_nothing_was_done(api: Api) -> None:
    """Both places are taken by requests that wait for a lock."""
    stuck = [await api.register() for _ in range(2)]
    others = [await api.register() for _ in range(6)]

    async with small(api, database_pool_size=1, requests_waiting_max=2) as (http, services), locked(api, *stuck):
        held = [asyncio.create_task(api.requested(payment, http=http)) for payment in stuck]
        await until(lambda: services.admission.at_work == 2)
        answers = await asyncio.gather(*(api.requested(payment, http=http) for payment in others))
        alive = await http.get("/healthz")
        for answer in await asyncio.gather(*held):
            assert_problem(answer, 503, "unavailable")

    assert alive.status_code == 200
    for answer in answers:
        said = assert_problem(answer, 503, "unavailable")
        assert "nothing was done" in said["detail"]
        assert 1 <= int(answer.headers["retry-after"]) <= 3
    for payment in others:
        assert [record["type"] for record in await api.records(payment)] == ["payment.registered"]


@pytest.mark.long
async def test_one_locked_payment_delays_no_other_however_many_ask_for_it(api: Api) -> None:
    stuck, other = await api.register(), await api.register()

    async with small(api, database_pool_size=2, requests_waiting_max=4) as (http, services), locked(api, stuck):
        held = [asyncio.create_task(api.requested(stuck, http=http)) for _ in range(12)]
        await until(lambda: len(services.runner.turns) == 12)
        assert services.admission.at_work == 1, "those who wait for their turn hold no place"
        answers = [await api.requested(other, http=http, client_reference=f"{number}") for number in range(2)]
        assert not any(task.done() and task.result().status_code != 503 for task in held)
        for answer in await asyncio.gather(*held):
            assert_problem(answer, 503, "unavailable")

    assert [answer.status_code for answer in answers] == [201, 409], "answered, the second by what the first has done"


async def test_slow_lists_take_no_place_from_commands(api: Api) -> None:
    payment = await api.register()

    async with small(api, database_pool_size=1, reads_pool_size=1) as (http, services):
        headers = {"authorization": f"Bearer {api.token('wallet')}"}
        async with services.reads.acquire():
            lists = [asyncio.create_task(http.get("/v1/cancellations", headers=headers)) for _ in range(4)]
            await until(lambda: services.list_admission.at_work + services.list_admission.waiting == 4)
            asked = await api.requested(payment, http=http)
        answers = await asyncio.gather(*lists)

    assert asked.status_code == 201
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert 200 in {answer.status_code for answer in answers}
