"""Records: the search over all, the export, and a page of them as JSON that is stored already."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from service.api import pagination
from service.api.context import ForAuditors, RequestContext
from service.api.models.base import Page
from service.api.models.records import ExportRecords, RecordOut, SearchRecords
from service.api.pagination import After, place
from service.api.reading import BYTE_ORDER_MARK, NDJSON_TYPE
from service.api.responses import streamed
from service.api.routing import ApiRoute
from service.api.streaming import Stream, begun
from workflows.flows.export import export_csv, export_lines
from workflows.storage import list_filters, search
from workflows.storage.search import RecordText

router = APIRouter(prefix="/v1/records", tags=["records"], route_class=ApiRoute)

CSV_TYPE: Final = "text/csv"
_MEDIA_TYPES: Final = {"ndjson": NDJSON_TYPE, "csv": f"{CSV_TYPE}; charset=utf-8"}


@router.get("", response_model=Page[RecordOut], summary="Search records")
async def search_records(context: ForAuditors, query: Annotated[SearchRecords, Query()]) -> Response:
    """Newest first, over all payments."""
    wanted = list_filters.RecordFilter(**query.filters())
    found = await search.records(context.services.reads, wanted, place(query.cursor), query.limit + 1)
    return record_page("records", found, query.limit)


@router.get("/export", response_class=StreamingResponse, summary="Export records", responses=streamed(NDJSON_TYPE, CSV_TYPE))
async def export_records(context: ForAuditors, query: Annotated[ExportRecords, Query()]) -> Response:
    """All records of a span, streamed in constant memory, ordered by UTC day, chain and sequence.

    NDJSON ends with a trailer line that names the totals and digests and is signed with the key of `GET /v1/log/key`, so that a cut or
    changed stream is seen: `refundry verify`.
    """
    headers = {"content-disposition": f'attachment; filename="records.{query.format}"'}
    media_type = _MEDIA_TYPES[query.format]
    if context.is_head:
        return StreamingResponse(_nothing(), 200, headers, media_type)
    lines = _lines(context, query)
    first = (BYTE_ORDER_MARK if query.bom else b"") + await begun(lines)
    stall_seconds = context.services.settings.stream_stall_seconds
    return Stream(first, lines, headers=headers, media_type=media_type, stall_seconds=stall_seconds)


def record_page(kind: Literal["records", "payment_records"], found: list[RecordText], limit: int) -> Response:
    """A page of records, whose JSON is stored: nothing is parsed and written anew. `found`: one more than the page has, if there is."""
    page = found[:limit]
    more = None
    if len(found) > limit:
        last = page[-1]
        by_time = kind == "records"
        more = pagination.encode("records", After(last.occurred_at, last.id)) if by_time else pagination.encode_id(kind, last.id)
    texts = ",".join(f'{record.body[:-1]},"hash":"{record.hash}"}}' for record in page)
    return Response(f'{{"data":[{texts}],"next_cursor":{json.dumps(more)}}}', media_type="application/json")


def _lines(context: RequestContext, query: ExportRecords) -> AsyncGenerator[bytes]:
    source, evidence = context.services.streams, context.services.evidence
    if query.format == "csv":
        return export_csv(source, start=query.from_, end=query.to, merchant_id=query.merchant_id)
    return export_lines(
        source, start=query.from_, end=query.to, merchant_id=query.merchant_id, sign=evidence.sign, key=evidence.verifier_key()
    )


async def _nothing() -> AsyncIterator[bytes]:
    """No body, and no word about its length: that of the export is not known before it is done."""
    for chunk in tuple[bytes]():
        yield chunk
