"""Policies: the rules that decide, as an operator sends them and as they are published."""

from datetime import date
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from service.api.models.base import Out, PseudonymText, Time
from service.api.models.policy_schema import policy_schema
from service.api.queries import CURSOR_TEXT, PageQuery, PoliciesCursor
from service.calendars import calendar_exists
from workflows.domain.enums import Allocation, Anchor, Category, Channel, Fulfilment, OnDeadline, PaymentState, Reason, Role, Route, Source
from workflows.domain.policies.form import parse_policy
from workflows.domain.policies.policy import Policy, VerificationMethod

Length = str  # a number and a unit: seconds, minutes, hours, days, business_days, months

_AMOUNTS = "By currency, in minor units."


_DOCUMENT_EXAMPLE: Final[dict[str, Any]] = {
    "version": "2026-12-a",
    "effective_from": "2026-12-01T00:00:00Z",
    "timezone": "Asia/Shanghai",
    "calendar": "CN",
    "rules": [
        {
            "name": "second-thoughts",
            "when": {"state": "completed", "fulfilment": ["none", "preparing"], "category_not": ["transfer"]},
            "window": {"anchor": "completed_at", "length": "30 minutes"},
            "route": "automatic",
        },
        {
            "name": "ask-the-merchant",
            "when": {"state": "completed"},
            "window": {"anchor": "completed_at", "length": "15 days"},
            "route": "merchant",
            "merchant_deadline": {"length": "48 hours", "then": "agent"},
        },
    ],
    "second_approval_above": {"CNY": 500000},
    "refusals": {"default": {"next_steps": ["contact_merchant", "contact_support"]}},
}


class PolicyDocument(BaseModel):
    """A policy, as `GET /v1/policies/{version}` shows one under `policy`; what may be left out there may be left out here.

    A condition may name one word instead of a list. `deadlines`, `limits`, `second_approval_above`, `verification` and `refusals` hold
    where a rule has none of its own. Lengths are a number and one of `seconds minutes hours days business_days months` (`seconds` are for
    tests and demonstrations). At most 200 rules. Members that are not known are refused.
    """

    # Read by the policy's own form, which names every fault with its place.
    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        json_schema_extra={
            "example": _DOCUMENT_EXAMPLE,
            **policy_schema(),
        },
    )
    _policy: Policy = PrivateAttr()

    def model_post_init(self, _: object) -> None:
        """Raises PolicyInvalid with every fault."""
        self._policy = parse_policy(self.model_extra, calendar_exists=calendar_exists, new=True)

    @property
    def policy(self) -> Policy:
        return self._policy


class UntilOut(Out):
    """An end that is no length."""

    end_of_day: str = Field(description="So long after the end of the anchor's local day.", examples=["+15 minutes"])


class PolicyWindowOut(Out):
    """When a rule's window is open, counted from a moment of the payment."""

    anchor: Anchor
    length: Length | None = Field(None, description="A number and `seconds minutes hours days business_days months`.", examples=["7 days"])
    until: UntilOut | None = Field(None, description="Instead of a length.")
    count_from: Literal["next_day"] | None = Field(None, description="Count from the beginning of the local day after the anchor.")
    requires_anchor: bool | None = Field(None, description="True: closed as long as the anchor has not happened.")


class WhenOut(Out):
    """The conditions of a rule; all of them must hold. `…_not`: none of these."""

    state: list[PaymentState] | None = None
    state_not: list[PaymentState] | None = None
    fulfilment: list[Fulfilment] | None = None
    fulfilment_not: list[Fulfilment] | None = None
    category: list[Category] | None = None
    category_not: list[Category] | None = None
    merchant_id: list[str] | None = None
    merchant_id_not: list[str] | None = None
    currency: list[str] | None = None
    currency_not: list[str] | None = None
    amount: list[int] | None = None
    amount_not: list[int] | None = None
    amount_above: int | None = None
    amount_up_to: int | None = None
    role: list[Role] | None = None
    role_not: list[Role] | None = None
    channel: list[Channel] | None = None
    channel_not: list[Channel] | None = None
    reason: list[Reason] | None = None
    reason_not: list[Reason] | None = None
    source: list[Source] | None = None
    source_not: list[Source] | None = None


class TimeoutOut(Out):
    """How long somebody has, and what happens then."""

    length: Length = Field(description="How long.", examples=["48 hours"])
    then: OnDeadline


class LimitsOut(Out):
    """How often."""

    partial_refunds_max: int | None = Field(None, description="Partial refunds of one payment.", examples=[50])
    partial_interval: Length | None = Field(None, description="Between two partial refunds.", examples=["1 minutes"])
    requests_per_day: int | None = Field(None, description="For one payment, in the 24 hours before.")


class VerificationOut(Out):
    """Whom to verify, and how."""

    channels: list[Channel] = Field(description="Where somebody else asks.")
    methods: list[VerificationMethod] = Field(description="One of them must have been used.")


