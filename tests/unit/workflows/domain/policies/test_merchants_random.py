"""Whatever is asked under whatever rules: a merchant's own rules never make it worse."""

from collections import Counter
from datetime import datetime

import pytest

from tests.unit.workflows.domain.policies.rules import CN, ENDS, merchant, random_policies, some_request
from workflows.domain.decisions.policy_context import context_for
from workflows.domain.enums import OnDeadline, Route
from workflows.domain.policies.policy import EffectiveTerms, Policy, Timeout
from workflows.domain.policies.verdicts import Allowed, Denied, decide_route, kindness
from workflows.domain.windows import Length, Unit, at_most, deadline

SAMPLE, REQUESTS_OF_EACH = 25, 400  # policies with own rules, and what is asked under each


@pytest.mark.slow
def test_own_rules_never_make_a_request_worse() -> None:
    """And what they leave to be done by people is as strict as anywhere in the policy, each clock no worse than any."""
    assert_never_worse(SAMPLE, least=30)


@pytest.mark.long
def test_own_rules_never_make_any_of_a_hundred_thousand_requests_worse() -> None:
    assert_never_worse(250, least=1_000)


def assert_never_worse(count: int, *, least: int) -> None:
    """`least`: of each kind of outcome, so that none is left untested."""
    won: Counter[str] = Counter()
    for chance, form, rules in random_policies(1, count):
        auto = {"CNY": 9_000} if chance.random() < 0.3 else {}
        context = context_for(form, merchant(rules, **auto), CN)
        strict = context.own
        assert strict is not None
        assert_strict(strict, form)
        for _ in range(REQUESTS_OF_EACH):
            facts, at = some_request(chance, ENDS)
            alone, both = decide_route(form, facts, at, CN), context.verdict(facts, at)
            assert kindness(both) >= kindness(alone), (facts, at)
            won["own" if both.policy_version == strict.version else "policy"] += 1
            won["refused"] += isinstance(both, Denied)
            if isinstance(both, Allowed) and both.accepted_by is not None:
                won["accepted"] += 1
                assert facts.currency == "CNY"
                assert facts.taken + facts.amount <= auto["CNY"]
            if isinstance(alone, Allowed) and isinstance(both, Allowed) and both.policy_version == strict.version:
                assert_no_worse(both, alone, at, form)
                won["better"] += 1

    assert sum(won[name] for name in ("own", "policy")) == count * REQUESTS_OF_EACH
    assert all(won[name] > least for name in ("own", "policy", "refused", "accepted", "better")), won


def assert_no_worse(both: Allowed, alone: Allowed, at: datetime, form: Policy) -> None:
    own_terms, usual = both.effective_terms, alone.effective_terms
    assert (own_terms.forfeit, own_terms.allocation) == (usual.forfeit, usual.allocation)
    assert own_terms.verification == usual.verification
    assert own_terms.second_approval_above in (usual.second_approval_above, {})
    if (both.route, alone.route) == (Route.merchant, Route.merchant):
        assert ends(both.deadlines.merchant, at, form) <= ends(alone.deadlines.merchant, at, form)
        assert harshness(both) <= harshness(alone)
    if (both.route, alone.route) == (Route.return_, Route.return_):
        assert ends(both.deadlines.return_, at, form) >= ends(alone.deadlines.return_, at, form)
        assert ends(both.deadlines.inspection, at, form) <= ends(alone.deadlines.inspection, at, form)


def harshness(verdict: Allowed) -> int:
    return [OnDeadline.accept, OnDeadline.agent, OnDeadline.decline].index(verdict.deadlines.merchant.then)


def ends(clock: Timeout, at: datetime, form: Policy) -> datetime:
    return deadline(at, clock.length, form.zone, CN)


def assert_strict(strict: Policy, form: Policy) -> None:
    """In every rule of the merchant's own, and where none decided."""
    everywhere = [form.effective_terms(None), *(form.effective_terms(rule.name) for rule in form.rules)]
    for name in (None, *(rule.name for rule in strict.rules)):
        mine = strict.effective_terms(name)
        for usual in everywhere:
            assert mine.second_approval_above.keys() <= usual.second_approval_above.keys()
            assert all(above <= usual.second_approval_above[currency] for currency, above in mine.second_approval_above.items())
            assert mine.verification.channels >= usual.verification.channels
            assert_limits(mine, usual)
        wanted = [usual.verification.methods for usual in everywhere if usual.verification.methods]
        shared = frozenset.intersection(*wanted) if wanted else frozenset()
        assert mine.verification.methods == shared or (not shared and mine.verification.methods in wanted)


def assert_limits(mine: EffectiveTerms, usual: EffectiveTerms) -> None:
    for name in ("partial_refunds_max", "requests_per_day"):
        limit = getattr(usual.limits, name)
        assert limit is None or getattr(mine.limits, name) <= limit
    interval = usual.limits.partial_interval
    assert interval is None or at_most(interval, mine.limits.partial_interval or Length(0, Unit.days))
