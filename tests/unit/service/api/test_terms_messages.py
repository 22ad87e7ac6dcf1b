"""The sentences of the terms: every word is there in both languages, and whatever a policy says can be told."""

from datetime import UTC, datetime
from itertools import product

from service.api.i18n import Language, words
from service.api.terms_messages import length_text, option_message, period_message, stage_title, terms_message, until_text
from tests.unit.service.api.sentences import assert_is_a_sentence
from workflows.domain.decisions.terms import CustomerTerms, PaymentStage, ReasonTerms, StageTerms, TermsPeriod
from workflows.domain.enums import Anchor, Category, OnDeadline, Reason, Refusal, Route
from workflows.domain.policies.conditions import Subject
from workflows.domain.policies.policy import Deadlines, EffectiveTerms, Limits, Timeout
from workflows.domain.policies.verdicts import Allowed, Denied, Verdict
from workflows.domain.windows import Length, Unit, WindowSpec

AT, LATER, END = (datetime(2026, 11, day, tzinfo=UTC) for day in (22, 25, 30))
EN, ZH = Language.en, Language.zh_CN
WEEK = WindowSpec(anchor=Anchor.completed_at, length=Length(7, Unit.days))
WHAT = {"void", "automatic", "merchant_accept", "merchant_agent", "merchant_decline", "return", "agent"}
VOCABULARIES: dict[str, set[str]] = {
    "length": {*Unit},
    "length_one": {*Unit},
    "terms_lead": {f"{lead}_{kind}" for lead, kind in product(("first", "then"), ("for", "until", "always"))},
    "terms_end": {"length", "next_day", "end_of_day", "end_of_day_plus", "end_of_next_day", "end_of_next_day_plus"},
    "terms_anchor": {*Anchor},
    "terms_what": WHAT,
    "terms_what_pending": WHAT,
    "terms_who": {*Route, "refused"},
    "terms_note": {"over", "amount", "source", "kept", "counted", "unknown"},
    "terms_stage": {*PaymentStage, "not_shipped", "settled"},
    "terms_reason": {*Reason},
    "terms_category": {*Category},
}


def allowed(route: Route, then: OnDeadline = OnDeadline.agent) -> Allowed:
    deadlines = Deadlines(merchant=Timeout(Length(48, Unit.hours), then))
    terms = EffectiveTerms(deadlines=deadlines, second_approval_above={}, limits=Limits())
    return Allowed(route=route, rule="r", window=None, policy_version="v", effective_terms=terms)


def denied(refusal: Refusal = Refusal.window_closed) -> Denied:
    return Denied(refusal=refusal, rule=None, window=None, next_steps=(), policy_version="v")


def option(*verdicts: Verdict, until: WindowSpec | None = WEEK) -> ReasonTerms:
    moments = [AT, LATER, END, None]
    periods = [
        TermsPeriod(opens_at=moments[n] or END, closes_at=moments[n + 1], until=until, verdict=verdict)
        for n, verdict in enumerate(verdicts)
    ]
    return ReasonTerms(reasons=tuple(Reason), periods=tuple(periods))


def stage(one: ReasonTerms, *stages: PaymentStage) -> StageTerms:
    return StageTerms(stages=stages or (PaymentStage.paid,), options=(one,))


def message(one: ReasonTerms, spoken: Language = EN) -> str:
    return option_message(stage(one), one, spoken)


def test_every_word_of_the_terms_is_told() -> None:
    for spoken, (section, vocabulary) in product(Language, VOCABULARIES.items()):
        assert set(words(spoken, section)) == vocabulary
        assert all(text.strip() for text in words(spoken, section).values())


