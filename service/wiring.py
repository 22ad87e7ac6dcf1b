"""The composition root: from settings to everything that runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import structlog
from aiohttp import ClientSession
from prometheus_client import start_http_server

from service.calendars import calendar
from service.metrics import LEASES_LOST, observe_rail_call
from service.providers.sandbox import CALL_TIMEOUTS_MAX, SandboxProvider, rail_client
from service.settings import Settings
from workflows.clock_and_ids import new_id, new_salt
from workflows.commands import TRANSIENT, Runtime
from workflows.domain.policies.calendar import business_days
from workflows.domain.ports import Clock, Provider, RailSchedule
from workflows.flows.circuit_breaker import BreakerConfig, CircuitBreaker
from workflows.flows.guarded_rail import GuardedProvider
from workflows.flows.rails import Rails
from workflows.storage.clock import DatabaseClock
from workflows.storage.connections import Connections
from workflows.storage.store import Store
from workflows.worker import Worker, WorkerConfig

DEFAULT_PROVIDER = "sandbox"
STATEMENTS_KEPT = 500  # prepared statements of each connection: one for each shape of a change
COMMAND_SECONDS_MAX = 30
SIDE_CONNECTIONS = 3  # of each process, for claims, signs of life and what is asked of them
_POLICIES_AT_START = 20  # the newest: what is registered and decided now
CLOCK_SECONDS = 10  # how often the database is asked for its time

# Every statement of a request finds its rows by an index. A plan that is made while the tables are nearly empty would read them whole,
# and a connection keeps its plans: so whole tables are read only where there is no index at all.
SESSION = {
    "application_name": "refundry",
    "timezone": "UTC",
    "jit": "off",
    "enable_seqscan": "off",
    # One payment that somebody holds locked must not keep connections that others need, nor any statement for as long as it likes.
    "lock_timeout": "500ms",
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "60s",
}

log = structlog.get_logger("wiring")
worker_log = structlog.get_logger("worker")


@asynccontextmanager
async def database(url: str, *, size: int, waits: bool = True) -> AsyncIterator[Connections]:
    """Connections to the database as the application's role, made as they are needed."""

    async def connect() -> Any:
        return await asyncpg.connect(
            url,
            statement_cache_size=STATEMENTS_KEPT,
            max_cached_statement_lifetime=0,
            command_timeout=COMMAND_SECONDS_MAX,
            server_settings=SESSION,
        )

    connections = Connections(connect, size, waits=waits)
    await connections.fetchval("select 1")  # a wrong address is told at the start
    try:
        yield connections
    finally:
        try:
            async with asyncio.timeout(5):
                await connections.close()
        except TimeoutError:
            connections.terminate()


@asynccontextmanager
async def database_clock(pool: Any) -> AsyncIterator[DatabaseClock]:
    """The database's time, asked for again and again: no machine's own time of day decides anything."""
    clock = DatabaseClock(pool)
    await clock.set_again()

    async def follow() -> None:
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            try:
                await clock.set_again()
            except (*TRANSIENT, TimeoutError) as why:  # it runs on by itself meanwhile
                log.warning("clock_not_set", why=type(why).__name__)

    following = asyncio.create_task(follow())
    try:
        yield clock
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def runtime(pool: Any, side: Any = None, *, clock: Clock) -> Runtime:
    """What commands and jobs run with. `side`: connections for what must not wait for jobs or commands, such as signs of life.

    A clock that is not the database's own (a test's) also says when jobs are due.
    """
    return Runtime(
        store=Store(pool, side),
        clock=clock,
        queue_clock=(lambda: None) if isinstance(clock, DatabaseClock) else clock,
        new_id=new_id,
        new_salt=new_salt,
        calendar=calendar,
        default_provider=DEFAULT_PROVIDER,
    )


async def read_policies(ready: Runtime) -> None:
    """Read the newest policies and their calendars before anything is decided: the first look at a country's holidays stops everything else
    for some tenths of a second.
    """
    try:
        for _, published in await ready.store.policies.page(_POLICIES_AT_START):
            business_days(published.policy, ready.calendar).is_business_day(ready.clock().date())
    except Exception as why:
        log.warning("policies_not_read", why=type(why).__name__)


@asynccontextmanager
async def rails(settings: Settings) -> AsyncIterator[Rails]:
    """The rails that are configured, each with a client, a pool of connections and a circuit breaker of its own."""
    providers: dict[str, Provider] = {}
    breakers: dict[str, CircuitBreaker] = {}
    config = BreakerConfig(
        failures=settings.breaker_failures,
        pause_seconds=settings.breaker_pause_seconds,
        pause_seconds_max=settings.breaker_pause_seconds_max,
    )
    async with AsyncExitStack() as stack:
        for connect in _configured(settings):
            rail = connect(await stack.enter_async_context(rail_client(connections=settings.worker_concurrency * 2)))
            breakers[rail.name] = CircuitBreaker(config)
            providers[rail.name] = GuardedProvider(rail, breakers[rail.name], observe_rail_call)
        yield Rails(
            providers=providers,
            breakers=breakers,
            call_seconds_max=CALL_TIMEOUTS_MAX * settings.rail_timeout_seconds,
        )


def _configured(settings: Settings) -> Iterator[Callable[[ClientSession], Provider]]:
    """What makes each rail of a client that is its alone."""
    url = settings.sandbox_url
    if url is not None:
        schedule = RailSchedule(
            enquiries=tuple(timedelta(seconds=wait) for wait in settings.enquiry_seconds),
            sends_again=True,
            unknown_max=timedelta(seconds=settings.unknown_seconds_max),
            processing_max=timedelta(seconds=settings.processing_seconds_max),
            rechecks=tuple(timedelta(seconds=wait) for wait in sorted(settings.recheck_seconds)),
        )
        yield lambda client: SandboxProvider(client, url, timeout_seconds=settings.rail_timeout_seconds, schedule=schedule)


@asynccontextmanager
async def served_metrics(settings: Settings) -> AsyncIterator[str | None]:
    """The address at which this process, a worker, shows what it counts; None where it is not asked to, or the port is in use.

    What the database knows is not shown here: the API shows it. A worker without its metrics still carries money to its end.
    """
    if settings.worker_metrics_port is None:
        yield None
        return
    try:
        server, thread = start_http_server(settings.worker_metrics_port, settings.worker_metrics_host)
    except OSError as why:
        log.warning("metrics_not_served", port=settings.worker_metrics_port, why=str(why))
        yield None
        return
    address = f"http://{settings.worker_metrics_host}:{server.server_port}/metrics"
    worker_log.info("metrics_served", url=address)
    try:
        yield address
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """One worker, until `stop` is set."""
    async with (
        database(settings.database_url, size=settings.worker_pool_size) as pool,
        database(settings.database_url, size=SIDE_CONNECTIONS) as side,
        database_clock(side) as clock,
        rails(settings) as ready,
        served_metrics(settings),
    ):
        config = WorkerConfig(
            moves=settings.worker_concurrency,
            notifications=settings.worker_notifications,
            deadlines=settings.worker_deadlines,
            lease=timedelta(seconds=settings.lease_seconds),
            poll=timedelta(seconds=settings.worker_poll_seconds),
        )
        run_with = runtime(pool, side, clock=clock)
        await read_policies(run_with)
        worker = Worker(run_with, ready, config, LEASES_LOST.inc)
        running = asyncio.create_task(worker.run())
        told = asyncio.create_task(stop.wait())
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        worker.stop()
        told.cancel()
        await running
