"""Payments: registered, read, and told of what happens to them."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from msgspec.structs import replace
from starlette.responses import Response

from service.api.commands import change_payment, etag
from service.api.context import ForImporters, ForReaders, ForWallet, GoodsStep, RequestContext, WalletStep
from service.api.conversion import cancellation_wish, fulfilment_told, lowered_payment, payment_details
from service.api.importing import NDJSON_BODY, import_lines
from service.api.models.base import Page, PaymentId, to_json
from service.api.models.cancellations import EligibilityOut, EligibilityQuery
from service.api.models.payments import (
    ChangeFulfilment,
    CompletePayment,
    FailPayment,
    ImportOut,
    ListPayments,
    ModifyPayment,
    PaymentOut,
    RegisterPayment,
)
from service.api.models.records import ListPaymentRecords, RecordOut
from service.api.pagination import next_cursor, place
from service.api.problem_responses import problems
from service.api.records import record_page
from service.api.render import eligibility_out, payment_out
from service.api.responses import CHANGED, VERSIONED, created, links
from service.api.routing import ApiRoute, action
from workflows.domain import ids
from workflows.domain.agent_limits import DAY
from workflows.domain.decisions import fulfilment, payments
from workflows.domain.decisions.eligibility import foresee
from workflows.domain.enums import ASKS_FOR_OTHERS, ActorRole, Role
from workflows.domain.model import Snapshot
from workflows.storage import list_filters, search
from workflows.storage.agent_requests import AgentRequestsQuery

router = APIRouter(prefix="/v1/payments", tags=["payments"], route_class=ApiRoute)

_ID = {"payment_id": "$response.body#/id"}
_SAME = {"payment_id": "$request.path.payment_id"}
_FIRST = {"payment_id": "$response.body#/data/0/id"}
_TOLD_BY_SHOPS = (Role.wallet, Role.merchant)
_CORRECTED_BY = (Role.agent, Role.supervisor)


@router.post(
    "",
    response_model=PaymentOut,
    status_code=201,
    summary="Register a payment",
    responses={**created(PaymentOut), **problems("payment-reference-conflict")},
    openapi_extra=links(
        201,
        200,
        get_payment=_ID,
        get_eligibility=_ID,
        list_payment_records=_ID,
        complete_payment=_ID,
        fail_payment=_ID,
        modify_payment=_ID,
        change_fulfilment=_ID,
        request_cancellation=_ID,
        list_cancellations={"query.payment_id": "$response.body#/id"},
    ),
)
async def register_payment(context: ForWallet, body: RegisterPayment) -> Response:
    """Registers a payment that the wallet has authorised, or that has settled already (`completed_at` given).

    `reference` is the natural key, so no `Idempotency-Key` is needed: the same content again answers 200 with what exists, other content
    409 `payment-reference-conflict`. Same content means that every member given equals what was registered, times as instants; members
    left out are not compared.

    Beyond the schema: `funding` and `items` each sum to `amount`; the references of `items` are unique; `provider` is one that is set up
    (`GET /v1/meta`); `authorised_at` ≤ `completed_at` ≤ now + 5 minutes.
    """
    details = payment_details(body, providers=context.services.rails.providers, now=context.now())
    registered = await context.services.runner.register(details, actor=context.actor(), request_id=context.trace_id)
    payment = registered.snapshot.payment
    answer = await _shown(context, registered.snapshot)
    headers = {"location": f"/v1/payments/{ids.public('pay', payment.id)}", "etag": etag(payment.version)}
    return Response(to_json(answer), 201 if registered.new else 200, headers, media_type="application/json")


@router.post("/import", summary="Import payments", openapi_extra=NDJSON_BODY)
async def import_payments(context: ForImporters) -> ImportOut:
    """NDJSON: a payment a line, each with the members of *Register a payment*, any number of lines.

    Each line stands for itself: a bad line never costs a good one. Of two lines with one `reference` the first counts.
    """
    return await import_lines(context)


@router.get("", summary="List payments", openapi_extra=links(200, get_payment=_FIRST))
async def list_payments(context: ForReaders, query: Annotated[ListPayments, Query()]) -> Page[PaymentOut]:
    """Newest first, or by the last change. A merchant finds its own only."""
    merchant_id, possible = context.merchant_filter(query.merchant_id)
    wanted = list_filters.PaymentFilter(**query.filters(merchant_id=merchant_id))
    found = await search.payments(context.services.reads, wanted, place(query.cursor), query.limit + 1) if possible else []
    snapshots = await context.store.load_many([one for one, _ in found[: query.limit]])
    data = [await _shown(context, snapshots[one]) for one, _ in found[: query.limit] if one in snapshots]
    return Page(data=data, next_cursor=next_cursor("payments", query, [last for *_, last in found]))


@router.get(
    "/{payment_id:payment}",
    response_model=PaymentOut,
    summary="Get a payment",
    responses=VERSIONED,
    openapi_extra=links(200, get_eligibility=_ID, request_cancellation=_ID, list_payment_records=_ID),
)
async def get_payment(context: ForReaders, payment_id: PaymentId, response: Response) -> PaymentOut:
    """The payment as it now is, with what was refunded, what can still be refunded, and its cancellations."""
    snapshot = await context.snapshot(payment_id, shown=True)
    response.headers["etag"] = etag(snapshot.payment.version)
    return await _shown(context, snapshot)


@router.post(
    "/{payment_id}/complete",
    response_model=PaymentOut,
    summary="Complete a payment",
    responses={**CHANGED, **problems("invalid-state")},
    openapi_extra=action("complete") | links(200, get_payment=_ID, change_fulfilment=_ID, request_cancellation=_ID),
)
async def complete_payment(context: WalletStep, payment_id: PaymentId, body: CompletePayment = CompletePayment()) -> Response:
    """The payment has settled. While a void is under way, the rail's word decides which of the two it was."""
    decide = partial(payments.complete, completed_at=body.completed_at, provider_reference=body.provider_reference)
    return await change_payment(context, payment_id, decide)


