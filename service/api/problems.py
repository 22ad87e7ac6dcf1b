"""How the service says no: RFC 9457 problems, from one table of slugs and one of exceptions.

Nothing that the caller sent is echoed, and every `detail` says what to do next. An exception that is in neither table is a fault of
ours and not handled here.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from service.api.i18n import Language, NextStep, fault_message, next_steps, refusal_message, sentence
from service.auth.tokens import KeysUnavailable, TokenFault, Unauthenticated
from workflows.domain import errors, ids
from workflows.domain.enums import Route
from workflows.domain.faults import Fault
from workflows.domain.model import MerchantEntry
from workflows.domain.policies.comparison import Comparison, HarsherRules
from workflows.domain.policies.facts import facts_data
from workflows.domain.policies.verdicts import Allowed, Verdict
from workflows.domain.times import rfc3339

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = {"rate-limited": 1, "unavailable": 2, "too-many-connections": 2, "idempotency-in-flight": 1}


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One way of saying no; `members` are those that it has beside the common ones, `sometimes` those that it has for some causes."""

    slug: str
    status: int
    members: tuple[str, ...] = ()
    sometimes: tuple[str, ...] = ()


_POLICY_MEMBERS = ("refusal", "rule", "policy_version", "window", "message", "next_steps", "cancellation_id")
PROBLEMS: dict[str, ProblemType] = {
    problem.slug: problem
    for problem in (
        ProblemType("malformed-request", 400),
        ProblemType("invalid-http", 400),
        ProblemType("idempotency-key-missing", 400),
        ProblemType("unauthenticated", 401),
        ProblemType("forbidden", 403),
        ProblemType("second-approver-required", 403),
        ProblemType("not-found", 404),
        ProblemType("method-not-allowed", 405),
        ProblemType("request-timeout", 408),
        ProblemType("body-too-large", 413),
        ProblemType("uri-too-long", 414),
        ProblemType("unsupported-media-type", 415),
        ProblemType("payment-reference-conflict", 409),
        ProblemType("client-reference-conflict", 409),
        ProblemType("policy-version-conflict", 409),
        ProblemType("cancellation-open", 409, ("cancellation_id",)),
        ProblemType("invalid-state", 409, ("state", "available_actions")),
        ProblemType("payment-disputed", 409),
        ProblemType("wallet-frozen", 409),
        ProblemType("idempotency-in-flight", 409),
        ProblemType("version-mismatch", 412, ("current_version",)),
        ProblemType("refundable-amount-changed", 412, ("amount_refundable",)),
        ProblemType("validation-failed", 422, ("errors",)),
        ProblemType("harsher-rule", 422, ("errors", "examples")),
        ProblemType("idempotency-key-reused", 422),
        ProblemType("policy-refused", 422, _POLICY_MEMBERS),
        ProblemType("amount-exceeds-refundable", 422, ("amount_refundable",)),
        ProblemType("currency-mismatch", 422),
        ProblemType("partial-not-supported", 422, ("next_steps",)),
        ProblemType("rate-limited", 429, sometimes=("limit",)),
        ProblemType("headers-too-large", 431),
        ProblemType("too-many-connections", 503),
        ProblemType("unavailable", 503),
    )
}

# What each exception is called here; the data that some carry is told in `_members`.
_SLUGS: dict[type[Exception], str] = {
    errors.InvalidState: "invalid-state",
    errors.CancellationOpen: "cancellation-open",
    errors.PaymentDisputed: "payment-disputed",
    errors.WalletFrozen: "wallet-frozen",
    errors.PaymentReferenceConflict: "payment-reference-conflict",
    errors.ClientReferenceConflict: "client-reference-conflict",
    errors.PolicyVersionConflict: "policy-version-conflict",
    HarsherRules: "harsher-rule",
    errors.PolicyRefused: "policy-refused",
    errors.AmountExceedsRefundable: "amount-exceeds-refundable",
    errors.CurrencyMismatch: "currency-mismatch",
    errors.PartialNotSupported: "partial-not-supported",
    errors.NotFound: "not-found",
    errors.Forbidden: "forbidden",
    errors.SecondApproverRequired: "second-approver-required",
    errors.AgentLimitReached: "rate-limited",
    errors.TooManyRequests: "rate-limited",
    errors.SimulationRunning: "rate-limited",
    errors.TermsBusy: "rate-limited",
    errors.VersionMismatch: "version-mismatch",
    errors.RefundableAmountChanged: "refundable-amount-changed",
    errors.Invalid: "validation-failed",
    errors.IdempotencyKeyReused: "idempotency-key-reused",
    errors.IdempotencyInFlight: "idempotency-in-flight",
    errors.Unavailable: "unavailable",
    errors.Overloaded: "unavailable",
    Unauthenticated: "unauthenticated",
    KeysUnavailable: "unavailable",
}


