"""How fast the records leave: through HTTP, through the flow alone, and through COPY alone."""

import asyncio
import time
from contextlib import aclosing

import asyncpg
import httpx

from service.auth.keys import load_or_create_keys
from tests.bench.figures import Figures, per
from tests.bench.plan import Plan, Reporter
from tests.bench.stage import Stage
from tests.bench.usage import Reading, between, cpu_seconds
from workflows.domain.enums import Role

_COPY = "select body, encode(hash, 'hex') from record order by chain_id, sequence"
WAYS = {"http": "GET /v1/records/export", "flow": "flows.export alone", "copy": "COPY (…) TO STDOUT"}


def measure(stage: Stage, plan: Plan, figures: Figures, reporter: Reporter) -> None:
    with reporter.part("Export", len(WAYS) * plan.rounds) as advance:
        for _ in range(plan.rounds):
            figures.add_all("export.http", _over_http(stage))
            advance(1)
            figures.add_all("export.flow", asyncio.run(_by_flow(stage)))
            advance(1)
            figures.add_all("export.copy", asyncio.run(_by_copy(stage)))
            advance(1)
            figures.add("export.ratio", figures.values["export.http.per_second"][-1] / figures.values["export.copy.per_second"][-1])


def _over_http(stage: Stage) -> dict[str, float]:
    headers = {"authorization": f"Bearer {stage.token(Role.auditor)}"}
    lines, size = 0, 0
    before, cpu, started = stage.postgres(), cpu_seconds(stage.apis[0]), time.perf_counter()
    with httpx.stream("GET", f"{stage.url}/v1/records/export", headers=headers, timeout=600, trust_env=False) as answer:
        assert answer.status_code == 200, answer.read()
        for chunk in answer.iter_raw():
            lines += chunk.count(b"\n")
            size += len(chunk)
    seconds = time.perf_counter() - started
    python = cpu_seconds(stage.apis[0]) - cpu
    return _figures(stage, before, count=lines - 1, size=size, seconds=seconds, python=python)  # the last line is the trailer


async def _by_flow(stage: Stage) -> dict[str, float]:
    from workflows.flows.export import export_lines  # here, so that the rest can be measured on commits where it is called otherwise

    evidence = load_or_create_keys(stage.directory).evidence
    size = 0
    async with asyncpg.create_pool(stage.server.app_url(), min_size=1, max_size=2, ssl=False) as pool:
        count = await pool.fetchval("select count(*) from record")
        before, cpu, started = stage.postgres(), time.process_time(), time.perf_counter()
        lines = export_lines(pool, start=None, end=None, sign=evidence.sign, key=evidence.verifier_key())
        async with aclosing(lines):
            async for chunk in lines:
                size += len(chunk)
        seconds, python = time.perf_counter() - started, time.process_time() - cpu
        return _figures(stage, before, count=count, size=size, seconds=seconds, python=python)


async def _by_copy(stage: Stage) -> dict[str, float]:
    size = 0

    async def take(data: bytes) -> None:
        nonlocal size
        size += len(data)

    async with asyncpg.create_pool(stage.server.app_url(), min_size=1, max_size=1, ssl=False) as pool:
        count = await pool.fetchval("select count(*) from record")
        before, started = stage.postgres(), time.perf_counter()
        await pool.copy_from_query(_COPY, output=take)
        return _figures(stage, before, count=count, size=size, seconds=time.perf_counter() - started, python=None)


def _figures(stage: Stage, before: Reading, *, count: int, size: int, seconds: float, python: float | None) -> dict[str, float]:
    spent = between(before, stage.postgres())
    found = {"per_second": count / seconds, "mb": size / 1e6, "records": float(count), "postgres_us": per(spent["service"], count)}
    return found if python is None else {**found, "python_us": per(python, count)}