@router.post(
    "/{payment_id}/fail",
    response_model=PaymentOut,
    summary="Fail a payment",
    responses={**CHANGED, **problems("invalid-state")},
    openapi_extra=action("fail") | links(200, get_payment=_ID, list_payment_records=_ID),
)
async def fail_payment(context: WalletStep, payment_id: PaymentId, body: FailPayment) -> Response:
    """The payment itself has failed. An open cancellation is then `completed`: nothing had moved."""
    return await change_payment(context, payment_id, partial(payments.fail, code=body.code, detail=body.detail))


@router.post(
    "/{payment_id}/modifications",
    response_model=PaymentOut,
    summary="Lower a payment",
    responses={**CHANGED, **problems("invalid-state", "cancellation-open")},
    openapi_extra=action("modify") | links(200, get_payment=_ID, complete_payment=_ID, fail_payment=_ID, request_cancellation=_ID),
)
async def modify_payment(context: WalletStep, payment_id: PaymentId, body: ModifyPayment) -> Response:
    """The wallet has lowered a `pending` payment at its rail, never raised it.

    `funding` and `items` are given anew where the payment has more than one source, or any line.
    """
    decide = partial(lowered_payment, body=body, providers=context.services.rails.providers)
    return await change_payment(context, payment_id, decide)


@router.post(
    "/{payment_id}/fulfilment",
    response_model=PaymentOut,
    summary="Report the delivery",
    responses={**CHANGED, **problems("invalid-state")},
    openapi_extra=action(fulfilment=_TOLD_BY_SHOPS, correct_fulfilment=_CORRECTED_BY)
    | links(200, get_payment=_ID, change_fulfilment=_ID, get_eligibility=_ID, request_cancellation=_ID),
)
async def change_fulfilment(context: GoodsStep, payment_id: PaymentId, body: ChangeFulfilment) -> Response:
    """How far the goods have come: `none`, `preparing`, `shipped`, `delivered`, or `returned`; never backwards.

    The same status again fills a missing time, and changes nothing where nothing was missing. Times lie between the `authorised_at` that
    was told and now, and keep that order. What a merchant tells late is kept as told, and windows count it from when it was told. A
    wrong time is corrected, or a merchant's confirmed, by an agent or a supervisor, with `correction: true`, the right time as `at` and
    a `note`; both values stand on record.
    """
    return await change_payment(context, payment_id, partial(fulfilment.change_fulfilment, told=fulfilment_told(body)))


@router.get("/{payment_id}/eligibility", summary="Check eligibility", openapi_extra=links(200, request_cancellation=_SAME))
async def get_eligibility(context: ForReaders, payment_id: PaymentId, query: Annotated[EligibilityQuery, Query()]) -> EligibilityOut:
    """What a request would lead to now, by the very code path of the request and on the same facts, limits too, without any effect.

    It tells whether the request is allowed, which rule and window decide, who would have to agree, where the money would go and when,
    and what of promotions would not go back. `refusal` says why not. Policy may look at the `reason`: without one the answer is the best
    that any reason would bring, and `by_reason` tells them apart.
    """
    now = context.now()
    loaded = await context.snapshot(payment_id, requests_since=now - DAY)
    policy = await context.policy(loaded.payment)
    snapshot = context.struck(loaded, policy)
    if query.as_ is None and ActorRole(context.principal.role) in ASKS_FOR_OTHERS:
        wanted = AgentRequestsQuery(sub=context.principal.sub, since=now - DAY)
        asked = await context.services.runner.runtime.agent_requests(wanted, snapshot.payment)
        snapshot = replace(snapshot, agent_requests=asked)
    return eligibility_out(snapshot, foresee(snapshot, cancellation_wish(query, context.principal), policy, now), policy, context)


@router.get("/{payment_id}/records", response_model=Page[RecordOut], summary="List a payment's records")
async def list_payment_records(context: ForReaders, payment_id: PaymentId, query: Annotated[ListPaymentRecords, Query()]) -> Response:
    """The audit trail, oldest first; `sequence` has no gap, and each record names the hash of the one before."""
    await context.snapshot(payment_id)
    return record_page("payment_records", await search.chain(context.store.pool, payment_id, query.cursor, query.limit + 1), query.limit)


async def _shown(context: RequestContext, snapshot: Snapshot) -> PaymentOut:
    return payment_out(snapshot, await context.policy(snapshot.payment), context)
