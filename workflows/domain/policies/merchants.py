"""A merchant's own terms: kinder rules than the policy's, and what it accepts without being asked."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import replace

from workflows.domain.enums import OnDeadline
from workflows.domain.model import DataValue, MerchantContact
from workflows.domain.policies.document import rules_data
from workflows.domain.policies.policy import Deadlines, EffectiveTerms, Limits, Policy, Rule, Timeout, Verification
from workflows.domain.policies.verdicts import KINDNESS_OF_SILENCE
from workflows.domain.windows import Length, at_most, nominal_seconds


class MerchantDetails(Struct, frozen=True, kw_only=True):
    """What is told of a merchant. Contact and webhook are a business's, not a person's."""

    name: str
    contact: MerchantContact
    webhook: str | None = None
    rules: tuple[Rule, ...] = ()
    auto_accept_up_to: Mapping[str, int] = field(default_factory=dict)  # by currency, in minor units


class Merchant(Struct, frozen=True, kw_only=True):
    """One version of what was told."""

    id: str
    version: int  # from 1, without a gap
    details: MerchantDetails
    created_at: datetime  # of the first version
    changed_at: datetime
    changed_by: str

    @property
    def rules_version(self) -> str:
        """What a payment is pinned to, and what a decision by the merchant's rules names as its policy. No policy's version has an @."""
        return rules_version(self.id, self.version)


def rules_version(merchant_id: str, version: int) -> str:
    return f"{merchant_id}@{version}"


def parse_rules_version(text: str) -> tuple[str, int]:
    merchant_id, _, version = text.rpartition("@")
    return merchant_id, int(version)


def own_policy(policy: Policy, merchant: Merchant) -> Policy | None:
    """The merchant's own rules, with the policy for all that they leave out; None where it has none.

    Where the policy refuses, what is not a merchant's to loosen is as strict as anywhere in the policy: second persons, verification of
    callers, limits. No clock of theirs is worse for the customer than any of the policy's.
    """
    if not merchant.details.rules:
        return None
    everywhere, usual = _all_terms(policy), _kindest_clocks(policy)
    return replace(
        policy,
        version=merchant.rules_version,
        rules=tuple(_no_worse(rule, usual) for rule in merchant.details.rules),
        deadlines=usual,
        second_approval_above=_least([terms.second_approval_above for terms in everywhere]),
        verification=_strictest_verification([terms.verification for terms in everywhere]),
        limits=_strictest_limits([terms.limits for terms in everywhere]),
    )


def no_worse(rule: Rule, policy: Policy) -> Rule:
    """The rule with clocks of its own only as far as they are no worse for the customer than any of the policy's: nobody waits longer for
    the merchant, and nobody has less time to send the goods.
    """
    return _no_worse(rule, _kindest_clocks(policy))


def _no_worse(rule: Rule, usual: Deadlines) -> Rule:
    merchant, return_, inspection = rule.merchant_deadline, rule.return_deadline, rule.inspection_deadline
    return replace(
        rule,
        merchant_deadline=merchant and Timeout(_no_longer(merchant, usual.merchant), _kinder(merchant, usual.merchant)),
        return_deadline=return_ and Timeout(_no_shorter(return_, usual.return_), return_.then),
        inspection_deadline=inspection and Timeout(_no_longer(inspection, usual.inspection), inspection.then),
    )


def terms_data(details: MerchantDetails) -> dict[str, DataValue]:
    """What decides, as JSON: of this the record keeps a digest."""
    return {"rules": rules_data(details.rules), "auto_accept_up_to": dict(details.auto_accept_up_to)}


def changed_members(before: MerchantDetails | None, after: MerchantDetails) -> tuple[str, ...]:
    """The names of what differs; of a new merchant, of what was told."""
    usual = MerchantDetails(name="", contact=MerchantContact()) if before is None else before
    return tuple(name for name in after.__struct_fields__ if getattr(after, name) != getattr(usual, name))


def _all_terms(policy: Policy) -> list[EffectiveTerms]:
    return [policy.effective_terms(None), *(policy.effective_terms(rule.name) for rule in policy.rules)]


def _kindest_clocks(policy: Policy) -> Deadlines:
    """What the policy says of its own, each clock as long as is kindest to the customer in any of its rules."""
    clocks = [terms.deadlines for terms in _all_terms(policy)]
    usual = policy.deadlines
    return replace(
        usual,
        merchant=Timeout(_shortest([one.merchant for one in clocks]), usual.merchant.then),
        return_=Timeout(_longest([one.return_ for one in clocks]), usual.return_.then),
        inspection=Timeout(_shortest([one.inspection for one in clocks]), usual.inspection.then),
    )


def _no_longer(own: Timeout, usual: Timeout) -> Length:
    return own.length if at_most(own.length, usual.length) else usual.length


def _no_shorter(own: Timeout, usual: Timeout) -> Length:
    return own.length if at_most(usual.length, own.length) else usual.length


def _shortest(clocks: Iterable[Timeout]) -> Length:
    return min((clock.length for clock in clocks), key=nominal_seconds)


def _longest(clocks: Iterable[Timeout]) -> Length:
    return max((clock.length for clock in clocks), key=nominal_seconds)


def _kinder(first: Timeout, second: Timeout) -> OnDeadline:
    return max(first.then, second.then, key=KINDNESS_OF_SILENCE.index)


def _least(tables: list[Mapping[str, int]]) -> dict[str, int]:
    """By currency; one that is missing anywhere always needs a second person, and so it is missing here."""
    return {currency: min(table[currency] for table in tables) for currency in tables[0] if all(currency in table for table in tables)}


def _strictest_verification(wanted: list[Verification]) -> Verification:
    """On every channel on which any is wanted, by the methods that all of them take; by the shortest list where they share none."""
    lists = [one.methods for one in wanted if one.methods]
    shared = frozenset.intersection(*lists) if lists else frozenset()
    return Verification(
        channels=frozenset().union(*(one.channels for one in wanted)), methods=shared or min(lists, key=len, default=frozenset())
    )


def _strictest_limits(limits: list[Limits]) -> Limits:
    intervals = [one.partial_interval for one in limits if one.partial_interval is not None]
    return Limits(
        partial_refunds_max=min((one.partial_refunds_max for one in limits if one.partial_refunds_max is not None), default=None),
        partial_interval=max(intervals, key=nominal_seconds, default=None),
        requests_per_day=min((one.requests_per_day for one in limits if one.requests_per_day is not None), default=None),
    )
