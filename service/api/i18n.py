"""What the service says to people: in which language, and in which words.

The words stand in `locales/`, one file a language; money and dates are written by Babel, as the Unicode CLDR has them. Everything here
is a pure function; times are told in the zone that the caller gives, which is the policy's own.
"""

import re
import tomllib
from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from operator import itemgetter
from typing import Final, TypedDict
from zoneinfo import ZoneInfo

from babel import Locale, negotiate_locale
from babel.lists import format_list
from babel.numbers import NumberPattern, format_decimal, get_currency_symbol, parse_pattern

from service.api.currencies import EXPONENTS
from workflows.domain.decisions.eligibility import Outlook
from workflows.domain.enums import PaymentFailure, PaymentState, Refusal, Route
from workflows.domain.errors import Window
from workflows.domain.faults import Fault, FaultMember
from workflows.domain.model import MerchantEntry, Payment
from workflows.domain.policies.verdicts import Allowed

ACCEPT_LANGUAGE_LENGTH_MAX: Final = 1_000
_HEADERS_KEPT_MAX: Final = 256
_TEXTS_KEPT_MAX: Final = 4_096  # the same amounts and times are told again in a message, a list and at every reading
_WEIGHTED = re.compile(r"\s*((?:[A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*[qQ]\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?")
_CHINA = frozenset({"Asia/Shanghai", "PRC", "Asia/Chongqing", "Asia/Chungking", "Asia/Harbin"})


class Language(StrEnum):
    en = "en"
    zh_CN = "zh-CN"  # noqa: N815 -- the language tag's own writing


# The day stands before the month and the clock has 24 hours, as in most of the world.
_LOCALES: Final = {Language.en: Locale("en", "GB"), Language.zh_CN: Locale("zh", "CN", script="Hans")}
_BY_TAG: Final = {"en": Language.en, "zh": Language.zh_CN}  # one Chinese for all of them


class NextStep(StrEnum):
    """What a customer, or the one who helps, can do after a no."""

    contact_merchant = "contact_merchant"
    contact_support = "contact_support"
    wait = "wait"
    modifications = "modifications"  # lower a pending payment instead of cancelling part of it
    complete = "complete"  # settle it first
    use_app = "use_app"
    request_cancellation = "request_cancellation"
    withdraw = "withdraw"
    escalate = "escalate"
    top_up = "top_up"
    use_other_source = "use_other_source"
    try_again = "try_again"
    check_instrument = "check_instrument"


class Contact(TypedDict):
    """How to reach the merchant; what it did not tell is None."""

    name: str
    email: str | None
    phone: str | None
    url: str | None


class Advice(TypedDict):
    """One of `next_steps`."""

    action: str
    message: str
    contact: Contact | None


class Failure(TypedDict):
    """Why a payment failed, and the remedy. `detail` is what the wallet said; None where it said nothing, or once erased."""

    code: str
    message: str
    next_steps: list[Advice]
    detail: str | None


@lru_cache(_HEADERS_KEPT_MAX)
def language(accept_language: str | None) -> Language:
    """The language to answer in, by RFC 9110, section 12.5.4; whatever cannot be read counts for nothing."""
    if not accept_language or len(accept_language) > ACCEPT_LANGUAGE_LENGTH_MAX:
        return Language.en
    weighted: list[tuple[Decimal, str]] = []
    for part in accept_language.split(","):
        read = _WEIGHTED.fullmatch(part)
        if read and (weight := Decimal(read[2] or 1)):
            weighted.append((weight, read[1].lower().replace("*", "en")))
    weighted.sort(key=itemgetter(0), reverse=True)
    tag = negotiate_locale([tag for _, tag in weighted], list(_BY_TAG), sep="-", aliases={})
    return _BY_TAG.get(tag or "en", Language.en)


def sentence(section: str, key: str, spoken: Language, **values: object) -> str:
    """One sentence of the locale's files; KeyError where there is none."""
    return words(spoken, section)[key].format(**values)


def words(spoken: Language, section: str) -> dict[str, str]:
    """One section of a locale's file, as it is written."""
    return _sections(spoken)[section]


@cache
def _sections(spoken: Language) -> dict[str, dict[str, str]]:
    """A table within a table is named with a dot: `on_deadline.offered`."""
    text = files("service.api").joinpath("locales", f"{spoken.name}.toml").read_text("utf-8")
    sections: dict[str, dict[str, str]] = {}
    for name, table in tomllib.loads(text).items():
        sections[name] = {key: value for key, value in table.items() if isinstance(value, str)}
        sections |= {f"{name}.{key}": value for key, value in table.items() if isinstance(value, dict)}
    return sections


