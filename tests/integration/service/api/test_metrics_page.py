"""/metrics: what the database tells is asked for once, however many want it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from service.api.metrics_page import FIGURES_SECONDS, PAGE_SECONDS, MetricsPage
from service.app import create_app
from service.settings import Settings
from service.wiring import served_metrics
from tests.harness import Api, calling
from workflows.flows.guarded_rail import GuardedProvider
from workflows.storage import figures


class Asked:
    """Counts what the database is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        original = figures.load_figures

        async def counted(connection: Any, now: datetime | None) -> list[figures.Figure]:
            self.times += 1
            return await original(connection, now)

        monkeypatch.setattr("workflows.storage.store.load_figures", counted)


@pytest.fixture
async def fresh(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(create_app(api.settings, clock=api.clock)) as http:
        yield http


async def test_the_database_is_asked_once_for_a_hundred(fresh: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)

    answers = await asyncio.gather(*(fresh.get("/metrics") for _ in range(100)))

    assert {answer.status_code for answer in answers} == {200}
    assert asked.times == 1


async def test_a_page_lives_for_a_second_and_the_databases_part_for_five(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, now = Asked(monkeypatch), [0.0]
    page = MetricsPage(lambda: now[0])
    runtime = api.worker.runtime

    first = await page.get(runtime)
    assert await page.get(runtime) is first
    now[0] = PAGE_SECONDS
    second = await page.get(runtime)
    assert second is not first
    assert asked.times == 1
    now[0] = FIGURES_SECONDS
    await page.get(runtime)
    assert asked.times == 2


async def test_what_is_stuck_shows(api: Api, fresh: httpx.AsyncClient) -> None:
    await api.requested(await api.register())

    page = (await fresh.get("/metrics")).text

    assert "refundry_database_answers 1.0" in page
    assert 'refundry_cases{state="needs_attention"}' in page
    assert "refundry_anomalies_open " in page
    assert "refundry_requests_waiting " in page
    assert "refundry_requests_refused_total " in page


async def test_without_its_tables_the_page_says_that_the_database_does_not_answer(api: Api) -> None:
    class Gone:
        async def rail_states(self, _: datetime) -> None:
            raise ConnectionRefusedError

    class Runtime:
        store = Gone()
        clock = api.clock

    page = (await MetricsPage().get(Runtime())).decode()  # type: ignore[arg-type]  # as much of it as is asked

    assert "refundry_database_answers 0.0" in page
    assert "refundry_calls_total" in page


@pytest.mark.slow
async def test_a_worker_shows_what_it_counts_and_not_what_the_database_knows() -> None:
    async with served_metrics(Settings(worker_metrics_port=0)) as address:
        assert address is not None
        async with httpx.AsyncClient(trust_env=False) as http:
            page = (await http.get(address)).text
        async with served_metrics(Settings(worker_metrics_port=int(address.split(":")[2].split("/")[0]))) as second:
            assert second is None, "the port is in use: it goes on without"

    assert "refundry_leases_lost_total " in page
    assert "refundry_rail_call_seconds" in page
    assert "refundry_jobs_due" not in page
    assert "refundry_database_answers" not in page


async def test_a_worker_shows_nothing_unless_told() -> None:
    async with served_metrics(Settings()) as address:
        assert address is None


async def test_calls_to_a_rail_are_observed(api: Api) -> None:
    seen: list[tuple[str, str, str]] = []
    rails = api.worker.rails
    name, inner = next(iter(rails.providers.items()))
    guarded = GuardedProvider(inner, rails.breakers[name], lambda rail, call, outcome, _: seen.append((rail, call, outcome)))
    api.worker.rails = type(rails)(providers={name: guarded}, breakers=rails.breakers)

    await api.worker.rails.probe(name)

    api.worker.rails = rails
    assert seen == [(name, "find", seen[0][2])]
    assert seen[0][2] in {"absent", "unknown"}
