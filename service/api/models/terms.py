"""The terms before a payment: what is asked, and how they are told."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from service.api.i18n import Language, next_steps
from service.api.models.base import ContactOut, NextStepOut, Out, PseudonymText, Time
from service.api.queries import Query, QueryAmount
from service.api.terms_messages import option_message, period_message, stage_title, terms_message, until_text
from service.api.types import Currency, Pseudonym, problem
from workflows.domain.decisions.terms import PaymentStage, ReasonTerms, StageTerms, TermsPeriod, TermsQuestion
from workflows.domain.enums import Anchor, Category, OnDeadline, Reason, Refusal, Route
from workflows.domain.faults import FaultCode
from workflows.domain.model import MerchantEntry
from workflows.domain.policies.policy import Timeout
from workflows.domain.policies.verdicts import Allowed, Denied
from workflows.domain.windows import WindowSpec
from workflows.flows.tell_terms import TermsAnswer


class TermsPageQuery(Query):
    """The payment that somebody thinks of. What messengers add to the address of a page is passed over."""

    model_config = ConfigDict(extra="ignore")

    category: Category = Field(Category.general, description="What is paid for.")
    amount: QueryAmount | None = Field(None, description="How much, in minor units. Together with `currency`.")
    currency: Currency | None = Field(None, description="ISO 4217. Together with `amount`.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.amount is None) is not (self.currency is None):
            raise problem(FaultCode.required, "/amount" if self.amount is None else "/currency")
        return self

    def question(self, merchant_id: str) -> TermsQuestion:
        return TermsQuestion(merchant_id=merchant_id, category=self.category, amount=self.amount, currency=self.currency)


class TermsQuery(TermsPageQuery):
    """The payment that somebody thinks of."""

    model_config = ConfigDict(extra="forbid")

    merchant_id: Pseudonym = Field(description="Who would be paid.", examples=["shop-1"])


class TermsTimeoutOut(Out):
    """How long somebody has, and what happens then."""

    length: str = Field(description="A number and a unit, as policies write it.", examples=["48 hours"])
    then: OnDeadline

    @classmethod
    def about(cls, timeout: Timeout) -> "TermsTimeoutOut":
        return cls(length=str(timeout.length), then=timeout.then)


class TermsUntilOut(Out):
    """The end of a rule's window, as the policy writes it: a length from the anchor, or the end of the anchor's day and some more."""

    anchor: Anchor = Field(description="The moment from which it counts.")
    length: str | None = Field(description="Null where it is the end of a day.", examples=["15 days"])
    end_of_day: str | None = Field(description="How long after the end of the day; null where it is a length.", examples=[None])
    count_from: Literal["anchor", "next_day"] = Field(description="`next_day`: counted from the beginning of the day after.")
    message: str = Field(description="The same in words.", examples=["15 days after payment"])

    @classmethod
    def about(cls, window: WindowSpec, spoken: Language) -> "TermsUntilOut":
        return cls(
            anchor=window.anchor,
            length=None if window.length is None else str(window.length),
            end_of_day=None if window.end_of_day is None else str(window.end_of_day),
            count_from="next_day" if window.next_day else "anchor",
            message=until_text(window, spoken),
        )


class TermsPeriodOut(Out):
    """What holds from `opens_at` until just before `closes_at`."""

    opens_at: Time = Field(description="The first period's is the answer's `as_of`.")
    closes_at: Time | None = Field(description="If all that came before happened at `as_of`. Null: for good.")
    until: TermsUntilOut | None = Field(description="What `closes_at` is, for any payment; null: for good.")
    route: Route | None = Field(description="Null: it is refused.")
    refusal: Refusal | None = Field(description="Null: it is possible.")
    decided_by: Literal["policy", "merchant", "support"] | None = Field(description="Whose yes it needs; `policy`: nobody's.")
    merchant_deadline: TermsTimeoutOut | None = Field(description="Where the merchant decides: how long it has.")
    return_deadline: TermsTimeoutOut | None = Field(description="Where the goods come back first: until when they must be sent.")
    agent_deadline: str | None = Field(description="Where our support decides: when it aims to answer.", examples=[None])
    rule: str | None = Field(description="The rule that decides, or that closed last.", examples=["second-thoughts"])
    policy_version: str = Field(description="The policy, or the merchant's terms, that the rule stands in.", examples=["2026-11-a"])
    message: str = Field(description="The same as a sentence.")

    @classmethod
    def about(cls, period: TermsPeriod, option: ReasonTerms, stage: StageTerms, spoken: Language) -> "TermsPeriodOut":
        verdict = period.verdict
        route = verdict.route if isinstance(verdict, Allowed) else None
        clocks = verdict.deadlines if isinstance(verdict, Allowed) else None
        return cls(
            opens_at=period.opens_at,
            closes_at=period.closes_at,
            until=None if period.until is None else TermsUntilOut.about(period.until, spoken),
            route=route,
            refusal=verdict.refusal if isinstance(verdict, Denied) else None,
            decided_by=None if route is None else _DECIDES[route],
            merchant_deadline=TermsTimeoutOut.about(clocks.merchant) if clocks and route is Route.merchant else None,
            return_deadline=TermsTimeoutOut.about(clocks.return_) if clocks and route is Route.return_ else None,
            agent_deadline=str(clocks.agent) if clocks and route is Route.agent else None,
            rule=verdict.rule,
            policy_version=verdict.policy_version,
            message=period_message(stage, option, period, spoken),
        )


_DECIDES: dict[Route, Literal["policy", "merchant", "support"]] = {
    Route.void: "policy",
    Route.automatic: "policy",
    Route.merchant: "merchant",
    Route.return_: "merchant",
    Route.agent: "support",
}


class TermsOptionOut(Out):
    """What all of these reasons would bring."""

    reasons: list[Reason] = Field(description="Why it is asked for.")
    periods: list[TermsPeriodOut] = Field(description="One after the other, without a gap.")
    message: str = Field(description="The same in sentences.")

    @classmethod
    def about(cls, option: ReasonTerms, stage: StageTerms, spoken: Language) -> "TermsOptionOut":
        told = [TermsPeriodOut.about(one, option, stage, spoken) for one in option.periods]
        return cls(reasons=list(option.reasons), periods=told, message=option_message(stage, option, spoken))


class TermsStageOut(Out):
    """What can be done while the payment and its goods are so far."""

    applies_to: list[PaymentStage] = Field(description="Stages that follow each other and are treated alike.")
    title: str = Field(description="The same in words.", examples=["Paid, not shipped yet"])
    options: list[TermsOptionOut] = Field(description="Every reason stands in one of them.")

    @classmethod
    def about(cls, stage: StageTerms, spoken: Language) -> "TermsStageOut":
        options = [TermsOptionOut.about(option, stage, spoken) for option in stage.options]
        return cls(applies_to=list(stage.stages), title=stage_title(stage.stages, spoken), options=options)


class TermsOut(Out):
    """The terms of a payment that is made now."""

    merchant_id: PseudonymText
    merchant: ContactOut | None = Field(description="Null: nobody has described it; it has no rules of its own.")
    policy_version: str = Field(description="The policy in force.", examples=["2026-11-a"])
    merchant_rules_version: str | None = Field(description="The merchant's own terms in force.", examples=["shop-1@3"])
    as_of: Time = Field(description="The beginning of the current minute: when such a payment would be made.")
    timezone: str = Field(description="The policy's, in which its days and months are counted.", examples=["Asia/Shanghai"])
    category: Category
    amount: int | None = Field(description="As it was asked, in the currency's minor unit.", examples=[13912])
    currency: str | None = Field(description="As it was asked: ISO 4217.", examples=["CNY"])
    depends_on: list[Literal["amount", "source"]] = Field(
        description="What was not asked and may change the answer: a rule tests the amount, or what the money comes from."
    )
    stages: list[TermsStageOut] = Field(description="From authorisation to delivery.")
    message: str = Field(description="What holds once it is paid and nothing is shipped, for whoever changes their mind.")
    next_steps: list[NextStepOut] = Field(description="What is left when it is too late.")


def terms_out(answer: TermsAnswer, spoken: Language) -> TermsOut:
    terms, told = answer.terms, answer.told
    merchant = terms.merchant
    entry = None if merchant is None else MerchantEntry(name=merchant.details.name, contact=merchant.details.contact)
    last = [option.periods[-1].verdict for stage in told.stages for option in stage.options]
    steps = dict.fromkeys(step for verdict in last if isinstance(verdict, Denied) for step in verdict.next_steps)
    return TermsOut(
        merchant_id=answer.question.merchant_id,
        merchant=None if entry is None else ContactOut.of(entry.contact, name=entry.name),
        policy_version=terms.policy.version,
        merchant_rules_version=None if merchant is None else merchant.rules_version,
        as_of=told.as_of,
        timezone=terms.policy.zone.key,
        category=answer.question.category,
        amount=answer.question.amount,
        currency=answer.question.currency,
        depends_on=[subject.value for subject in told.depends_on],
        stages=[TermsStageOut.about(stage, spoken) for stage in told.stages],
        message=terms_message(told, spoken),
        next_steps=[NextStepOut.model_validate(step) for step in next_steps(steps, spoken, entry)],
    )
