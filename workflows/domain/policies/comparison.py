"""Whether a merchant's own rules are ever kinder than the policy's: one that never is would never take effect."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain.enums import Anchor, PaymentState, Role, Route
from workflows.domain.errors import RefundryError
from workflows.domain.faults import Fault, FaultCode
from workflows.domain.policies.conditions import Condition, Subject, When
from workflows.domain.policies.coverage import Coverage
from workflows.domain.policies.cubes import Budget, Cube, difference, intersection, meet
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.merchants import MerchantDetails, no_worse
from workflows.domain.policies.policy import Policy, Rule, Timeout
from workflows.domain.policies.space import ASKED_STATES, Space, space_of
from workflows.domain.policies.spans import can_open
from workflows.domain.policies.verdicts import Allowed, Verdict, decide_route, kindness, route_kindness
from workflows.domain.ports import Calendar
from workflows.domain.windows import locate

EXAMPLES_MAX = 3
STEPS_MAX = 400_000  # two cubes that are held against each other, for all rules together: about a second
TRIES_MAX = 1_000_000  # rules that are held against a request in search of examples, for all rules together: another second or two

_TRIES_OF_RULE_MAX = 50_000
_PARTS_MAX = 1_000  # of one rule's requests
_NOW = datetime(2026, 6, 1, 10, tzinfo=UTC)
_MOMENT = timedelta(microseconds=1)
_GAPS = (timedelta(0), timedelta(hours=1), timedelta(days=10), timedelta(days=100))  # between the moments of a payment


class Comparison(Struct, frozen=True, kw_only=True):
    """One request, asked for at `at`, as the policy decides it and as a merchant's rule would."""

    facts: PolicyFacts
    at: datetime
    by_policy: Verdict
    by_rule: Verdict


class HarsherRule(Struct, frozen=True, kw_only=True):
    """A rule that is nowhere kinder than the policy, or has a worse deadline; `examples`: customers whom it would have harmed."""

    position: int
    name: str
    examples: tuple[Comparison, ...] = ()


