"""The OpenAPI document: FastAPI's, with what no route says of itself: the introduction, shared parameters and headers, the token."""

import json
import re
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service import VERSION
from service.api.context import KEY_EXAMPLE
from service.api.models.operations import Problem

Json = dict[str, Any]

INTRODUCTION: Final = """\
Refundry cancels and refunds payments of a digital wallet. It says what may still be cancelled, who decides, and where the money is.

**Money** is an integer in the currency's minor unit (ISO 4217: JPY 0 digits, CNY 2, KWD 3) beside `currency`. Integers are written without
point or exponent: `100`, never `100.0` or `1e2`.
**Times** are RFC 3339 in UTC with `Z`. **Ids** are a prefix and 32 lowercase hex digits: `pay_ can_ rfd_ leg_ ano_ rec_`.

**Pseudonyms.** `wallet_id`, `merchant_id`, `funder`, `client_reference`, `ticket` and the token's `sub` stand in records that can never
be erased: send pseudonyms, never names, telephone numbers or e-mail addresses.

**Once only.** A call that asks for an `Idempotency-Key` may be sent again with the same key after any lost answer: the first answer comes
back byte for byte, with `Idempotent-Replayed: true`. A key belongs to the caller and the payment (or the collection), and is kept for
30 days. Answers of success and the refusals 409 and 422 of the domain are kept; authentication, validation, 412, 429 and 503 are not. The
same key with another request is 422 `idempotency-key-reused`; while the first is still running, the second waits up to 5 seconds and is
then answered 409 `idempotency-in-flight`.

**Versions.** Payments, cancellations and anomalies carry an `ETag`; with `If-Match` a step is done only while the resource has one of
the versions named, else 412. With `If-None-Match` a resource that still has this version is answered 304.

**Errors** are RFC 9457 problems. `type` leads to a page that explains it; `Accept-Language: zh-CN` or `en` chooses the language of
`title`, `detail` and `message`. Checks come in this order: 401; 403 by role; 404; 413, 415, 400; the idempotency key; 422 of the body;
the kept answer; the same `client_reference`; 412; 409; what the amounts and the policy say.

**Limits.** A body has at most 256 KiB; the import has any length, and each of its lines at most 256 KiB. A page of a list has at most 200
entries. Members and query parameters that are not known here are refused. A moment may lie at most 5 minutes in the future.

**What may grow.** Answers may get new members, and lists of words such as the types of records new words: ignore what you do not know.
"""

TAGS: Final = {
    "payments": "Money that went from a wallet to a merchant: registered here, so that it can be undone.",
    "cancellations": "The request to undo all or part of a payment, and everything that becomes of it.",
    "refunds": "Money on its way back, in one leg per funding source.",
    "anomalies": "Words of a rail that no transition allows: kept, shown, and resolved by people.",
    "records": "The audit trail: one chain of hashes per payment, never changed, never removed.",
    "policies": "The rules that decide, as data: versioned, never changed once published.",
    "terms": "What a customer could do about a payment, told before it is made.",
    "merchants": "Who they are, how customers reach them, and their own terms.",
    "service": "The service itself.",
}


