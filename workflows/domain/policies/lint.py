"""What is wrong with a policy whose form is right: rules that never decide, windows that never open, requests that no rule covers."""

from collections.abc import Iterator, Mapping
from datetime import datetime, time, timedelta
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from workflows.domain.enums import PaymentState, Role, Route
from workflows.domain.policies.conditions import Subject, When
from workflows.domain.policies.cubes import Axis, Budget, Cube, enough, intersection, meet, reach, uncovered, widened
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.policy import Policy, Rule
from workflows.domain.policies.space import ASKED_STATES, CALLERS, Space, space_of
from workflows.domain.policies.spans import can_open, is_empty, may_be_empty, outlasts
from workflows.domain.ports import Calendar
from workflows.domain.windows import WindowSpec, locate

GAPS_MAX = 5
STEPS_MAX = 20_000  # comparisons of two cubes for each rule, about a microsecond each
_GAPS_SHARE = 20  # times as many for the gaps
_NAMES_SHARE = 4  # a fourth of them to say which rules forestall one
_PROBED_DAYS = 366


class Severity(StrEnum):
    error = "error"  # the policy cannot mean this
    warning = "warning"  # probably a slip
    note = "note"


class PolicyFindingCode(StrEnum):
    """What was found, with its members. Members may be added, none is ever renamed or reused."""

    never_matches = "never_matches"  # subjects: on which its conditions leave nothing that can be asked
    never_open = "never_open"  # anchor: the window is shut for every payment that the conditions allow
    unreachable = "unreachable"  # others: the earlier rules that always decide first
    window_closes_before_it_opens = "window_closes_before_it_opens"  # anchor, opens_at, closes_at: for some moments
    currency_without_threshold = "currency_without_threshold"  # currencies
    amount_without_currency = "amount_without_currency"
    gap = "gap"  # state, and the conditions that describe it, as a `when`
    not_examined = "not_examined"  # what: unreachable or gap; there was too much to compare


FindingMember = str | tuple[str, ...] | datetime | None


class PolicyFinding(Struct, frozen=True, kw_only=True):
    """One finding. `pointer` is an RFC 6901 pointer into the policy's document, to the part that it is about."""

    code: PolicyFindingCode
    severity: Severity
    pointer: str
    rule: str | None = None
    others: tuple[str, ...] = ()  # further rules that have part in it
    members: Mapping[str, FindingMember] = field(default_factory=dict)
    conditions: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)  # of a gap
    example: PolicyFacts | None = None  # a request that it is about


class RuleRequests(Struct, frozen=True, kw_only=True):
    """The requests for which a rule can decide, of payments in one state."""

    position: int
    rule: Rule
    state: PaymentState
    cube: Cube


def lint(policy: Policy, calendar: Calendar, *, gaps: bool = True, steps_max: int = STEPS_MAX) -> tuple[PolicyFinding, ...]:
    """Everything that is found, errors first, then in the order of the rules. `calendar` is the policy's.

    `gaps`: whether requests that no rule covers count. A merchant's own rules need not cover all. Where `steps_max` does not do,
    a finding says what was not examined.
    """
    space = space_of([*(rule.when for rule in policy.rules), *(tier.when for tier in policy.response_tiers)])
    requests = [one for position, rule in enumerate(policy.rules) for one in requests_of(space, position, rule)]
    found = [
        *_contradictions(policy, space, requests),
        *_shadowed(policy, space, requests, steps_max),
        *_windows(policy, space, calendar),
        *_amounts(policy, space),
        *_thresholds(policy, space),
        *(_gaps(policy, space, requests, steps_max) if gaps else ()),
    ]
    order = tuple(Severity)
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def requests_of(space: Space, position: int, rule: Rule) -> list[RuleRequests]:
    """The requests that a rule can decide, by the payment's state; without those for which its window never opens."""
    cube = space.cube(rule.when)
    if cube is None:
        return []
    parts = ((state, space.in_state(cube, state)) for state in ASKED_STATES if can_open(rule.window, state))
    return [RuleRequests(position=position, rule=rule, state=state, cube=part) for state, part in parts if part is not None]


def _contradictions(policy: Policy, space: Space, requests: list[RuleRequests]) -> Iterator[PolicyFinding]:
    """Rules that decide about nothing, whatever stands before them."""
    living = {one.position for one in requests}
    for position, rule in enumerate(policy.rules):
        if position in living:
            continue
        empty = [axis for axis, mask in zip(Axis, space.masks(rule.when), strict=True) if not mask]
        if empty:
            yield PolicyFinding(
                code=PolicyFindingCode.never_matches,
                severity=Severity.error,
                pointer=f"/rules/{position}/when",
                rule=rule.name,
                members={"subjects": _tested(rule.when, empty)},
            )
        elif rule.window is not None and not is_empty(rule.window):
            yield PolicyFinding(
                code=PolicyFindingCode.never_open,
                severity=Severity.error,
                pointer=f"/rules/{position}/window",
                rule=rule.name,
                members={"anchor": str(rule.window.anchor)},
                example=_example(policy, space, rule.when),
            )


