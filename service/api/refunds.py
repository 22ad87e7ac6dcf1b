"""Refunds: where the money is."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.context import ForReaders
from service.api.models.base import Page, RefundId
from service.api.models.refunds import ListRefunds, RefundOut
from service.api.pagination import next_cursor, place
from service.api.render import find_refund, refund_out
from service.api.responses import links
from service.api.routing import ApiRoute
from workflows.storage import list_filters, search

router = APIRouter(prefix="/v1/refunds", tags=["refunds"], route_class=ApiRoute)


@router.get("", summary="List refunds", openapi_extra=links(200, get_refund={"refund_id": "$response.body#/data/0/id"}))
async def list_refunds(context: ForReaders, query: Annotated[ListRefunds, Query()]) -> Page[RefundOut]:
    """Newest first, or by the last change. A merchant finds its own payments' only."""
    merchant_id, _ = context.merchant_filter(None)
    wanted = list_filters.RefundFilter(**query.filters(merchant_id=merchant_id))
    found = await search.refunds(context.services.reads, wanted, place(query.cursor), query.limit + 1)
    page = found[: query.limit]
    snapshots = await context.store.load_many([row[0] for row in page], [row[1] for row in page])
    rows = [(snapshots[payment], find_refund(snapshots[payment], refund)) for payment, _, refund, _ in page if payment in snapshots]
    data = [refund_out(snapshot, refund, await context.policy(snapshot.payment)) for snapshot, refund in rows]
    return Page(data=data, next_cursor=next_cursor("refunds", query, [last for *_, last in found]))


@router.get(
    "/{refund_id}",
    summary="Get a refund",
    openapi_extra=links(
        200,
        get_cancellation={"cancellation_id": "$response.body#/cancellation_id"},
        get_payment={"payment_id": "$response.body#/payment_id"},
    ),
)
async def get_refund(context: ForReaders, refund_id: RefundId) -> RefundOut:
    """The refund and its legs, one per funding source. Its state is its legs' worst; `eta` says when the money will have arrived."""
    payment_id, cancellation_id = await context.parents_of_refund(refund_id)
    snapshot = await context.snapshot(payment_id, cancellation_id=cancellation_id)
    return refund_out(snapshot, find_refund(snapshot, refund_id), await context.policy(snapshot.payment))
