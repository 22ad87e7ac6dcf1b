"""Cancellations: asked for, read, and decided by the customer, the merchant, the agents."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from service.api.commands import change_cancellation, etag, run_cancellation_request, take_next_case
from service.api.context import CustomersStep, ForReaders, MerchantsStep, RequestContext, RequestersStep, ReviewersStep, SupervisorsStep
from service.api.conversion import merchant_response, told_outcome
from service.api.models.base import CancellationId, Page, PaymentId
from service.api.models.cancellations import CancellationOut, ListCancellations, RequestCancellation
from service.api.models.decisions import (
    Approve,
    Assign,
    Close,
    DecideHandOff,
    Deny,
    Escalate,
    ReceiveReturn,
    RecordOutcome,
    Redirect,
    RespondToOffer,
    Retry,
    ShipReturn,
    TakeNext,
    Withdraw,
)
from service.api.pagination import next_cursor, place
from service.api.problem_responses import problems
from service.api.render import cancellation_out
from service.api.responses import CHANGED, CHANGED_OR_NOTHING, VERSIONED, created, links
from service.api.routing import ApiRoute, action
from workflows.domain.decisions import handoffs, recorded, recovery, requests, returns, reviews
from workflows.domain.model import Cancellation, Snapshot
from workflows.storage import list_filters, search

router = APIRouter(prefix="/v1", tags=["cancellations"], route_class=ApiRoute)

_NEXT = "/cancellations/next"
_ID = {"cancellation_id": "$response.body#/id"}
_PAYMENT = {"payment_id": "$response.body#/payment_id"}


def _next_steps(*names: str, statuses: tuple[int, ...] = (200,)) -> dict[str, Any]:
    """Links to the cancellation, its payment and its refunds as they now are, and to the steps that may come next."""
    refunds = {"query.cancellation_id": "$response.body#/id"}
    return links(*statuses, get_cancellation=_ID, get_payment=_PAYMENT, list_refunds=refunds, **dict.fromkeys(names, _ID))


@router.post(
    "/payments/{payment_id}/cancellations",
    response_model=CancellationOut,
    status_code=201,
    summary="Request a cancellation",
    responses={
        **created(CancellationOut, replayed=True),
        **problems(
            "invalid-state",
            "cancellation-open",
            "payment-disputed",
            "wallet-frozen",
            "refundable-amount-changed",
            "partial-not-supported",
            "amount-exceeds-refundable",
            "policy-refused",
            "client-reference-conflict",
        ),
    },
    openapi_extra=action("request_cancellation")
    | _next_steps(
        "withdraw_cancellation",
        "decide_hand_off",
        "escalate_cancellation",
        "ship_return",
        "assign_cancellation",
        "approve_cancellation",
        "deny_cancellation",
        statuses=(201, 200),
    ),
)
async def request_cancellation(context: RequestersStep, payment_id: PaymentId, body: RequestCancellation) -> Response:
    """Requests that all of a payment (neither `amount` nor `items`), or part of it, is undone.

    The amount is reserved from now on. What becomes of it stands in `state`: `executing` (a void or refund is under way: read it until it
    is `completed`), `awaiting_merchant`, `awaiting_return`, `awaiting_agent` or `awaiting_second_approval` (somebody must decide first;
    see `deadline_at` and `on_deadline`).

    One open cancellation a payment: another request is 409 `cancellation-open`; of N at the same moment exactly one is 201. A refusal by
    policy is 422 `policy-refused`, and is on record itself, under `cancellation_id`. `client_reference` is a second key that never
    expires: the same wish under it again answers 200 with the existing cancellation (after a refusal: the same 422), another wish 409
    `client-reference-conflict`.

    Not `amount` and `items` together; reason `other` needs a `note`. Beyond the schema: the references of `items` are unique and the
    payment's own, and come to at least one minor unit; an agent or supervisor names a `channel` other than `app`; a merchant's is
    `merchant`; `override` is for supervisors and always needs a second person. `ticket`, `client_reference` and `verification.reference`
    must be pseudonyms. A `pending` payment can only be cancelled whole.

    Where the policy in force has `agent_limits`, an agent or supervisor who has asked for as much within 24 hours, over all payments,
    gets 429 `rate-limited` with the `limit` (`requests_per_day`, `amount_per_day`, `refunds_to_wallet_per_day`) and `Retry-After`. What
    policy refused counts as a request only. Two requests at the same moment may pass a limit by one.
    """
    return await run_cancellation_request(context, payment_id, body)


@router.get(
    "/cancellations",
    summary="List cancellations",
    openapi_extra=links(200, get_cancellation={"cancellation_id": "$response.body#/data/0/id"}),
)
async def list_cancellations(context: ForReaders, query: Annotated[ListCancellations, Query()]) -> Page[CancellationOut]:
    """Newest first, by the last change, or by the deadline. A merchant finds its own payments' only.

    A merchant's queue of hand-offs is `state=awaiting_merchant&sort=deadline`: what must be answered first comes first.
    """
    merchant_id, possible = context.merchant_filter(query.merchant_id)
    wanted = list_filters.CancellationFilter(**query.filters(merchant_id=merchant_id))
    reads, after = context.services.reads, place(query.cursor)
    found = await search.cancellations(reads, wanted, after, query.limit + 1, now=context.now()) if possible else []
    page = found[: query.limit]
    snapshots = await context.store.load_many([payment for payment, _, _ in page], [one for _, one, _ in page])
    rows = [(snapshots[payment], snapshots[payment].cancellation(one)) for payment, one, _ in page if payment in snapshots]
    data = [await _shown(context, snapshot, row) for snapshot, row in rows if row is not None]
    return Page(data=data, next_cursor=next_cursor("cancellations", query, [last for *_, last in found]))


@router.post(
    _NEXT,
    response_model=CancellationOut,
    summary="Take the next case",
    responses=CHANGED_OR_NOTHING,
    openapi_extra=_next_steps("approve_cancellation", "deny_cancellation", "assign_cancellation"),
)
async def next_cancellation(context: ReviewersStep, body: TakeNext = TakeNext()) -> Response:  # noqa: ARG001 -- says that there is one
    """Assigns the most urgent case that nobody has to the caller.

    A case is a cancellation in `awaiting_agent` or `awaiting_second_approval` without `assigned_to`. The most urgent is the one with the
    oldest of its first answer, its resolution and its deadline that are due: what is late comes first. Only cases that the caller may
    decide are given out: none that he asked for, approved first, or decided for the merchant, and second approvals and raised cases to
    supervisors only. No case is given to two. 204: there is none.
    """
    return await take_next_case(context, f"{router.prefix}{_NEXT}")


@router.get(
    "/cancellations/{cancellation_id:cancellation}",
    response_model=CancellationOut,
    summary="Get a cancellation",
    responses=VERSIONED,
    openapi_extra=links(
        200,
        get_refund={"refund_id": "$response.body#/refund/id"},
        get_payment=_PAYMENT,
        **dict.fromkeys(("retry_cancellation", "redirect_cancellation", "close_cancellation", "record_outcome"), _ID),
    ),
)
async def get_cancellation(context: ForReaders, cancellation_id: CancellationId, response: Response) -> CancellationOut:
    """The cancellation as it now is; `message` is what to tell the customer, in the language asked for."""
    payment_id = await context.payment_of_cancellation(cancellation_id)
    snapshot = await context.snapshot(payment_id, cancellation_id=cancellation_id, shown=True)
    found = requests.must_find(snapshot, snapshot.cancellation(cancellation_id))
    response.headers["etag"] = etag(found.version)
    return await _shown(context, snapshot, found)


@router.post(
    "/cancellations/{cancellation_id}/withdraw",
    response_model=CancellationOut,
    summary="Withdraw a cancellation",
    responses={**CHANGED, **problems("invalid-state")},
    openapi_extra=action("withdraw") | links(200, get_cancellation=_ID, get_payment=_PAYMENT, request_cancellation=_PAYMENT),
)
async def withdraw_cancellation(context: CustomersStep, cancellation_id: CancellationId, body: Withdraw = Withdraw()) -> Response:
    """The customer takes the request back, as long as nobody has approved it.

    The payment is where it was, and what was reserved is refundable again. 409 `invalid-state` once money moves or the cancellation is
    over.
    """
    return await change_cancellation(context, cancellation_id, requests.withdraw, channel=body.channel)


@router.post(
    "/cancellations/{cancellation_id}/escalate",
    response_model=CancellationOut,
    summary="Escalate to an agent",
    responses={**CHANGED, **problems("invalid-state", "cancellation-open", "payment-disputed", "amount-exceeds-refundable")},
    openapi_extra=action("escalate")
    | _next_steps("assign_cancellation", "approve_cancellation", "deny_cancellation", "withdraw_cancellation"),
)
async def escalate_cancellation(context: CustomersStep, cancellation_id: CancellationId, body: Escalate = Escalate()) -> Response:
    """The customer turns to an agent: while the merchant is silent, or within seven days of the merchant's no.

    After the no nothing else of the payment may be open, and the amount is reserved anew. `awaiting_agent` comes next.
    """
    return await change_cancellation(context, cancellation_id, handoffs.escalate, channel=body.channel)


@router.post(
    "/cancellations/{cancellation_id}/merchant-decision",
    response_model=CancellationOut,
    summary="Decide a hand-off",
    responses={**CHANGED, **problems("invalid-state", "partial-not-supported")},
    openapi_extra=action("accept", "accept_with_return", "offer", "decline")
    | _next_steps("respond_to_offer", "ship_return", "approve_cancellation", "escalate_cancellation"),
)
async def decide_hand_off(context: MerchantsStep, cancellation_id: CancellationId, body: DecideHandOff) -> Response:
    """The merchant answers a hand-off.

    `accept`: `executing` comes next, or `awaiting_second_approval` where two persons are needed. `accept_with_return`:
    `awaiting_return`, and money once the goods are back. `offer`: `offered`, less than what was asked for, put to the customer, at most
    three times, and only where policy allows a further partial refund. `decline`: `declined`. An answer that comes after the customer's
    withdrawal, or after the deadline, is 409 `invalid-state` with the `state` that the cancellation has reached.
    """
    return await change_cancellation(context, cancellation_id, partial(handoffs.decide, answer=merchant_response(body)))


@router.post(
    "/cancellations/{cancellation_id}/offer-response",
    response_model=CancellationOut,
    summary="Respond to an offer",
    responses={**CHANGED, **problems("invalid-state")},
    openapi_extra=action("accept_offer", "decline_offer") | _next_steps("decide_hand_off", "approve_cancellation"),
)
async def respond_to_offer(context: CustomersStep, cancellation_id: CancellationId, body: RespondToOffer) -> Response:
    """The customer accepts the merchant's offer, or declines it.

    Accepted, the offered amount is what is cancelled, and the difference is refundable again. Declined, the cancellation is the
    merchant's again, with the time that was left.
    """
    return await change_cancellation(context, cancellation_id, partial(handoffs.respond, accept=body.accept), channel=body.channel)


@router.post(
    "/cancellations/{cancellation_id}/return",
    response_model=CancellationOut,
    summary="Report a return shipment",
    responses={**CHANGED, **problems("invalid-state")},
    openapi_extra=action("return_shipped") | _next_steps("receive_return"),
)
async def ship_return(context: CustomersStep, cancellation_id: CancellationId, body: ShipReturn) -> Response:
    """The customer has sent the goods: from now on the merchant's time to inspect them runs.

    Reported again, it corrects the carrier or the number, and the clock goes on.
    """
    decide = partial(returns.ship, carrier=body.carrier, tracking_number=body.tracking_number)
    return await change_cancellation(context, cancellation_id, decide, channel=body.channel)


@router.post(
    "/cancellations/{cancellation_id}/return-received",
    response_model=CancellationOut,
    summary="Report received goods",
    responses={**CHANGED, **problems("invalid-state")},
    openapi_extra=action("return_received") | _next_steps("assign_cancellation", "approve_cancellation", "deny_cancellation"),
)
async def receive_return(context: MerchantsStep, cancellation_id: CancellationId, body: ReceiveReturn) -> Response:
    """What came back. `intact` is paid, or awaits a second person where one is needed; `damaged` or `missing` is an agent's to judge."""
    return await change_cancellation(context, cancellation_id, partial(returns.receive, condition=body.condition, note=body.note))


