"""Steps of customers, merchants, agents and supervisors on a payment's newest cancellation, in a process that may die."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from msgspec.structs import replace

from tests.crash.mortal import MortalCore, terms
from tests.factories import WALLET, Clock
from workflows.domain.changes import Change
from workflows.domain.decisions import handoffs, requests, returns, reviews
from workflows.domain.decisions.handoffs import MerchantResponse
from workflows.domain.decisions.payments import PaymentDetails
from workflows.domain.decisions.requests import CancellationRequest
from workflows.domain.enums import ActorRole, Channel, Fulfilment, MerchantDecision, Reason, ReturnCondition
from workflows.domain.model import Actor, Cancellation, IdempotentResponse, Snapshot

MERCHANT = Actor(role=ActorRole.merchant, id="merchant-1", channel=Channel.merchant)
AGENT = Actor(role=ActorRole.agent, id="agent-1", channel=Channel.hotline)
OTHER_AGENT = Actor(role=ActorRole.agent, id="agent-2", channel=Channel.hotline)
SUPERVISOR = Actor(role=ActorRole.supervisor, id="supervisor-1", channel=Channel.hotline)
ABOVE = 600_000  # of the default policy's limit for one approval in CNY


@dataclass(frozen=True, slots=True)
class Step:
    """Who does what to a cancellation."""

    actor: Actor
    decide: Callable[..., Change]  # (snapshot, cancellation, *, terms, context)


def answer(decision: MerchantDecision, amount: int | None = None) -> Step:
    return Step(MERCHANT, partial(handoffs.decide, answer=MerchantResponse(decision=decision, amount=amount)))


def received(condition: ReturnCondition) -> Step:
    return Step(MERCHANT, partial(returns.receive, condition=condition, note=None))


def by(actor: Actor, step: Step) -> Step:
    return Step(actor, step.decide)


ACCEPT = answer(MerchantDecision.accept)
ACCEPT_WITH_RETURN = answer(MerchantDecision.accept_with_return)
DECLINE = answer(MerchantDecision.decline)
ACCEPT_OFFER = Step(WALLET, partial(handoffs.respond, accept=True))
DECLINE_OFFER = Step(WALLET, partial(handoffs.respond, accept=False))
ESCALATE = Step(WALLET, handoffs.escalate)
WITHDRAW = Step(WALLET, requests.withdraw)
SHIP = Step(WALLET, partial(returns.ship, carrier="sf-express", tracking_number="SF1000"))
ASSIGN = Step(AGENT, partial(reviews.assign, to=None))
APPROVE = Step(AGENT, partial(reviews.approve, note=None))
DENY = Step(AGENT, partial(reviews.deny, reason_code="no_proof", note="no receipt"))


async def take(core: MortalCore, payment: UUID, step: Step, key: str, *, cancellation: UUID | None = None) -> IdempotentResponse:
    """Take the step; the answer tells the state and the version that the cancellation then has. `cancellation`: None for the newest."""
    one = cancellation or await newest(core, payment)

    def find(snapshot: Snapshot) -> Cancellation:
        return requests.must_find(snapshot, snapshot.cancellation(one))

    def show(after: Snapshot) -> str:
        return f"{find(after).state} {find(after).version}"

    return await core.command(
        payment,
        key,
        lambda snapshot, terms_, context: step.decide(snapshot, find(snapshot), terms=terms_, context=context),
        actor=step.actor,
        cancellation=one,
        shown=True,
        show=show,
    )


async def newest(core: MortalCore, payment: UUID) -> UUID:
    found: UUID = await core.pool.fetchval("select id from cancellation where payment_id = $1 order by created_at desc, id desc", payment)
    return found


def settled_payment(reference: str, now: datetime, amount: int = 1_250, *, delivered: bool = False) -> PaymentDetails:
    """A payment that settled an hour ago, so that its merchant is asked; `delivered`: three days ago, and the goods came yesterday."""
    at = now - (timedelta(days=3) if delivered else timedelta(hours=1))
    made = terms(reference, Clock(at), amount, provider_references=["ok"], completed=True)
    if not delivered:
        return made
    return replace(made, fulfilment=Fulfilment.delivered, shipped_at=at + timedelta(days=1), delivered_at=at + timedelta(days=2))


def wish(reason: Reason = Reason.changed_mind, actor: Actor = WALLET) -> CancellationRequest:
    return CancellationRequest(actor=actor, reason=reason)
