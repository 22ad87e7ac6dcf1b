"""What a policy decides: the verdict of the first rule that holds and is open, and which of two verdicts is kinder."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from zoneinfo import ZoneInfo

from msgspec import Struct

from workflows.domain.enums import ActorRole, OnDeadline, Refusal, Role, Route
from workflows.domain.errors import Window
from workflows.domain.policies.conditions import Subject
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.policy import REFUSAL_OF, Deadlines, EffectiveTerms, Limits, Policy, Rule, Timeout
from workflows.domain.policies.rule_index import positions
from workflows.domain.ports import Calendar
from workflows.domain.windows import CLOSED, OPEN, Phase, deadline, locate


class Allowed(Struct, frozen=True, kw_only=True):
    route: Route
    rule: str
    window: Window | None
    policy_version: str
    effective_terms: EffectiveTerms
    accepted_by: str | None = None  # the version of the merchant's terms by which it accepts without being asked

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
    for position in positions(policy.index.matching(facts)):
        rule, window = policy.rules[position], None
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


def kindness(verdict: Verdict) -> tuple[int, int, datetime]:
    """Greater is kinder: by route, then by the later end of the window, where none is the latest.

    Between the two: of hand-offs the one is kinder in which the merchant's silence is, and of refusals the one that leaves more hope.
    """
    closes_at = None if verdict.window is None else verdict.window.closes_at
    end = _NEVER if closes_at is None else closes_at
    if isinstance(verdict, Denied):
        return 0, _HOPE.index(verdict.refusal), end
    return *route_kindness(verdict.route, verdict.deadlines.merchant), end


def route_kindness(route: Route, merchant: Timeout) -> tuple[int, int]:
    """The same without the window; `merchant`: the clock of the merchant's answer."""
    return _KINDNESS[route], KINDNESS_OF_SILENCE.index(merchant.then) if route is Route.merchant else 0


KINDNESS_OF_SILENCE = (OnDeadline.decline, OnDeadline.agent, OnDeadline.accept)

# Of two refusals the one that leaves more hope is told.
_HOPE = (
    Refusal.no_rule,
    Refusal.category_excluded,
    Refusal.channel_not_allowed,
    Refusal.window_closed,
    Refusal.limit_reached,
    Refusal.window_not_open,
)
_NEVER = datetime.max.replace(tzinfo=UTC)
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
    for rule, subject in _kept_shut(policy, facts):
        if rule.window is None:
            return _denied(policy, REFUSAL_OF[subject], rule, None)
        anchor_at = facts.anchors.get(rule.window.anchor)
        phase, window = locate(rule.window, anchor_at, now, zone=policy.zone, calendar=calendar)
        if phase is OPEN:
            return _denied(policy, REFUSAL_OF[subject], rule, window)
    return _denied(policy, Refusal.no_rule, None, None)


def _kept_shut(policy: Policy, facts: PolicyFacts) -> Iterator[tuple[Rule, Subject]]:
    """The rules that hold but for one subject, with it: first those that exclude its value, then those that are for other values only."""
    for negated_only in (True, False):
        found = {subject: policy.index.matching_but(facts, subject, negated_only=negated_only) for subject in REFUSAL_OF}
        for position in positions(reduce(or_, found.values())):
            yield from ((policy.rules[position], subject) for subject, bits in found.items() if bits >> position & 1)


def _denied(policy: Policy, refusal: Refusal, rule: Rule | None, window: Window | None) -> Denied:
    steps = policy.next_steps
    return Denied(
        refusal=refusal,
        rule=None if rule is None else rule.name,
        window=window,
        next_steps=steps.get(refusal, steps.get(None, ())),
        policy_version=policy.version,
    )
