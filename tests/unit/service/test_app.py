"""The application: every operation of the interface is reached at its own address."""

from fastapi.routing import APIRoute
from starlette.routing import Match

from service.app import create_app, declared_operations
from service.settings import Settings

APP = create_app(Settings())
IDS = {"payment_id": "pay", "cancellation_id": "can", "refund_id": "rfd", "anomaly_id": "ano"}


def test_no_operation_is_hidden_by_one_that_stands_before_it() -> None:
    """Paths are tried in order: `/v1/payments/import` would be nobody's behind a GET of `/v1/payments/{payment_id}` with a wider path."""
    reached = {}
    for one in declared_operations():
        path = one.path.format_map(IDS | dict.fromkeys(("version", "merchant_id", "provider", "slug"), "x"))
        scope: dict[str, object] = {"type": "http", "method": one.method, "path": path, "headers": []}
        reached[one.name] = next((route.name for route in APP.routes if isinstance(route, APIRoute) and _takes(route, scope)), None)

    assert {name: found for name, found in reached.items() if found != name} == {}
    assert len(reached) > 50


def _takes(route: APIRoute, scope: dict[str, object]) -> bool:
    return route.matches(scope)[0] is Match.FULL


def test_fastapis_own_pages_are_off_and_slashes_are_not_redirected() -> None:
    assert (APP.openapi_url, APP.docs_url, APP.redoc_url, APP.router.redirect_slashes) == (None, None, None, False)
