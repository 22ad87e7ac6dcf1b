"""The policy: which rule decides about a cancellation, and what it grants."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from itertools import product
from zoneinfo import ZoneInfo

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from workflows.domain.agent_limits import AgentLimits
from workflows.domain.enums import (
    ActorRole,
    Allocation,
    Channel,
    OnDeadline,
    Refusal,
    Role,
    Route,
    Source,
)
from workflows.domain.errors import Window
from workflows.domain.policy_facts import PolicyFacts
from workflows.domain.ports import Calendar
from workflows.domain.windows import CLOSED, OPEN, Length, Phase, Unit, WindowSpec, deadline, locate
from workflows.domain.working_time import WorkingHours


class Subject(StrEnum):
    """What a rule's `when` may test; the names are those of `PolicyFacts`, but for `source`, which looks at all `sources`."""

    state = "state"
    fulfilment = "fulfilment"
    category = "category"
    merchant_id = "merchant_id"
    currency = "currency"
    amount = "amount"
    role = "role"
    channel = "channel"
    reason = "reason"
    source = "source"


_SOURCE = Subject.source


class Condition(Struct, frozen=True, kw_only=True):
    """One test. A fact that is not known is in no set: it fails a plain test and passes a negated one."""

    subject: Subject
    values: frozenset[str] | frozenset[int]
    negated: bool = False

    def holds(self, facts: PolicyFacts) -> bool:
        if self.subject is _SOURCE:
            return self.values.isdisjoint(facts.sources) is self.negated  # any one source will do
        return (getattr(facts, self.subject) in self.values) is not self.negated


class When(Struct, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] = ()
    amount_above: int | None = None
    amount_up_to: int | None = None

    def holds(self, facts: PolicyFacts, *, whatever: Subject | None = None, negated_only: bool = False) -> bool:
        """Whether every test holds, those on the subject `whatever` left out (`negated_only`: its negated ones)."""
        for condition in self.conditions:
            if not condition.holds(facts) and (condition.subject is not whatever or (negated_only and not condition.negated)):
                return False
        if self.amount_above is not None and facts.amount <= self.amount_above:
            return False
        return self.amount_up_to is None or facts.amount <= self.amount_up_to


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
    calendar: str
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

    def __post_init__(self) -> None:
        laws = tuple(self._overlaid(rule) for rule in self.rules)
        force_setattr(self, "_laws", laws)
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


class Allowed(Struct, frozen=True, kw_only=True):
    route: Route
    rule: str
    window: Window | None
    policy_version: str
    effective_terms: EffectiveTerms

    @property
    def deadlines(self) -> Deadlines:
        return self.effective_terms.deadlines


class Denied(Struct, frozen=True, kw_only=True):
    refusal: Refusal
    rule: str | None
    window: Window | None
    next_steps: tuple[str, ...]
    policy_version: str


Verdict = Allowed | Denied


def decide_route(policy: Policy, facts: PolicyFacts, now: datetime, calendar: Calendar) -> Verdict:
    """The verdict of the first rule whose `when` holds and whose window is open at `now`; `calendar` is the policy's."""
    shut: list[tuple[Phase, Rule, Window]] = []
    for position, rule in enumerate(policy.rules):
        if not rule.when.holds(facts):
            continue
        window = None
        if rule.window is not None:
            anchor_at = facts.anchors.get(rule.window.anchor)
            phase, window = locate(rule.window, anchor_at, now, zone=policy.zone, calendar=calendar)
            if phase is not OPEN:
                shut.append((phase, rule, window))
                continue
        effective_terms = policy.law_at(position)
        if _limit_reached(effective_terms.limits, facts, now, policy.zone, calendar):
            return _denied(policy, Refusal.limit_reached, rule, window)
        return Allowed(
            route=rule.route,
            rule=rule.name,
            window=window,
            policy_version=policy.version,
            effective_terms=effective_terms,
        )
    return _refuse_by_window(policy, shut) if shut else _refuse_by_condition(policy, facts, now, calendar)


