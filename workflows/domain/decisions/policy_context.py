"""The terms under which a payment is decided: the policy that was pinned to it, and the calendar that it counts by."""

from msgspec import Struct

from workflows.domain.model import Cancellation
from workflows.domain.policy import EffectiveTerms, Policy
from workflows.domain.ports import Calendar


class PolicyContext(Struct, frozen=True, kw_only=True):
    policy: Policy
    calendar: Calendar

    def effective_terms(self, cancellation: Cancellation) -> EffectiveTerms:
        """What the rule that decided the cancellation says about its clocks, its second person, and its shares."""
        return self.policy.effective_terms(cancellation.rule)