@router.post(
    "/cancellations/{cancellation_id}/assign",
    response_model=CancellationOut,
    summary="Assign a case",
    responses={**CHANGED, **problems("invalid-state", "second-approver-required")},
    openapi_extra=action("assign") | _next_steps("approve_cancellation", "deny_cancellation"),
)
async def assign_cancellation(context: ReviewersStep, cancellation_id: CancellationId, body: Assign = Assign()) -> Response:
    """Takes the case, or hands it on to a colleague (`to`).

    While the decision is the agents' or a second person's, only who may make it can have the case. Who asked for the cancellation, or had
    another part in it, is 403 `second-approver-required`. A second approval, and a case whose deadline the agents let pass, is a
    supervisor's: for agents 403 `forbidden`.
    """
    return await change_cancellation(context, cancellation_id, partial(reviews.assign, to=body.to))


@router.post(
    "/cancellations/{cancellation_id}/approve",
    response_model=CancellationOut,
    summary="Approve a cancellation",
    responses={**CHANGED, **problems("invalid-state", "second-approver-required")},
    openapi_extra=action("approve") | _next_steps("approve_cancellation"),
)
async def approve_cancellation(context: ReviewersStep, cancellation_id: CancellationId, body: Approve = Approve()) -> Response:
    """Approves as the first or the second person.

    Whoever asked never approves, at any amount; the second person is another one, and a supervisor. Else 403 `second-approver-required`.
    Above the rule's amount `awaiting_second_approval` comes first, then `executing`. A case whose deadline the agents let pass is a
    supervisor's: for agents 403 `forbidden`.
    """
    return await change_cancellation(context, cancellation_id, partial(reviews.approve, note=body.note))


