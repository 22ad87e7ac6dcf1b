"""The terms before a payment: what its customer could do about it later, for anybody to read."""

from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from service.api.context import ForAnybody
from service.api.models.base import to_json
from service.api.models.terms import TermsOut, TermsQuery, terms_out
from service.api.reading import JSON_TYPE
from service.api.routing import ApiRoute
from workflows.domain.decisions.terms import TermsQuestion

router = APIRouter(prefix="/v1/terms", tags=["terms"], route_class=ApiRoute)

CACHED_SECONDS: Final = 60
_ETAG: Final[dict[str, Any]] = {"ETag": {"description": "Of this answer.", "required": True, "schema": {"type": "string"}}}
_CACHED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Done.", "headers": _ETAG},
    304: {"description": "The answer is still the one named in `If-None-Match`; no body.", "headers": _ETAG},
}


@router.get("", response_model=TermsOut, summary="Get the terms", responses=_CACHED)
async def get_terms(context: ForAnybody, query: Annotated[TermsQuery, Query()]) -> Response:
    """What a customer could do, himself and in the app, about all of a payment to this merchant that is authorised now: for each stage
    and reason who decides, and until when. It is read off the policy and the merchant's own terms in force, by the code that decides.

    `closes_at` holds for a payment of which all happens at `as_of`: for `delivered`, it is paid, shipped and delivered then. Where it
    is not, `until` says from which moment the time counts. Without `amount` and `currency` the amount is in no currency: rules for one
    currency do not hold, and `depends_on` says whether there are any. A merchant that nobody has described is answered by the policy
    alone. The answer may be kept for a minute.
    """
    body = to_json(await tell_terms(context, query.question(query.merchant_id)))
    tag = int.from_bytes(sha256(body).digest()[:7])
    return Response(body, media_type=JSON_TYPE, headers={"cache-control": f"public, max-age={CACHED_SECONDS}", "etag": f'"{tag}"'})


async def tell_terms(context: ForAnybody, question: TermsQuestion) -> TermsOut:
    """In the caller's language. Raises Unavailable where no policy is in force."""
    return terms_out(await context.services.terms.answer(context.services.runner.runtime, question), context.language)
