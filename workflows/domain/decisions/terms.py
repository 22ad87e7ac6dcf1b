"""What a customer could do after a payment that is made now: who decides, for which reasons, and until when.

Every answer is `PolicyContext.verdict` on the facts that such a payment would have; no rule is interpreted a second time. All of its
moments lie at `as_of`, so that no window opens later, and a verdict holds until the window of the rule that gave it closes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from itertools import chain, count

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import ActorRole, Anchor, Category, Channel, Fulfilment, PaymentState, Reason, Route
from workflows.domain.policies.conditions import Subject, When
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.policy import Policy, Rule
from workflows.domain.policies.verdicts import Allowed, Verdict, decide_route
from workflows.domain.ports import Calendar
from workflows.domain.windows import CLOSED, WindowSpec, locate


class PaymentStage(StrEnum):
    """How far a payment and its goods are, as far as a policy can tell."""

    before_settlement = "before_settlement"  # authorised, not settled
    paid = "paid"  # settled; nothing is done about the goods
    preparing = "preparing"  # settled; the goods are being made ready
    shipped = "shipped"  # settled; the goods are on their way
    delivered = "delivered"  # settled; the goods have arrived


class TermsQuestion(Struct, frozen=True, kw_only=True):
    """The payment that somebody thinks of. `amount` (in minor units) and `currency`: both, or None.

    Without them the amount is in no currency: a rule for one currency does not hold, and one for all but some does.
    """

    merchant_id: str
    category: Category = Category.general
    amount: int | None = None
    currency: str | None = None


class TermsPeriod(Struct, frozen=True, kw_only=True):
    """The verdict from `opens_at` until just before `closes_at`; None: for good. `until`: the window whose end closes it."""

    opens_at: datetime
    closes_at: datetime | None
    until: WindowSpec | None
    verdict: Verdict


class ReasonTerms(Struct, frozen=True, kw_only=True):
    """What all of these reasons would bring, one period after the other."""

    reasons: tuple[Reason, ...]
    periods: tuple[TermsPeriod, ...]


class StageTerms(Struct, frozen=True, kw_only=True):
    """What can be done in these stages, which follow each other and are treated alike."""

    stages: tuple[PaymentStage, ...]
    options: tuple[ReasonTerms, ...]


class CustomerTerms(Struct, frozen=True, kw_only=True):
    as_of: datetime
    stages: tuple[StageTerms, ...]
    depends_on: tuple[Subject, ...]  # `amount` and `source`, where the question leaves them open and a rule asks for them


def customer_terms(terms: PolicyContext, question: TermsQuestion, as_of: datetime) -> CustomerTerms:
    """What the customer himself could do, in the app, about all of a payment that is made at `as_of`."""
    stages: list[StageTerms] = []
    known: dict[object, tuple[ReasonTerms, ...]] = {}  # rules that look at neither the state nor the goods answer alike
    for stage in PaymentStage:
        facts = stage_facts(question, stage, as_of)
        rules = tuple(_that_matter(policy, facts) for policy in terms.policies)
        alike = tuple(_seen(some, facts) for some in rules)
        if alike not in known:
            known[alike] = _options(terms, _alike(chain(*rules), facts), facts, as_of)
        options = known[alike]
        if stages and stages[-1].options == options:
            stages[-1] = replace(stages[-1], stages=(*stages[-1].stages, stage))
        else:
            stages.append(StageTerms(stages=(stage,), options=options))
    return CustomerTerms(as_of=as_of, stages=tuple(stages), depends_on=_left_open(terms, question, stages, as_of))


def stage_facts(question: TermsQuestion, stage: PaymentStage, as_of: datetime) -> PolicyFacts:
    """What policy would see of the payment in that stage, had all that leads to it just happened; without a reason."""
    return PolicyFacts(
        state=PaymentState.pending if stage is PaymentStage.before_settlement else PaymentState.completed,
        fulfilment=_FULFILMENT[stage],
        category=question.category,
        merchant_id=question.merchant_id,
        currency=question.currency or _NO_CURRENCY,
        amount=question.amount or 0,
        role=ActorRole.wallet,
        channel=Channel.app,
        reason=None,
        sources=(),
        anchors=dict.fromkeys(_HAPPENED[stage], as_of),
        partial=False,
    )


def terms_key(terms: PolicyContext, question: TermsQuestion) -> tuple[object, ...]:
    """Equal for questions that the same terms answer alike: what is kept by it grows with the rules, not with the questions."""
    facts = stage_facts(question, PaymentStage.paid, _ANY_MOMENT)
    held = tuple(_only(rule.when, _ASKED).holds(facts) for rule in _rules(terms))
    limit = None if terms.merchant is None else terms.merchant.details.auto_accept_up_to.get(facts.currency)
    return question.category, question.amount is None, limit is not None and facts.amount <= limit, held


_NO_CURRENCY = ""
_ANY_MOMENT = datetime.min.replace(tzinfo=UTC)
_STEPS_BETWEEN_CLEARINGS = 8
_FULFILMENT = {
    PaymentStage.before_settlement: Fulfilment.none,
    PaymentStage.paid: Fulfilment.none,
    PaymentStage.preparing: Fulfilment.preparing,
    PaymentStage.shipped: Fulfilment.shipped,
    PaymentStage.delivered: Fulfilment.delivered,
}
_SETTLED = (Anchor.authorised_at, Anchor.completed_at)
_HAPPENED: dict[PaymentStage, tuple[Anchor, ...]] = {
    PaymentStage.before_settlement: (Anchor.authorised_at,),
    PaymentStage.paid: _SETTLED,
    PaymentStage.preparing: _SETTLED,
    PaymentStage.shipped: (*_SETTLED, Anchor.shipped_at),
    PaymentStage.delivered: (*_SETTLED, Anchor.shipped_at, Anchor.delivered_at),
}
_ASKED = frozenset({Subject.merchant_id, Subject.currency, Subject.amount, Subject.source})
_OPEN = frozenset({Subject.currency, Subject.amount, Subject.source})
_SETTLED_ALREADY = frozenset(Subject) - {Subject.reason, Subject.category, Subject.channel}


def _options(terms: PolicyContext, asked: Iterable[list[Reason]], facts: PolicyFacts, as_of: datetime) -> tuple[ReasonTerms, ...]:
    """By what they bring, in the order of the first reason of each."""
    found: list[tuple[list[Reason], tuple[TermsPeriod, ...]]] = []
    for reasons in asked:
        periods = tuple(_periods(terms, replace(facts, reason=reasons[0]), as_of))
        same = next((known for known, told in found if told == periods), None)
        if same is None:
            found.append((reasons, periods))
        else:
            same += reasons
    return tuple(ReasonTerms(reasons=tuple(sorted(reasons, key=_ORDER.index)), periods=periods) for reasons, periods in found)


_ORDER = tuple(Reason)


def _that_matter(policy: Policy, facts: PolicyFacts) -> tuple[Rule, ...]:
    """A rule that fails a test of anything but the reason, the category or the channel neither decides nor explains a refusal."""
    return tuple(rule for rule in policy.rules if _only(rule.when, _SETTLED_ALREADY).holds(facts))


def _seen(rules: Iterable[Rule], facts: PolicyFacts) -> tuple[tuple[str, bool], ...]:
    """All that tells apart what these rules say in two stages: which they are, and which windows have begun."""
    return tuple((rule.name, rule.window is None or rule.window.anchor in facts.anchors) for rule in rules)


def _with_each(terms: PolicyContext, rules: Callable[[Policy], tuple[Rule, ...]]) -> PolicyContext:
    """The terms with these of their rules."""
    policy, own = terms.policy, terms.own
    own = None if own is None else own.with_rules(own.version, rules(own))
    return replace(terms, policy=policy.with_rules(policy.version, rules(policy)), own=own)


def _alike(rules: Iterable[Rule], facts: PolicyFacts) -> Iterable[list[Reason]]:
    """The reasons that none of these rules tells apart, together."""
    tests = {test for rule in rules for test in rule.when.conditions if test.subject is Subject.reason}
    found: dict[tuple[bool, ...], list[Reason]] = {}
    for reason in Reason:
        asked = replace(facts, reason=reason)
        found.setdefault(tuple(test.holds(asked) for test in tests), []).append(reason)
    return found.values()


def _periods(terms: PolicyContext, facts: PolicyFacts, as_of: datetime) -> Iterator[TermsPeriod]:
    """One after the other, from `as_of` to the one that never ends."""
    opens_at, at = as_of, as_of
    verdict = terms.verdict(facts, at)
    for step in count(1):
        if step % _STEPS_BETWEEN_CLEARINGS == 0:
            terms = _with_each(terms, partial(_without_closed, facts=facts, now=at, calendar=terms.calendar))
        closes_at, until = _next_change(terms, facts, at, verdict)
        if closes_at is None:
            yield TermsPeriod(opens_at=opens_at, closes_at=None, until=None, verdict=verdict)
            return
        next_one = terms.verdict(facts, closes_at)
        if next_one != verdict:
            yield TermsPeriod(opens_at=opens_at, closes_at=closes_at, until=until, verdict=verdict)
            opens_at, verdict = closes_at, next_one
        at = closes_at


def _without_closed(policy: Policy, *, facts: PolicyFacts, now: datetime, calendar: Calendar) -> tuple[Rule, ...]:
    """Its rules that matter and are not over for good, and the one that closed last: a refusal may still name it."""
    kept, last = set[str](), (_ANY_MOMENT, "")
    for rule in _that_matter(policy, facts):
        if rule.window is None:
            kept.add(rule.name)
            continue
        phase, window = locate(rule.window, facts.anchors.get(rule.window.anchor), now, zone=policy.zone, calendar=calendar)
        if phase is not CLOSED or window.closes_at is None:
            kept.add(rule.name)
        elif window.closes_at > last[0] and rule.when.holds(facts):
            last = window.closes_at, rule.name
    return tuple(rule for rule in policy.rules if rule.name in kept or rule.name == last[1])


def _next_change(terms: PolicyContext, facts: PolicyFacts, at: datetime, verdict: Verdict) -> tuple[datetime | None, WindowSpec | None]:
    """When the policy's own verdict, or the merchant's rules', ends: none does before the window of its rule closes."""
    ends: list[tuple[datetime, bool, WindowSpec | None]] = []
    for policy in terms.policies:
        one = decide_route(policy, facts, at, terms.calendar)
        if one.window is not None and one.window.closes_at is not None and one.window.closes_at > at:
            window = next((rule.window for rule in policy.rules if rule.name == one.rule), None)
            ends.append((one.window.closes_at, one.policy_version != verdict.policy_version, window))
    closes_at, _, until = min(ends, key=lambda end: end[:2], default=(None, False, None))
    return closes_at, until


