"""The page that shows a merchant's customers, before they pay, what they could do about it later."""

from datetime import timedelta
from typing import Annotated, Final, NamedTuple
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse
from starlette.responses import Response

from service.api.context import ForAnybody
from service.api.i18n import Language, amount_text, moment, sentence, words
from service.api.models.terms import TermsOptionOut, TermsOut, TermsPageQuery, TermsPeriodOut, TermsStageOut
from service.api.responses import streamed
from service.api.routing import ApiRoute
from service.api.terms import CACHED_SECONDS, tell_terms
from service.api.terms_messages import length_text
from service.console.pages import page_response, render
from workflows.domain.decisions.terms import PaymentStage
from workflows.domain.enums import Category, Reason
from workflows.domain.windows import parse_length

router = APIRouter(prefix="/terms", tags=["terms"], route_class=ApiRoute)

MerchantId = Annotated[str, Path(description="Who would be paid.", pattern="^[!-~]{1,64}$", examples=["shop-1"])]


@router.get("/{merchant_id:path}", summary="Read the terms", response_class=HTMLResponse, responses=streamed("text/html"))
async def get_terms_page(context: ForAnybody, merchant_id: MerchantId, query: Annotated[TermsPageQuery, Query()]) -> Response:
    """A page for people, in their language: what they could do about a payment to this merchant, and until when."""
    told = await tell_terms(context, query.question(merchant_id))
    return page_response(terms_page(told, context.language), context.language, seconds=CACHED_SECONDS)


class Bar(NamedTuple):
    """A part of a time line, in percent of its width. `label`: what stands at its end."""

    kind: str
    left: int
    width: int
    label: str


def terms_page(told: TermsOut, language: Language) -> str:
    """The page of one merchant's terms."""
    label = words(language, "terms_page")
    title = label["for_merchant"].format(name=told.merchant.name) if told.merchant else label["for_anybody"]
    return render(
        "terms.html",
        language=language,
        label=label,
        note=words(language, "terms_note"),
        who=words(language, "terms_who"),
        title=title,
        told=told,
        amount=None if told.amount is None or told.currency is None else amount_text(told.amount, told.currency, language),
        categories=[(name, words(language, "terms_category")[name], _address(told, name)) for name in Category],
        stages=[(stage, [_option(told, stage, option, language) for option in stage.options]) for stage in told.stages],
    )


def _option(told: TermsOut, stage: TermsStageOut, option: TermsOptionOut, language: Language) -> dict[str, object]:
    every = len(option.reasons) == len(Reason)
    periods = [one for one, before in zip(option.periods, [None, *option.periods], strict=False) if one.route or not before or before.route]
    names = words(language, "terms_reason")
    return {
        "reasons": [words(language, "terms_page")["every_reason"]] if every else [names[reason] for reason in option.reasons],
        "periods": [(_kind(period), period, _dated(told, stage, period, language)) for period in periods],
        "bars": _bars(periods, language),
    }


def _dated(told: TermsOut, stage: TermsStageOut, period: TermsPeriodOut, language: Language) -> str:
    """The date on which it ends for who pays now. When goods will be sent or arrive, nobody knows."""
    if period.route is None or period.closes_at is None or _BY_PAYING.isdisjoint(stage.applies_to):
        return ""
    return sentence("terms_page", "until", language, at=moment(period.closes_at, ZoneInfo(told.timezone), language))


_BY_PAYING: Final = frozenset({PaymentStage.before_settlement, PaymentStage.paid})


def _kind(period: TermsPeriodOut) -> str:
    return "refused" if period.route is None else period.route.value


def _bars(periods: list[TermsPeriodOut], language: Language) -> list[Bar]:
    """The time line: a period twice as long is one step wider, so that half an hour can be seen beside a year."""
    widths = [_steps(period) for period in periods]
    lefts = [sum(widths[:position]) * 100 // sum(widths) for position in range(len(widths) + 1)]
    return [
        Bar(_kind(period), left, right - left, _label(period, language))
        for period, left, right in zip(periods, lefts, lefts[1:], strict=False)
    ]


_STEPS_MIN = 5


def _steps(period: TermsPeriodOut) -> int:
    if period.closes_at is None or period.route is None:
        return _STEPS_MIN
    minutes = (period.closes_at - period.opens_at) // timedelta(minutes=1)
    return max(_STEPS_MIN, minutes.bit_length())


def _label(period: TermsPeriodOut, language: Language) -> str:
    length = None if period.route is None or period.until is None or period.until.length is None else parse_length(period.until.length)
    return "" if length is None else length_text(length, language)


def _address(told: TermsOut, category: Category) -> str:
    asked = {"category": category.value} | ({} if told.amount is None else {"amount": told.amount, "currency": told.currency})
    return f"/terms/{quote(told.merchant_id, safe='')}?{urlencode(asked)}"
