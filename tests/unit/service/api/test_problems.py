"""How the service says no: every refusal has its slug, status, members and headers, and no answer echoes what was sent."""

import inspect
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from service.api.i18n import Language
from service.api.problems import PROBLEMS, Listener, ProblemReply, RequestProblem, problem_body, problem_for
from service.auth.tokens import KeysUnavailable, TokenFault, Unauthenticated
from workflows.domain import errors
from workflows.domain.agent_limits import AgentLimit
from workflows.domain.enums import Anchor, Refusal
from workflows.domain.faults import Fault, FaultCode

# Written down a second time by hand: status by slug.
STATUSES = {
    "malformed-request": 400,
    "invalid-http": 400,
    "idempotency-key-missing": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "second-approver-required": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "request-timeout": 408,
    "body-too-large": 413,
    "uri-too-long": 414,
    "unsupported-media-type": 415,
    "payment-reference-conflict": 409,
    "client-reference-conflict": 409,
    "policy-version-conflict": 409,
    "harsher-rule": 422,
    "cancellation-open": 409,
    "invalid-state": 409,
    "payment-disputed": 409,
    "wallet-frozen": 409,
    "idempotency-in-flight": 409,
    "version-mismatch": 412,
    "refundable-amount-changed": 412,
    "validation-failed": 422,
    "idempotency-key-reused": 422,
    "policy-refused": 422,
    "amount-exceeds-refundable": 422,
    "currency-mismatch": 422,
    "partial-not-supported": 422,
    "rate-limited": 429,
    "headers-too-large": 431,
    "too-many-connections": 503,
    "unavailable": 503,
}
COMMON = ["type", "title", "status", "detail", "instance", "code", "trace_id"]
CAN = UUID("019aa8c0-4e5b-7c3d-9f10-a2b3c4d5e6f7")
AT = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
REFUSED = errors.PolicyRefused(
    refusal=Refusal.window_closed,
    rule="ask-the-merchant",
    policy_version="2026-11-a",
    window=errors.Window(Anchor.completed_at, AT - timedelta(days=15), AT),
    next_steps=("contact_merchant", "contact_support"),
    cancellation_id=CAN,
)
_CASES: list[tuple[Exception, str, dict[str, object]]] = [
    (
        errors.InvalidState("refunded", ("withdraw", "timeout")),
        "invalid-state",
        {"state": "refunded", "available_actions": ["withdraw"]},
    ),
    (errors.CancellationOpen(CAN), "cancellation-open", {"cancellation_id": f"can_{CAN.hex}"}),
    (errors.PaymentDisputed(), "payment-disputed", {}),
    (errors.WalletFrozen(), "wallet-frozen", {}),
    (errors.PaymentReferenceConflict(), "payment-reference-conflict", {}),
    (errors.ClientReferenceConflict(), "client-reference-conflict", {}),
    (errors.PolicyVersionConflict(), "policy-version-conflict", {}),
    (
        REFUSED,
        "policy-refused",
        {
            "refusal": "window-closed",
            "rule": "ask-the-merchant",
            "policy_version": "2026-11-a",
            "window": {
                "anchor": "completed_at",
                "opens_at": "2026-11-10T10:30:00.000000Z",
                "closes_at": "2026-11-25T10:30:00.000000Z",
            },
            "message": "The time to cancel this payment ended on 25 November 2026 at 18:30 (Beijing time).",
            "next_steps": [
                {
                    "action": "contact_merchant",
                    "message": "Please contact the merchant, who may still be able to help you.",
                    "contact": None,
                },
                {"action": "contact_support", "message": "Please contact our customer support. We are happy to help.", "contact": None},
            ],
            "cancellation_id": f"can_{CAN.hex}",
        },
    ),
    (errors.AmountExceedsRefundable(1250), "amount-exceeds-refundable", {"amount_refundable": 1250}),
    (errors.CurrencyMismatch(), "currency-mismatch", {}),
    (
        errors.PartialNotSupported(),
        "partial-not-supported",
        {
            "next_steps": [
                {"action": "modifications", "message": "Lower the payment's amount with a modification instead.", "contact": None}
            ]
        },
    ),
    (errors.NotFound(), "not-found", {}),
    (errors.Forbidden(), "forbidden", {}),
    (errors.SecondApproverRequired(), "second-approver-required", {}),
    (errors.AgentLimitReached(AgentLimit.amount_per_day, 42), "rate-limited", {"limit": "amount_per_day"}),
    (errors.SimulationRunning(), "rate-limited", {}),
    (errors.TermsBusy(), "rate-limited", {}),
    (errors.VersionMismatch(7), "version-mismatch", {"current_version": 7}),
    (errors.RefundableAmountChanged(0), "refundable-amount-changed", {"amount_refundable": 0}),
    (
        errors.Invalid("/at", FaultCode.in_future),
        "validation-failed",
        {"errors": [{"pointer": "/at", "code": "in_future", "detail": "Must not be in the future."}]},
    ),
    (errors.IdempotencyKeyReused(), "idempotency-key-reused", {}),
    (errors.IdempotencyInFlight(), "idempotency-in-flight", {}),
    (errors.Overloaded(2), "unavailable", {}),
    (errors.TooManyRequests(3600), "rate-limited", {}),
    (errors.Unavailable(), "unavailable", {}),
    (Unauthenticated(TokenFault.expired), "unauthenticated", {}),
    (KeysUnavailable(), "unavailable", {}),
]
RAISED = {type(error): (error, slug, members) for error, slug, members in _CASES}


