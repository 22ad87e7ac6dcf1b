"""The tally of a simulation: what decisions came to by their own policy, and what they would come to by another."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, tzinfo
from heapq import heappush, heappushpop
from uuid import UUID

from msgspec import Struct

from workflows.domain.enums import Refusal, Route
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.verdicts import Denied, Verdict, kindness

DIFFERENCES_MAX = 100  # the largest ones are told one by one

Outcome = Route | Refusal


class KeptDecision(Struct, frozen=True, kw_only=True):
    """A decision as the cancellation keeps it: what it saw, when, and what came of it."""

    cancellation_id: UUID
    payment_id: UUID
    created_at: datetime  # the moment of the decision
    policy_version: str  # of the policy that is pinned to the payment
    merchant_rules_version: str | None = None  # of the merchant's own rules
    facts: PolicyFacts | None  # None: none that can be read
    route: Route | None
    refusal: Refusal | None
    rule: str | None
    overridden: bool = False  # a supervisor passed policy's no, or would have


class Judgement(Struct, frozen=True):
    """A verdict, and the zone of the policy that gave it, in which its times are told."""

    verdict: Verdict
    zone: tzinfo


class Difference(Struct, frozen=True, kw_only=True):
    """A decision with another outcome."""

    cancellation_id: UUID
    payment_id: UUID
    amount: int  # asked for, in minor units
    currency: str
    created_at: datetime
    before: Judgement
    after: Judgement


class Transition(Struct, frozen=True, kw_only=True):
    """How many decisions went from one outcome to another, or stayed, and over how much."""

    before: Outcome
    after: Outcome
    decisions: int
    amounts: Mapping[str, int]  # by currency, in minor units


class SimulationResult(Struct, frozen=True, kw_only=True):
    """What a policy would have changed. `changed`: decisions with another outcome, a route or a refusal.

    `kinder` and `harsher` are those of them that are so to the customer; one refusal instead of another is neither.
    """

    decisions: int
    changed: int
    kinder: int
    harsher: int
    window_changed: int  # the same route, with a window that closes at another time
    not_reproduced: int  # the pinned policy, asked again, does not say what was kept
    skipped: int  # without facts (no policy was asked), or without their policy
    transitions: tuple[Transition, ...]  # the most frequent first
    rules_after: tuple[tuple[str | None, int], ...]  # the most frequent first; None: no rule
    differences: tuple[Difference, ...]  # the largest amounts, at most DIFFERENCES_MAX


class SimulationTally:
    """Counts decisions, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._decisions: Counter[tuple[Outcome, Outcome]] = Counter()
        self._amounts: dict[tuple[Outcome, Outcome], Counter[str]] = {}
        self._rules: Counter[str | None] = Counter()
        self._largest: list[tuple[int, int, Difference]] = []  # a heap whose first is the least of them

    @property
    def seen(self) -> int:
        return self._counts["decisions"] + self._counts["skipped"]

    def skip(self) -> None:
        self._counts["skipped"] += 1

    def add(self, decision: KeptDecision, facts: PolicyFacts, before: Judgement, after: Judgement) -> None:
        was, would_be = before.verdict, after.verdict
        step = outcome(was), outcome(would_be)
        self._counts["decisions"] += 1
        self._decisions[step] += 1
        self._amounts.setdefault(step, Counter())[facts.currency] += facts.amount
        self._rules[would_be.rule] += 1
        if not is_reproduced(decision, facts, was):
            self._counts["not_reproduced"] += 1
        if step[0] is not step[1]:
            self._change(decision, facts, before, after)
        elif not isinstance(was, Denied) and kindness(was) != kindness(would_be):
            self._counts["window_changed"] += 1

    def result(self) -> SimulationResult:
        counts = self._counts
        return SimulationResult(
            decisions=counts["decisions"],
            changed=counts["changed"],
            kinder=counts["kinder"],
            harsher=counts["harsher"],
            window_changed=counts["window_changed"],
            not_reproduced=counts["not_reproduced"],
            skipped=counts["skipped"],
            transitions=tuple(
                Transition(before=before, after=after, decisions=count, amounts=dict(sorted(self._amounts[before, after].items())))
                for (before, after), count in sorted(self._decisions.items(), key=lambda item: (-item[1], item[0]))
            ),
            rules_after=tuple(sorted(self._rules.items(), key=lambda item: (-item[1], item[0] or ""))),
            differences=tuple(difference for _, _, difference in sorted(self._largest, key=lambda entry: entry[:2], reverse=True)),
        )

    def _change(self, decision: KeptDecision, facts: PolicyFacts, before: Judgement, after: Judgement) -> None:
        self._counts["changed"] += 1
        if not (isinstance(before.verdict, Denied) and isinstance(after.verdict, Denied)):
            was, would_be = kindness(before.verdict), kindness(after.verdict)
            self._counts["kinder"] += would_be > was
            self._counts["harsher"] += would_be < was
        difference = Difference(
            cancellation_id=decision.cancellation_id,
            payment_id=decision.payment_id,
            amount=facts.amount,
            currency=facts.currency,
            created_at=decision.created_at,
            before=before,
            after=after,
        )
        entry = facts.amount, -decision.cancellation_id.int, difference  # of equal amounts the earlier id
        if len(self._largest) < DIFFERENCES_MAX:
            heappush(self._largest, entry)
        else:
            heappushpop(self._largest, entry)


def outcome(verdict: Verdict) -> Outcome:
    return verdict.refusal if isinstance(verdict, Denied) else verdict.route


def is_reproduced(decision: KeptDecision, facts: PolicyFacts, verdict: Verdict) -> bool:
    """Whether the verdict leads to what was kept.

    A supervisor who passes a no has the money sent at once, under the rule that said no; what is worth nothing cannot be passed.
    """
    kept = decision.route, decision.refusal, decision.rule
    if not isinstance(verdict, Denied):
        return kept == (verdict.route, None, verdict.rule)
    if decision.overridden and facts.amount:
        return kept == (Route.automatic, None, verdict.rule)
    return kept == (None, verdict.refusal, verdict.rule)
