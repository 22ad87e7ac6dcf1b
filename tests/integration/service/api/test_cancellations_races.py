"""Many at once: one wish is granted, one amount moves, however many ask, and of however many processes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from service.app import create_app
from tests.harness import Api, calling


@pytest.fixture
async def second(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Another process as far as the database can tell: an application with a pool of its own."""
    async with calling(create_app(api.settings, clock=api.clock)) as client:
        yield client


@pytest.mark.parametrize("callers", [8, 100])
@pytest.mark.parametrize("apps", [1, 2])
async def test_of_many_wishes_exactly_one_is_granted(api: Api, second: httpx.AsyncClient, callers: int, apps: int) -> None:
    payment = await api.register()

    answers = await asyncio.gather(
        *(api.requested(payment, http=second if apps == 2 and number % 2 else None) for number in range(callers))
    )

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: callers - 1}
    [granted] = [answer.json() for answer in answers if answer.status_code == 201]
    refusals = [answer.json() for answer in answers if answer.status_code == 409]
    assert {(one["code"], one["cancellation_id"]) for one in refusals} == {("cancellation-open", granted["id"])}
    await api.worker.drain()
    after = await api.payment(payment)
    assert (after["state"], after["amount_refunded"], after["amount_reserved"]) == ("refunded", 10_000, 0)
    assert [moved["amount"] for moved in await api.movements(payment)] == [10_000]


@pytest.mark.parametrize("apps", [1, 2])
async def test_one_wish_sent_a_hundred_times_is_one_wish(api: Api, second: httpx.AsyncClient, apps: int) -> None:
    payment, key = await api.register(), uuid4().hex

    answers = await asyncio.gather(
        *(api.requested(payment, key=key, http=second if apps == 2 and number % 2 else None) for number in range(100))
    )

    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 99
    await api.worker.drain()
    assert [moved["amount"] for moved in await api.movements(payment)] == [10_000]
    assert [record["type"] for record in await api.records(payment)].count("cancellation.requested") == 1


async def test_parts_asked_for_at_once_never_exceed_the_payment(api: Api, second: httpx.AsyncClient) -> None:
    payment = await api.register()

    for _ in range(4):
        await asyncio.gather(*(api.requested(payment, amount=4_000, http=second if number % 2 else None) for number in range(6)))
        await api.worker.drain()

    after = await api.payment(payment)
    assert (after["state"], after["amount_refunded"]) == ("completed", 8_000)
    assert sum(moved["amount"] for moved in await api.movements(payment)) == 8_000


@pytest.mark.slow
async def test_a_payment_registered_a_hundred_times_at_once_is_one(api: Api, second: httpx.AsyncClient) -> None:
    terms = api.terms()

    answers = await asyncio.gather(
        *(api.post("/v1/payments", terms, key=None, http=second if number % 2 else None) for number in range(100))
    )

    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 99}
    assert len({answer.content for answer in answers}) == 1
    assert len(await api.records(answers[0].json())) == 1


@pytest.mark.slow
async def test_settling_and_cancelling_at_once_leaves_one_history(api: Api, second: httpx.AsyncClient) -> None:
    for _ in range(5):
        payment = await api.register(completed_at=None)

        done, asked = await asyncio.gather(api.post(f"/v1/payments/{payment['id']}/complete", http=second), api.requested(payment))
        await api.worker.drain()

        assert (done.status_code, asked.status_code) == (200, 201)
        assert (await api.payment(payment))["state"] == "refunded"
        assert [(moved["kind"], moved["amount"]) for moved in await api.movements(payment)] == [("refund", 10_000)]


async def test_two_workers_move_the_money_once(api: Api) -> None:
    payments = [await api.register() for _ in range(10)]
    for payment in payments:
        await api.requested(payment)

    await asyncio.gather(*(api.worker.drain() for _ in range(4)))

    for payment in payments:
        assert [moved["amount"] for moved in await api.movements(payment)] == [10_000]
