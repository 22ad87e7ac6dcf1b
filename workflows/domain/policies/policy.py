"""The policy: which rule decides about a cancellation, and what it grants."""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from workflows.domain.agent_limits import AgentLimits
from workflows.domain.enums import Allocation, Channel, OnDeadline, Refusal, Route, Source
from workflows.domain.policies.conditions import Subject, When
from workflows.domain.policies.rule_index import RuleIndex, index_of
from workflows.domain.windows import Length, Unit, WindowSpec
from workflows.domain.working_time import WorkingHours

# What alone may keep every rule shut, by the refusal that says so.
REFUSAL_OF: Mapping[Subject, Refusal] = {Subject.category: Refusal.category_excluded, Subject.channel: Refusal.channel_not_allowed}


class Timeout(Struct, frozen=True):
    """A clock, and what it does when it runs out."""

    length: Length
    then: OnDeadline


class Deadlines(Struct, frozen=True, kw_only=True):
    """Every clock that can run; the values here hold where a policy names none, so that nothing waits for ever."""

    merchant: Timeout = Timeout(Length(48, Unit.hours), OnDeadline.agent)
    return_: Timeout = Timeout(Length(15, Unit.days), OnDeadline.decline)  # until the goods are sent
    inspection: Timeout = Timeout(Length(7, Unit.days), OnDeadline.accept)  # until the merchant says what came
    offer: Timeout = Timeout(Length(72, Unit.hours), OnDeadline.agent)
    second_approval: Length = field(default=Length(24, Unit.hours))
    agent: Length = field(default=Length(5, Unit.business_days))


class VerificationMethod(StrEnum):
    """How a customer can be verified by whoever speaks for him."""

    otp = "otp"
    callback = "callback"
    document = "document"
    app_session = "app_session"


class Verification(Struct, frozen=True, kw_only=True):
    """On which channels whoever asks for a customer says how he made sure who it is, and by which methods: none named, by any."""

    channels: frozenset[Channel] = frozenset()
    methods: frozenset[VerificationMethod] = frozenset()


class Limits(Struct, frozen=True, kw_only=True):
    """None: no limit.

    The partial ones bind every refund that is not the first and whole one, the last remainder too: rails count it like any other,
    and would refuse the one too many after it was promised. A whole refund as the first never meets them.
    """

    partial_refunds_max: int | None = None
    partial_interval: Length | None = None
    requests_per_day: int | None = None  # in any 24 hours


class Rule(Struct, frozen=True, kw_only=True):
    """What a rule leaves out (None), the policy says."""

    name: str
    route: Route
    when: When = field(default_factory=When)
    window: WindowSpec | None = None
    merchant_deadline: Timeout | None = None
    return_deadline: Timeout | None = None
    inspection_deadline: Timeout | None = None
    second_approval_above: Mapping[str, int] | None = None
    allocation: Allocation = Allocation.pro_rata
    forfeit: frozenset[Source] = frozenset()  # promotions that do not go back in kind
    verification: Verification | None = None
    limits: Limits = field(default_factory=Limits)


class ResponseTier(Struct, frozen=True, kw_only=True):
    """How soon agents answer cases of one kind, and decide them."""

    name: str
    when: When = field(default_factory=When)
    routes: frozenset[Route] = frozenset()  # empty: whoever decides
    first_response: Length
    resolution: Length | None = None  # None: the agents' deadline alone
    investigation: bool = False  # somebody has to look into it first


class CalendarDays(Struct, frozen=True, kw_only=True):
    """What differs from Monday to Friday."""

    holidays: frozenset[date] = frozenset()  # a Saturday or Sunday among them says nothing new
    working_weekends: frozenset[date] = frozenset()


class PolicyCalendar(Struct, frozen=True):
    """Whose business days count. `days`: None in a policy that is not published yet, and where no day differs."""

    name: str
    days: CalendarDays | None = None


class EffectiveTerms(Struct, frozen=True, kw_only=True):
    """A rule's own terms laid over the policy's: what holds for a cancellation that the rule decided, from its first day to its last."""

    deadlines: Deadlines
    second_approval_above: Mapping[str, int]
    limits: Limits
    allocation: Allocation = Allocation.pro_rata
    forfeit: frozenset[Source] = frozenset()
    verification: Verification = field(default_factory=Verification)


class Policy(Struct, frozen=True, kw_only=True):
    version: str
    effective_from: datetime
    zone: ZoneInfo
    calendar: PolicyCalendar
    rules: tuple[Rule, ...]
    deadlines: Deadlines = field(default_factory=Deadlines)
    second_approval_above: Mapping[str, int] = field(default_factory=dict)  # by currency, in minor units
    verification: Verification = field(default_factory=Verification)
    limits: Limits = field(default_factory=Limits)
    agent_limits: AgentLimits | None = None  # of whoever of ours asks for customers
    response_tiers: tuple[ResponseTier, ...] = ()  # the first that holds
    working_hours: WorkingHours | None = None  # None: somebody is always there
    next_steps: Mapping[Refusal | None, tuple[str, ...]] = field(default_factory=dict)  # None: where a refusal has none of its own
    _laws: tuple[EffectiveTerms, ...] = ()  # made from the rules, in their order
    _law_of: Mapping[str | None, EffectiveTerms] = field(default_factory=dict)
    _index: RuleIndex | None = None

    def __post_init__(self) -> None:
        laws = tuple(self._overlaid(rule) for rule in self.rules)
        force_setattr(self, "_laws", laws)
        force_setattr(self, "_index", index_of(tuple(rule.when for rule in self.rules), REFUSAL_OF))
        force_setattr(self, "_law_of", {rule.name: effective_terms for rule, effective_terms in zip(self.rules, laws, strict=True)})

    def with_rules(self, version: str, rules: tuple[Rule, ...]) -> "Policy":
        """A merchant's own rules, with this policy for all that they leave out."""
        return replace(self, version=version, rules=rules)

    def effective_terms(self, rule: str | None) -> EffectiveTerms:
        """What holds for a cancellation that this rule decided; the policy's own terms where no rule did."""
        found = self._law_of.get(rule)
        if found is None:
            found = EffectiveTerms(
                deadlines=self.deadlines,
                second_approval_above=self.second_approval_above,
                limits=self.limits,
                verification=self.verification,
            )
        return found

    @property
    def index(self) -> RuleIndex:
        if self._index is None:
            raise ValueError("a policy has an index from the beginning")
        return self._index

    def law_at(self, position: int) -> EffectiveTerms:
        return self._laws[position]

    def _overlaid(self, rule: Rule) -> EffectiveTerms:
        own, limits = rule.limits, self.limits
        return EffectiveTerms(
            deadlines=replace(
                self.deadlines,
                merchant=rule.merchant_deadline or self.deadlines.merchant,
                return_=rule.return_deadline or self.deadlines.return_,
                inspection=rule.inspection_deadline or self.deadlines.inspection,
            ),
            second_approval_above=self.second_approval_above if rule.second_approval_above is None else rule.second_approval_above,
            limits=Limits(
                partial_refunds_max=limits.partial_refunds_max if own.partial_refunds_max is None else own.partial_refunds_max,
                partial_interval=own.partial_interval or limits.partial_interval,
                requests_per_day=limits.requests_per_day if own.requests_per_day is None else own.requests_per_day,
            ),
            allocation=rule.allocation,
            forfeit=rule.forfeit,
            verification=self.verification if rule.verification is None else rule.verification,
        )
