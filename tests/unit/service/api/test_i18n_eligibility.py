"""The sentence that tells whether a payment could be cancelled: how, until when, and why not."""

from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

from service.api.i18n import Language, eligibility_message, refusal_message, words
from service.api.problems import PROBLEMS
from tests import factories as make
from tests.unit.service.api.sentences import EN, SHANGHAI, WINDOW, ZH, assert_is_a_sentence
from workflows.domain.decisions.eligibility import Outlook, ReasonOutcome
from workflows.domain.decisions.requests import Assessment
from workflows.domain.enums import ActorRole, Anchor, Category, Channel, Fulfilment, PaymentState, Reason, Refusal, Route, Source
from workflows.domain.errors import Window
from workflows.domain.model import Payment
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.policy import Deadlines, EffectiveTerms, Limits
from workflows.domain.policies.verdicts import Allowed, Denied, Verdict


def outlook(route: Route | None, window: Window | None = None, *, amount: int = 1234, **members: Any) -> Outlook:
    facts = PolicyFacts(
        state=PaymentState.completed,
        fulfilment=Fulfilment.none,
        category=Category.general,
        merchant_id="m",
        currency="CNY",
        amount=amount,
        role=ActorRole.wallet,
        channel=Channel.app,
        reason=None,
        sources=(Source.balance,),
        anchors={},
        partial=False,
    )
    effective_terms = EffectiveTerms(deadlines=Deadlines(), second_approval_above={}, limits=Limits())
    verdict: Verdict
    if route is None:
        verdict = Denied(refusal=Refusal.no_rule, rule=None, window=window, next_steps=(), policy_version="v")
    else:
        verdict = Allowed(route=route, rule="r", window=window, policy_version="v", effective_terms=effective_terms)
    return Outlook(assessment=Assessment(amount=amount, items=(), facts=facts, verdict=verdict), **members)


def eligibility(one: Outlook, refusal: str | None, spoken: Language, payment: Payment | None = None) -> str:
    return eligibility_message(one, payment or make.completed().payment, refusal=refusal, spoken=spoken, zone=SHANGHAI)


BY_REASON = (ReasonOutcome(reasons=(Reason.other,), route=Route.agent, refusal=None),)


@pytest.mark.slow
def test_every_eligibility_is_a_sentence() -> None:
    for spoken in Language:
        for window in [None, WINDOW]:
            for route in [None, *Route]:
                for refusal in [None, *Refusal, *PROBLEMS]:
                    for lost, amount, second in product((0, 34, 1234), (0, 1234), (False, True)):
                        forfeited = ((Source.coupon, lost),) if lost and amount else ()
                        one = outlook(route, window, amount=amount, forfeited=forfeited, by_reason=BY_REASON, second_approval=second)
                        assert_is_a_sentence(eligibility(one, refusal, spoken), spoken)


def test_what_is_allowed_says_how_and_until_when() -> None:
    assert eligibility(outlook(Route.merchant, WINDOW), None, EN) == (
        "A refund of CNY 12.34 can be requested. The merchant decides about it. "
        "This is possible until 25 November 2026 at 18:30 (Beijing time)."
    )
    assert eligibility(outlook(Route.void), None, ZH) == "这笔支付现在可以取消，¥12.34 不会被扣款。"


def test_what_is_forfeited_makes_the_promise_smaller() -> None:
    some = outlook(Route.automatic, forfeited=((Source.coupon, 200), (Source.points, 34)))

    assert eligibility(some, None, EN) == (
        "CNY 10.00 can be refunded right away. Coupons or points worth CNY 2.34 would not be given back."
    )
    assert eligibility(some, None, ZH) == "¥10.00 可以立即退款。价值 ¥2.34 的优惠券或积分将不予退还。"


def test_right_away_is_not_said_where_a_second_person_must_approve() -> None:
    assert eligibility(outlook(Route.automatic, second_approval=True), None, EN) == (
        "CNY 12.34 can be refunded after a second person has approved it."
    )


def test_a_refusal_is_told_even_where_a_route_came_close() -> None:
    assert eligibility(outlook(Route.merchant, WINDOW), "window-closed", EN).startswith("The time to cancel this payment ended on")
    assert eligibility(outlook(Route.merchant, WINDOW), "wallet-frozen", EN) == words(EN, "blocked")["wallet-frozen"]


def test_that_nothing_is_left_is_said_only_where_it_is_so() -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        (
            {"state": PaymentState.refunded, "amount_refunded": 300},
            "This payment has already been refunded in full.",
            "这笔支付已全额退款。",
        ),
        (
            {"state": PaymentState.refunded, "amount_charged_back": 300},
            "There is nothing left to refund on this payment.",
            "这笔支付已没有可退的金额。",
        ),
        ({"state": PaymentState.cancelled}, "This payment has already been cancelled.", "这笔支付已经取消。"),
        ({"state": PaymentState.failed}, "This payment failed, so there is nothing to cancel.", "这笔支付未成功，无需取消。"),
        (
            {"state": PaymentState.refunding, "amount_reserved": 268},
            "An earlier refund of this payment is not finished yet. After that, you can ask for the remaining CNY 0.32.",
            "这笔支付的前一笔退款尚未完成，完成后可再就剩余的 ¥0.32 提出申请。",
        ),
        (
            {"state": PaymentState.refunding, "amount_reserved": 300},
            "An earlier refund of this payment is not finished yet.",
            "这笔支付的前一笔退款尚未完成。",
        ),
    ]
    for members, english, chinese in cases:
        payment = replace(make.completed().payment, **members)

        told = [eligibility(Outlook(), "invalid-state", spoken, payment) for spoken in (EN, ZH)]

        assert told == [english, chinese]


def test_more_than_nothing_is_told_apart_from_more_than_is_left() -> None:
    some, nothing = make.completed().payment, replace(make.completed().payment, amount_charged_back=300)

    assert eligibility(Outlook(), "amount-exceeds-refundable", EN, some) == "The amount is more than can still be refunded."
    assert eligibility(Outlook(), "amount-exceeds-refundable", EN, nothing) == "There is nothing left to refund on this payment."


def test_goods_on_their_way_are_told_what_must_happen_first() -> None:
    ahead = Window(Anchor.delivered_at, None, None)

    assert refusal_message(Refusal.window_not_open, ahead, EN, SHANGHAI) == "This is possible after the goods have been delivered."
    assert refusal_message(Refusal.window_not_open, ahead, ZH, SHANGHAI) == "商品送达后才能办理。"
