"""The terms under which a payment is decided: the policy and the merchant's own rules that were pinned to it, and the calendar."""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain.enums import ASKS_FOR_OTHERS, Route
from workflows.domain.model import Cancellation
from workflows.domain.policies.facts import PolicyFacts, facts_from
from workflows.domain.policies.merchants import Merchant, own_policy
from workflows.domain.policies.policy import EffectiveTerms, Policy
from workflows.domain.policies.verdicts import Allowed, Verdict, decide_route, more_favourable
from workflows.domain.ports import Calendar


class PolicyContext(Struct, frozen=True, kw_only=True):
    policy: Policy
    calendar: Calendar
    merchant: Merchant | None = None  # the version that is pinned beside the policy
    own: Policy | None = None  # its rules, with the policy for all that they leave out

    @property
    def policies(self) -> tuple[Policy, ...]:
        return (self.policy,) if self.own is None else (self.policy, self.own)

    def verdict(self, facts: PolicyFacts, now: datetime) -> Verdict:
        """The policy's verdict, or that of the merchant's own rules where it is kinder; of each what the merchant accepts without being
        asked counts as accepted.
        """
        verdict = self._accepted(decide_route(self.policy, facts, now, self.calendar), facts)
        if self.own is None:
            return verdict
        own = self._accepted(decide_route(self.own, facts, now, self.calendar), facts)
        if isinstance(own, Allowed):
            own = replace(own, effective_terms=_own_terms(verdict, own, facts))
        return more_favourable(verdict, own)

    def effective_terms(self, cancellation: Cancellation) -> EffectiveTerms:
        """What the rule that decided the cancellation says about its clocks, its second person, and its shares."""
        if self.own is None or cancellation.policy_version != self.own.version:
            return self.policy.effective_terms(cancellation.rule)
        decided = self.verdict(facts_from(cancellation.facts), cancellation.created_at)  # it comes out as it did then
        return decided.effective_terms if isinstance(decided, Allowed) else self.own.effective_terms(cancellation.rule)

    def _accepted(self, verdict: Verdict, facts: PolicyFacts) -> Verdict:
        if isinstance(verdict, Allowed) and verdict.route is Route.merchant and self._accepts(facts):
            return replace(verdict, route=Route.automatic, accepted_by=self.merchant and self.merchant.rules_version)
        return verdict

    def _accepts(self, facts: PolicyFacts) -> bool:
        """Whether the merchant accepts without being asked: what went back before counts, so that many small requests are no way around."""
        limit = None if self.merchant is None else self.merchant.details.auto_accept_up_to.get(facts.currency)
        return limit is not None and facts.taken + facts.amount <= limit


def _own_terms(policys: Verdict, own: Allowed, facts: PolicyFacts) -> EffectiveTerms:
    """The terms of what a merchant's rule allows: its clocks, and for the rest what the policy's rule says that allows it too.

    Where one of ours would refund alone what policy refuses him or leaves to a colleague, a second person is needed at any amount.
    """
    terms = own.effective_terms
    if isinstance(policys, Allowed):
        terms = replace(policys.effective_terms, deadlines=terms.deadlines)
    alone = facts.role in ASKS_FOR_OTHERS and own.route in (Route.void, Route.automatic)
    if alone and (not isinstance(policys, Allowed) or policys.route is Route.agent):
        terms = replace(terms, second_approval_above={})
    return terms


def context_for(policy: Policy, merchant: Merchant | None, calendar: Calendar) -> PolicyContext:
    """`merchant`: the version that was pinned with the policy."""
    own = None if merchant is None else own_policy(policy, merchant)
    return PolicyContext(policy=policy, calendar=calendar, merchant=merchant, own=own)
