"""Takes a folder of real payments and cancellations under policies, in this process: no service is asked, and nothing is sent.

Each cancellation is asked for at its real moment, by the pure decisions that the service uses. What the policy does not refuse is
granted, as it was in history: whoever must decide says yes at once.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace
from pydantic import ValidationError

from service.api.conversion import payment_details
from service.api.models.payments import RegisterPayment
from service.api.problems import RequestProblem
from service.calendars import calendar, calendar_exists
from service.shipped_policies import SHIPPED, shipped_policy
from service.terminal.failure import UserError
from service.terminal.policy_files import PolicyText
from service.terminal.replay_plan import Json, Line, ReplayLedger, Wish, count_wishes, read_history
from service.terminal.replay_progress import Advance
from workflows.clock_and_ids import new_id, new_salt
from workflows.domain.changes import Context
from workflows.domain.decisions.execution import cancelled_quantities
from workflows.domain.decisions.payments import register
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.requests import Assessment, CancellationRequest, assess
from workflows.domain.enums import ActorRole, Channel, Fulfilment, PaymentState, Reason, Refusal, Route
from workflows.domain.errors import AmountExceedsRefundable, InvalidState, RefundryError
from workflows.domain.model import Actor, ItemQuantity, Payment, Snapshot
from workflows.domain.policies.calendar import business_days
from workflows.domain.policies.form import PolicyInvalid, parse_policy
from workflows.domain.policies.policy import Policy
from workflows.domain.policies.verdicts import Denied

DELIVERED_AFTER_DAYS = 3
_DAY = timedelta(days=1)
_WALLET = Actor(role=ActorRole.wallet, id="history", channel=Channel.app)
_NO_UETR = UUID(int=0)  # nothing is registered anywhere
_ALREADY_OVER, _TOO_MUCH = "payment already over", "more than was left"

# The groups of the table and of the picture, in their order: who decides, policy's refusals, the payment's own.
GROUPS = (*(route.value for route in Route), *(refusal.value for refusal in Refusal), _ALREADY_OVER, _TOO_MUCH, "not possible")
_OTHER = GROUPS[-1]


class UnknownPolicy(UserError):
    """Neither the name of a shipped policy nor a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPolicy:
    name: str
    terms: PolicyContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What is taken for so where the files say nothing."""

    delivered_after_days: int = DELIVERED_AFTER_DAYS  # from the payment; until then the order is being prepared
    reason: Reason = Reason.changed_mind


class Ending(NamedTuple):
    """What a cancellation comes to: a group of `GROUPS`, and the rule that decided."""

    group: str
    rule: str | None


@dataclass(slots=True)
class Column:
    """What one policy makes of the history."""

    name: str
    counts: Counter[Ending] = field(default_factory=Counter)
    amounts: dict[Ending, Counter[str]] = field(default_factory=dict)  # by currency, in minor units

    def add(self, ending: Ending, amount: int, currency: str) -> None:
        self.counts[ending] += 1
        self.amounts.setdefault(ending, Counter())[currency] += amount

    def count(self, group: str | None = None) -> int:
        return sum(number for ending, number in self.counts.items() if group in {None, ending.group})

    def amount(self, group: str | None = None) -> Counter[str]:
        return sum((found for ending, found in self.amounts.items() if group in {None, ending.group}), Counter())


@dataclass(slots=True)
class Comparison:
    """The same history under several policies."""

    columns: tuple[Column, ...]
    assumptions: Assumptions
    cancellations: int = 0  # of the folder
    taken: int = 0  # of these, whose payment is there too, and within the limit

    @property
    def adds_up(self) -> bool:
        return all(column.count() == self.taken for column in self.columns)


def read_policies(names: Iterable[str]) -> tuple[NamedPolicy, ...]:
    """Shipped ones by name, others from their files. Raises UnknownPolicy, UserError."""
    found = {}
    for name in names:
        policy = shipped_policy(name) if name in SHIPPED else _from_file(name)
        label = name if name in SHIPPED else policy.version
        found[label] = NamedPolicy(name=label, terms=PolicyContext(policy=policy, calendar=business_days(policy, calendar)))
    return tuple(found.values())


def compare(
    folder: Path, policies: tuple[NamedPolicy, ...], assumptions: Assumptions, *, now: datetime, limit: int | None, advance: Advance
) -> Comparison:
    """Every cancellation of the first `limit` payments under each of the policies. Raises UserError."""
    found = Comparison(tuple(Column(one.name) for one in policies), assumptions, cancellations=count_wishes(folder))
    for body, wishes in islice(read_history(folder), limit):
        found.taken += len(wishes)
        if wishes:
            payment = _registered(body, now)
            for column, one in zip(found.columns, policies, strict=True):
                for ending, amount in play(payment, wishes, one.terms, assumptions):
                    column.add(ending, amount, payment.currency)
        advance(1)
    return found


def play(payment: Payment, wishes: Iterable[Wish], terms: PolicyContext, assumptions: Assumptions) -> Iterator[tuple[Ending, int]]:
    """What each wish comes to under these terms, and what it is worth in minor units."""
    ledger = ReplayLedger(payment.amount, _lines(payment))
    asked: list[datetime] = []
    for wish in wishes:
        now = wish.requested_at
        snapshot = Snapshot(
            payment=_as_of(payment, now, assumptions), requests_last_day=sum(now - _DAY < moment <= now for moment in asked)
        )
        asked.append(now)
        items = None if ledger.wants_all(wish) else tuple(ItemQuantity(reference=line, quantity=number) for line, number in wish.items)
        worth = ledger.worth(wish)
        requested = CancellationRequest(actor=_WALLET, reason=assumptions.reason, items=items)
        try:
            assessment = assess(snapshot, requested, terms, now)
        except RefundryError as error:
            yield Ending(_group_of(error), None), worth
            continue
        verdict = assessment.verdict
        if isinstance(verdict, Denied):
            yield Ending(verdict.refusal.value, verdict.rule), assessment.amount
        else:
            ledger.grant(wish)
            payment = _granted(payment, assessment, now)
            yield Ending(verdict.route.value, verdict.rule), assessment.amount


def _lines(payment: Payment) -> dict[str, Line]:
    return {item.reference: Line(item.quantity, item.amount) for item in payment.items}


def _granted(payment: Payment, assessment: Assessment, now: datetime) -> Payment:
    """The payment after all of it is carried out at once; as `start_refund` and `confirm` leave it."""
    quantities = cancelled_quantities(payment, assessment.items, 1)
    if assessment.amount == 0:
        return replace(payment, cancelled_quantities=quantities)
    if payment.state is PaymentState.pending:
        return replace(payment, state=PaymentState.cancelled)
    refunded, partial = payment.amount_refunded + assessment.amount, assessment.amount < payment.amount
    return replace(
        payment,
        state=PaymentState.refunded if refunded == payment.amount else PaymentState.completed,
        amount_refunded=refunded,
        cancelled_quantities=quantities,
        partial_refunds=payment.partial_refunds + partial,
        last_partial_at=now if partial else payment.last_partial_at,
    )


def _as_of(payment: Payment, now: datetime, assumptions: Assumptions) -> Payment:
    """The payment as it stood at `now`: how far its goods had come. What the file says goes before what is assumed."""
    shipped_at, delivered_at = payment.shipped_at, payment.delivered_at
    if shipped_at is None and delivered_at is None:
        if payment.fulfilment is not Fulfilment.none:
            return payment
        delivered_at = (payment.completed_at or payment.authorised_at) + timedelta(days=assumptions.delivered_after_days)
    if delivered_at is not None and delivered_at <= now:
        return replace(payment, fulfilment=Fulfilment.delivered, delivered_at=delivered_at)
    if shipped_at is not None and shipped_at <= now:
        return replace(payment, fulfilment=Fulfilment.shipped, delivered_at=None)
    return replace(payment, fulfilment=Fulfilment.preparing, shipped_at=None, delivered_at=None)


def _registered(body: Json, now: datetime) -> Payment:
    """As the service would register it. Raises UserError where it would not."""
    try:
        said = RegisterPayment.model_validate_json(json.dumps(body))
        details = payment_details(said, providers={one.provider for one in said.funding or ()}, now=now)
        context = Context(actor=_WALLET, now=now, new_id=new_id, new_salt=new_salt)
        return register(details, policy_version="history", uetr=_NO_UETR, default_provider="history", context=context).payment
    except (ValidationError, RequestProblem, RefundryError) as error:
        raise UserError(f"The payment {body['reference']} would not be registered: {error}") from error


def _group_of(error: RefundryError) -> str:
    match error:
        case InvalidState():
            return _ALREADY_OVER
        case AmountExceedsRefundable():
            return _TOO_MUCH
        case _:
            return _OTHER


def _from_file(name: str) -> Policy:
    try:
        document = PolicyText(Path(name)).document
    except FileNotFoundError:
        raise UnknownPolicy(f"there is no policy {name}: take one of {', '.join(SHIPPED)}, or a file") from None
    except (OSError, ValueError) as error:  # ValueError: no path
        raise UserError(f"{name} cannot be read as a policy: {error}") from None
    try:
        return parse_policy(document, calendar_exists=calendar_exists, new=True)
    except PolicyInvalid:
        raise UserError(f"{name} is no policy that could be published: `refundry policy lint {name}` says why.") from None
