"""The successful answers of a route, for its `responses=` and `openapi_extra=`: headers, second statuses, links."""

from typing import Any, Final

from pydantic import BaseModel

Json = dict[str, Any]

_ETAG: Final[Json] = {"ETag": {"$ref": "#/components/headers/ETag"}}
_LOCATION: Final[Json] = {"Location": {"$ref": "#/components/headers/Location"}}
_REPLAYED: Final[Json] = {"Idempotent-Replayed": {"$ref": "#/components/headers/Idempotent-Replayed"}}

VERSIONED: Final[dict[int | str, Json]] = {
    200: {"description": "Done.", "headers": _ETAG},
    304: {"description": "The resource still has the version named in `If-None-Match`; no body.", "headers": _ETAG},
}
CHANGED: Final[dict[int | str, Json]] = {200: {"description": "Done.", "headers": _ETAG | _REPLAYED}}

# 204: there was nothing to do it to, which is kept and replayed like any answer.
CHANGED_OR_NOTHING: Final[dict[int | str, Json]] = {**CHANGED, 204: {"description": "There is none; no body.", "headers": _REPLAYED}}


def created(model: type[BaseModel], *, replayed: bool = False, versioned: bool = True) -> dict[int | str, Json]:
    """201 where it was made now, 200 where it was there already, with the same content."""
    headers = _LOCATION | (_ETAG if versioned else {}) | (_REPLAYED if replayed else {})
    return {
        201: {"description": "Made now.", "headers": headers},
        200: {"description": "It was there already, with the same content.", "model": model, "headers": headers},
    }


def described(model: type[BaseModel]) -> dict[int | str, Json]:
    """200 where it was known already, 201 where it was not; the newest version either way."""
    return {
        200: {"description": "It was known already: the newest version.", "headers": _ETAG | _LOCATION},
        201: {"description": "It was not known before.", "model": model, "headers": _ETAG | _LOCATION},
    }


def streamed(*media_types: str) -> dict[int | str, Json]:
    """200 with text that is no JSON document."""
    return {200: {"description": "Done.", "content": {kind: {"schema": {"type": "string"}} for kind in media_types}}}


def links(*statuses: int, **parameters: dict[str, str]) -> Json:
    """For `openapi_extra`: where the answers of these statuses lead, as operation=its parameters. The document adds descriptions."""
    linked = {name: {"operationId": name, "parameters": given} for name, given in parameters.items()}
    return {"responses": {str(status): {"links": linked} for status in statuses}}
