"""What came of a replay: each request's outcome, counted, and held against what the data alone says must have come of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from service.terminal.api_client import Reply
from service.terminal.replay_plan import Case, ReplayPlan, Wish
from workflows.domain.enums import CancellationState
from workflows.domain.times import parse_rfc3339


class Outcome(StrEnum):
    """The end of one request, as the table calls it."""

    refunded = "refunded"
    refused = "refused by rule"
    handed_off = "handed off, then withdrawn"
    already_over = "payment already over"  # 409 invalid-state: an earlier one had refunded all of it
    too_much = "more than was left"  # 422 amount-exceeds-refundable
    error = "error"


class Step(StrEnum):
    """What is to be done after an answer to a request."""

    follow = "follow"  # money moves: read until it is over
    withdraw = "withdraw"  # somebody must decide first
    over = "over"


_REFUSALS = {
    (422, "policy-refused"): Outcome.refused,
    (409, "invalid-state"): Outcome.already_over,
    (422, "amount-exceeds-refundable"): Outcome.too_much,
}
_WAITS = frozenset(
    {
        CancellationState.awaiting_merchant,
        CancellationState.awaiting_return,
        CancellationState.awaiting_agent,
        CancellationState.awaiting_second_approval,
        CancellationState.offered,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """One request and its end. `amount` is the service's own where it granted or reserved something, else what the data says."""

    reference: str
    invoice: str
    currency: str
    outcome: Outcome
    amount: int
    expected: int  # from the data
    detail: str  # rule and refusal, route, or what went wrong
    asked_seconds: float  # from the request to its answer
    money_seconds: float | None = None  # from the request to the money being back, by the service's clock


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    faults: Sequence[str]

    @property
    def holds(self) -> bool:
        return not self.faults


@dataclass(slots=True)
class Tally:
    """All results, and each asked payment as it stood at the end."""

    plan: ReplayPlan
    imported: dict[str, Any]  # the import's answer
    results: list[ReplayResult] = field(default_factory=list)
    payments: dict[str, dict[str, Any]] = field(default_factory=dict)  # by reference: the service's own word

    def count(self, outcome: Outcome) -> int:
        return sum(result.outcome is outcome for result in self.results)

    def amounts(self, outcome: Outcome | None = None) -> Counter[str]:
        """By currency; without an outcome, what was asked for."""
        found: Counter[str] = Counter()
        for result in self.results:
            if outcome is None:
                found[result.currency] += result.expected
            elif result.outcome is outcome:
                found[result.currency] += result.amount
        return found

    def details(self, outcome: Outcome) -> list[tuple[str, int]]:
        """What the outcome's requests have in common, most frequent first."""
        return Counter(result.detail for result in self.results if result.outcome is outcome).most_common()

    def errors(self) -> list[ReplayResult]:
        return [result for result in self.results if result.outcome is Outcome.error]


def step_after(reply: Reply) -> Step:
    """After the answer to a request, or to reading it again."""
    if reply.status not in (200, 201):
        return Step.over
    state = reply.body.get("state")
    if state == CancellationState.executing:
        return Step.follow
    return Step.withdraw if state in _WAITS else Step.over


def judge(case: Case, wish: Wish, reply: Reply, *, asked_seconds: float, handed_to: str | None = None, fault: str = "") -> ReplayResult:
    """The end of a request: `reply` is the last word about it, `handed_to` whom it had waited for, `fault` what stopped us."""
    expected = case.ledger.worth(wish)
    outcome, detail, amount, money = Outcome.error, fault or reply.told(), expected, None
    if not fault and reply.status in (200, 201):
        amount = int(reply.body.get("amount", 0))
        match reply.body.get("state"):
            case CancellationState.completed if handed_to is None:
                outcome, detail = Outcome.refunded, _rule(reply.body)
                money = _between(reply.body)
            case CancellationState.withdrawn if handed_to is not None:
                outcome, detail = Outcome.handed_off, handed_to
            case state:
                detail = f"the cancellation ended as {state}"
    elif not fault and (reply.status, reply.code) in _REFUSALS:
        outcome = _REFUSALS[reply.status, reply.code]
        detail = f"{reply.body.get('rule') or 'no rule'}: {reply.body.get('refusal')}" if outcome is Outcome.refused else reply.code
    return ReplayResult(
        reference=case.reference,
        invoice=wish.invoice,
        currency=case.currency,
        outcome=outcome,
        amount=amount,
        expected=expected,
        detail=detail,
        asked_seconds=asked_seconds,
        money_seconds=money,
    )


