"""What a customer is told of a cancellation: true in every state, in both languages."""

import re

from msgspec.structs import replace

from service.api.i18n import Language, words
from tests.factories import NOW
from tests.unit.service.api.message_table import AT, FORFEITS, Situation, asked, refunding, situations, told
from tests.unit.service.api.sentences import assert_is_a_sentence
from workflows.domain.enums import CANCELLATION_WAITING, ActorRole, CancellationState, LegState, MerchantDecision, OnDeadline, PaymentState
from workflows.domain.model import MerchantAnswer

EN, ZH = Language.en, Language.zh_CN

SITUATIONS = list(situations())

STATES = [state for state in CancellationState if state in CANCELLATION_WAITING]

_AGAIN = ["scheduled_again", "scheduled_to_balance", "arranged_anew"]

LEGS = [*(state for state in LegState if state is not LegState.submitted), "held_disputed", "given_up", *_AGAIN]

SECTIONS: dict[str, list[str]] = {
    "cancellation": [
        *(state for state in CancellationState if state not in {CancellationState.refused, CancellationState.declined}),
        "nothing_back",
        "worth_nothing",
    ],
    "attention": [
        *(state for state in LegState if state is not LegState.succeeded),
        "never_sent",
        "ordered",
        "scheduled_again",
        "paid",
        "replaced",
        "told",
        "contradicted",
        "void_failed",
    ],
    "waiting_void": list(STATES),
    "refunding": LEGS,
    "refund_part": [key for key in LEGS if key != LegState.succeeded],
}


def test_every_situation_has_its_sentences() -> None:
    """Read them with `python -m tests.unit.service.api.message_table`."""
    for spoken in Language:
        assert {row.state for _, _, row in SITUATIONS} == set(CancellationState)
        for situation in SITUATIONS:
            text = told(situation, spoken)
            assert_is_a_sentence(text, spoken)
            assert "}" not in text
            assert "None" not in text


def test_every_state_has_its_words_and_no_word_is_left_over() -> None:
    for spoken in Language:
        for section in list(SECTIONS):
            assert set(words(spoken, section)) == set(SECTIONS[section])


def test_the_sums_of_a_refund_are_its_legs() -> None:
    """Where it did not all arrive: what arrived and what did not make up the whole."""
    for spoken in Language:
        for name, snapshot, row in SITUATIONS:
            if not snapshot.refunds or all(leg.state is LegState.succeeded for leg in snapshot.legs):
                continue
            numbers = re.findall(r"\d+\.\d\d", told((name, snapshot, row), spoken))
            whole, *parts = sorted((int(number.replace(".", "")) for number in numbers), reverse=True)
            assert (whole, sum(parts)) == (10_000, 10_000 if parts else 0), (name, numbers)


def test_a_void_is_never_told_a_refund_s_days() -> None:
    for spoken in Language:
        for situation in SITUATIONS:
            if situation[2].state in CANCELLATION_WAITING and situation[1].payment.origin_state is PaymentState.pending:
                assert not re.search("refund|退款", told(situation, spoken))


