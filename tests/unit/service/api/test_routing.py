"""The routes: asynchronous to the last dependency, short, and hooked into FastAPI where its documentation says."""

import ast
import inspect
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import fastapi
import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from service.api.context import ForAnybody, ForWallet
from service.api.routing import ApiRoute, action_roles, operations
from service.app import ROUTERS
from workflows.domain.enums import Role
from workflows.storage.invariants.work import COLLECTIONS

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, ApiRoute)]
STATEMENTS_MAX = 10  # the function's own line and its docstring among them


def calls(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for one in dependant.dependencies:
        yield from calls(one)


def test_every_endpoint_and_dependency_is_asynchronous() -> None:
    """A `def` of either kind runs in a thread pool, for some 700 µs a request."""
    slow = [(route.name, call) for route in ROUTES for call in calls(route.dependant) if not inspect.iscoroutinefunction(call)]

    assert slow == []
    assert len(ROUTES) > 35


def test_every_collection_that_keeps_replies_is_known() -> None:
    """Else `refundry check` takes its replies for nobody's."""
    kept = {route.path for route in ROUTES if route.is_command and not route.takes_if_match}

    assert kept <= set(COLLECTIONS)


def test_every_route_is_of_the_one_class() -> None:
    assert all(type(route) is ApiRoute for router in ROUTERS for route in router.routes)


@pytest.mark.parametrize("router", ROUTERS, ids=lambda router: str(router.prefix or router.routes[0].path))
def test_a_route_is_short_and_holds_no_function_of_its_own(router: APIRouter) -> None:
    for route in router.routes:
        assert isinstance(route, ApiRoute)
        tree = ast.parse(Path(inspect.getfile(route.endpoint)).read_text("utf-8"))
        found = next(node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef) and node.name == route.name)
        inner = [node for node in ast.walk(found) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
        statements = [node for node in ast.walk(found) if isinstance(node, ast.stmt)]
        assert inner == [found], route.name
        assert len(statements) <= STATEMENTS_MAX + 2, route.name


def test_fastapi_still_has_the_hooks_that_the_route_class_uses() -> None:
    """FastAPI is pinned to one minor version; another is taken when this holds for it."""
    assert fastapi.__version__.startswith("0.165.")
    assert {"body_field", "dependant", "responses", "openapi_extra", "response_model"} <= set(vars(ROUTES[0]))


async def test_fastapi_asks_the_route_class_for_its_handler_and_hands_its_request_on() -> None:
    seen: list[Request] = []

    class Tagged(Request):
        """A request of a class of our own."""

    class Route(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            call = super().get_route_handler()

            async def handle(request: Request) -> Response:
                return await call(Tagged(request.scope, request.receive))

            return handle

    app, router = FastAPI(), APIRouter(route_class=Route)

    @router.get("/here")
    async def here(request: Tagged) -> None:
        seen.append(request)

    app.router.routes.extend(router.routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        assert (await http.get("/here")).status_code == 200
    assert [type(request) for request in seen] == [Tagged]


def test_a_route_says_all_of_itself() -> None:
    router = APIRouter(prefix="/things", route_class=ApiRoute)

    @router.post("/{thing}/paint", summary="Paint a thing", openapi_extra={"x-actions": {"paint": None, "repaint": ["agent"]}})
    async def paint_thing(context: ForWallet, thing: str) -> None: ...

    @router.get("")
    async def list_things(context: ForAnybody) -> None: ...

    paint, listed = operations(router.routes)
    assert (paint.name, paint.method, paint.path, paint.roles) == ("paint_thing", "POST", "/things/{thing}/paint", frozenset({Role.wallet}))
    assert {"unauthenticated", "forbidden", "not-found", "malformed-request", "unavailable"} <= set(paint.problems)
    assert action_roles(router.routes) == {"paint": frozenset({Role.wallet}), "repaint": frozenset({Role.agent})}
    assert (listed.roles, "unauthenticated" in listed.problems, listed.is_command) == (None, False, False)


def test_a_route_that_does_not_say_who_may_call_it_is_refused() -> None:
    router = APIRouter(route_class=ApiRoute)

    with pytest.raises(TypeError, match="does not say who may call it"):

        @router.get("/secret")
        async def secret() -> None: ...