def partial_limit_reached(
    limits: Limits, granted: int, last_at: datetime | None, now: datetime, *, zone: ZoneInfo, calendar: Calendar
) -> bool:
    """Whether no further partial refund may be granted now, after so many, the last of them at `last_at`."""
    if limits.partial_refunds_max is not None and granted >= limits.partial_refunds_max:
        return True
    if limits.partial_interval is None or last_at is None:
        return False
    return now < deadline(last_at, limits.partial_interval, zone, calendar)


def needs_second_approval(
    effective_terms: EffectiveTerms, role: Role | ActorRole, amount: int, currency: str, *, agent_decides: bool
) -> bool:
    """Whether another person must approve before `amount` (in minor units) is executed. An override always needs one.

    The table counts wherever one person of ours would decide alone: on every route when he asks on the customer's behalf (`role`),
    and where an agent decides. A currency that is missing from it counts as above.
    """
    if role not in _ASK_FOR_OTHERS and not agent_decides:
        return False
    above = effective_terms.second_approval_above.get(currency)
    return above is None or amount > above


def more_favourable(first: Verdict, second: Verdict) -> Verdict:
    """The verdict that is kinder to the customer; the first where they are equally kind."""
    return second if kindness(second) > kindness(first) else first


def kindness(verdict: Verdict) -> tuple[int, datetime]:
    """Greater is kinder: by route, then by the later end of the window, where none is the latest."""
    rank = 0 if isinstance(verdict, Denied) else _KINDNESS[verdict.route]
    closes_at = None if verdict.window is None else verdict.window.closes_at
    return rank, _NEVER if closes_at is None else closes_at


_NEVER = datetime.max.replace(tzinfo=UTC)
_TOLD = {Subject.category: Refusal.category_excluded, Subject.channel: Refusal.channel_not_allowed}
_ASK_FOR_OTHERS = frozenset({Role.agent, Role.supervisor})
_KINDNESS = {Route.void: 4, Route.automatic: 4, Route.return_: 3, Route.merchant: 2, Route.agent: 1}


def _limit_reached(limits: Limits, facts: PolicyFacts, now: datetime, zone: ZoneInfo, calendar: Calendar) -> bool:
    if limits.requests_per_day is not None and facts.requests_last_day >= limits.requests_per_day:
        return True
    return facts.partial and partial_limit_reached(limits, facts.partial_refunds, facts.last_partial_at, now, zone=zone, calendar=calendar)


def _refuse_by_window(policy: Policy, shut: list[tuple[Phase, Rule, Window]]) -> Denied:
    """The window that closed last; where all lie ahead, the one that opens first. Of equals the earlier rule."""
    closed = [(rule, window) for phase, rule, window in shut if phase is CLOSED]
    if closed:
        rule, window = max(closed, key=lambda pair: pair[1].closes_at or _NEVER)
        return _denied(policy, Refusal.window_closed, rule, window)
    _, rule, window = min(shut, key=lambda entry: entry[2].opens_at or _NEVER)
    return _denied(policy, Refusal.window_not_open, rule, window)


def _refuse_by_condition(policy: Policy, facts: PolicyFacts, now: datetime, calendar: Calendar) -> Denied:
    """No `when` holds: what alone keeps an open rule shut; a rule that excludes it is told before one that is for others only."""
    for negated_only, rule, subject in product((True, False), policy.rules, _TOLD):
        if not rule.when.holds(facts, whatever=subject, negated_only=negated_only):
            continue
        if rule.window is None:
            return _denied(policy, _TOLD[subject], rule, None)
        anchor_at = facts.anchors.get(rule.window.anchor)
        phase, window = locate(rule.window, anchor_at, now, zone=policy.zone, calendar=calendar)
        if phase is OPEN:
            return _denied(policy, _TOLD[subject], rule, window)
    return _denied(policy, Refusal.no_rule, None, None)


def _denied(policy: Policy, refusal: Refusal, rule: Rule | None, window: Window | None) -> Denied:
    steps = policy.next_steps
    return Denied(
        refusal=refusal,
        rule=None if rule is None else rule.name,
        window=window,
        next_steps=steps.get(refusal, steps.get(None, ())),
        policy_version=policy.version,
    )