def document(app: FastAPI) -> Json:
    """The document of this application; made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title="Refundry",
            version=VERSION,
            description=INTRODUCTION,
            routes=app.routes,
            tags=[{"name": name, "description": text} for name, text in TAGS.items()],
            servers=[{"url": "/"}],
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        )
        components = made.setdefault("components", {})
        components["schemas"] = _tidied(components.get("schemas", {}) | _problem_schemas())
        components |= {"parameters": _PARAMETERS, "headers": _HEADERS, "securitySchemes": {"bearerAuth": _TOKEN}}
        made["security"] = [{"bearerAuth": []}]
        for path in made["paths"].values():
            for operation in path.values():
                operation["responses"] = _without_fastapis_own(operation["responses"])
                for media in operation.get("requestBody", {}).get("content", {}).values():
                    media["schema"].pop("default", None)  # of a body that may be left out
                operation["parameters"] = [_quiet_parameter(one) for one in operation["parameters"]]
        _describe_links(made["paths"])
        components["schemas"] = _used(components["schemas"], made["paths"])
        app.openapi_schema = made
    return app.openapi_schema


def document_bytes(app: FastAPI) -> bytes:
    return json.dumps(document(app), ensure_ascii=False, separators=(",", ":")).encode()


def _problem_schemas() -> Json:
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    return {**schema.pop("$defs", {}), "Problem": schema}


def _without_fastapis_own(responses: Json) -> Json:
    """FastAPI adds its form of 422 to whatever has a parameter; ours are problems."""
    return {status: one for status, one in responses.items() if "HTTPValidationError" not in json.dumps(one)}


def _describe_links(paths: Json) -> None:
    """Each link says what it leads to: the summary of its operation."""
    operations = [operation for path in paths.values() for operation in path.values()]
    summaries = {operation["operationId"]: operation["summary"] for operation in operations}
    for operation in operations:
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                link["description"] = f"{summaries[link['operationId']]}."


def _used(schemas: Json, paths: Json) -> Json:
    """Those that some path leads to: FastAPI also writes down types that only read a parameter."""
    used, text = set[str](), json.dumps(paths)
    while new := set(_REFERENCE.findall(text)) - used:
        used |= new
        text = json.dumps([schemas[name] for name in new])
    return {name: schemas[name] for name in sorted(used)}


_REFERENCE: Final = re.compile(r'"#/components/schemas/([^"]+)"')


def _tidied(schemas: Json) -> Json:
    """Without titles that repeat the name, and without `default: null`, which makes an optional member required for some generators."""
    return {name: _quiet(schema) for name, schema in schemas.items() if name not in ("HTTPValidationError", "ValidationError")}


def _quiet(schema: Json) -> Json:
    made = {key: value for key, value in schema.items() if key not in ("title", "example")}  # an example stands with the body
    if "properties" in made:
        made["properties"] = {name: _quiet_member(member) for name, member in made["properties"].items()}
    return made


def _quiet_member(member: Json) -> Json:
    return {key: value for key, value in member.items() if key != "title" and (key, value) != ("default", None)}


def _quiet_parameter(parameter: Json) -> Json:
    """A parameter that says nothing is left out, never null."""
    if "schema" not in parameter:
        return parameter
    schema = _quiet_member(parameter["schema"])
    options = [one for one in schema.pop("anyOf", ()) if one != {"type": "null"}]
    if len(options) == 1:
        schema |= options[0]
    elif options:
        schema["anyOf"] = options
    description = parameter.get("description") or schema.get("description", "")
    schema.pop("description", None)
    return {**parameter, "description": description, "schema": schema}


def _header(description: str, schema: Json, *, required: bool = False) -> Json:
    return {"description": description, "required": required, "schema": schema}


_TAG: Final = '"(0|[1-9][0-9]{0,17})"'
_TOKEN: Final[Json] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "EdDSA, ES256 or RS256. Claims: `iss`, `aud`, `exp`, `sub` (a pseudonym), `role`, and `merchant_id` for a merchant.",
}
_PARAMETERS: Final[Json] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "A new one for each new intent, the same one for each repetition: 1 to 255 visible ASCII characters, bare, or "
        'quoted as RFC 8941 has it (then a `"` or `\\` inside is written with a `\\` before it).',
        "schema": {"type": "string", "pattern": "^[!#-~][!-~]{0,254}$", "examples": [KEY_EXAMPLE]},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "description": "The `ETag` that the caller saw, several of them, or `*`. Another version is 412 `version-mismatch`; what is no "
        "entity tag is 400.",
        "schema": {"type": "string", "pattern": rf"^(\*|{_TAG}(, ?{_TAG})*)$"},
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The `ETag` that the caller has: 304 without a body where the resource still has that version. What depends on the "
        "moment, the caller or the language (`available_actions`, `message`, `refundable_until`) may differ all the same.",
        "schema": {"type": "string"},
    },
    "AcceptLanguage": {
        "name": "Accept-Language",
        "in": "header",
        "required": False,
        "description": "`zh-CN` or `en`; English for all else.",
        "schema": {"type": "string"},
    },
}
_HEADERS: Final[Json] = {
    "Location": _header("The resource.", {"type": "string", "format": "uri-reference"}, required=True),
    "ETag": _header("The resource's `version`, for `If-Match`.", {"type": "string", "pattern": f"^{_TAG}$"}, required=True),
    "Idempotent-Replayed": _header("`true` where this is the first answer again.", {"type": "string", "const": "true"}),
    "Content-Language": _header("The language of `title`, `detail` and `message`.", {"type": "string", "enum": ["en", "zh-CN"]}),
    "Vary": _header("The answer depends on the language asked for.", {"type": "string"}),
    "Request-Id": _header("Names the call in our logs and records.", {"type": "string", "pattern": "^[0-9a-f]{32}$"}, required=True),
    "WWW-Authenticate": _header("The challenge (RFC 6750).", {"type": "string", "pattern": "^Bearer"}, required=True),
    "Retry-After": _header("Seconds to wait before trying again.", {"type": "string", "pattern": "^[1-9][0-9]*$"}),
}
