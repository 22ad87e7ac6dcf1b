"""What people are told: the right language, every word in both, amounts and times exact."""

import tomllib
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import service.api
from service.api.currencies import EXPONENTS
from service.api.i18n import (
    Language,
    NextStep,
    amount_text,
    failure,
    language,
    moment,
    next_step,
    next_steps,
    refusal_message,
    sentence,
    words,
)
from service.api.problems import PROBLEMS
from service.auth.tokens import TokenFault
from tests.unit.service.api.sentences import AT, EN, HALF_WIDTH, SHANGHAI, WINDOW, ZH, assert_is_a_sentence, blanks
from workflows.domain.enums import Anchor, AnomalyAction, AnomalyKind, AnomalyState, OnDeadline, PaymentFailure, Refusal, Route
from workflows.domain.errors import Window
from workflows.domain.faults import FaultCode

LOCALES = Path(service.api.__file__).parent / "locales"


# Languages.


def test_the_language_is_negotiated() -> None:
    cases: list[tuple[str | None, Language]] = [
        (None, EN),
        ("", EN),
        ("en", EN),
        ("en-GB", EN),
        ("zh", ZH),
        ("zh-CN", ZH),
        ("ZH-cn", ZH),
        ("zh-Hans", ZH),
        ("zh-Hans-CN", ZH),
        ("zh-TW", ZH),
        ("fr", EN),
        ("fr, zh;q=0.5", ZH),
        ("fr-CH, fr;q=0.9, en;q=0.8, zh;q=0.7", EN),
        ("en;q=0.2, zh;q=0.3", ZH),
        ("zh;q=0.3, en;q=0.3", ZH),
        ("en;q=0.3, zh;q=0.3", EN),
        ("zh;q=0", EN),
        ("zh;q=0.000, en;q=0.001", EN),
        ("zh;q=1.000", ZH),
        ("*", EN),
        ("*;q=0.1, zh;q=0.2", ZH),
        ("zh ; q=0.9 , en ; q = 0.8", ZH),
        ("zh;q=1.5", EN),
        ("zh;q=-1", EN),
        ("zh;q=nan", EN),
        ("zh;q", EN),
        ("zhx", EN),
        (";;;,,,", EN),
        ("zh" + ",zh" * 400, EN),
    ]
    for header, expected in cases:
        assert language(header) is expected


@given(st.text())
def test_whatever_is_asked_for_there_is_a_language(header: str) -> None:
    assert language(header) in Language


# The locales' files.


def test_both_languages_say_the_same_things_with_the_same_blanks() -> None:
    for name in ["{}.toml", "problems.{}.toml"]:
        english, chinese = (dict(leaves(tomllib.loads((LOCALES / name.format(one.name)).read_text("utf-8")))) for one in (EN, ZH))

        assert english.keys() == chinese.keys()
        assert {key: blanks(text) for key, text in english.items()} == {key: blanks(text) for key, text in chinese.items()}


def test_chinese_uses_its_own_punctuation() -> None:
    for name in ["zh_CN.toml", "problems.zh_CN.toml"]:
        for key, text in leaves(tomllib.loads((LOCALES / name).read_text("utf-8"))):
            assert not HALF_WIDTH.search(text), (key, text)


