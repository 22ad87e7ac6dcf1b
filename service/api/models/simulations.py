"""Simulations: a policy that is tried on the decisions of a span, and what it would have changed."""

from datetime import tzinfo
from typing import Annotated, Any, Final, Literal, Self

from msgspec.structs import replace
from pydantic import ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from service.api.i18n import Language, amount_text, refusal_message, sentence
from service.api.models.base import CancellationId, CurrencyCode, Out, PaymentId, Sum, Time, WindowOut
from service.api.models.policies import PolicyDocument
from service.api.types import Body, Instant, problem
from workflows.domain.enums import Refusal, Route
from workflows.domain.faults import FaultCode
from workflows.domain.policies.form import PolicyInvalid
from workflows.domain.policies.simulation import Difference, SimulationResult
from workflows.domain.policies.verdicts import Denied, Verdict


def _policy(value: object, read: ValidatorFunctionWrapHandler) -> PolicyDocument:
    """A policy's own form tells its faults from the document's root; here that is a member."""
    try:
        found: PolicyDocument = read(value)
    except PolicyInvalid as invalid:
        raise PolicyInvalid(tuple(replace(fault, pointer=f"/policy{fault.pointer}") for fault in invalid.faults)) from None
    return found


_DOCUMENT: Final[Any] = PolicyDocument.model_config["json_schema_extra"]


class SimulatePolicy(Body):
    """A policy to try, and the span of the decisions to try it on: `from` belongs to it, `to` does not."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"policy": _DOCUMENT["example"], "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"},
        }
    )

    policy: Annotated[PolicyDocument, WrapValidator(_policy)] = Field(description="As it would be published.")
    from_: Instant = Field(alias="from", description="Decisions made at this time or later.")
    to: Instant = Field(description="Decisions made before this time. Not earlier than `from`.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.to < self.from_:
            raise problem(FaultCode.span_reversed, "/to")
        return self


class TransitionOut(Out):
    """How many decisions went from one outcome to another, or stayed, and over how much."""

    before: Route | Refusal = Field(description="The outcome by the payment's own policy: a route, or a refusal.", examples=["merchant"])
    after: Route | Refusal = Field(description="The outcome by the candidate.", examples=["automatic"])
    decisions: int = Field(ge=1, description="How many.", examples=[42])
    amounts: dict[str, int] = Field(description="What was asked for, by currency, in minor units.", examples=[{"CNY": 420000}])


class RuleCountOut(Out):
    """How many decisions a rule of the candidate would have made."""

    rule: str | None = Field(description="The rule's name. Null: no rule.", examples=["ask-the-merchant"])
    decisions: int = Field(ge=1, description="How many.", examples=[42])


class ExplanationOut(Out):
    """Why a policy decides as it does."""

    route: Route | None = Field(description="Who decides. Null: refused.")
    refusal: Refusal | None = Field(description="Why it is refused. Null: allowed.")
    rule: str | None = Field(description="The rule that decided. Null: no rule.", examples=["ask-the-merchant"])
    policy_version: str = Field(description="Whose rule it is.", examples=["2026-11-a"])
    window: WindowOut | None = Field(description="The rule's window. Null: always open, or no rule.")
    message: str = Field(description="The same as a sentence.", examples=["CNY 139.12 can be refunded right away."])

    @classmethod
    def by(cls, verdict: Verdict, *, amount: int, currency: str, zone: tzinfo, spoken: Language) -> Self:
        if isinstance(verdict, Denied):
            message = refusal_message(verdict.refusal, verdict.window, spoken, zone)
            return cls.of(verdict, route=None, window=verdict.window, message=message)
        message = sentence("eligible", verdict.route, spoken, amount=amount_text(amount, currency, spoken))
        return cls.of(verdict, refusal=None, window=verdict.window, message=message)


class DifferenceOut(Out):
    """A decision that would have had another outcome."""

    cancellation_id: CancellationId
    payment_id: PaymentId
    amount: Sum
    currency: CurrencyCode
    created_at: Time = Field(description="When it was decided; both policies are asked as of then.")
    before: ExplanationOut = Field(description="By the payment's own policy.")
    after: ExplanationOut = Field(description="By the candidate.")

    @classmethod
    def about(cls, difference: Difference, spoken: Language) -> Self:
        amount, currency = difference.amount, difference.currency
        before, after = (
            ExplanationOut.by(one.verdict, amount=amount, currency=currency, zone=one.zone, spoken=spoken)
            for one in (difference.before, difference.after)
        )
        return cls.of(difference, before=before, after=after)


class SimulationOut(Out):
    """What the candidate would have changed. Both policies are asked on the facts that each decision kept, as of its moment."""

    policy_version: str = Field(description="The candidate's.", examples=["2026-12-a"])
    decisions: int = Field(ge=0, description="How many were compared.", examples=[1200])
    changed: int = Field(ge=0, description="With another outcome: another route, or another refusal.", examples=[60])
    kinder: int = Field(ge=0, description="Of these, better for the customer.", examples=[42])
    harsher: int = Field(
        ge=0, description="Of these, worse for the customer. One refusal instead of another is neither kinder nor harsher.", examples=[15]
    )
    window_changed: int = Field(ge=0, description="With the same route, but a window that closes at another time.", examples=[0])
    not_reproduced: int = Field(
        ge=0, description="Whose own policy, asked again, does not say what was kept. More than 0 is a fault of the service.", examples=[0]
    )
    skipped: int = Field(ge=0, description="Left out: no policy had been asked (a late capture that was sent back).", examples=[0])
    transitions: list[TransitionOut] = Field(description="By outcome before and after, the most frequent first.")
    rules_after: list[RuleCountOut] = Field(description="By the candidate's rule, the most frequent first.")
    differences: list[DifferenceOut] = Field(description="Of the changed ones those with the largest `amount`, at most 100.")

    @classmethod
    def about(cls, result: SimulationResult, policy_version: str, spoken: Language) -> Self:
        return cls.of(
            result,
            policy_version=policy_version,
            transitions=[TransitionOut.of(one) for one in result.transitions],
            rules_after=[RuleCountOut(rule=rule, decisions=count) for rule, count in result.rules_after],
            differences=[DifferenceOut.about(one, spoken) for one in result.differences],
        )


class SimulationProgressLine(Out):
    """A line of the stream while the simulation runs."""

    type: Literal["progress"] = "progress"
    decisions: int
    at: Time
