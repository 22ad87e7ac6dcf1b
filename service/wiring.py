"""The composition root: from settings to everything that runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import httpx

from service.calendars import calendar
from service.providers.sandbox import SandboxProvider
from service.settings import Settings
from workflows.chance import new_id, new_salt, utc_now
from workflows.domain.ports import Clock, Provider
from workflows.flows.move import Rails
from workflows.run import Runtime
from workflows.storage.store import Store
from workflows.worker import Pace, Worker, lanes

DEFAULT_PROVIDER = "sandbox"
STATEMENTS_KEPT = 500  # prepared statements of each connection: one for each shape of a change
COMMAND_SECONDS_MAX = 30


async def _keep_as_it_is(_: asyncpg.Connection) -> None:
    """Connections are given back as they were taken: nothing is ever set on them, so nothing has to be reset."""


@asynccontextmanager
async def database(url: str, *, size: int) -> AsyncIterator[Any]:
    """A pool of connections to the database as the application's role."""
    pool = await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        reset=_keep_as_it_is,
        statement_cache_size=STATEMENTS_KEPT,
        max_cached_statement_lifetime=0,
        command_timeout=COMMAND_SECONDS_MAX,
        server_settings={"application_name": "refundry", "timezone": "UTC", "jit": "off"},
    )
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except TimeoutError:
            pool.terminate()


def runtime(pool: Any, *, clock: Clock = utc_now) -> Runtime:
    return Runtime(
        store=Store(pool),
        clock=clock,
        new_id=new_id,
        new_salt=new_salt,
        calendar=calendar,
        default_provider=DEFAULT_PROVIDER,
    )


@asynccontextmanager
async def rails(settings: Settings) -> AsyncIterator[Rails]:
    """The rails that are configured, each with a client of its own."""
    limits = httpx.Limits(max_connections=settings.worker_concurrency * 2, max_keepalive_connections=settings.worker_concurrency)
    providers: dict[str, Provider] = {}
    async with httpx.AsyncClient(base_url=settings.sandbox_url or "http://127.0.0.1", limits=limits, trust_env=False) as client:
        if settings.sandbox_url is not None:
            providers[SandboxProvider.name] = SandboxProvider(client, timeout_seconds=settings.rail_timeout_seconds)
        yield Rails(
            providers=providers,
            enquiries=tuple(timedelta(seconds=wait) for wait in settings.enquiry_seconds),
            on_the_way=timedelta(seconds=5 * settings.rail_timeout_seconds),
        )


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """One worker, until `stop` is set."""
    async with database(settings.database_url, size=settings.worker_pool_size) as pool, rails(settings) as ready:
        pace = Pace(
            lanes=lanes(settings.worker_concurrency, settings.worker_deadlines),
            lease=timedelta(seconds=settings.lease_seconds),
            poll=timedelta(seconds=settings.worker_poll_seconds),
            skew_max=timedelta(seconds=settings.clock_skew_seconds),
        )
        worker = Worker(runtime(pool), ready, pace)
        running = asyncio.create_task(worker.run())
        told = asyncio.create_task(stop.wait())
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        worker.stop()
        told.cancel()
        await running
