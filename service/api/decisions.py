"""Decisions about a cancellation: taking it back, asking for an agent, the merchant's answer, the goods, the two approvals."""

from collections.abc import Callable
from typing import TypeVar

from starlette.responses import Response

from service.api import answers, decision_bodies
from service.api.answers import Answer
from service.api.calls import Call, Doing
from service.api.reading import Inbound
from service.api.schemas import Body
from service.api.views import cancellation_actions, cancellation_view
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import handoffs, requests, returns, reviews
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.model import Cancellation, Snapshot
from workflows.storage.snapshot import SnapshotQuery

B = TypeVar("B", bound=Body)
Decide = Callable[[Snapshot, Cancellation, B, PolicyContext, Context], Change]


async def withdraw(call: Call) -> Response:
    def decide(snapshot: Snapshot, one: Cancellation, _: decision_bodies.Withdraw, __: PolicyContext, context: Context) -> Change:
        return requests.withdraw(snapshot, one, context)

    return await _step(call, decision_bodies.Withdraw, decide)


async def escalate(call: Call) -> Response:
    def decide(snapshot: Snapshot, one: Cancellation, _: decision_bodies.Escalate, terms: PolicyContext, context: Context) -> Change:
        return handoffs.escalate(snapshot, one, terms, context)

    return await _step(call, decision_bodies.Escalate, decide)


async def decide_hand_off(call: Call) -> Response:
    def decide(
        snapshot: Snapshot, one: Cancellation, said: decision_bodies.DecideHandOff, terms: PolicyContext, context: Context
    ) -> Change:
        answer = handoffs.MerchantResponse(
            decision=said.decision,
            amount=said.amount,
            reason_code=said.reason_code,
            note=said.note,
            evidence=tuple(handoffs.Evidence(name=each.name, sha256=each.sha256) for each in said.evidence or ()),
        )
        return handoffs.decide(snapshot, one, answer, terms, context)

    return await _step(call, decision_bodies.DecideHandOff, decide)


async def respond_to_offer(call: Call) -> Response:
    def decide(
        snapshot: Snapshot, one: Cancellation, said: decision_bodies.RespondToOffer, terms: PolicyContext, context: Context
    ) -> Change:
        return handoffs.respond(snapshot, one, accept=said.accept, terms=terms, context=context)

    return await _step(call, decision_bodies.RespondToOffer, decide)


async def ship_return(call: Call) -> Response:
    def decide(snapshot: Snapshot, one: Cancellation, said: decision_bodies.ShipReturn, terms: PolicyContext, context: Context) -> Change:
        return returns.ship(snapshot, one, carrier=said.carrier, tracking_number=said.tracking_number, terms=terms, context=context)

    return await _step(call, decision_bodies.ShipReturn, decide)


async def receive_return(call: Call) -> Response:
    def decide(
        snapshot: Snapshot, one: Cancellation, said: decision_bodies.ReceiveReturn, terms: PolicyContext, context: Context
    ) -> Change:
        return returns.receive(snapshot, one, condition=said.condition, note=said.note, terms=terms, context=context)

    return await _step(call, decision_bodies.ReceiveReturn, decide)


async def assign(call: Call) -> Response:
    def decide(snapshot: Snapshot, one: Cancellation, said: decision_bodies.Assign, _: PolicyContext, context: Context) -> Change:
        return reviews.assign(snapshot, one, to=said.to, context=context)

    return await _step(call, decision_bodies.Assign, decide)


async def approve(call: Call) -> Response:
    def decide(snapshot: Snapshot, one: Cancellation, said: decision_bodies.Approve, terms: PolicyContext, context: Context) -> Change:
        return reviews.approve(snapshot, one, note=said.note, terms=terms, context=context)

    return await _step(call, decision_bodies.Approve, decide)


async def deny(call: Call) -> Response:
    def decide(snapshot: Snapshot, one: Cancellation, said: decision_bodies.Deny, terms: PolicyContext, context: Context) -> Change:
        return reviews.deny(snapshot, one, reason_code=said.reason_code, note=said.note, terms=terms, context=context)

    return await _step(call, decision_bodies.Deny, decide)


async def _step(call: Call, model: type[B], decide: Decide[B]) -> Response:
    """One step on the cancellation in the path, answered with the cancellation as it then is."""
    cancellation_id = call.path_id("can", "cancellation_id")

    def find(snapshot: Snapshot) -> Cancellation:
        return requests.must_find(snapshot, snapshot.cancellation(cancellation_id))

    def answer(snapshot: Snapshot, terms: PolicyContext, _: bool) -> tuple[int, Answer, dict[str, str]]:
        found = find(snapshot)
        return 200, cancellation_view(snapshot, found, terms, call), {"etag": answers.etag(found.version)}

    inbound = await Inbound.read(call.request, call.operation, model)
    told = inbound.body
    channel = told.channel if isinstance(told, decision_bodies.CustomersStep) else None

    def decide_there(snapshot: Snapshot, body: B, terms: PolicyContext, context: Context) -> Change:
        if channel is not None:
            requests.actor_channel(context.actor.role, channel)
        return decide(snapshot, find(snapshot), body, terms, context)

    doing: Doing[B] = Doing(
        wanted=SnapshotQuery(payment_id=await call.payment_of_cancellation(cancellation_id), cancellation_id=cancellation_id, shown=True),
        decide=decide_there,
        answer=answer,
        version=lambda snapshot: find(snapshot).version,
        actions=lambda snapshot: cancellation_actions(snapshot, find(snapshot), call.actor(), call.now()),
        channel=channel,
    )
    return await call.command(inbound, doing)
