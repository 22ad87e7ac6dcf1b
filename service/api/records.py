"""Records: the audit trail of a payment, the search over all, the export."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from starlette.responses import Response, StreamingResponse

from service.api import cursor, queries
from service.api.calls import Call, raw_json_list
from service.api.cursor import After
from service.api.payments import place
from service.api.reading import BYTE_ORDER_MARK, JSON_TYPE, NDJSON_TYPE
from workflows.flows.export import export_csv, export_lines
from workflows.storage import search
from workflows.storage.search import RecordText


async def of_payment(call: Call) -> Response:
    """Oldest first."""
    payment_id = call.path_id("pay", "payment_id")
    await call.snapshot(payment_id)
    query = call.query(queries.ListPaymentRecords)
    found = await search.chain(call.store.pool, payment_id, query.cursor, query.limit + 1)
    return _page(found, query.limit, lambda last: cursor.encode_id("payment_records", last.id))


async def list_(call: Call) -> Response:
    """Newest first."""
    query = call.query(queries.SearchRecords)
    wanted = search.RecordFilter(
        from_=query.from_,
        to=query.to,
        type=query.type,
        payment_id=query.payment_id,
        merchant_id=query.merchant_id,
        actor=query.actor,
    )
    found = await search.records(call.services.reads, wanted, place(query.cursor), query.limit + 1)
    return _page(found, query.limit, lambda last: cursor.encode("records", After(last.occurred_at, last.id)))


async def export(call: Call) -> Response:
    """Streamed in constant memory: a page of the database at a time, as fast as the caller reads."""
    query = call.query(queries.ExportRecords)
    evidence = call.services.evidence
    if query.format == "csv":
        lines = export_csv(call.services.reads, start=query.from_, end=query.to, merchant_id=query.merchant_id)
        media_type = "text/csv; charset=utf-8"
    else:
        lines = export_lines(
            call.services.reads,
            start=query.from_,
            end=query.to,
            merchant_id=query.merchant_id,
            sign=evidence.sign,
            key=evidence.verifier_key(),
        )
        media_type = NDJSON_TYPE
    first = await anext(lines)  # before the status is said: a database that is away is a 503, not a stream cut short
    if query.bom:
        first = BYTE_ORDER_MARK + first
    headers = {"content-disposition": f'attachment; filename="records.{query.format}"'}
    return StreamingResponse(_closing(first, lines), 200, headers, media_type)


async def _closing(first: bytes, lines: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """A caller who goes away must not leave a transaction open."""
    async with aclosing(lines):
        yield first
        async for chunk in lines:
            yield chunk


def _page(found: list[RecordText], limit: int, go_on: Callable[[RecordText], str]) -> Response:
    page = found[:limit]
    more = go_on(page[-1]) if len(found) > limit else None
    return Response(raw_json_list([_line(record) for record in page], more), media_type=JSON_TYPE)


def _line(record: RecordText) -> str:
    return f'{record.body[:-1]},"hash":"{record.hash}"}}'