def _left_open(terms: PolicyContext, question: TermsQuestion, told: Sequence[StageTerms], as_of: datetime) -> tuple[Subject, ...]:
    """What was not asked, and could change something that was told."""
    open_ = _OPEN if question.amount is None else frozenset({Subject.source})
    known = frozenset(Subject) - open_ - {Subject.reason}
    found: set[Subject] = set()
    for stage in PaymentStage:
        facts = stage_facts(question, stage, as_of)
        for rule in _rules(terms):
            missing = _tested(rule.when) & open_
            if missing and _only(rule.when, known).holds(facts):
                found |= {Subject.source if subject is Subject.source else Subject.amount for subject in missing}
    accepting = terms.merchant is not None and terms.merchant.details.auto_accept_up_to
    if accepting and question.amount is None and any(_asks_merchant(period) for period in _all_periods(told)):
        found.add(Subject.amount)
    return tuple(subject for subject in Subject if subject in found)


def _all_periods(told: Sequence[StageTerms]) -> Iterator[TermsPeriod]:
    return (period for stage in told for option in stage.options for period in option.periods)


def _asks_merchant(period: TermsPeriod) -> bool:
    return isinstance(period.verdict, Allowed) and period.verdict.route is Route.merchant


def _rules(terms: PolicyContext) -> Iterator[Rule]:
    return (rule for policy in terms.policies for rule in policy.rules)


def _tested(when: When) -> frozenset[Subject]:
    bounded = when.amount_above is not None or when.amount_up_to is not None
    return frozenset(test.subject for test in when.conditions) | ({Subject.amount} if bounded else frozenset())


def _only(when: When, subjects: frozenset[Subject]) -> When:
    """Its tests of these subjects."""
    tests = tuple(test for test in when.conditions if test.subject in subjects)
    return replace(when, conditions=tests) if Subject.amount in subjects else When(conditions=tests)
