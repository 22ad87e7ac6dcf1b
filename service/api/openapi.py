"""The interface as an OpenAPI 3.1 document, made of the one table of operations and of the models that requests are read with."""

import re
from functools import cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api import examples
from service.api.answer_models import ProblemAnswer
from service.api.forms import CSV_TYPE, FORMS, HTML_TYPE, TEXT_TYPE, Form
from service.api.openapi_problems import error_responses
from service.api.openapi_schemas import RULES, sharpened, tidied
from service.api.openapi_texts import DESCRIPTIONS, INTRODUCTION, TAGS, TITLE
from service.api.problems import PROBLEMS
from service.api.queries import openapi_parameters
from service.api.reading import JSON_TYPE, NDJSON_TYPE
from service.api.rights import OPERATIONS, Operation

__all__ = ["FORMS", "Form", "document"]

Json = dict[str, Any]  # JSON, as OpenAPI tools take it

_REF: Final = "#/components/schemas/{model}"
_BEARER: Final = "bearerAuth"
_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")
_PAYMENT_LINKS: Final = (
    "get_payment",
    "get_eligibility",
    "list_payment_records",
    "complete_payment",
    "fail_payment",
    "modify_payment",
    "change_fulfilment",
    "request_cancellation",
)


@cache
def document(*, version: str, description: str = INTRODUCTION) -> Json:
    """The document of this `version` of the service. One object for all callers: not to be changed."""
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, FORMS[operation.name])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": version,
            "description": description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "security": [{_BEARER: []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "securitySchemes": {_BEARER: _SECURITY_SCHEME},
        },
    }


def _operation(operation: Operation, form: Form) -> Json:
    told: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": _description(operation),
        "security": [] if operation.roles is None else [{_BEARER: []}],
    }
    if operation.roles is not None:
        told["x-roles"] = sorted(role.value for role in operation.roles)
    if parameters := _parameters(operation, form):
        told["parameters"] = parameters
    if (body := _request_body(operation, form)) is not None:
        told["requestBody"] = body
    told["responses"] = {
        **{str(status): _success(operation, form, status) for status in form.statuses},
        **error_responses(operation.answers, idempotent=operation.idempotent),
    }
    if operation.name == "readyz":  # not ready is an answer, not a problem
        told["responses"]["503"]["content"][JSON_TYPE] = _content(form, JSON_TYPE)
    return told


def _description(operation: Operation) -> str:
    if operation.roles is None:
        return DESCRIPTIONS[operation.name] + "\n\nNeeds no token."
    return DESCRIPTIONS[operation.name] + f"\n\nRoles: {', '.join(sorted(role.value for role in operation.roles))}."


def _parameters(operation: Operation, form: Form) -> list[Json]:
    named = _PARAMETER.findall(operation.path)
    if operation.idempotent:
        named.append("IdempotencyKey")
    if operation.if_match:
        named.append("IfMatch")
    if operation.name == "provider_notifications":
        named.append("SandboxSignature")
    named.append("AcceptLanguage")
    query: list[Json] = [dict(one) for one in openapi_parameters(form.query)]
    return [*({"$ref": f"#/components/parameters/{name}"} for name in named), *map(sharpened, query)]


def _request_body(operation: Operation, form: Form) -> Json | None:
    if operation.method != "POST":
        return None
    if form.body is not None:
        required = any(field.is_required() for field in form.body.model_fields.values())
        media: Json = {"schema": _ref(form.body), "example": _example(form.body)}
        return {"required": required, "content": {JSON_TYPE: media}}
    if form.body_type == NDJSON_TYPE:
        return {"required": True, "content": {NDJSON_TYPE: {"schema": {"type": "string"}, "example": _NDJSON}}}
    return {"required": True, "content": {JSON_TYPE: {"schema": {"type": "object", "description": "Whatever the rail sends."}}}}


def _success(operation: Operation, form: Form, status: int) -> Json:
    made = 201 in form.statuses
    headers: Json = {}
    if made:
        headers["Location"] = {"$ref": "#/components/headers/Location"}
    if form.etag:
        headers["ETag"] = {"$ref": "#/components/headers/ETag"}
    if operation.idempotent:
        headers["Idempotent-Replayed"] = {"$ref": "#/components/headers/Idempotent-Replayed"}
    response: Json = {"description": _success_text(made, status), "content": {kind: _content(form, kind) for kind in form.media_types}}
    if headers:
        response["headers"] = headers
    if links := _links(operation.name):
        response["links"] = links
    return response


def _success_text(made: bool, status: int) -> str:
    if status == 201:
        return "Made now."
    return "It was there already, with the same content." if made else "Done."


def _content(form: Form, kind: str) -> Json:
    if kind in (TEXT_TYPE, HTML_TYPE, NDJSON_TYPE, CSV_TYPE):
        return {"schema": {"type": "string"}}
    return {"schema": {"type": "object"} if form.answer is None else _ref(form.answer)}


def _links(name: str) -> Json:
    """Where the answer leads: what may be called next with what it holds."""
    return {one["operationId"]: one for one in (_link(target, parameters) for target, parameters in _next(name))}