@router.post(
    "/cancellations/{cancellation_id}/deny",
    response_model=CancellationOut,
    summary="Deny a cancellation",
    responses={**CHANGED, **problems("invalid-state")},
    openapi_extra=action("deny") | links(200, get_cancellation=_ID, get_payment=_PAYMENT, request_cancellation=_PAYMENT),
)
async def deny_cancellation(context: ReviewersStep, cancellation_id: CancellationId, body: Deny) -> Response:
    """The answer is no: `declined`. What was reserved is refundable again, and the reason is on record."""
    return await change_cancellation(context, cancellation_id, partial(reviews.deny, reason_code=body.reason_code, note=body.note))


@router.post(
    "/cancellations/{cancellation_id}/retry",
    response_model=CancellationOut,
    summary="Retry a stuck refund",
    responses={**CHANGED, **problems("invalid-state", "second-approver-required")},
    openapi_extra=action("retry") | _next_steps("retry_cancellation", "redirect_cancellation", "close_cancellation", "record_outcome"),
)
async def retry_cancellation(context: ReviewersStep, cancellation_id: CancellationId, body: Retry = Retry()) -> Response:
    """Each part that failed, was returned or waits for somebody goes out once more, to where it was to go: `executing`.

    A leg of its own takes the place of each (`replaces`), under a new rail key, once the rail has been asked for the last time about the
    old one. What waits for somebody at its rail is cancelled there first. 409 `invalid-state` while an outcome is open (`submitted`,
    `processing`, `unknown`), and while an anomaly says that the part was paid after all. Whoever recorded that a part had failed does not
    send it again: 403 `second-approver-required`. A case whose deadline the agents let pass is a supervisor's: for agents 403 `forbidden`.
    """
    decide = partial(recovery.retry, successors=context.successor_rules(), note=body.note)
    return await change_cancellation(context, cancellation_id, decide)