@lru_cache(_TEXTS_KEPT_MAX)
def amount_text(amount_minor: int, currency: str, spoken: Language) -> str:
    """`CNY 1,234.56`: a code, since a symbol may stand for several currencies; in Chinese, yuan as `¥1,234.56`."""
    amount = Decimal(amount_minor).scaleb(-_exponent(currency))
    return format_decimal(amount, _money_pattern(currency, spoken), _LOCALES[spoken])


@cache
def _money_pattern(currency: str, spoken: Language) -> NumberPattern:
    """CLDR's pattern with the currency written into it: format_currency looks its names up at every call, in twice the time.

    CLDR's digits are those in daily use; ours are ISO 4217's, in which minor units count.
    """
    locale, digits = _LOCALES[spoken], _exponent(currency)
    number = "#,##0" + ("." + "0" * digits if digits else "")
    if spoken is Language.zh_CN and currency == "CNY":
        written = locale.currency_formats["standard"].pattern.replace("¤", get_currency_symbol(currency, locale))
    else:
        written = f"{currency} {number};{currency} -{number}"
    return parse_pattern(written)


def _exponent(currency: str) -> int:
    """The currency's minor digits. Payments outlive lists: a currency that ours does not know is told with two, as nearly all have."""
    return EXPONENTS.get(currency, 2)


@lru_cache(_TEXTS_KEPT_MAX)
def moment(at: datetime, zone: tzinfo, spoken: Language) -> str:
    """A time of day as people there say it, to the minute and never later than it is."""
    local, locale = at.astimezone(zone), _LOCALES[spoken]
    where = words(spoken, "words")["beijing_time"] if isinstance(zone, ZoneInfo) and zone.key in _CHINA else _offset(local)
    date, time = (pattern.apply(local, locale) for pattern in (locale.date_formats["long"], locale.time_formats["short"]))
    return sentence("words", "moment", spoken, date=date, time=time, zone=where)


def _offset(local: datetime) -> str:
    minutes = int((local.utcoffset() or timedelta()).total_seconds()) // 60
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    return "UTC" if minutes == 0 else f"UTC{sign}{hours}" + (f":{rest:02d}" if rest else "")


def _minute_up(at: datetime) -> datetime:
    """An opening is told late rather than early: who comes at the minute told is let in."""
    floor = at.replace(second=0, microsecond=0)
    return floor if floor == at else floor + timedelta(minutes=1)


def join(spoken: Language, parts: Iterable[str]) -> str:
    return ("" if spoken is Language.zh_CN else " ").join(parts)


def refusal_message(refusal: Refusal, window: Window | None, spoken: Language, zone: tzinfo) -> str:
    """Why policy says no, for the customer."""
    if window and refusal is Refusal.window_closed and window.closes_at:
        return sentence("refusal_dated", refusal, spoken, at=moment(window.closes_at, zone, spoken))
    if window and refusal is Refusal.window_not_open and window.opens_at:
        return sentence("refusal_dated", refusal, spoken, at=moment(_minute_up(window.opens_at), zone, spoken))
    if window and refusal is Refusal.window_not_open and window.anchor:
        return sentence("refusal_anchor", window.anchor, spoken)
    return sentence("refusal", refusal, spoken)


def next_step(action: str, spoken: Language) -> str:
    """What to do instead. Policies are data: a step that has no sentence yet leads to people."""
    section = words(spoken, "next_step")
    return section.get(action, section["other"])


def next_steps(actions: Iterable[str], spoken: Language, merchant: MerchantEntry | None = None) -> list[Advice]:
    """Each with its sentence. `merchant`: whom the customer can ask, and where, if it is known."""
    return [_advice(action, spoken, merchant) for action in actions]


def _advice(action: str, spoken: Language, merchant: MerchantEntry | None) -> Advice:
    if merchant is None or action != NextStep.contact_merchant:
        return {"action": action, "message": next_step(action, spoken), "contact": None}
    known = merchant.contact
    ways = [way for way in (known.phone, known.email, known.url) if way is not None]
    told = sentence("contact", "merchant", spoken, name=merchant.name, ways=format_list(ways, "or", _LOCALES[spoken]))
    contact: Contact = {"name": merchant.name, "email": known.email, "phone": known.phone, "url": known.url}
    return {"action": action, "message": told, "contact": contact}


