"""From what a caller sent to the values that a decision takes."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from service.api.currencies import valid_at
from service.api.field_errors import field_error
from service.api.models.cancellations import EligibilityQuery, RequestCancellation
from service.api.models.decisions import DecideHandOff, RecordOutcome
from service.api.models.payments import ChangeFulfilment, FundingBody, ItemBody, ModifyPayment, RegisterPayment
from service.api.problems import RequestProblem
from service.api.queries import item_quantities
from service.api.types import Body, CustomerChannel
from service.auth.tokens import Principal
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import payments, requests
from workflows.domain.decisions.fulfilment import CLOCK_SKEW_MAX, FulfilmentTold
from workflows.domain.decisions.handoffs import Evidence, MerchantResponse
from workflows.domain.decisions.payments import PaymentDetails
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.recorded import ToldOutcome
from workflows.domain.decisions.requests import CancellationRequest, OverrideRequest
from workflows.domain.enums import ActorRole, Channel
from workflows.domain.faults import Fault, FaultCode
from workflows.domain.model import Actor, Earned, Funding, Item, ItemQuantity, Snapshot
from workflows.domain.records import digest_text

_MOMENTS: Final = ("authorised_at", "completed_at", "shipped_at", "delivered_at", "at")


def payment_details(body: RegisterPayment, *, providers: Collection[str], now: datetime) -> PaymentDetails:
    """What the body says, and nothing that it leaves out.

    Raises RequestProblem for times ahead, currencies that were withdrawn before, and rails that are not set up.
    """
    if errors := check_times(body, now) + check_currency(body, now):
        raise RequestProblem("validation-failed", members={"errors": errors})
    given = {
        **dict(body),  # what has the same name and form on both sides
        "funding": _funding(body.funding, providers),
        "items": _items(body.items),
        "item_names": _item_names(body.items),
        "earned": None if body.earned is None else tuple(Earned(**dict(one)) for one in body.earned),
    }
    return PaymentDetails(**given)


def lowered_payment(
    snapshot: Snapshot,
    *,
    body: ModifyPayment,
    providers: Collection[str],
    context: Context,
    terms: PolicyContext | None = None,  # noqa: ARG001 -- every decision on a payment is called alike
) -> Change:
    """The decision about a lowered payment. Raises RequestProblem for a rail that is not set up."""
    return payments.modify(
        snapshot,
        amount=body.amount,
        reason=body.reason,
        funding=_funding(body.funding, providers),
        items=_items(body.items),
        item_names=_item_names(body.items),
        context=context,
    )


def fulfilment_told(body: ChangeFulfilment) -> FulfilmentTold:
    return FulfilmentTold(**{**dict(body), "correction": body.correction or False})


def _funding(sources: tuple[FundingBody, ...] | None, providers: Collection[str]) -> tuple[Funding, ...] | None:
    if sources is None:
        return None
    for position, source in enumerate(sources):
        if source.provider not in providers:
            fault = field_error(f"/funding/{position}/provider", FaultCode.unknown_provider, allowed=tuple(sorted(providers)))
            raise RequestProblem("validation-failed", members={"errors": [fault]})
    return tuple(Funding(**dict(source)) for source in sources)


def _items(lines: tuple[ItemBody, ...] | None) -> tuple[Item, ...] | None:
    if lines is None:
        return None
    return tuple(Item(reference=line.reference, quantity=line.quantity, amount=line.amount) for line in lines)


def _item_names(lines: tuple[ItemBody, ...] | None) -> tuple[str | None, ...] | None:
    """Apart from the lines what people call them."""
    return None if lines is None else tuple(line.name for line in lines)


def cancellation_request(body: RequestCancellation, actor: Actor) -> CancellationRequest:
    items = None if body.items is None else tuple(ItemQuantity(reference=line.reference, quantity=line.quantity) for line in body.items)
    override = None if body.override is None else OverrideRequest(justification=body.override.justification, ticket=body.override.ticket)
    # What a client_reference stands for: the substance of the wish, not how it was explained or proven.
    substance = {
        "reason": body.reason.value,
        "amount": body.amount,
        "items": None if items is None else [[item.reference, item.quantity] for item in items],
        "channel": actor.channel.value,
        "override": None if override is None else override.ticket,
    }
    return CancellationRequest(
        actor=actor,
        reason=body.reason,
        amount=body.amount,
        items=items,
        note=body.note,
        client_reference=body.client_reference,
        expected_refundable=body.expected_refundable,
        verification=None if body.verification is None else body.verification.model_dump(mode="json"),
        override=override,
        fingerprint=digest_text(substance, b""),
    )


def cancellation_wish(query: EligibilityQuery, principal: Principal) -> CancellationRequest:
    """The request whose outcome is asked for. Raises Invalid where the caller could not make it by that channel."""
    role = ActorRole(principal.role.value)
    # An auditor asks as the customer would; an agent who names no channel asks as one on the line.
    role = ActorRole.wallet if query.as_customer or role not in _REQUESTERS else role
    channel = customer_channel(query.channel) or (None if role in {ActorRole.wallet, ActorRole.merchant} else Channel.hotline)
    actor = Actor(role=role, id=principal.sub, channel=requests.actor_channel(role, channel))
    return CancellationRequest(
        actor=actor, reason=query.reason, amount=query.amount, items=None if query.items is None else item_quantities(query.items)
    )


def merchant_response(body: DecideHandOff) -> MerchantResponse:
    return MerchantResponse(
        decision=body.decision,
        amount=body.amount,
        reason_code=body.reason_code,
        note=body.note,
        evidence=tuple(Evidence(name=one.name, sha256=one.sha256) for one in body.evidence or ()),
    )


def told_outcome(body: RecordOutcome) -> ToldOutcome:
    return ToldOutcome(
        leg_id=body.leg_id,
        succeeded=body.outcome == "succeeded",
        note=body.note,
        provider_refund_id=body.provider_refund_id,
        rail_reference=body.rail_reference,
    )


_REQUESTERS = frozenset({ActorRole.wallet, ActorRole.agent, ActorRole.supervisor, ActorRole.merchant})


def check_times(body: Body, now: datetime) -> list[Fault]:
    """The moments of `body` that lie further ahead of `now` than clocks may differ."""
    latest = now + CLOCK_SKEW_MAX
    moments = ((name, getattr(body, name, None)) for name in _MOMENTS)
    return [field_error(f"/{name}", FaultCode.in_future) for name, at in moments if isinstance(at, datetime) and at > latest]


def check_currency(body: RegisterPayment, now: datetime) -> list[Fault]:
    """Of a currency that was withdrawn before the payment was authorised."""
    authorised_at = body.authorised_at or body.completed_at or now
    if valid_at(body.currency, authorised_at):
        return []
    return [field_error("/currency", FaultCode.currency_withdrawn)]


def customer_channel(channel: CustomerChannel | None) -> Channel | None:
    return None if channel is None else Channel(channel.value)