class RequestProblem(Exception):
    """A no of the border itself, before the domain was asked. `allow`: the methods of a 405; `headers`: further ones of the answer."""

    def __init__(
        self,
        slug: str,
        *,
        members: Mapping[str, object] | None = None,
        retry_after_seconds: int | None = None,
        allow: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(slug)
        self.problem = PROBLEMS[slug]
        self.members = dict(members or {})
        self.retry_after_seconds = retry_after_seconds
        self.allow = tuple(allow)
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class ProblemReply:
    """What goes over the wire."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Available = Callable[[Iterable[str]], list[str]]  # of the steps that a state allows, those that the caller may take


def _nothing(_: Iterable[str]) -> list[str]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """To whom a no is told: in which language, in whose local time, what they may do instead, and which merchant they may ask."""

    language: Language
    zone: tzinfo = UTC
    available: Available = _nothing
    merchant: MerchantEntry | None = None


def problem_for(error: Exception, listener: Listener, *, instance: str, trace_id: str) -> ProblemReply | None:
    """The reply to a refusal, or None where the exception is no refusal."""
    slug = error.problem.slug if isinstance(error, RequestProblem) else _SLUGS.get(type(error))
    if slug is None:
        return None
    language = listener.language
    members = _members(error, listener)
    detail = _detail(slug, error, members, language)
    body = problem_body(slug, detail=detail, instance=instance, trace_id=trace_id, language=language, members=members)
    return ProblemReply(PROBLEMS[slug].status, body, _headers(slug, error, language))


def problem_body(
    slug: str,
    *,
    detail: str,
    instance: str,
    trace_id: str,
    language: Language,
    members: Mapping[str, object],
) -> bytes:
    document = {
        "type": f"/problems/{slug}",
        "title": sentence("titles", slug, language),
        "status": PROBLEMS[slug].status,
        "detail": detail,
        "instance": instance,
        "code": slug,
        "trace_id": trace_id,
        **members,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def _members(error: Exception, listener: Listener) -> dict[str, object]:
    members: dict[str, object] = {}
    match error:
        case RequestProblem():
            members = _told(error.members, listener.language)
        case errors.InvalidState():
            members = {"state": error.state, "available_actions": listener.available(error.available_actions)}
        case errors.CancellationOpen():
            members = {"cancellation_id": ids.public("can", error.cancellation_id)}
        case errors.PolicyRefused():
            members = _policy_members(error, listener)
        case errors.AmountExceedsRefundable() | errors.RefundableAmountChanged():
            members = {"amount_refundable": error.amount_refundable}
        case errors.PartialNotSupported():
            members = {"next_steps": next_steps([NextStep.modifications], listener.language)}
        case errors.AgentLimitReached():
            members = {"limit": error.limit}
        case errors.VersionMismatch():
            members = {"current_version": error.current_version}
        case errors.Invalid():
            members = {"errors": [fault_body(error.fault, listener.language)]}
        case HarsherRules():
            examples = [_harm(f"/rules/{rule.position}", one) for rule in error.rules for one in rule.examples]
            members = {"errors": [fault_body(one, listener.language) for one in error.faults], "examples": examples}
    return members


def _told(members: dict[str, object], language: Language) -> dict[str, object]:
    """The members with their faults in the caller's language."""
    found = members.get("errors")
    if not isinstance(found, list):
        return members
    return members | {"errors": [fault_body(one, language) for one in found]}


def fault_body(fault: Fault, language: Language) -> dict[str, str]:
    """One of a problem's `errors`."""
    return {"pointer": fault.pointer, "code": fault.code.value, "detail": fault_message(fault, language)}


def _harm(pointer: str, compared: Comparison) -> dict[str, object]:
    """A customer whom a rule would have harmed, and what either says."""
    told = facts_data(compared.facts)
    request = {name: told[name] for name in _OF_A_REQUEST}
    moments = {name: at for name, at in told["anchors"].items() if at is not None}
    return {
        "pointer": pointer,
        "request": {**request, **moments, "requested_at": rfc3339(compared.at)},
        "policy": _verdict(compared.by_policy),
        "rule": _verdict(compared.by_rule),
    }


_OF_A_REQUEST = ("state", "fulfilment", "category", "amount", "currency", "role", "channel", "reason", "sources")


def _verdict(verdict: Verdict) -> dict[str, object]:
    route, refusal = (verdict.route, None) if isinstance(verdict, Allowed) else (None, verdict.refusal)
    return {"rule": verdict.rule, "route": route, "refusal": refusal, "window": _window(verdict.window), "deadlines": _deadlines(verdict)}


def _deadlines(verdict: Verdict) -> dict[str, object]:
    """Of those who have to act: the merchant, or who sends goods back and who looks at them."""
    if not isinstance(verdict, Allowed):
        return {}
    clocks = verdict.deadlines
    by_route = {
        Route.merchant: {"merchant": clocks.merchant},
        Route.return_: {"return": clocks.return_, "inspection": clocks.inspection},
    }
    return {name: {"length": str(clock.length), "then": clock.then} for name, clock in by_route.get(verdict.route, {}).items()}


def _policy_members(error: errors.PolicyRefused, listener: Listener) -> dict[str, object]:
    return {
        "refusal": error.refusal,
        "rule": error.rule,
        "policy_version": error.policy_version,
        "window": _window(error.window),
        "message": refusal_message(error.refusal, error.window, listener.language, listener.zone),
        "next_steps": next_steps(error.next_steps, listener.language, listener.merchant),
        "cancellation_id": None if error.cancellation_id is None else ids.public("can", error.cancellation_id),
    }


def _window(window: errors.Window | None) -> dict[str, str | None] | None:
    if window is None:
        return None
    return {"anchor": window.anchor, "opens_at": _instant(window.opens_at), "closes_at": _instant(window.closes_at)}


def _instant(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def _detail(slug: str, error: Exception, members: Mapping[str, object], language: Language) -> str:
    if isinstance(error, Unauthenticated):
        return sentence("token", error.detail, language)
    if slug == "unauthenticated":
        return sentence("token", TokenFault.missing, language)
    if isinstance(error, errors.AgentLimitReached):
        return sentence("agent_limit", "amount_alone" if error.alone else error.limit, language)
    if isinstance(error, errors.SimulationRunning):
        return sentence("busy", "simulation", language)
    if isinstance(error, errors.TermsBusy):
        return sentence("busy", "terms", language)
    if isinstance(error, errors.Overloaded):
        return sentence("busy", "service", language)
    if isinstance(error, errors.TooManyRequests):
        return sentence("busy", "payment", language)
    return sentence("details", slug, language, **members)


def _headers(slug: str, error: Exception, language: Language) -> dict[str, str]:
    headers = {"content-type": MEDIA_TYPE, "content-language": language.value, "vary": "Accept-Language"}
    if slug == "unauthenticated":
        headers["www-authenticate"] = _challenge(error)
    if slug in RETRY_AFTER_SECONDS:
        told = error.retry_after_seconds if isinstance(error, _SAY_WHEN) else None
        headers["retry-after"] = str(RETRY_AFTER_SECONDS[slug] if told is None else max(1, told))
    if isinstance(error, RequestProblem):
        headers |= error.headers
    if isinstance(error, RequestProblem) and error.allow:
        headers["allow"] = ", ".join(error.allow)
    return headers


_SAY_WHEN = (
    RequestProblem,
    errors.AgentLimitReached,
    errors.SimulationRunning,
    errors.TermsBusy,
    errors.Overloaded,
    errors.TooManyRequests,
)


def _challenge(error: Exception) -> str:
    """RFC 6750, section 3.1: who sent no token is told the scheme only."""
    if not isinstance(error, Unauthenticated) or error.detail in (TokenFault.missing, TokenFault.not_bearer):
        return "Bearer"
    return f'Bearer error="invalid_token", error_description="{sentence("token", error.detail, Language.en)}"'


def slug_of(error: Exception) -> str:
    """What a refusal is called; KeyError where the exception is none."""
    return _SLUGS[type(error)]


def problem_detail(error: Exception, language: Language) -> tuple[str, str]:
    """A refusal as a code and a sentence, for a line of a report."""
    reply = problem_for(error, Listener(language=language), instance="", trace_id="")
    if reply is None:
        raise error
    told = json.loads(reply.body)
    errors_ = told.get("errors") or []
    where = "; ".join(": ".join(filter(None, (one["pointer"], one["detail"]))) for one in errors_[:3])
    return told["code"], where or told["detail"]