def _next(name: str) -> list[tuple[str, dict[str, str]]]:
    itself = "$response.body#/id"
    if name == "register_payment":
        return [*((target, {"payment_id": itself}) for target in _PAYMENT_LINKS), ("list_cancellations", {"query.payment_id": itself})]
    if name == "request_cancellation":
        return [
            ("get_cancellation", {"cancellation_id": itself}),
            ("withdraw_cancellation", {"cancellation_id": itself}),
            ("list_refunds", {"query.cancellation_id": itself}),
            ("get_payment", {"payment_id": "$response.body#/payment_id"}),
        ]
    if name == "get_cancellation":
        return [("get_refund", {"refund_id": "$response.body#/refund/id"}), ("get_payment", {"payment_id": "$response.body#/payment_id"})]
    if name == "list_policies":
        return [("get_policy", {"version": "$response.body#/data/0/version"})]
    return []


def _link(target: str, parameters: dict[str, str]) -> Json:
    return {"operationId": target, "parameters": parameters}


@cache
def _schemas() -> Json:
    models: set[type[BaseModel]] = {ProblemAnswer}
    for form in FORMS.values():
        models |= {model for model in (form.body, form.answer) if model is not None}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, made = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    return {name: {**tidied(sharpened(schema)), **RULES.get(name, {})} for name, schema in sorted(made["$defs"].items())}


@cache
def _names() -> dict[type[BaseModel], str]:
    """The component that each model became."""
    models = {model for form in FORMS.values() for model in (form.body, form.answer) if model is not None}
    where, _ = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    return {key[0]: str(schema["$ref"]) for key, schema in where.items() if issubclass(key[0], BaseModel)}


def _ref(model: type[BaseModel]) -> Json:
    return {"$ref": _names()[model]}


def _example(model: type[BaseModel]) -> object:
    extra = model.model_config.get("json_schema_extra")
    return extra["example"] if isinstance(extra, dict) else {}


def _header(description: str, schema: Json, *, required: bool = False) -> Json:
    return {"description": description, "required": required, "schema": schema}


def _in_path(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _in_header(name: str, description: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": "header", "required": required, "description": description, "schema": schema}


def _text(pattern: str, **more: object) -> Json:
    return {"type": "string", "pattern": pattern, **more}


_SECURITY_SCHEME: Final[Json] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "EdDSA, ES256 or RS256. Claims: `iss`, `aud`, `exp`, `sub` (a pseudonym), `role`, and `merchant_id` for a merchant.",
}
_NDJSON: Final = (
    '{"reference":"order-1","wallet_id":"wallet-17850","merchant_id":"north-bakery","amount":1250,"currency":"CNY"}\n'
    '{"reference":"order-2","wallet_id":"wallet-17850","merchant_id":"north-bakery","amount":800,"currency":"CNY"}\n'
)
_TAG: Final = '"(0|[1-9][0-9]{0,17})"'
_PARAMETERS: Final[Json] = {
    "payment_id": _in_path("payment_id", "The payment's id.", _text("^pay_[0-9a-f]{32}$", example=examples.PAYMENT["id"])),
    "cancellation_id": _in_path(
        "cancellation_id", "The cancellation's id.", _text("^can_[0-9a-f]{32}$", example=examples.CANCELLATION["id"])
    ),
    "refund_id": _in_path("refund_id", "The refund's id.", _text("^rfd_[0-9a-f]{32}$", example=examples.REFUND["id"])),
    "version": _in_path("version", "The policy's version.", _text("^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$", example="2026-11-a")),
    "slug": _in_path("slug", "The problem's `code`.", {"type": "string", "enum": list(PROBLEMS)}),
    "provider": _in_path("provider", "The rail.", _text("^[a-z][a-z0-9_]{0,31}$", example="sandbox")),
    "IdempotencyKey": _in_header(
        "Idempotency-Key",
        "A new one for each new intent, the same one for each repetition: 1 to 255 visible ASCII characters, bare, or quoted as RFC 8941 "
        'has it (then a `"` or `\\` inside is written with a `\\` before it).',
        _text("^[!#-~][!-~]{0,254}$", example="5f0c8c1e-2f64-4b19-9f4e-0f6f8f0c2a11"),
        required=True,
    ),
    "IfMatch": _in_header(
        "If-Match",
        "The `ETag` that the caller saw, or `*`. Another version, and any other text, is 412 `version-mismatch`.",
        {"type": "string"},  # no text is refused for its form: it is only a version that nothing has
    ),
    "AcceptLanguage": _in_header("Accept-Language", "`zh-CN` or `en`; English for all else.", {"type": "string"}),
    "SandboxSignature": _in_header(
        "Refundry-Sandbox-Signature", "The sandbox rail's signature over the body; without a good one: 401.", {"type": "string"}
    ),
}
_HEADERS: Final[Json] = {
    "Location": _header("The resource.", {"type": "string", "format": "uri-reference"}, required=True),
    "ETag": _header("The resource's `version`, for `If-Match`.", _text(f"^{_TAG}$"), required=True),
    "Idempotent-Replayed": _header("`true` where this is the first answer again.", {"type": "string", "const": "true"}),
    "Content-Language": _header("The language of `title`, `detail` and `message`.", {"type": "string", "enum": ["en", "zh-CN"]}),
    "WWW-Authenticate": _header("The challenge (RFC 6750).", _text("^Bearer"), required=True),
    "Retry-After": _header("Seconds to wait before trying again.", _text("^[1-9][0-9]*$")),
}
