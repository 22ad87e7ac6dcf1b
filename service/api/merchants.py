"""Merchants: what is told of them, and their own terms."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from service.api.commands import etag
from service.api.context import ForEveryRole, ForOperators
from service.api.models.base import Page
from service.api.models.merchants import GetMerchant, ListMerchants, MerchantProfileOut, PutMerchant, merchant_out
from service.api.pagination import encode_text
from service.api.problem_responses import problems
from service.api.responses import VERSIONED, described, links
from service.api.routing import ApiRoute
from workflows.domain.errors import NotFound
from workflows.flows.change_merchant import ChangeMerchant, change_merchant

PATH = "/v1/merchants"

router = APIRouter(prefix=PATH, tags=["merchants"], route_class=ApiRoute)

_ID = {"merchant_id": "$response.body#/id"}
_TERMS = {"query.merchant_id": "$response.body#/id"}

MerchantId = Annotated[str, Path(description="The merchant, as payments name it.", pattern="^[!-~]{1,64}$", examples=["shop-1"])]


@router.get(
    "",
    summary="List merchants",
    response_model_exclude_unset=True,
    openapi_extra=links(200, get_merchant={"merchant_id": "$response.body#/data/0/id"}),
)
async def list_merchants(context: ForEveryRole, query: Annotated[ListMerchants, Query()]) -> Page[MerchantProfileOut]:
    """The newest version of each, by id. A merchant sees itself."""
    own, _ = context.merchant_filter(None)
    found = await context.store.merchants.page(query.limit + 1, after=query.cursor, only=own)
    more = encode_text("merchants", found[query.limit - 1].id) if len(found) > query.limit else None
    return Page(data=[merchant_out(one) for one in found[: query.limit]], next_cursor=more)


@router.get(
    "/{merchant_id:path}",
    summary="Get a merchant",
    response_model_exclude_unset=True,
    responses=VERSIONED,
    openapi_extra=links(200, put_merchant=_ID, get_terms=_TERMS),
)
async def get_merchant(
    context: ForEveryRole, merchant_id: MerchantId, query: Annotated[GetMerchant, Query()], response: Response
) -> MerchantProfileOut:
    """What is told of it now, or was in an earlier version. A merchant reads itself only.

    A merchant that nobody has described yet is 404 here; its payments are taken all the same, without rules of its own.
    """
    found = await context.store.merchants.version(merchant_id, query.version) if context.owns_merchant(merchant_id) else None
    if found is None:
        raise NotFound
    response.headers["etag"] = etag(found.version)
    return merchant_out(found)


@router.put(
    "/{merchant_id:path}",
    summary="Describe a merchant",
    response_model_exclude_unset=True,
    responses=described(MerchantProfileOut) | problems("harsher-rule"),
    openapi_extra=links(201, 200, get_merchant=_ID, get_terms=_TERMS),
)
async def put_merchant(context: ForOperators, merchant_id: MerchantId, body: PutMerchant, response: Response) -> MerchantProfileOut:
    """All that is told of a merchant: 201 where it was not known, else 200. What differs from the newest version makes another one.

    Versions never change. A payment is pinned to the one that was in force when it was authorised, for its rules and for what the
    merchant accepts without being asked; how customers reach it is always told as it is now.

    A rule that is nowhere kinder than the policy in force would never take effect: it is refused, with customers whom it would have
    harmed as `examples`. Without an `Idempotency-Key`, since the same again changes nothing; `If-Match` keeps two operators apart.
    """
    command = ChangeMerchant(
        merchant_id=merchant_id,
        details=body.details(),
        actor=context.actor(),
        request_id=context.trace_id,
        if_match=context.if_match,
        must_exist="if-match" in context.headers,
    )
    changed = await change_merchant(context.services.runner, command)
    response.status_code = 201 if changed.is_new else 200
    response.headers["etag"] = etag(changed.merchant.version)
    response.headers["location"] = f"{PATH}/{quote(merchant_id, safe='')}"
    return merchant_out(changed.merchant)
