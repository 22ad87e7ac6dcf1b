"""The application: the routers, the exception handlers, the pages."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import httpx
from fastapi import FastAPI

from service import wiring
from service.api import anomalies, cancellations, merchants, payments, policies, records, refunds, simulations, terms
from service.api import operations as service_operations
from service.api.admission import Admission
from service.api.context import Services
from service.api.handlers import add_handlers
from service.api.middleware import ObserveRequests
from service.api.routing import Operation, action_roles, operations
from service.auth.jwks import FileKeys, KeySource, UrlKeys
from service.auth.keys import load_or_create_keys
from service.auth.tokens import Authenticator
from service.console import pages, terms_page
from service.settings import Settings
from workflows.commands import Runner
from workflows.domain.enums import Role
from workflows.domain.ports import Clock

ROUTERS = (
    cancellations.router,  # first, since most is asked of it: paths are tried in order
    payments.router,
    refunds.router,
    anomalies.router,
    records.router,
    policies.router,
    merchants.router,
    terms.router,
    simulations.router,
    service_operations.router,
    pages.router,
    terms_page.router,
)


def declared_operations() -> list[Operation]:
    """Every operation of the interface, as its route declares it."""
    return operations(route for router in ROUTERS for route in router.routes)


def create_app(settings: Settings, *, clock: Clock | None = None) -> FastAPI:
    """The ASGI application. It connects to the database when it starts, and needs its lifespan. `clock`: the database's unless told."""
    app = FastAPI(
        title="Refundry", openapi_url=None, docs_url=None, redoc_url=None, lifespan=_lifespan(settings, clock), redirect_slashes=False
    )
    for router in ROUTERS:
        # Each route stands in the application itself: `include_router` looks for it twice at each request, for some 50 µs.
        app.router.routes.extend(router.routes)
    pages.add_static(app)
    add_handlers(app)
    app.add_middleware(ObserveRequests)
    return app


def _lifespan(settings: Settings, clock: Clock | None) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.services = await _services(settings, clock, stack, action_roles(app.routes))
            yield

    return lifespan


async def _services(settings: Settings, clock: Clock | None, stack: AsyncExitStack, actions: Mapping[str, frozenset[Role]]) -> Services:
    pool = await stack.enter_async_context(wiring.database(settings.database_url, size=settings.database_pool_size))
    side = await stack.enter_async_context(wiring.database(settings.database_url, size=wiring.SIDE_CONNECTIONS))
    lagging = settings.replica_url or settings.database_url
    reads = await stack.enter_async_context(wiring.database(lagging, size=settings.reads_pool_size))
    streams = await stack.enter_async_context(wiring.database(lagging, size=settings.exports_max, waits=False))
    keys = load_or_create_keys(settings.data_dir, issuer=settings.issuer, audience=settings.audience)
    source: KeySource
    if settings.jwks_url is not None:
        source = UrlKeys(settings.jwks_url, await stack.enter_async_context(httpx.AsyncClient(trust_env=False)))
    else:
        source = FileKeys(settings.jwks_file or keys.jwks_path)
    now = clock if clock is not None else await stack.enter_async_context(wiring.database_clock(side))
    runtime = wiring.runtime(pool, side, clock=now)
    await wiring.read_policies(runtime)
    return Services(
        settings=settings,
        runner=Runner(runtime),
        reads=reads,
        streams=streams,
        admission=Admission(places=2 * settings.database_pool_size, waiting_max=settings.requests_waiting_max),
        list_admission=Admission(places=2 * settings.reads_pool_size, waiting_max=settings.requests_waiting_max),
        imports=asyncio.Semaphore(max(1, settings.database_pool_size // 2)),
        authenticator=Authenticator(source, issuer=settings.issuer, audience=settings.audience, clock=runtime.clock),
        rails=await stack.enter_async_context(wiring.rails(settings)),
        evidence=keys.evidence,
        actions=actions,
    )
