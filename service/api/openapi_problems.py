"""The error answers of an operation as OpenAPI responses, each with an example for every problem that it may be."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC
from functools import cache

from pydantic import JsonValue

from service.api.i18n import Language, NextStep, next_steps, refusal_message, sentence
from service.api.openapi_texts import STATUS_TEXTS
from service.api.problems import MEDIA_TYPE, PROBLEMS, RETRY_AFTER_SECONDS, problem_body
from workflows.domain.enums import Anchor, Refusal
from workflows.domain.errors import Window
from workflows.domain.times import parse_rfc3339

Json = dict[str, JsonValue]

_OPENS, _CLOSES = "2026-11-01T08:30:00.000000Z", "2026-11-16T08:30:00.000000Z"
_CONTENT_LANGUAGE = "Content-Language"
_KEPT = frozenset({409, 422})  # refusals of the domain are kept under their idempotency key


def error_responses(slugs: Iterable[str], *, idempotent: bool) -> dict[str, JsonValue]:
    """Status -> response, in order of status."""
    by_status: dict[int, list[str]] = {}
    for slug in slugs:
        by_status.setdefault(PROBLEMS[slug].status, []).append(slug)
    return {str(status): _response(status, by_status[status], idempotent) for status in sorted(by_status)}


@cache
def problem_example(slug: str) -> Json:
    """The problem as the service itself would write it, about a made-up payment."""
    problem = PROBLEMS[slug]
    given = _members()
    members = {name: given[name] for name in problem.members}
    if slug == "partial-not-supported":
        members["next_steps"] = next_steps([NextStep.modifications], Language.en)
    detail = sentence("token", "expired", Language.en) if slug == "unauthenticated" else sentence("details", slug, Language.en, **members)
    body = problem_body(
        slug,
        detail=detail,
        instance="/v1/payments/pay_0b1f5c9e7d2a8e4f9a6b1c2d3e4f5061/cancellations",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        language=Language.en,
        members=members,
    )
    example: Json = json.loads(body)
    return example


def _response(status: int, slugs: list[str], idempotent: bool) -> Json:
    headers = [_CONTENT_LANGUAGE]
    if "unauthenticated" in slugs:
        headers.append("WWW-Authenticate")
    if not RETRY_AFTER_SECONDS.keys().isdisjoint(slugs):
        headers.append("Retry-After")
    if idempotent and status in _KEPT:
        headers.append("Idempotent-Replayed")
    names = ", ".join(f"`{slug}`" for slug in slugs)
    return {
        "description": f"{STATUS_TEXTS[status]} {names}",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/ProblemAnswer"},
                "examples": {slug: {"summary": sentence("titles", slug, Language.en), "value": problem_example(slug)} for slug in slugs},
            }
        },
    }


def _members() -> Mapping[str, object]:
    """A value for every member that some problem has."""
    window = Window(Anchor.completed_at, None, parse_rfc3339(_CLOSES))
    return {
        "cancellation_id": "can_019ab2f0c4d17e2f8a6b1c2d3e4f5062",
        "state": "refunded",
        "available_actions": [],
        "current_version": 7,
        "amount_refundable": 1250,
        "errors": [{"pointer": "/amount", "code": "below_minimum", "detail": "Must be at least 1."}],
        "refusal": Refusal.window_closed,
        "rule": "ask-the-merchant",
        "policy_version": "2026-11-a",
        "window": {"anchor": Anchor.completed_at, "opens_at": _OPENS, "closes_at": _CLOSES},
        "message": refusal_message(Refusal.window_closed, window, Language.en, UTC),
        "next_steps": next_steps([NextStep.contact_merchant, NextStep.contact_support], Language.en),
    }
