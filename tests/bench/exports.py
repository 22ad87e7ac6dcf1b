"""How fast the records leave: through HTTP, through the flow alone, and through COPY alone."""

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass

import asyncpg
import httpx

from service.auth.keys import load_or_create_keys
from tests.bench.stage import Stage
from tests.bench.usage import spending
from workflows.flows.export import export_lines

_COPY = "select body, encode(hash, 'hex') from record order by chain_id, sequence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    way: str
    records: int
    bytes: int
    seconds: float
    python: float | None  # CPU seconds; None where there is no Python in the way
    postgres: float


async def all_ways(stage: Stage, token: str) -> list[Exported]:
    async with asyncpg.create_pool(stage.server.app_url(), min_size=1, max_size=2, ssl=False) as pool:
        count = await pool.fetchval("select count(*) from record")
        return [await asyncio.to_thread(_over_http, stage, token), await _by_flow(stage, pool, count), await _by_copy(stage, pool, count)]


def _over_http(stage: Stage, token: str) -> Exported:
    started, lines, size = time.perf_counter(), 0, 0
    headers = {"authorization": f"Bearer {token}"}
    with spending(stage.api) as api, spending(stage.postmaster) as postgres:
        with httpx.stream("GET", f"{stage.url}/v1/records/export", headers=headers, timeout=600, trust_env=False) as answer:
            assert answer.status_code == 200, answer.read()
            for chunk in answer.iter_raw():
                lines += chunk.count(b"\n")
                size += len(chunk)
        seconds = time.perf_counter() - started
    records = lines - 1  # the last line is the trailer
    return Exported(
        way="GET /v1/records/export", records=records, bytes=size, seconds=seconds, python=api.seconds, postgres=postgres.seconds
    )


async def _by_flow(stage: Stage, pool: asyncpg.Pool, count: int) -> Exported:
    started, cpu, size = time.perf_counter(), time.process_time(), 0
    evidence = load_or_create_keys(stage.directory).evidence
    with spending(stage.postmaster) as postgres:
        lines = export_lines(pool, start=None, end=None, sign=evidence.sign, key=evidence.verifier_key())
        async with aclosing(lines):
            async for chunk in lines:
                size += len(chunk)
        seconds = time.perf_counter() - started
    python = time.process_time() - cpu
    return Exported(way="flows.export alone", records=count, bytes=size, seconds=seconds, python=python, postgres=postgres.seconds)


async def _by_copy(stage: Stage, pool: asyncpg.Pool, count: int) -> Exported:
    started, size = time.perf_counter(), 0

    async def take(data: bytes) -> None:
        nonlocal size
        size += len(data)

    with spending(stage.postmaster) as postgres:
        await pool.copy_from_query(_COPY, output=take)
        seconds = time.perf_counter() - started
    return Exported(way="COPY (…) TO STDOUT", records=count, bytes=size, seconds=seconds, python=None, postgres=postgres.seconds)
