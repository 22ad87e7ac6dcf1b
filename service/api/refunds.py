"""Refunds: where the money is."""

from starlette.responses import Response

from service.api import answers, queries
from service.api.answers import Answer
from service.api.calls import Call
from service.api.cursor import Kind
from service.api.payments import next_cursor, place
from service.api.views import must_have_refund, refund_view
from workflows.domain.errors import NotFound
from workflows.storage import search


async def get(call: Call) -> Response:
    refund_id = call.path_id("rfd", "refund_id")
    parents = await call.store.parents_of_refund(refund_id)
    if parents is None:
        raise NotFound
    snapshot = await call.snapshot(parents[0], cancellation_id=parents[1])
    call.query(queries.NoQuery)
    refund = must_have_refund(snapshot, refund_id)
    terms = await call.services.runner.runtime.terms(snapshot.payment)
    return call.json(refund_view(snapshot, refund, terms))


async def list_(call: Call) -> Response:
    query = call.query(queries.ListRefunds)
    merchant_id, _ = call.merchant_only(None)
    wanted = search.RefundFilter(
        payment_id=query.payment_id,
        cancellation_id=query.cancellation_id,
        state=query.state,
        provider=query.provider,
        merchant_id=merchant_id,
        wallet_id=query.wallet_id,
        created_from=query.created_from,
        created_to=query.created_to,
        updated_from=query.updated_from,
        by_update=query.by_update,
    )
    found = await search.refunds(call.services.reads, wanted, place(query.cursor), query.limit + 1)
    page = found[: query.limit]
    snapshots = await call.store.load_many([row[0] for row in page], [row[1] for row in page])
    shown: list[Answer] = []
    for payment_id, _, refund_id, _ in page:
        snapshot = snapshots[payment_id]
        refund = must_have_refund(snapshot, refund_id)
        terms = await call.services.runner.runtime.terms(snapshot.payment)
        shown.append(refund_view(snapshot, refund, terms))
    kind: Kind = "refunds_updated" if query.by_update else "refunds"
    more = next_cursor(kind, page[-1][-1]) if len(found) > query.limit else None
    return call.json(answers.page_answer(shown, more))