@router.post(
    "/cancellations/{cancellation_id}/redirect",
    response_model=CancellationOut,
    summary="Redirect a stuck refund",
    responses={**CHANGED, **problems("invalid-state", "second-approver-required")},
    openapi_extra=action("redirect") | _next_steps("retry_cancellation", "redirect_cancellation", "close_cancellation", "record_outcome"),
)
async def redirect_cancellation(context: ReviewersStep, cancellation_id: CancellationId, body: Redirect) -> Response:
    """As `retry`, but to the balance of the customer's wallet, which the customer has agreed to: the consent is on record.

    Each part stays booked on the source that it was paid from, which gets no more than it paid. Promotions (`coupon`, `points`, `cashback`)
    go back in kind: their parts are retried. A void moves no money: where nothing else is stuck, this is 409 `invalid-state`.
    """
    decide = partial(recovery.redirect, successors=context.successor_rules(), note=body.note)
    return await change_cancellation(context, cancellation_id, decide, channel=body.channel)


@router.post(
    "/cancellations/{cancellation_id}/close",
    response_model=CancellationOut,
    summary="Close a stuck cancellation",
    responses={**CHANGED, **problems("invalid-state", "second-approver-required")},
    openapi_extra=action("close") | _next_steps(),
)
async def close_cancellation(context: ReviewersStep, cancellation_id: CancellationId, body: Close = Close()) -> Response:
    """Gives up what did not arrive: `failed`. What arrived stays paid, what was released stays released, the rest is refundable again.

    409 `invalid-state` while an outcome is open, and while an anomaly says that a part was paid after all. Whoever recorded that a part
    had failed does not close it: 403 `second-approver-required`. What waits for somebody at its rail is cancelled there first: until the
    rail has confirmed that, the cancellation stays `needs_attention`, and offers no further step.
    """
    return await change_cancellation(context, cancellation_id, partial(recovery.close, note=body.note))