def test_what_the_customer_is_told() -> None:
    cases: list[tuple[tuple[object, object], str, str]] = [
        (
            refunding(CancellationState.needs_attention, LegState.succeeded, LegState.failed),
            "CNY 60.00 of your refund of CNY 100.00 has been paid back. CNY 40.00 could not be delivered yet, and is not lost. "
            "Our team is working on it.",
            "您的 ¥100.00 退款中，¥60.00 已退回。¥40.00 暂未送达，款项不会丢失。我们正在处理。",
        ),
        (
            refunding(CancellationState.needs_attention, LegState.succeeded, LegState.returned),
            "CNY 60.00 of your refund of CNY 100.00 has been paid back. CNY 40.00 was sent back to us, and is not lost. "
            "Our team is working on it.",
            "您的 ¥100.00 退款中，¥60.00 已退回。¥40.00 被退回给我们，款项不会丢失。我们正在处理。",
        ),
        (
            refunding(CancellationState.executing, LegState.processing, LegState.failed),
            "Your refund of CNY 100.00 is paid in several parts. CNY 60.00 is on its way. "
            "CNY 40.00 could not be delivered yet, and is not lost.",
            "您的 ¥100.00 退款将分几部分退回。¥60.00 正在途中。¥40.00 暂未送达，款项不会丢失。",
        ),
        (
            refunding(CancellationState.failed, LegState.succeeded, LegState.failed),
            "CNY 60.00 of your refund of CNY 100.00 has been paid back. CNY 40.00 could not be paid out. "
            "Please contact our customer support.",
            "您的 ¥100.00 退款中，¥60.00 已退回。¥40.00 未能付出，请联系我们的客服。",
        ),
        (
            refunding(CancellationState.completed, LegState.succeeded, LegState.succeeded),
            "CNY 100.00 has been refunded to where you paid from.",
            "¥100.00 已按原路退回。",
        ),
        (
            refunding(CancellationState.completed, LegState.succeeded, forfeited=(0, 4_000)),
            "CNY 60.00 has been refunded to where you paid from. Coupons or points worth CNY 40.00 are not given back.",
            "¥60.00 已按原路退回。价值 ¥40.00 的优惠券或积分不予退还。",
        ),
        (
            refunding(CancellationState.executing, LegState.held, LegState.held, disputed=True),
            "Your refund of CNY 100.00 is approved, but it is on hold because the payment is disputed. The money is not lost.",
            "您的 ¥100.00 退款已通过，但因支付存在争议而暂缓发出，款项不会丢失。",
        ),
        (
            asked(state=CancellationState.awaiting_merchant, deadline_at=AT, on_deadline=OnDeadline.agent),
            "We have sent your request for CNY 100.00 to the merchant. The merchant has until 24 November 2026 at 17:00 "
            "(Beijing time) to answer. If there is no answer by then, our customer support decides.",
            "您的 ¥100.00 退款申请已转交商户。商户需在2026年11月24日 17:00（北京时间）之前答复。逾期未答复，将由我们的客服处理。",
        ),
        (
            asked(state=CancellationState.awaiting_agent, deadline_at=AT, raised=True),  # a deadline that was missed promises nothing
            "Our customer support is looking at your request for CNY 100.00.",
            "我们的客服正在处理您的 ¥100.00 退款申请。",
        ),
    ]
    for situation, english, chinese in cases:
        named: Situation = ("", *situation)  # type: ignore[assignment]  # a pair of the two

        assert [told(named, spoken) for spoken in (EN, ZH)] == [english, chinese]


def test_a_promise_is_smaller_by_what_will_be_forfeited() -> None:
    snapshot, row = asked(terms=FORFEITS, state=CancellationState.awaiting_return, deadline_at=None, on_deadline=None)

    assert told(("forfeits", snapshot, row), EN) == (
        "Your return is approved. CNY 60.00 will be refunded when the goods have been returned in good condition. "
        "Coupons or points worth CNY 40.00 would not be given back."
    )


def test_an_agent_is_offered_only_while_one_may_be_asked() -> None:
    said = MerchantAnswer(decision=MerchantDecision.decline, reason_code=None, decided_at=NOW, decided_by="shop")
    snapshot, row = asked(state=CancellationState.declined, declined_by=ActorRole.merchant, merchant=said)
    free = replace(snapshot, payment=replace(snapshot.payment, state=PaymentState.completed, origin_state=None, amount_reserved=0))

    assert "You can ask our customer support to decide until 29 November 2026" in told(("", free, row), EN)
    taken = replace(free, payment=replace(free.payment, state=PaymentState.refunding, amount_reserved=10_000))
    assert told(("", taken, row), EN) == (
        "The merchant did not agree to your request for CNY 100.00. If you disagree, please contact our customer support."
    )
