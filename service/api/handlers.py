"""The exception handlers: each refusal becomes its problem; what is no refusal is a fault of ours, logged, and a bare 500."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from service.api.context import CONTEXT, RequestContext
from service.api.field_errors import error_entries
from service.api.i18n import language
from service.api.middleware import TRACE_ID
from service.api.problems import Listener, RequestProblem, problem_for
from service.auth.tokens import KeysUnavailable, Unauthenticated
from workflows.commands import TRANSIENT
from workflows.domain.errors import Invalid, NotFound, RefundryError, Unavailable
from workflows.domain.faults import Fault

log = structlog.get_logger("api")


def add_handlers(app: FastAPI) -> None:
    for refusal in (RefundryError, RequestProblem, Unauthenticated, KeysUnavailable):
        app.add_exception_handler(refusal, _answer)
    for away in TRANSIENT:
        app.add_exception_handler(away, _answer_unavailable)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)


def instance(request: Request) -> str:
    """The path as a URI reference. Not `request.url`, which is put together from the Host header, and may be no URL at all."""
    return quote(str(request.scope["path"]), errors="replace")


async def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, Invalid) and request.method == "GET":
        error = Invalid(f"/query{error.pointer}", error.code, **error.members)  # what a step calls a member of its body
    return _problem(request, error)


async def _answer_unavailable(request: Request, error: Exception) -> Response:
    log.warning("database_unreachable", path=instance(request), why=type(error).__name__)
    return _problem(request, Unavailable())


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """What FastAPI found in the path and the query; the body is validated before."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- what the handler was added for
    found: Sequence[Any] = error.errors()
    if any(one["loc"][0] == "path" for one in found):
        return _problem(request, NotFound())
    return _problem(request, RequestProblem("validation-failed", members={"errors": _entries(found)}))


def _entries(found: Sequence[Any]) -> list[Fault]:
    for one in found:
        one["loc"] = one["loc"] if one["loc"][0] == "query" else one["loc"][1:]
    return error_entries(found)


async def _answer_http(request: Request, error: Exception) -> Response:
    """The framework's own refusals: no such path, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- what the handler was added for
    if error.status_code == 405:
        return _problem(request, RequestProblem("method-not-allowed", allow=_methods(request)))
    return _problem(request, RequestProblem("not-found" if error.status_code == 404 else "malformed-request"))


async def _answer_nobody(_: Request, __: Exception) -> Response:
    """The caller has gone."""
    return Response(status_code=400)


def _problem(request: Request, error: Exception) -> Response:
    context: RequestContext | None = request.scope.get(CONTEXT)
    told = problem_for(
        error,
        Listener(
            language=language(request.headers.get("accept-language")), available=(lambda _: []) if context is None else context.available
        ),
        instance=instance(request),
        trace_id=request.scope[TRACE_ID],
    )
    if told is None:
        raise error
    return Response(told.body, told.status, told.headers)


def _methods(request: Request) -> list[str]:
    """Those of every route of the path: the framework names only the first one's. What is no route of ours is a file."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    known = {method for route in routes if route.matches(request.scope)[0] is not Match.NONE for method in route.methods or ()}
    return sorted(known | ({"HEAD"} if "GET" in known else set())) or ["GET", "HEAD"]
