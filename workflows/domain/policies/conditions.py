"""The conditions under which a rule holds."""

from enum import StrEnum

from msgspec import Struct

from workflows.domain.policies.facts import PolicyFacts


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

    def holds(self, facts: PolicyFacts) -> bool:
        """Whether every test holds."""
        if not all(condition.holds(facts) for condition in self.conditions):
            return False
        if self.amount_above is not None and facts.amount <= self.amount_above:
            return False
        return self.amount_up_to is None or facts.amount <= self.amount_up_to
