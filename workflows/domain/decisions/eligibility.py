"""What a request for cancellation would come to now, by the very assessment of the request, and without its effects."""

from collections.abc import Iterable
from datetime import datetime
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain.decisions.execution import split, state_asked_from
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.requests import Assessment, CancellationRequest, assess, policy_facts
from workflows.domain.enums import ActorRole, Channel, PaymentState, Reason, Refusal, Route, Source
from workflows.domain.errors import Invalid, RefundryError
from workflows.domain.model import Actor, Payment, Snapshot
from workflows.domain.policies.conditions import Subject
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.policy import EffectiveTerms, Limits, Rule
from workflows.domain.policies.verdicts import Denied, kindness, needs_second_approval
from workflows.domain.windows import CLOSED, locate

Shares = tuple[tuple[Source, int], ...]  # by funding source, in minor units; sources without a share are left out


class ReasonOutcome(Struct, frozen=True, kw_only=True):
    """What all of these reasons would lead to: a route, or policy's no."""

    reasons: tuple[Reason, ...]
    route: Route | None
    refusal: Refusal | None


class Outlook(Struct, frozen=True, kw_only=True):
    """What a request would come to. Either the payment itself allows none (`refused`), or policy has a verdict (`assessment`)."""

    assessment: Assessment | None = None
    refused: RefundryError | None = None
    by_reason: tuple[ReasonOutcome, ...] = ()  # where no reason was given and they differ
    allocation: Shares = ()  # what would go back
    forfeited: Shares = ()  # promotions that would not
    is_void: bool = False  # nothing has settled: no money would have to come back
    second_approval: bool = False


def foresee(snapshot: Snapshot, requested: CancellationRequest, terms: PolicyContext, now: datetime) -> Outlook:
    """What `ask` would come to now; without a reason, the best that any reason would bring.

    Raises Invalid where the request itself is at fault; every other refusal is part of the answer.
    """
    reasons = tuple(Reason) if requested.reason is None else (requested.reason,)
    try:
        assessments = {reason: assess(snapshot, replace(requested, reason=reason), terms, now) for reason in reasons}
    except Invalid:
        raise
    except RefundryError as error:
        return Outlook(refused=error)
    best = max(assessments.values(), key=lambda one: kindness(one.verdict))
    verdict, by_reason = best.verdict, _outcomes(assessments)
    by_reason = by_reason if len(by_reason) > 1 else ()
    if isinstance(verdict, Denied):
        return Outlook(assessment=best, by_reason=by_reason)
    allocation, forfeited = _shares(snapshot, best)
    return Outlook(
        assessment=best,
        by_reason=by_reason,
        allocation=allocation,
        forfeited=forfeited,
        is_void=snapshot.payment.state is PaymentState.pending,
        second_approval=needs_second_approval(
            verdict.effective_terms,
            requested.actor.role,
            best.amount,
            snapshot.payment.currency,
            agent_decides=verdict.route is Route.agent,
        ),
    )


def would_forfeit(payment: Payment, amount: int, effective_terms: EffectiveTerms) -> int:
    """What of promotions a refund of `amount` would not give back, in minor units."""
    return sum(split(payment, amount, effective_terms)[1]) if effective_terms.forfeit else 0


def refundable_until(snapshot: Snapshot, terms: PolicyContext, now: datetime) -> datetime | None:
    """Until when the payment's own customer may ask for anything, as things stand: the latest end of a window that is not over.

    An open cancellation or a dispute does not move it. None: there is nothing left to ask for, or no window with an end is left.
    """
    payment = snapshot.payment
    state = payment.origin_state or state_asked_from(payment)
    if state not in {PaymentState.pending, PaymentState.completed} or payment.amount_refundable == 0:
        return None
    facts = replace(policy_facts(snapshot, CancellationRequest(actor=_CUSTOMER, reason=None), payment.amount_refundable, now), state=state)
    ends = [
        window.closes_at
        for policy in terms.policies
        for rule in policy.rules
        if rule.window is not None and _reachable(rule, facts, policy.effective_terms(rule.name).limits)
        for phase, window in [locate(rule.window, facts.anchors.get(rule.window.anchor), now, zone=policy.zone, calendar=terms.calendar)]
        if phase is not CLOSED and window.closes_at is not None
    ]
    return max(ends, default=None)


_CUSTOMER = Actor(role=ActorRole.wallet, id="customer", channel=Channel.app)


def _reachable(rule: Rule, facts: PolicyFacts, limits: Limits) -> bool:
    """Whether the customer can name a reason, and an amount up to what is refundable, for which the rule holds."""
    amounts = {facts.amount}
    if facts.state is not PaymentState.pending:  # that is cancelled whole or not at all
        named = {value for one in rule.when.conditions if one.subject is Subject.amount for value in one.values if isinstance(value, int)}
        amounts |= {amount for amount in named | {1, rule.when.amount_up_to or 1} if amount <= facts.amount}
    for amount, reason in product(amounts, Reason):
        asked = replace(facts, amount=amount, reason=reason, partial=facts.partial or amount < facts.amount)
        spent = limits.partial_refunds_max is not None and asked.partial and facts.partial_refunds >= limits.partial_refunds_max
        if not spent and rule.when.holds(asked):
            return True
    return False


def _outcomes(assessments: dict[Reason, Assessment]) -> tuple[ReasonOutcome, ...]:
    """The reasons grouped by what they lead to, the best first."""
    found: dict[tuple[Route | None, Refusal | None], list[Reason]] = {}
    for reason, one in sorted(assessments.items(), key=lambda pair: kindness(pair[1].verdict), reverse=True):
        verdict = one.verdict
        outcome = (None, verdict.refusal) if isinstance(verdict, Denied) else (verdict.route, None)
        found.setdefault(outcome, []).append(reason)
    return tuple(
        ReasonOutcome(reasons=tuple(reason for reason in Reason if reason in reasons), route=route, refusal=refusal)
        for (route, refusal), reasons in found.items()
    )


def _shares(snapshot: Snapshot, assessment: Assessment) -> tuple[Shares, Shares]:
    """Where the money would go, and what of promotions would not; the sources of a void are released whole."""
    payment, verdict = snapshot.payment, assessment.verdict
    if isinstance(verdict, Denied):
        return (), ()
    if payment.state is PaymentState.pending:
        return tuple((funding.source, funding.amount) for funding in payment.funding), ()
    back, lost = split(payment, assessment.amount, verdict.effective_terms)
    return _named(snapshot, back), _named(snapshot, lost)


def _named(snapshot: Snapshot, amounts: Iterable[int]) -> Shares:
    return tuple((funding.source, amount) for funding, amount in zip(snapshot.payment.funding, amounts, strict=True) if amount)
