"""The problems that a route may answer with, for its `responses=`: each with an example, written by the service itself."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from service.api.i18n import Language, NextStep, next_steps, refusal_message, sentence
from service.api.problems import MEDIA_TYPE, PROBLEMS, RETRY_AFTER_SECONDS, fault_body, problem_body
from workflows.domain.enums import Anchor, Refusal
from workflows.domain.errors import Window
from workflows.domain.faults import Fault, FaultCode
from workflows.domain.times import parse_rfc3339

Json = dict[str, JsonValue]

_PAYMENT = "pay_0b1f5c9e7d2a8e4f9a6b1c2d3e4f5061"
_PATH = f"/v1/payments/{_PAYMENT}/cancellations"
_EXAMPLES = {
    "payment_id": _PAYMENT,
    "cancellation_id": "can_019ab2f0c4d17e2f8a6b1c2d3e4f5062",
    "refund_id": "rfd_019ab2f0c4d37e2f8a6b1c2d3e4f5063",
    "version": "2026-11-a",
    "slug": "not-found",
}
_OPENS, _CLOSES = "2026-11-01T08:30:00.000000Z", "2026-11-16T08:30:00.000000Z"


def problems(*slugs: str, path: str = "", in_query: bool = False) -> dict[int | str, dict[str, Any]]:
    """For `responses=`: status -> response, in order of status. `x-problems` names the slugs, for programs.

    `path` is the route's, `in_query`: its faults are found in the query, not in a body; both for the examples.
    """
    by_status: dict[int, list[str]] = {}
    for slug in slugs:
        by_status.setdefault(PROBLEMS[slug].status, []).append(slug)
    where = re.sub(r"\{(\w+)\}", lambda found: _EXAMPLES.get(found[1], "sandbox"), path)
    return {status: _response(status, by_status[status], where, in_query) for status in sorted(by_status)}


@cache
def problem_example(slug: str, language: Language = Language.en, *, path: str = _PATH, in_query: bool = False) -> Json:
    """The problem as the service itself would write it, about a made-up payment. One object for all: not to be changed."""
    problem = PROBLEMS[slug]
    given = _members(language, "/query/limit" if in_query else "/amount")
    members = {name: given[name] for name in problem.members}
    if slug == "partial-not-supported":
        members["next_steps"] = next_steps([NextStep.modifications], language)
    detail = sentence("token", "expired", language) if slug == "unauthenticated" else sentence("details", slug, language, **members)
    body = problem_body(
        slug,
        detail=detail,
        instance=path,
        trace_id="0af7651916cd43dd8448eb211c80319c",
        language=language,
        members=members,
    )
    example: Json = json.loads(body)
    return example


def _response(status: int, slugs: list[str], path: str, in_query: bool) -> dict[str, Any]:
    headers = ["Content-Language", "Request-Id"]
    if "unauthenticated" in slugs:
        headers.append("WWW-Authenticate")
    if not RETRY_AFTER_SECONDS.keys().isdisjoint(slugs):
        headers.append("Retry-After")
    names = ", ".join(f"`{slug}`" for slug in slugs)
    return {
        "description": f"{_STATUS_TEXTS[status]} {names}",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {
                    slug: {
                        "summary": sentence("titles", slug, Language.en),
                        "value": problem_example(slug, path=path or _PATH, in_query=in_query),
                    }
                    for slug in slugs
                },
            }
        },
        "x-problems": slugs,
    }


def _members(language: Language, pointer: str) -> Mapping[str, object]:
    """A value for every member that some problem has."""
    window = Window(Anchor.completed_at, None, parse_rfc3339(_CLOSES))
    return {
        "cancellation_id": "can_019ab2f0c4d17e2f8a6b1c2d3e4f5062",
        "state": "refunded",
        "available_actions": [],
        "current_version": 7,
        "amount_refundable": 1250,
        "errors": [fault_body(Fault(pointer, FaultCode.below_minimum, {"minimum": 1}), language)],
        "refusal": Refusal.window_closed,
        "rule": "ask-the-merchant",
        "policy_version": "2026-11-a",
        "window": {"anchor": Anchor.completed_at, "opens_at": _OPENS, "closes_at": _CLOSES},
        "message": refusal_message(Refusal.window_closed, window, language, ZoneInfo("Asia/Shanghai")),
        "next_steps": next_steps([NextStep.contact_merchant, NextStep.contact_support], language),
        "examples": [_HARM],
    }


_HARM: Final = {
    "pointer": "/rules/0",
    "request": {
        "state": "completed",
        "fulfilment": "none",
        "category": "general",
        "amount": 10000,
        "currency": "CNY",
        "role": "wallet",
        "channel": "app",
        "reason": "changed_mind",
        "sources": ["balance"],
        "authorised_at": _OPENS,
        "completed_at": _OPENS,
        "requested_at": _OPENS,
    },
    "policy": {"rule": "second-thoughts", "route": "automatic", "refusal": None, "window": None, "deadlines": {}},
    "rule": {
        "rule": "ask-us",
        "route": "merchant",
        "refusal": None,
        "window": None,
        "deadlines": {"merchant": {"length": "48 hours", "then": "agent"}},
    },
}
_STATUS_TEXTS: Final = {
    400: "The request is malformed, or lacks its idempotency key.",
    401: "There is no valid token.",
    403: "This role, or this person, may not do this.",
    404: "Not found, or not visible to this caller.",
    409: "The present state does not allow it.",
    412: "The resource has changed since the caller read it.",
    413: "The body is too large.",
    415: "The media type or coding of the body is not supported.",
    422: "The request is readable, but cannot be carried out.",
    429: "Too many requests.",
    503: "Temporarily unavailable. Sending the same request again under the same key is safe, and tells whether it was done.",
}
