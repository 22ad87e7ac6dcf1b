"""The application: routes from the one table of operations, and one way of saying no."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import httpx
import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from service import wiring
from service.api import about, cancellations, decisions, importing, notifications, payments, records, refunds
from service.api.calls import Call, Services, instance, trace_id
from service.api.i18n import language
from service.api.measures import CALLS, SECONDS
from service.api.problems import RequestProblem, problem_for
from service.api.rights import OPERATIONS, Operation, allowed
from service.jwks import FileKeys, KeySource, UrlKeys
from service.keys import load_or_create_keys
from service.security import Authenticator, Principal, TokenFault, Unauthenticated
from service.settings import Settings
from workflows.domain.errors import Forbidden, Unavailable
from workflows.domain.ports import Clock
from workflows.run import TRANSIENT, Runner

log = structlog.get_logger("api")

Handler = Callable[[Call], Awaitable[Response]]


HANDLERS: dict[str, Handler] = {
    "register_payment": payments.register,
    "import_payments": importing.import_,
    "get_payment": payments.get,
    "list_payments": payments.list_,
    "complete_payment": payments.complete,
    "fail_payment": payments.fail,
    "modify_payment": payments.modify,
    "change_fulfilment": payments.change_fulfilment,
    "get_eligibility": cancellations.eligibility,
    "list_payment_records": records.of_payment,
    "request_cancellation": cancellations.request,
    "get_cancellation": cancellations.get,
    "list_cancellations": cancellations.list_,
    "withdraw_cancellation": decisions.withdraw,
    "escalate_cancellation": decisions.escalate,
    "decide_hand_off": decisions.decide_hand_off,
    "respond_to_offer": decisions.respond_to_offer,
    "ship_return": decisions.ship_return,
    "receive_return": decisions.receive_return,
    "assign_cancellation": decisions.assign,
    "approve_cancellation": decisions.approve,
    "deny_cancellation": decisions.deny,
    "get_refund": refunds.get,
    "list_refunds": refunds.list_,
    "search_records": records.list_,
    "export_records": records.export,
    "list_policies": about.list_policies,
    "get_policy": about.get_policy,
    "meta": about.meta,
    "log_key": about.log_key,
    "provider_notifications": notifications.receive,
    "healthz": about.healthz,
    "readyz": about.readyz,
    "metrics": about.metrics,
    "list_problems": about.list_problems,
    "get_problem": about.get_problem,
    "openapi": about.openapi,
    "docs": about.docs,
}


def create_app(settings: Settings, *, clock: Clock | None = None) -> FastAPI:
    """The ASGI application. It connects to the database when it starts, and needs its lifespan. `clock`: the database's unless told."""
    lifespan = _lifespan(settings, clock)
    app = FastAPI(title="Refundry", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False)
    # Paths are tried one by one: the longest first, since the most is asked of these. And among those of one length the
    # fixed ones before those with a parameter, or /v1/payments/import would be a payment's id.
    for operation in sorted(OPERATIONS, key=lambda one: (-one.path.count("/"), one.path.count("{"))):
        app.add_route(operation.path, _endpoint(operation, HANDLERS[operation.name]), methods=[operation.method], name=operation.name)
    app.add_exception_handler(HTTPException, _refuse_http)
    return app


def _lifespan(settings: Settings, clock: Clock | None) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.services = await _services(settings, clock, stack)
            yield

    return lifespan


async def _services(settings: Settings, clock: Clock | None, stack: AsyncExitStack) -> Services:
    pool = await stack.enter_async_context(wiring.database(settings.database_url, size=settings.database_pool_size))
    reads = pool
    if settings.replica_url:
        reads = await stack.enter_async_context(wiring.database(settings.replica_url, size=settings.database_pool_size))
    keys = load_or_create_keys(settings.data_dir, issuer=settings.issuer, audience=settings.audience)
    source: KeySource
    if settings.jwks_url is not None:
        source = UrlKeys(settings.jwks_url, await stack.enter_async_context(httpx.AsyncClient(trust_env=False)))
    else:
        source = FileKeys(settings.jwks_file or keys.jwks_path)
    now = clock if clock is not None else await stack.enter_async_context(wiring.database_clock(pool))
    runtime = wiring.runtime(pool, clock=now)
    return Services(
        settings=settings,
        runner=Runner(runtime),
        reads=reads,
        authenticator=Authenticator(source, issuer=settings.issuer, audience=settings.audience, clock=runtime.clock),
        rails=await stack.enter_async_context(wiring.rails(settings)),
        evidence=keys.evidence,
    )


def _endpoint(operation: Operation, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    seconds = SECONDS.labels(operation.name)  # looked up once

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        response = await _answer(request, operation, handler)
        seconds.observe(time.perf_counter() - started)
        CALLS.labels(operation.name, str(response.status_code)).inc()
        return response

    return endpoint


async def _answer(request: Request, operation: Operation, handler: Handler) -> Response:
    """Who, then whether, then what; every refusal becomes its problem."""
    services: Services = request.app.state.services
    principal = None
    try:
        if operation.roles is not None:
            principal = await services.authenticator.authenticate(_authorization(request))
            if not allowed(operation, principal):
                raise Forbidden
        return await handler(Call(request, services, operation, principal))
    except ClientDisconnect:
        return Response(status_code=400)
    except TRANSIENT as why:
        log.warning("database_unreachable", operation=operation.name, why=type(why).__name__)
        return _problem(request, Unavailable(), principal)
    except Exception as error:
        return _problem(request, error, principal)


def _authorization(request: Request) -> str | None:
    """One caller speaks for itself: of two headers, who could say which was checked on the way here?"""
    sent = request.headers.getlist("authorization")
    if len(sent) > 1:
        raise Unauthenticated(TokenFault.twice)
    return sent[0] if sent else None


def _problem(request: Request, error: Exception, principal: Principal | None = None) -> Response:
    """The problem that a refusal is. What is no refusal is a fault of ours: raised again, logged, and answered with a bare 500."""
    told = problem_for(
        error,
        language=language(request.headers.get("accept-language")),
        instance=instance(request),
        trace_id=trace_id(request),
        principal=principal,
    )
    if told is None:
        log.error("fault", trace_id=trace_id(request), path=instance(request), exc_info=error)
        raise error
    return Response(told.body, told.status, told.headers)


async def _refuse_http(request: Request, error: Exception) -> Response:
    """The framework's own refusals: no such path, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 405:
        return _problem(request, RequestProblem("method-not-allowed", allow=_methods(request)))
    return _problem(request, RequestProblem("not-found" if error.status_code == 404 else "malformed-request"))


def _methods(request: Request) -> list[str]:
    """Those of every route of the path: the framework names only the first one's."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    known = (route.methods or () for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for methods in known for method in methods})