def hand_off(reply: Reply) -> str:
    """Who must decide, as the table says it."""
    route = str(reply.body.get("route"))
    second = reply.body.get("state") == CancellationState.awaiting_second_approval
    return f"{route}, second approval" if second else route


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that `share` of all values do not pass; None of none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def checks(tally: Tally) -> list[Check]:
    """What must hold, whatever came of each request."""
    return [
        Check("every payment is registered", _registration(tally)),
        Check("requested = refunded + refused + handed off + others; no errors", _balance(tally)),
        Check("each amount is the pieces' exact share of their lines", _each(tally.results, _wrong_amount)),
        Check("amount_refunded of each payment is what its refunds sum to", _payments(tally, _wrong_refunded)),
        Check("refunded in all is what the data says, to the last minor unit", _sums(tally)),
        Check("a payment is `refunded` exactly when all of it went back", _payments(tally, _wrong_state)),
        Check("nothing is left reserved", _payments(tally, _still_reserved)),
    ]


def _registration(tally: Tally) -> list[str]:
    there = int(tally.imported.get("accepted", 0)) + int(tally.imported.get("duplicates", 0))
    rejected = int(tally.imported.get("rejected", 0))
    if there == tally.plan.payments and not rejected:
        return []
    return [f"{there} of {tally.plan.payments} are there, {rejected} were rejected"]


def _balance(tally: Tally) -> list[str]:
    asked, ended = tally.plan.requests, len(tally.results)
    errors = tally.count(Outcome.error)
    faults = [] if asked == ended else [f"{asked} requests, {ended} outcomes"]
    by_outcome: Counter[str] = Counter()
    for outcome in Outcome:
        by_outcome.update(tally.amounts(outcome))
    if by_outcome != tally.amounts():
        faults.append("the outcomes' amounts do not sum to what was asked for")
    return faults + ([f"{errors} ended in an error"] if errors else [])


def _sums(tally: Tally) -> list[str]:
    said: Counter[str] = Counter()
    due: Counter[str] = Counter()
    for case in tally.plan.cases:
        due[case.currency] += case.ledger.refunded
        said[case.currency] += int(tally.payments.get(case.reference, {}).get("amount_refunded", 0))
    return [
        f"{currency}: {said[currency]} at the service, {due[currency]} by the data" for currency in due if said[currency] != due[currency]
    ]


def _each(results: Iterable[ReplayResult], fault: Callable[[ReplayResult], str | None]) -> list[str]:
    return [f"{result.reference} {result.invoice}: {told}" for result in results if (told := fault(result)) is not None]


def _wrong_amount(result: ReplayResult) -> str | None:
    return None if result.amount == result.expected else f"{result.amount} instead of {result.expected}"


def _payments(tally: Tally, fault: Callable[[Case, dict[str, Any]], str | None]) -> list[str]:
    faults: list[str] = []
    for case in tally.plan.cases:
        payment = tally.payments.get(case.reference)
        told = "could not be read" if payment is None else fault(case, payment)
        if told is not None:
            faults.append(f"{case.reference}: {told}")
    return faults


def _wrong_refunded(case: Case, payment: dict[str, Any]) -> str | None:
    if payment.get("reference") != case.reference:
        return f"another payment answers: {payment.get('reference')}"
    said, due = payment.get("amount_refunded"), case.ledger.refunded
    return None if said == due else f"{said} instead of {due}"


def _wrong_state(case: Case, payment: dict[str, Any]) -> str | None:
    ledger, state = case.ledger, payment.get("state")
    if ledger.all_pieces_taken and ledger.refunded != ledger.amount:
        return f"all pieces came to {ledger.refunded} of {ledger.amount}"
    due = "refunded" if ledger.refunded == ledger.amount else "completed"
    return None if state == due else f"{state} instead of {due}"


def _still_reserved(_: Case, payment: dict[str, Any]) -> str | None:
    reserved = payment.get("amount_reserved")
    return None if reserved == 0 else f"{reserved} is reserved"


def _rule(body: dict[str, Any]) -> str:
    decision = body.get("decision")
    return str(decision.get("rule")) if isinstance(decision, dict) else ""


def _between(body: dict[str, Any]) -> float | None:
    try:
        made: datetime = parse_rfc3339(body["created_at"])
        return (parse_rfc3339(body["updated_at"]) - made).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None