def leaves(table: dict[str, object], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        elif isinstance(value, list):
            yield from ((f"{path}{key}.{i}", str(one)) for i, one in enumerate(value))
        else:
            yield f"{path}{key}", str(value)


VOCABULARIES: dict[str, list[str]] = {
    "titles": list(PROBLEMS),
    "details": [slug for slug in PROBLEMS if slug != "unauthenticated"],
    "token": list(TokenFault),
    "refusal": list(Refusal),
    "next_step": [*NextStep, "other"],
    "failure": list(PaymentFailure),
    "eligible": list(Route),
    "eligible_second": [Route.void, Route.automatic],
    "refusal_anchor": list(Anchor),
    "on_deadline.awaiting_merchant": [*OnDeadline, "second_approval", "void"],
    "on_deadline.offered": list(OnDeadline),
    "on_deadline.awaiting_return": [*OnDeadline, "second_approval", "void"],
    "anomaly": list(AnomalyKind),
    "anomaly_next": [*AnomalyAction, AnomalyState.awaiting_second_approval, AnomalyState.resolved],
    "fault": list(FaultCode),
    "member": sorted({member for problem in PROBLEMS.values() for member in problem.members}),
}


def test_every_word_of_every_vocabulary_is_told() -> None:
    for spoken in Language:
        for section, vocabulary in VOCABULARIES.items():
            assert set(words(spoken, section)) == set(vocabulary)
            assert all(text.strip() for text in words(spoken, section).values())


# Amounts and times.


def test_amounts_have_their_currencys_digits() -> None:
    cases: list[tuple[int, str, str, str]] = [
        (1234, "CNY", "CNY 12.34", "¥12.34"),
        (5, "CNY", "CNY 0.05", "¥0.05"),
        (100, "CNY", "CNY 1.00", "¥1.00"),
        (123456789, "CNY", "CNY 1,234,567.89", "¥1,234,567.89"),
        (1234, "JPY", "JPY 1,234", "JPY 1,234"),
        (1234, "KWD", "KWD 1.234", "KWD 1.234"),
        (10**15, "CNY", "CNY 10,000,000,000,000.00", "¥10,000,000,000,000.00"),
        (10**15 - 1, "KWD", "KWD 999,999,999,999.999", "KWD 999,999,999,999.999"),
        (1234, "HUF", "HUF 12.34", "HUF 12.34"),  # two digits in ISO 4217, none in daily use
        (12345, "CLF", "CLF 1.2345", "CLF 1.2345"),
        (0, "EUR", "EUR 0.00", "EUR 0.00"),
        (10**15, "USD", "USD 10,000,000,000,000.00", "USD 10,000,000,000,000.00"),
        (-5, "CNY", "CNY -0.05", "-¥0.05"),
        (1234, "ZZZ", "ZZZ 12.34", "ZZZ 12.34"),
    ]
    for minor, currency, english, chinese in cases:
        assert (amount_text(minor, currency, EN), amount_text(minor, currency, ZH)) == (english, chinese)


@given(st.integers(-(10**15), 10**15), st.sampled_from(sorted(EXPONENTS)), st.sampled_from(list(Language)))
def test_no_amount_loses_a_unit(minor: int, currency: str, spoken: Language) -> None:
    """Against the same written by hand; no-break spaces and other currencies' symbols would differ."""
    digits = EXPONENTS[currency]
    whole, part = divmod(abs(minor), 10**digits)
    number = f"{whole:,}" + (f".{part:0{digits}d}" if digits else "")
    sign = "-" if minor < 0 else ""
    yuan = spoken is ZH and currency == "CNY"

    assert amount_text(minor, currency, spoken) == (f"{sign}¥{number}" if yuan else f"{currency} {sign}{number}")


def test_times_are_told_where_the_policy_lives() -> None:
    cases: list[tuple[tzinfo, str, str]] = [
        (SHANGHAI, "25 November 2026 at 18:30 (Beijing time)", "2026年11月25日 18:30（北京时间）"),
        (UTC, "25 November 2026 at 10:30 (UTC)", "2026年11月25日 10:30（UTC）"),
        (ZoneInfo("Asia/Kolkata"), "25 November 2026 at 16:00 (UTC+5:30)", "2026年11月25日 16:00（UTC+5:30）"),
        (ZoneInfo("America/New_York"), "25 November 2026 at 05:30 (UTC-5)", "2026年11月25日 05:30（UTC-5）"),
        (timezone(timedelta(hours=-3, minutes=-30)), "25 November 2026 at 07:00 (UTC-3:30)", "2026年11月25日 07:00（UTC-3:30）"),
    ]
    for zone, english, chinese in cases:
        assert (moment(AT, zone, EN), moment(AT, zone, ZH)) == (english, chinese)


# Refusals.


def test_every_refusal_is_a_sentence() -> None:
    for spoken in Language:
        for window in [None, WINDOW, Window(None, None, None)]:
            for refusal in Refusal:
                assert_is_a_sentence(refusal_message(refusal, window, spoken, SHANGHAI), spoken)


def test_a_closed_window_tells_when_it_closed() -> None:
    assert refusal_message(Refusal.window_closed, WINDOW, EN, SHANGHAI) == (
        "The time to cancel this payment ended on 25 November 2026 at 18:30 (Beijing time)."
    )
    assert refusal_message(Refusal.window_closed, WINDOW, ZH, SHANGHAI) == "这笔支付的可取消时间已于2026年11月25日 18:30（北京时间）结束。"


def test_who_comes_at_the_minute_told_finds_it_open_and_not_yet_closed() -> None:
    odd = Window(Anchor.completed_at, AT + timedelta(seconds=1), AT + timedelta(seconds=59))

    assert "18:31" in refusal_message(Refusal.window_not_open, odd, EN, SHANGHAI)
    assert "18:30" in refusal_message(Refusal.window_closed, odd, EN, SHANGHAI)
    assert "18:30" in refusal_message(Refusal.window_not_open, replace(odd, opens_at=AT), EN, SHANGHAI)


# Next steps.


def test_every_next_step_is_a_sentence() -> None:
    for spoken in Language:
        for action in [*NextStep, "something_new"]:
            assert_is_a_sentence(next_step(action, spoken), spoken)


def test_next_steps_keep_their_order() -> None:
    assert [one["action"] for one in next_steps(["wait", "contact_support", "unheard_of"], EN)] == ["wait", "contact_support", "unheard_of"]


# Failed payments.


def test_every_failure_is_told_with_its_remedy() -> None:
    for spoken in Language:
        for code in PaymentFailure:
            told = failure(code, "as given", spoken, None)

            assert (told["code"], told["detail"]) == (code, "as given")
            assert told["next_steps"]
            for text in (told["message"], *(step["message"] for step in told["next_steps"])):
                assert_is_a_sentence(text, spoken)


def test_what_is_said_of_each_failure() -> None:
    cases: list[tuple[str, list[str], str, str]] = [
        ("insufficient_funds", ["top_up", "use_other_source"], "There was not enough money for this payment.", "余额不足，支付未成功。"),
        ("network", ["try_again"], "The connection was lost before the payment was made.", "网络中断，支付未完成。"),
        ("provider_outage", ["wait", "use_other_source"], "The payment provider was not available.", "支付机构暂时不可用，支付未成功。"),
        (
            "limit_exceeded",
            ["use_other_source", "contact_support"],
            "The payment was above a limit of the wallet, the card or the bank.",
            "支付金额超过了钱包、银行卡或银行的限额。",
        ),
        (
            "instrument_invalid",
            ["check_instrument", "use_other_source"],
            "The card or account cannot be used. It may have expired or be frozen.",
            "银行卡或账户无法使用，可能已过期或被冻结。",
        ),
        ("merchant_error", ["contact_merchant"], "Something went wrong on the merchant's side.", "商户方面出现问题，支付未成功。"),
        ("other", ["try_again", "contact_support"], "The payment did not succeed.", "支付未成功。"),
    ]
    for code, actions, english, chinese in cases:
        told = [failure(PaymentFailure(code), None, spoken, None) for spoken in (EN, ZH)]

        assert [one["message"] for one in told] == [english, chinese]
        assert [[step["action"] for step in one["next_steps"]] for one in told] == [actions, actions]


def test_a_sentence_that_is_not_there_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        sentence("titles", "nonsense", EN)


def test_a_sum_in_a_currency_of_the_past_has_the_digits_it_had() -> None:
    assert [amount_text(123456, code, Language.en) for code in ("BGN", "BYR", "QQQ")] == ["BGN 1,234.56", "BYR 123,456", "QQQ 1,234.56"]