def _tested(when: When, axes: list[Axis]) -> tuple[str, ...]:
    """What the conditions test on these axes."""
    tested = {one.subject for one in when.conditions} | ({Subject.amount} if _tests_amount(when) else set())
    callers = (Subject.role, Subject.channel)
    candidates = [subject for axis in axes for subject in (callers if axis is Axis.caller else (Subject(axis.name),))]
    return tuple(subject.value for subject in candidates if subject in tested)


def _shadowed(policy: Policy, space: Space, requests: list[RuleRequests], steps_max: int) -> Iterator[PolicyFinding]:
    """Rules before which others have always decided."""
    for position, rule in enumerate(policy.rules):
        own = [one for one in requests if one.position == position]
        before: set[str] = set()
        certain = True
        for part in own:
            earlier = [one for one in requests if one.position < position and _decides_before(one, part)]
            budget = Budget(steps_max)
            left = reach(part.cube, [one.cube for one in earlier], budget)
            if left.part is not None:
                break
            certain = certain and left.certain
            if left.certain:
                needed = enough(part.cube, [one.cube for one in earlier], Budget(steps_max // _NAMES_SHARE))
                before |= {earlier[one].rule.name for one in needed}
        else:
            if own:
                example = _example(policy, space, rule.when)
                yield (
                    _unreachable(policy, position, before, example)
                    if certain
                    else _not_examined(PolicyFindingCode.unreachable, position, rule)
                )


def _decides_before(earlier: RuleRequests, later: RuleRequests) -> bool:
    return earlier.state is later.state and meet(earlier.cube, later.cube) and outlasts(earlier.rule.window, later.rule.window, later.state)


def _unreachable(policy: Policy, position: int, before: set[str], example: PolicyFacts | None) -> PolicyFinding:
    return PolicyFinding(
        code=PolicyFindingCode.unreachable,
        severity=Severity.error,
        pointer=f"/rules/{position}",
        rule=policy.rules[position].name,
        others=tuple(rule.name for rule in policy.rules[:position] if rule.name in before),
        example=example,
    )


def _example(policy: Policy, space: Space, when: When, currency: str | None = None) -> PolicyFacts | None:
    """A request for which the conditions hold; in that currency, and then by one of ours where they may ask. None where there is none."""
    cube = space.cube(when)
    if cube is None:
        return None
    if currency is None:
        return space.example(cube, policy.effective_from)
    by_ours = intersection(cube, (*space.universe[: Axis.caller], _OURS, *space.universe[Axis.caller + 1 :]))
    return replace(space.example(by_ours or cube, policy.effective_from), currency=currency)


def _not_examined(what: PolicyFindingCode, position: int | None, rule: Rule | None) -> PolicyFinding:
    return PolicyFinding(
        code=PolicyFindingCode.not_examined,
        severity=Severity.note,
        pointer="/rules" if position is None else f"/rules/{position}",
        rule=None if rule is None else rule.name,
        members={"what": str(what)},
    )


def _windows(policy: Policy, space: Space, calendar: Calendar) -> Iterator[PolicyFinding]:
    """Windows that are empty for every anchor, or for some."""
    for position, rule in enumerate(policy.rules):
        window = rule.window
        if window is None or not may_be_empty(window):
            continue
        example = _empty_window(window, policy, calendar)
        always = is_empty(window)
        if always or example is not None:
            opens_at, closes_at = example or (None, None)
            yield PolicyFinding(
                code=PolicyFindingCode.window_closes_before_it_opens,
                severity=Severity.error if always else Severity.warning,
                pointer=f"/rules/{position}/window",
                rule=rule.name,
                members={"anchor": str(window.anchor), "opens_at": opens_at, "closes_at": closes_at},
                example=_example(policy, space, rule.when),
            )


def _empty_window(window: WindowSpec, policy: Policy, calendar: Calendar) -> tuple[datetime, datetime] | None:
    """An anchor in the policy's first year for which the window is empty, and where it closes; None where none was found."""
    first = policy.effective_from.astimezone(policy.zone).date()
    for days in range(_PROBED_DAYS):
        for hour in (0, 12, 23):
            at = datetime.combine(first + timedelta(days=days), time(hour, 59), policy.zone).astimezone(policy.effective_from.tzinfo)
            _, found = locate(window, at, at, zone=policy.zone, calendar=calendar)
            if found.closes_at is not None and found.closes_at <= at:
                return at, found.closes_at
    return None


def _amounts(policy: Policy, space: Space) -> Iterator[PolicyFinding]:
    """Conditions on an amount that count in every currency: the same number is a hundred times as much in another one."""
    whens = [
        *((f"/rules/{position}/when", rule.name, rule.when) for position, rule in enumerate(policy.rules)),
        *((f"/response_tiers/{position}/when", None, tier.when) for position, tier in enumerate(policy.response_tiers)),
    ]
    for pointer, rule, when in whens:
        if _tests_amount(when) and not any(one.subject is Subject.currency and not one.negated for one in when.conditions):
            yield PolicyFinding(
                code=PolicyFindingCode.amount_without_currency,
                severity=Severity.warning,
                pointer=pointer,
                rule=rule,
                example=_example(policy, space, when),
            )


def _tests_amount(when: When) -> bool:
    bounds = when.amount_above is not None or when.amount_up_to is not None
    return bounds or any(one.subject is Subject.amount for one in when.conditions)


def _thresholds(policy: Policy, space: Space) -> Iterator[PolicyFinding]:
    """Currencies that the policy knows, but that a table of second approvals does not: there a second person is always needed."""
    named = _named_currencies(policy)
    sharing: dict[str, list[str]] = {}
    for position, rule in enumerate(policy.rules):
        table = policy.law_at(position).second_approval_above
        cube = space.cube(rule.when)
        if cube is None or not _needs_a_table(rule, cube):
            continue
        missing = tuple(one for one in sorted(named - table.keys()) if _allows(space, cube, one))
        if missing and rule.second_approval_above is not None:
            yield PolicyFinding(
                code=PolicyFindingCode.currency_without_threshold,
                severity=Severity.warning,
                pointer=f"/rules/{position}/second_approval_above",
                rule=rule.name,
                members={"currencies": missing},
                example=_example(policy, space, rule.when, missing[0]),
            )
        elif missing:
            for currency in missing:
                sharing.setdefault(currency, []).append(rule.name)
    rules = {name for names in sharing.values() for name in names}
    if sharing:
        yield PolicyFinding(
            code=PolicyFindingCode.currency_without_threshold,
            severity=Severity.warning,
            pointer="/second_approval_above",
            others=tuple(rule.name for rule in policy.rules if rule.name in rules),
            members={"currencies": tuple(sorted(sharing))},
            example=_example(policy, space, next(rule.when for rule in policy.rules if rule.name in sharing[min(sharing)]), min(sharing)),
        )


def _named_currencies(policy: Policy) -> set[str]:
    whens = [*(rule.when for rule in policy.rules), *(tier.when for tier in policy.response_tiers)]
    tables = [policy.second_approval_above, *(rule.second_approval_above or {} for rule in policy.rules)]
    if policy.agent_limits is not None:
        tables.append(policy.agent_limits.amount_per_day)
    tested = {str(value) for when in whens for one in when.conditions if one.subject is Subject.currency for value in one.values}
    return tested.union(*tables)


_OURS = sum(1 << position for position, (role, _) in enumerate(CALLERS) if role in (Role.agent, Role.supervisor))


def _needs_a_table(rule: Rule, cube: Cube) -> bool:
    """Whether one person of ours may ask or decide: agents and supervisors ask, or the case can come to an agent."""
    return bool(cube[Axis.caller] & _OURS) or rule.route not in (Route.void, Route.automatic)


def _allows(space: Space, cube: Cube, currency: str) -> bool:
    last = len(space.currencies) - 1
    position = space.currencies.index(currency) if currency in space.currencies[:last] else last
    return bool(cube[Axis.currency] >> position & 1)


def _gaps(policy: Policy, space: Space, requests: list[RuleRequests], steps_max: int) -> Iterator[PolicyFinding]:
    """Requests for which no rule is ever open, as the largest sets that have one."""
    budget, found = Budget(steps_max * _GAPS_SHARE), 0
    for state in ASKED_STATES:
        everything = space.in_state(space.universe, state)
        covered = [one.cube for one in requests if one.state is state]
        while everything is not None and found < GAPS_MAX:
            part = next(uncovered(everything, covered, budget), None)
            if part is None:
                break
            gap = widened(part, everything, covered)
            covered.append(gap)
            found += 1
            yield PolicyFinding(
                code=PolicyFindingCode.gap,
                severity=Severity.warning,
                pointer="/rules",
                members={"state": str(state)},
                conditions=space.conditions(gap, everything),
                example=space.example(gap, policy.effective_from),
            )
        if budget.spent:
            yield _not_examined(PolicyFindingCode.gap, None, None)
            return