def for_wallet(actions: Iterable[str]) -> list[str]:
    return [action for action in actions if action in ("complete", "withdraw")]


def reply_to(error: Exception, language: Language = Language.en) -> ProblemReply:
    reply = problem_for(error, Listener(language=language, zone=SHANGHAI, available=for_wallet), instance="/v1/payments", trace_id="4bf9")
    assert reply is not None
    return reply


def test_the_table_is_the_expected_one() -> None:
    assert {slug: problem.status for slug, problem in PROBLEMS.items()} == STATUSES


def test_every_refusal_of_the_domain_is_told() -> None:
    """Refused is only a family's name, and a lost lease is a matter among workers."""
    refusals = {
        found
        for _, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, errors.RefundryError) and found not in (errors.RefundryError, errors.Refused, errors.LeaseLost)
    }

    assert refusals <= set(RAISED)


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("kind", list(RAISED), ids=lambda kind: kind.__name__)
def test_each_refusal_has_its_status_and_members(kind: type[Exception], language: Language) -> None:
    error, slug, members = RAISED[kind]

    reply = reply_to(error, language)
    body = json.loads(reply.body)

    assert reply.status == body["status"] == STATUSES[slug]
    assert list(body) == [*COMMON, *members]
    assert (body["type"], body["code"], body["instance"], body["trace_id"]) == (f"/problems/{slug}", slug, "/v1/payments", "4bf9")
    assert set(PROBLEMS[slug].members) <= set(members) <= {*PROBLEMS[slug].members, *PROBLEMS[slug].sometimes}
    assert body["title"]
    assert body["detail"].endswith("." if language is Language.en else "。")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["content-language"] == language.value
    if language is Language.en:
        assert {name: body[name] for name in members} == members


@pytest.mark.parametrize("language", list(Language))
def test_an_agent_is_told_by_which_limit_and_what_to_do(language: Language) -> None:
    told = {limit: json.loads(reply_to(errors.AgentLimitReached(limit, 42), language).body)["detail"] for limit in AgentLimit}

    assert len(set(told.values())) == len(AgentLimit)
    for detail in told.values():
        assert all(word in detail for word in (("colleague", "supervisor") if language is Language.en else ("同事", "主管")))


def test_a_policys_refusal_in_chinese() -> None:
    body = json.loads(reply_to(REFUSED, Language.zh_CN).body)

    assert body["title"] == "退款政策不允许"
    assert body["message"] == "这笔支付的可取消时间已于2026年11月25日 18:30（北京时间）结束。"
    assert body["detail"] == body["message"] + "可选的其他办法见 next_steps。"
    assert body["next_steps"][0] == {"action": "contact_merchant", "message": "请联系商户，对方也许仍可为您处理。", "contact": None}
    assert "这笔".encode() in reply_to(REFUSED, Language.zh_CN).body


def test_a_refusal_without_rule_window_or_record_says_null() -> None:
    error = errors.PolicyRefused(Refusal.no_rule, None, "2026-11-a", None, (), None)
    body = json.loads(reply_to(error).body)

    assert (body["rule"], body["window"], body["cancellation_id"], body["next_steps"]) == (None, None, None, [])