def failure(code: PaymentFailure, detail: str | None, spoken: Language, merchant: MerchantEntry | None) -> Failure:
    """Why a payment failed, in words, and what its customer can do about it."""
    return {
        "code": code.value,
        "message": sentence("failure", code, spoken),
        "next_steps": next_steps(_REMEDIES[code], spoken, merchant),
        "detail": detail,
    }


_REMEDIES: dict[PaymentFailure, tuple[NextStep, ...]] = {
    PaymentFailure.insufficient_funds: (NextStep.top_up, NextStep.use_other_source),
    PaymentFailure.network: (NextStep.try_again,),
    PaymentFailure.provider_outage: (NextStep.wait, NextStep.use_other_source),
    PaymentFailure.limit_exceeded: (NextStep.use_other_source, NextStep.contact_support),
    PaymentFailure.instrument_invalid: (NextStep.check_instrument, NextStep.use_other_source),
    PaymentFailure.merchant_error: (NextStep.contact_merchant,),
    PaymentFailure.other: (NextStep.try_again, NextStep.contact_support),
}


def fault_message(fault: Fault, spoken: Language) -> str:
    """What is wrong with a value, as its code is told in that language."""
    return sentence("fault", fault.code, spoken, **{name: _choices(value, spoken) for name, value in fault.members.items()})


def _choices(member: FaultMember, spoken: Language) -> str | int:
    """Several words as a list: `'a', 'b' or 'c'`. A number stays as a program would write it."""
    if not isinstance(member, tuple):
        return member
    return format_list([f"'{word}'" for word in member], "or", _LOCALES[spoken]) or "–"


def eligibility_message(outlook: Outlook, payment: Payment, *, refusal: str | None, spoken: Language, zone: tzinfo) -> str:
    """What would become of a request now. `refusal` is policy's word or the slug of a problem; None where it is allowed."""
    currency = payment.currency
    verdict = outlook.assessment.verdict if outlook.assessment else None
    if refusal in _REFUSALS:
        return refusal_message(Refusal(refusal), verdict.window if verdict else None, spoken, zone)
    if refusal is not None or outlook.assessment is None or not isinstance(verdict, Allowed):
        return _blocked(refusal or "other", payment, spoken)
    forfeited = sum(amount for _, amount in outlook.forfeited)
    parts = [_possible(verdict.route, outlook, outlook.assessment.amount - forfeited, currency, spoken)]
    if forfeited:
        parts.append(sentence("forfeited", "ahead", spoken, forfeited=amount_text(forfeited, currency, spoken)))
    if outlook.by_reason:
        parts.append(sentence("eligible_note", "by_reason", spoken))
    if verdict.window and verdict.window.closes_at:
        parts.append(sentence("eligible_note", "until", spoken, at=moment(verdict.window.closes_at, zone, spoken)))
    return join(spoken, parts)


def _blocked(slug: str, payment: Payment, spoken: Language) -> str:
    """Why the payment itself allows no request now."""
    if slug == "amount-exceeds-refundable" and payment.amount_refundable == 0:
        return words(spoken, "blocked")["nothing-left"]
    if slug != "invalid-state":
        return words(spoken, "blocked").get(slug, words(spoken, "blocked")["other"])
    told = words(spoken, "blocked_state")
    if payment.state is PaymentState.refunded and payment.amount_refunded == payment.amount:
        return told["refunded_in_full"]
    if payment.state is PaymentState.refunding and payment.amount_refundable:
        return told["refunding_rest"].format(amount=amount_text(payment.amount_refundable, payment.currency, spoken))
    return told.get(payment.state, words(spoken, "blocked")["other"])


def _possible(route: Route, outlook: Outlook, back: int, currency: str, spoken: Language) -> str:
    """How, and how much of it goes back."""
    if outlook.assessment is not None and outlook.assessment.amount == 0:
        return sentence("eligible_note", "worth_nothing", spoken)
    if back == 0:
        return sentence("eligible_note", "nothing_back", spoken)
    section = "eligible_second" if outlook.second_approval and route in _AT_ONCE else "eligible"
    return sentence(section, route, spoken, amount=amount_text(back, currency, spoken))


_AT_ONCE = frozenset({Route.void, Route.automatic})
_REFUSALS = frozenset(refusal.value for refusal in Refusal)
