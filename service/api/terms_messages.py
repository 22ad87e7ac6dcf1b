"""The terms before a payment, as sentences: who decides, for how long, and what comes after that."""

from collections.abc import Iterator, Sequence
from datetime import UTC
from itertools import groupby

from service.api.i18n import Language, join, refusal_message, sentence, words
from workflows.domain.decisions.terms import CustomerTerms, PaymentStage, ReasonTerms, StageTerms, TermsPeriod
from workflows.domain.enums import Reason, Route
from workflows.domain.policies.verdicts import Allowed, Denied, Verdict
from workflows.domain.windows import Length, WindowSpec


def terms_message(told: CustomerTerms, spoken: Language) -> str:
    """What the customer is told first: what holds once it is paid, for whoever changes their mind."""
    (stage,) = [one for one in told.stages if PaymentStage.paid in one.stages]
    (option,) = [one for one in stage.options if Reason.changed_mind in one.reasons]
    notes = [words(spoken, "terms_note")[subject] for subject in told.depends_on]
    return join(spoken, [option_message(stage, option, spoken), *notes])


def option_message(stage: StageTerms, option: ReasonTerms, spoken: Language) -> str:
    """One period after the other. Neighbours of which the same is told are told together, and so is one refusal after another."""
    told = [period_message(stage, option, period, spoken) for period in merged(option.periods, spoken, pending=_pending(stage))]
    return join(spoken, told)


def merged(periods: Sequence[TermsPeriod], spoken: Language, *, pending: bool) -> Iterator[TermsPeriod]:
    """Of neighbours that are told alike: of what is possible the last, which says until when, and of refusals the first."""

    def outcome(period: TermsPeriod) -> str:
        return _told(period.verdict, spoken, pending=pending) if isinstance(period.verdict, Allowed) else ""

    for possible, group in groupby(periods, outcome):
        alike = list(group)
        yield alike[-1] if possible else alike[0]


def period_message(stage: StageTerms, option: ReasonTerms, period: TermsPeriod, spoken: Language) -> str:
    """`For 30 minutes after payment, you get your money back at once.` Where it is not the first: `After that, …`"""
    verdict, until = period.verdict, period.until
    told = _told(verdict, spoken, pending=_pending(stage))
    before = [one.verdict for one in option.periods if one.opens_at < period.opens_at]
    if isinstance(verdict, Denied):
        return words(spoken, "terms_note")["over"] if any(isinstance(one, Allowed) for one in before) else told
    alike = all(isinstance(one, Allowed) and _told(one, spoken, pending=_pending(stage)) == told for one in before)
    end = "" if until is None else until_text(until, spoken)
    return sentence("terms_lead", ("first" if alike else "then") + _kind(until), spoken, end=end, what=told)


def _pending(stage: StageTerms) -> bool:
    return PaymentStage.before_settlement in stage.stages


def stage_title(stages: tuple[PaymentStage, ...], spoken: Language) -> str:
    """`Paid, not shipped yet`."""
    titles = words(spoken, "terms_stage")
    return titles[_SPANS[stages]] if stages in _SPANS else " · ".join(titles[stage] for stage in stages)


def until_text(window: WindowSpec, spoken: Language) -> str:
    """`15 days after payment`."""
    key, length = ("length", window.length) if window.length is not None else ("end_of_day", window.end_of_day)
    if window.next_day:
        key = {"length": "next_day", "end_of_day": "end_of_next_day"}[key]
    if window.length is None and length is not None and length.amount:
        key += "_plus"
    told = "" if length is None else length_text(length, spoken)
    return sentence("terms_end", key, spoken, length=told, anchor=words(spoken, "terms_anchor")[window.anchor])


def length_text(length: Length, spoken: Language) -> str:
    """`1 day`, `15 days`."""
    return sentence("length_one" if length.amount == 1 else "length", length.unit, spoken, count=length.amount)


def _kind(until: WindowSpec | None) -> str:
    """A length goes on `for`, a day `until` its end; what has no end is possible at any time."""
    if until is None:
        return "_always"
    return "_for" if until.length is not None else "_until"


def _told(verdict: Verdict, spoken: Language, *, pending: bool) -> str:
    if isinstance(verdict, Denied):
        anchor_only = verdict.window if verdict.window and verdict.window.closes_at is None else None
        return refusal_message(verdict.refusal, anchor_only, spoken, UTC)
    clocks, key, lengths = verdict.deadlines, verdict.route.value, {"length": ""}
    match verdict.route:
        case Route.merchant:
            key, lengths = f"merchant_{clocks.merchant.then}", {"length": length_text(clocks.merchant.length, spoken)}
        case Route.return_:
            lengths = {"length": length_text(clocks.return_.length, spoken)}
        case Route.agent:
            lengths = {"length": length_text(clocks.agent, spoken)}
        case Route.void | Route.automatic:
            pass
    return sentence("terms_what_pending" if pending else "terms_what", key, spoken, **lengths)


_SPANS = {
    (PaymentStage.paid, PaymentStage.preparing): "not_shipped",
    (PaymentStage.paid, PaymentStage.preparing, PaymentStage.shipped, PaymentStage.delivered): "settled",
}