def test_whatever_comes_first_or_after_is_a_sentence() -> None:
    ends = [None, WEEK, WindowSpec(anchor=Anchor.delivered_at, end_of_day=Length(15, Unit.minutes), next_day=True)]
    verdicts: list[Verdict] = [*(allowed(route, then) for route, then in product(Route, OnDeadline)), *map(denied, Refusal)]
    for spoken, until, verdict, at in product(Language, ends, verdicts, (PaymentStage.before_settlement, PaymentStage.shipped)):
        one = option(allowed(Route.automatic), verdict, until=until)
        for period in one.periods:
            assert_is_a_sentence(period_message(stage(one, at), one, period, spoken), spoken)


def test_every_end_of_a_window_is_told() -> None:
    cases = [
        (WindowSpec(anchor=Anchor.completed_at, length=Length(1, Unit.hours)), "1 hour after payment", "付款后 1 小时内"),
        (
            WindowSpec(anchor=Anchor.delivered_at, length=Length(7, Unit.days), next_day=True),
            "7 days from the day after delivery",
            "自签收次日起 7 天内",
        ),
        (
            WindowSpec(anchor=Anchor.completed_at, end_of_day=Length(0, Unit.minutes)),
            "the end of the day of payment",
            "付款当日结束前",
        ),
        (
            WindowSpec(anchor=Anchor.completed_at, end_of_day=Length(15, Unit.minutes)),
            "15 minutes after the end of the day of payment",
            "付款当日结束后 15 分钟内",
        ),
        (
            WindowSpec(anchor=Anchor.shipped_at, end_of_day=Length(0, Unit.minutes), next_day=True),
            "the end of the day after shipping",
            "发货次日结束前",
        ),
    ]
    for window, english, chinese in cases:
        assert (until_text(window, EN), until_text(window, ZH)) == (english, chinese)
    assert length_text(Length(5, Unit.business_days), EN) == "5 business days"


def test_what_follows_is_told_after_what_went_before() -> None:
    told = message(option(allowed(Route.automatic), allowed(Route.merchant, OnDeadline.accept), denied()))

    assert told == (
        "For 7 days after payment, you get your money back at once when you ask for it. After that, up to 7 days after payment, you can "
        "ask for your money back, and the merchant decides; if it does not answer within 48 hours, you get your money back. "
        "After that, it is too late to ask for it in the app."
    )


def test_neighbours_that_are_alike_are_told_once() -> None:
    longer = WindowSpec(anchor=Anchor.completed_at, length=Length(9, Unit.days))
    both = option(allowed(Route.agent), allowed(Route.agent), denied())
    one, two, last = both.periods
    both = ReasonTerms(
        reasons=both.reasons,
        periods=(one, TermsPeriod(opens_at=LATER, closes_at=END, until=longer, verdict=two.verdict), last),
    )

    assert message(both).startswith("For 9 days after payment, you can ask for your money back, and our customer support decides;")
    assert message(both).count("decides") == 1
    assert message(option(denied(Refusal.category_excluded), denied(Refusal.no_rule))) == words(EN, "refusal")["category-excluded"]


def test_nothing_is_paid_back_of_what_was_never_taken() -> None:
    one = option(allowed(Route.automatic))

    assert (
        option_message(stage(one, PaymentStage.before_settlement), one, EN)
        == "For 7 days after payment, you can cancel, and no money is taken."
    )


def test_stages_that_are_alike_share_a_title() -> None:
    paid, preparing, shipped, delivered = list(PaymentStage)[1:]

    assert stage_title((paid, preparing), EN) == "Paid, not shipped yet"
    assert stage_title((paid, preparing, shipped, delivered), EN) == "Paid"
    assert stage_title((shipped, delivered), EN) == "Shipped · Delivered"
    assert stage_title((delivered,), ZH) == "已签收"


def test_the_message_says_what_else_it_depends_on() -> None:
    told = CustomerTerms(as_of=AT, stages=(stage(option(denied())),), depends_on=(Subject.amount, Subject.source))

    assert terms_message(told, EN) == (
        "The time to cancel this payment has passed. What is possible also depends on the amount. "
        "What is possible also depends on how you pay."
    )