@router.post(
    "/cancellations/{cancellation_id}/outcome",
    response_model=CancellationOut,
    summary="Record an outcome",
    responses={**CHANGED, **problems("invalid-state", "second-approver-required")},
    openapi_extra=action("record_outcome") | _next_steps("retry_cancellation", "redirect_cancellation", "close_cancellation"),
)
async def record_outcome(context: SupervisorsStep, cancellation_id: CancellationId, body: RecordOutcome) -> Response:
    """What a supervisor read in the rail's own books about a part that its interface gives no word of, or a contradicting one.

    Only for a case that needs attention, and a part that is `submitted`, `processing`, `unknown` or `requires_action`. `succeeded` counts
    as paid; `failed` permits a `retry`, by another person, and is 409 `invalid-state` of what simply waits for somebody, since each order
    cancels that at its rail. If the rail says otherwise later, that is an anomaly. Whoever asked for the cancellation, or approved it, is
    403 `second-approver-required`.
    """
    decide = partial(recorded.record_outcome, told=told_outcome(body), successors=context.successor_rules())
    return await change_cancellation(context, cancellation_id, decide)


async def _shown(context: RequestContext, snapshot: Snapshot, cancellation: Cancellation) -> CancellationOut:
    return cancellation_out(snapshot, cancellation, await context.policy(snapshot.payment), context)
