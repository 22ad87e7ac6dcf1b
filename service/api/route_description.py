"""What a route says of itself in the OpenAPI, beside its signature: the problems, headers and parameters of its kind."""

from collections.abc import Iterable
from typing import Any, Final, Protocol, get_args

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from service.api.problem_responses import problems
from workflows.domain.enums import Role

Json = dict[str, Any]


class Described(Protocol):
    """The part of a route that is described."""

    methods: set[str] | None
    path_format: str
    status_code: int | None
    responses: dict[int | str, Json]
    dependant: Dependant
    roles: frozenset[Role] | None
    is_command: bool
    takes_if_match: bool
    is_in_words: bool
    body_model: type[BaseModel] | None
    slugs: tuple[str, ...]


def declared_problems(responses: dict[int | str, Json]) -> list[str]:
    return [slug for one in responses.values() for slug in one.get("x-problems", ())]


def common_problems(route: Described) -> list[str]:
    """What every operation of this form may answer with."""
    slugs = ["rate-limited", "unavailable", "validation-failed"]
    if route.roles is not None:
        slugs += ["unauthenticated", "forbidden"]
    if route.dependant.path_params:
        slugs += ["not-found"]
    if {"POST", "PUT"} & (route.methods or set()):
        slugs += ["malformed-request", "body-too-large", "unsupported-media-type"]
    if route.is_command:
        slugs += ["idempotency-key-missing", "idempotency-key-reused", "idempotency-in-flight"]
    if route.takes_if_match:
        slugs += ["version-mismatch"]
    return slugs


def responses_of(route: Described) -> dict[int | str, Json]:
    """What was declared, the problems, and the headers that all of them have."""
    declared = {status: one for status, one in route.responses.items() if "x-problems" not in one}
    declared.setdefault(route.status_code or 200, {"description": "Done."})
    common = ["Request-Id", *(["Content-Language", "Vary"] if route.is_in_words else [])]
    good = {status: {**one, "headers": one.get("headers", {}) | _header_refs(common)} for status, one in declared.items()}
    bad = problems(*route.slugs, path=route.path_format, in_query="GET" in (route.methods or ()))
    for status in (409, 422) if route.is_command else ():  # refusals of the domain are kept under their idempotency key
        bad[status]["headers"] |= _header_refs(["Idempotent-Replayed"])
    return good | bad


def _header_refs(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def openapi_of(route: Described, declared: Json) -> Json:
    """What the OpenAPI says of a route beside its signature."""
    parameters = [*(["IdempotencyKey"] if route.is_command else []), *(["IfMatch"] if route.takes_if_match else [])]
    if "ETag" in route.responses.get(200, {}).get("headers", {}) and "GET" in (route.methods or ()):
        parameters.append("IfNoneMatch")
    parameters.append("AcceptLanguage")
    described: Json = {
        **declared,
        "security": [] if route.roles is None else [{"bearerAuth": []}],
        "parameters": [*declared.get("parameters", ()), *({"$ref": f"#/components/parameters/{name}"} for name in parameters)],
    }
    if route.body_model is not None:
        extra = route.body_model.model_config.get("json_schema_extra")
        described["requestBody"] = {"content": {"application/json": {"example": extra["example"] if isinstance(extra, dict) else {}}}}
    if route.roles is not None:
        described["x-roles"] = sorted(role.value for role in route.roles)
    return described


def is_in_words(model: object) -> bool:
    """Whether an answer of this form has a sentence in it."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        fields = model.model_fields
        return not _WORDS.isdisjoint(fields) or any(is_in_words(field.annotation) for field in fields.values())
    return any(is_in_words(argument) for argument in get_args(model))


_WORDS: Final = frozenset({"message", "detail"})
