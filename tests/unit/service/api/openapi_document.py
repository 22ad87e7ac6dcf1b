"""The OpenAPI document of the service, for tests, and its parts."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema_rs

from service.api.openapi import document
from service.api.routing import ApiRoute
from service.app import ROUTERS, create_app
from service.settings import Settings

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, ApiRoute) and route.include_in_schema]
BY_NAME = {route.name: route for route in ROUTES}


@cache
def whole() -> dict[str, Any]:
    """The document, made when it is first asked for: not every worker has a test that does."""
    return document(create_app(Settings()))


def schemas() -> dict[str, Any]:
    found: dict[str, Any] = whole()["components"]["schemas"]
    return found


def described(route: ApiRoute) -> dict[str, Any]:
    found: dict[str, Any] = whole()["paths"][route.path_format][route.operation.method.lower()]
    return found


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        place: Any = whole()
        for name in node["$ref"].removeprefix("#/").split("/"):
            place = place[name]
        node = place
    return node


def accepts(schema: dict[str, Any], value: object) -> bool:
    return validator(schema)(value)


def validator(schema: dict[str, Any]) -> Callable[[object], bool]:
    """Whether a value fits a schema, which may refer to those of the document."""
    complete = {**schema, "components": {"schemas": schemas()}}
    return jsonschema_rs.validator_for(complete, validate_formats=True).is_valid