class RuleOut(Out):
    """One rule. The first whose `when` holds and whose window is open decides."""

    name: str = Field(description="Unique within the policy.", examples=["second-thoughts"])
    when: WhenOut
    window: PolicyWindowOut | None = Field(None, description="Left out: always open.")
    route: Route
    merchant_deadline: TimeoutOut | None = Field(None, description="The merchant's time to answer.")
    return_deadline: TimeoutOut | None = Field(None, description="Until the goods are sent.")
    inspection_deadline: TimeoutOut | None = Field(None, description="Until the merchant says what came.")
    second_approval_above: dict[str, int] | None = Field(None, description=_AMOUNTS)
    allocation: Allocation | None = Field(None, description="How a partial refund is spread over the sources; `pro_rata` where left out.")
    forfeit: list[Source] | None = Field(None, description="Promotions that are not given back.")
    verification: list[Channel] | VerificationOut | None = Field(
        None, description="Where whoever asks for a customer must say how he was verified: channels, for any method."
    )
    limits: LimitsOut | None = Field(None, description="In place of the policy's.")


class DeadlinesOut(Out):
    """The policy's own deadlines, where a rule has none."""

    merchant: TimeoutOut
    returned: TimeoutOut = Field(alias="return")
    inspection: TimeoutOut
    offer: TimeoutOut
    second_approval: Length = Field(description="Then it goes back to the agents.", examples=["24 hours"])
    agent: Length = Field(description="Then it is raised to a supervisor.", examples=["5 business_days"])


class RefusalStepsOut(Out):
    """What to tell the customer instead."""

    next_steps: list[str] = Field(description="In this order.", examples=[["contact_merchant", "contact_support"]])


class AgentLimitsOut(Out):
    """How much one agent or supervisor may ask for in any 24 hours, over all payments. What is left out is not limited."""

    requests_per_day: int | None = Field(None, description="How many requests.", examples=[50])
    amount_per_day: dict[str, int] | None = Field(None, description=_AMOUNTS, examples=[{"CNY": 1000000}])
    refunds_to_wallet_per_day: int | None = Field(None, description="Requests for payments of one wallet.", examples=[3])


class ResponseTierOut(Out):
    """How soon agents answer cases of one kind, and decide them. It counts while the step is theirs."""

    name: str = Field(description="Shown as `tier`.", examples=["simple"])
    when: WhenOut
    routes: list[Route] | None = Field(None, description="Left out: whoever decides.")
    first_response: Length = Field(description="Until somebody takes the case, or decides it.", examples=["10 minutes"])
    resolution: Length | None = Field(None, description="Until it is decided; then it is a supervisor's.", examples=["1 business_day"])
    investigation: bool | None = Field(None, description="Somebody has to look into it first.")


class WorkingHoursOut(Out):
    """On business days, by the clock on the wall in the policy's zone. Seconds, minutes and hours of an answer count only then."""

    opens: str = Field(description="A time of day.", examples=["09:00"], pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    closes: str = Field(description="Later than `opens`.", examples=["18:00"], pattern=r"^([01]\d|2[0-3]):[0-5]\d$")


class CalendarOut(Out):
    """A calendar with its days."""

    name: str = Field(description="Its name.", examples=["CN"])
    holidays: list[date] = Field(description="Days from Monday to Friday that are no business days.", examples=[["2026-10-01"]])
    working_weekends: list[date] = Field(description="Saturdays and Sundays that are business days.", examples=[["2026-10-10"]])


class PolicyDocumentOut(Out):
    """A policy as data."""

    version: str = Field(description="Its name.", examples=["2026-11-a"])
    effective_from: Time = Field(description="Payments authorised from then on are decided by it.")
    timezone: str = Field(description="IANA name.", examples=["Asia/Shanghai"])
    calendar: CalendarOut | str = Field(
        description="Whose business days count. The days of a calendar that was published by its name alone are those known then. "
        "`none`, and any day that lies beyond those listed: Monday to Friday.",
        examples=[{"name": "CN", "holidays": ["2026-10-01"], "working_weekends": ["2026-10-10"]}],
    )
    rules: list[RuleOut] = Field(description="The first whose `when` holds and whose window is open decides.")
    deadlines: DeadlinesOut
    second_approval_above: dict[str, int] = Field(description=_AMOUNTS, examples=[{"CNY": 500000}])
    verification: list[Channel] | VerificationOut = Field(
        description="Where whoever asks for a customer must say how he was verified: channels, for any method."
    )
    limits: LimitsOut
    agent_limits: AgentLimitsOut | None = Field(None, description="Left out: agents are not limited.")
    response_tiers: list[ResponseTierOut] | None = Field(None, description="How soon agents answer; the first that holds.")
    working_hours: WorkingHoursOut | None = Field(None, description="Left out: somebody is always there.")
    refusals: dict[str, RefusalStepsOut] = Field(description="By refusal; `default` for all others.")


class PolicyOut(Out):
    """One published version of the policy; it never changes again."""

    policy: PolicyDocumentOut
    published_at: Time = Field(description="When it was published.")
    published_by: PseudonymText


class ListPolicies(PageQuery):
    """Which versions, the last one first."""

    cursor: PoliciesCursor | None = Field(None, description=CURSOR_TEXT)


class PolicyEntryOut(Out):
    """One of the published versions."""

    version: str = Field(description="Its name.", examples=["2026-11-a"])
    effective_from: Time = Field(description="Payments authorised from then on are decided by it.")
    published_at: Time = Field(description="When it was published.")
    published_by: PseudonymText