class HarsherRules(RefundryError):
    """Rules of a merchant's own that are harsher than the policy. `faults` point into the request's body."""

    def __init__(self, faults: tuple[Fault, ...], rules: tuple[HarsherRule, ...]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults
        self.rules = rules


class _Sides(Struct):
    """The policy and a merchant's rules, side by side, and how much work may still be done."""

    policy: Policy
    own: Policy
    calendar: Calendar
    space: Space
    cubes: list[Cube | None]  # of the policy's rules
    own_cubes: list[Cube | None]  # of the merchant's, for its own payments
    coverage: Coverage
    budget: Budget
    accepts: bool
    tries_left: int = TRIES_MAX


def check_own_rules(policy: Policy, merchant_id: str, details: MerchantDetails, calendar: Calendar) -> None:
    """Raises HarsherRules for deadlines that are worse for the customer than the policy's, and for rules that never take effect.

    A rule of which that cannot be shown, or would take too long, is let through: it does no harm, since the kinder verdict wins.
    """
    rules, accepts = details.rules, bool(details.auto_accept_up_to)
    worse = {position: faults for position, rule in enumerate(rules) if (faults := list(_deadline_faults(position, rule, policy)))}
    harsher = harsher_rules(policy, merchant_id, rules, calendar, accepts=accepts)
    if worse or harsher:
        known = {rule.position for rule in harsher}
        sides = _sides(policy, merchant_id, rules, calendar, accepts=accepts)  # with the deadlines as they were sent
        slower = [_shown(sides, position, _is_decided) for position in worse if position not in known]
        faults = [fault for some in worse.values() for fault in some]
        raise HarsherRules((*faults, *(Fault(f"/rules/{rule.position}", FaultCode.harsher_rule) for rule in harsher)), (*harsher, *slower))


def harsher_rules(
    policy: Policy, merchant_id: str, rules: tuple[Rule, ...], calendar: Calendar, *, accepts: bool = False
) -> tuple[HarsherRule, ...]:
    """The rules that can be shown to be nowhere kinder than the policy, over all requests about payments to this merchant.

    `accepts`: the merchant accepts small amounts without being asked, so that a hand-off of its own may be as kind as `automatic`.
    """
    sides = _sides(policy, merchant_id, tuple(no_worse(rule, policy) for rule in rules), calendar, accepts=accepts)
    found = [position for position in range(len(rules)) if _is_harsher(sides, position)]
    return tuple(_shown(sides, one, _is_harm) for one in found)


def _sides(policy: Policy, merchant_id: str, rules: tuple[Rule, ...], calendar: Calendar, *, accepts: bool) -> _Sides:
    of_merchant = Condition(subject=Subject.merchant_id, values=frozenset({merchant_id}))
    whens = [replace(rule.when, conditions=(*rule.when.conditions, of_merchant)) for rule in rules]
    space = space_of([*(rule.when for rule in policy.rules), *whens, When(conditions=(of_merchant,))])
    return _Sides(
        policy=policy,
        own=policy.with_rules("own", rules),
        calendar=calendar,
        space=space,
        cubes=[space.cube(rule.when) for rule in policy.rules],
        own_cubes=[space.cube(when) for when in whens],
        coverage=Coverage(policy, calendar),
        budget=Budget(STEPS_MAX),
        accepts=accepts,
    )


def _is_harsher(sides: _Sides, position: int) -> bool:
    """Whether the policy is shown to be at least as kind wherever the rule decides."""
    cube = sides.own_cubes[position]
    return cube is None or all(
        _nowhere_kinder(sides, position, part, state)
        for state in ASKED_STATES
        if (part := sides.space.in_state(cube, state)) is not None and can_open(sides.own.rules[position].window, state)
    )


def _nowhere_kinder(sides: _Sides, position: int, cube: Cube, state: PaymentState) -> bool:
    """Goes through the policy's rules in their order, with the requests of the cube about which nothing is shown yet.

    A policy's rule that is at least as kind and open whenever the merchant's is settles its requests. One that is kinder while it is
    open, but may be closed, changes nothing. At any other the merchant's rule may be the kinder one.
    """
    rule = sides.own.rules[position]
    rest = [cube]
    for earlier, other in zip(sides.own.rules[:position], sides.own_cubes, strict=False):
        if rest and other is not None and sides.coverage.holds(earlier.window, rule.window, state):
            rest = _without(rest, other, sides.budget)  # there the earlier one decides
        if len(rest) > _PARTS_MAX:
            return False
    ours = _rank(replace(rule, route=Route.automatic) if sides.accepts and rule.route is Route.merchant else rule, sides.own)
    for theirs, other in zip(sides.policy.rules, sides.cubes, strict=True):
        if not rest or len(rest) > _PARTS_MAX or sides.budget.spent:
            break
        if other is None or not can_open(theirs.window, state):
            continue
        kinder = _rank(theirs, sides.policy) > ours
        if _rank(theirs, sides.policy) >= ours and sides.coverage.holds(theirs.window, rule.window, state):
            rest = _without(rest, other, sides.budget)
        elif not kinder:
            sides.budget.steps -= len(rest)
            if any(meet(part, other) for part in rest):
                return False
    return not rest and not sides.budget.spent


def _rank(rule: Rule, policy: Policy) -> tuple[int, int]:
    return route_kindness(rule.route, rule.merchant_deadline or policy.deadlines.merchant)


def _without(rest: list[Cube], other: Cube, budget: Budget) -> list[Cube]:
    """What is left beside the other."""
    budget.steps -= len(rest)
    return [piece for part in rest for piece in (difference(part, other) if meet(part, other) else [part])]


def _shown(sides: _Sides, position: int, is_example: Callable[[Comparison, str], bool]) -> HarsherRule:
    """The rule with examples, one for each kind of request that the policy tells apart; customers' requests first."""
    cube, rule, found = sides.own_cubes[position], sides.own.rules[position], list[Comparison]()
    limit = max(0, sides.tries_left - _TRIES_OF_RULE_MAX)
    parts = [intersection(cube, other) for other in (*sides.cubes, cube) if other is not None] if cube is not None else []
    asked = [sides.space.example(part, _NOW) for part in parts if part is not None]
    for facts in sorted(asked, key=lambda one: one.role is not Role.wallet):
        if len(found) == EXAMPLES_MAX or sides.tries_left <= limit:
            break
        fitting = [one for one in _compared(facts, rule, sides) if is_example(one, rule.name)]
        found += sorted(fitting, key=_example_order)[:1]
    return HarsherRule(position=position, name=rule.name, examples=tuple(found))


def _is_decided(compared: Comparison, name: str) -> bool:
    return compared.by_rule.rule == name and isinstance(compared.by_rule, Allowed)


def _example_order(compared: Comparison) -> tuple[bool, bool]:
    """First come those whom the rule would ask to wait for more people, then those whom it would refuse, then later ends of windows."""
    is_allowed = isinstance(compared.by_rule, Allowed)
    return not (is_allowed and kindness(compared.by_rule)[0] < kindness(compared.by_policy)[0]), is_allowed


def _is_harm(compared: Comparison, name: str) -> bool:
    return compared.by_rule.rule == name and kindness(compared.by_rule) < kindness(compared.by_policy)


def _compared(facts: PolicyFacts, rule: Rule, sides: _Sides) -> Iterator[Comparison]:
    """The request while the rule's window is open and when it is over, for payments whose moments lie differently far apart."""
    for anchors in _histories(facts.anchors):
        asked = replace(facts, anchors=anchors)
        for at in _moments(asked, rule, sides):
            sides.tries_left -= len(sides.policy.rules) + len(sides.own.rules)
            by_policy = decide_route(sides.policy, asked, at, sides.calendar)
            yield Comparison(facts=asked, at=at, by_policy=by_policy, by_rule=decide_route(sides.own, asked, at, sides.calendar))


def _histories(anchors: Mapping[Anchor, datetime | None]) -> Iterator[dict[Anchor, datetime | None]]:
    """The moments that happened, in their order with gaps of several lengths."""
    happened = [anchor for anchor in Anchor if anchors.get(anchor) is not None]
    for gap in _GAPS:
        yield {**anchors, **{anchor: _NOW + place * gap for place, anchor in enumerate(happened)}}


def _moments(facts: PolicyFacts, rule: Rule, sides: _Sides) -> list[datetime]:
    """That of the last thing that happened, the last one before the rule's window closes, and its end."""
    start, form = max(at for at in facts.anchors.values() if at is not None), rule.window
    closes_at = None
    if form is not None:
        _, window = locate(form, facts.anchors.get(form.anchor), start, zone=sides.policy.zone, calendar=sides.calendar)
        closes_at = window.closes_at
    return [start] if closes_at is None or closes_at <= start else [start, closes_at - _MOMENT, closes_at]


def _deadline_faults(position: int, rule: Rule, policy: Policy) -> Iterator[Fault]:
    allowed = no_worse(rule, policy)
    for name in ("merchant_deadline", "return_deadline", "inspection_deadline"):
        given: Timeout | None = getattr(rule, name)
        limit: Timeout | None = getattr(allowed, name)
        if given is not None and limit is not None and given != limit:
            yield Fault(f"/rules/{position}/{name}", FaultCode.harsher_deadline, {"limit": f"{limit.length}, {limit.then}"})