def test_a_window_without_ends_says_null() -> None:
    error = errors.PolicyRefused(Refusal.no_rule, "r", "v", errors.Window(None, None, None), (), None)

    assert json.loads(reply_to(error).body)["window"] == {"anchor": None, "opens_at": None, "closes_at": None}


def test_steps_are_those_that_the_caller_may_take() -> None:
    reply = problem_for(
        errors.InvalidState("refunded", ("withdraw", "timeout")),
        Listener(language=Language.en, available=lambda actions: [action for action in actions if action == "timeout"]),
        instance="/",
        trace_id="t",
    )

    assert reply is not None
    assert json.loads(reply.body)["available_actions"] == ["timeout"]


def test_what_is_no_refusal_is_not_answered_here() -> None:
    for error in [ValueError("x"), KeyError("x"), errors.LeaseLost(), Exception()]:
        assert problem_for(error, Listener(language=Language.en), instance="/", trace_id="t") is None


# The border's own.


def test_the_border_may_refuse_with_any_problem() -> None:
    for slug in PROBLEMS:
        members = {"message": "No."} if slug == "policy-refused" else {}
        reply = reply_to(RequestProblem(slug, members=members))

        assert reply.status == STATUSES[slug]
        assert json.loads(reply.body)["code"] == slug


def test_a_problem_that_does_not_exist_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        RequestProblem("no-such-problem")


def test_faults_of_a_body_are_named_in_the_callers_language() -> None:
    error = RequestProblem("validation-failed", members={"errors": [Fault("/amount", FaultCode.below_minimum, {"minimum": 1})]})

    assert json.loads(reply_to(error).body)["errors"] == [{"pointer": "/amount", "code": "below_minimum", "detail": "Must be at least 1."}]
    assert json.loads(reply_to(error, Language.zh_CN).body)["errors"] == [
        {"pointer": "/amount", "code": "below_minimum", "detail": "不能小于 1"}
    ]


# Headers.


def test_who_sent_no_token_is_told_the_scheme_only() -> None:
    for error in [Unauthenticated(TokenFault.missing), Unauthenticated(TokenFault.not_bearer), RequestProblem("unauthenticated")]:
        assert reply_to(error).headers["www-authenticate"] == "Bearer"


def test_who_sent_a_bad_token_is_told_what_is_wrong() -> None:
    for fault in [fault for fault in TokenFault if fault not in (TokenFault.missing, TokenFault.not_bearer)]:
        for language in Language:
            header = reply_to(Unauthenticated(fault), language).headers["www-authenticate"]

            assert header.startswith('Bearer error="invalid_token", error_description="')
            assert header.isascii()
            assert header.count('"') == 4
            assert "\\" not in header


def test_who_should_come_again_is_told_when() -> None:
    cases: list[tuple[Exception, str]] = [
        (errors.Unavailable(), "2"),
        (KeysUnavailable(), "2"),
        (errors.IdempotencyInFlight(), "1"),
        (RequestProblem("rate-limited"), "1"),
        (errors.AgentLimitReached(AgentLimit.requests_per_day, 42), "42"),
        (errors.SimulationRunning(), "5"),
        (errors.TermsBusy(), "1"),
        (RequestProblem("rate-limited", retry_after_seconds=17), "17"),
        (RequestProblem("rate-limited", retry_after_seconds=0), "1"),
    ]
    for error, seconds in cases:
        assert reply_to(error).headers["retry-after"] == seconds


def test_only_those_who_should_come_again_are_told_when() -> None:
    assert {slug for slug in PROBLEMS if slug != "policy-refused" and "retry-after" in reply_to(RequestProblem(slug)).headers} == {
        "rate-limited",
        "unavailable",
        "too-many-connections",
        "idempotency-in-flight",
    }


def test_a_wrong_method_is_told_the_right_ones() -> None:
    assert reply_to(RequestProblem("method-not-allowed", allow=["GET", "POST"])).headers["allow"] == "GET, POST"


def test_no_input_breaks_the_body() -> None:
    body = problem_body("not-found", detail="d", instance="/\ud800", trace_id="t", language=Language.en, members={})

    assert json.loads(body)["instance"].startswith("/")
