"""Payments: registered, read, and told of what happens to them."""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from starlette.responses import Response

from service.api import answers, bodies, cursor, queries
from service.api.answers import Answer
from service.api.calls import Call, Doing
from service.api.cursor import After, Kind
from service.api.problems import RequestProblem
from service.api.reading import Inbound
from service.api.schemas import Body
from service.api.views import payment_actions, payment_view
from workflows.domain import ids
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import fulfilment, payments
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.faults import Fault, FaultCode
from workflows.domain.model import Earned, Funding, Item, Snapshot
from workflows.storage import search
from workflows.storage.snapshot import SnapshotQuery

B = TypeVar("B", bound=Body)


async def register(call: Call) -> Response:
    inbound = await Inbound.read(call.request, call.operation, bodies.RegisterPayment)
    terms = terms_of(inbound.checked(), call)
    registered = await call.services.runner.register(terms, actor=call.actor(), request_id=call.trace_id)
    payment = registered.snapshot.payment
    headers = {"location": f"/v1/payments/{ids.public('pay', payment.id)}", "etag": answers.etag(payment.version)}
    return call.json(await _shown(call, registered.snapshot), status=201 if registered.new else 200, headers=headers)


async def get(call: Call) -> Response:
    snapshot = await call.snapshot(call.path_id("pay", "payment_id"), shown=True)
    call.query(queries.NoQuery)
    return call.json(await _shown(call, snapshot), headers={"etag": answers.etag(snapshot.payment.version)})


async def list_(call: Call) -> Response:
    query = call.query(queries.ListPayments)
    merchant_id, possible = call.merchant_only(query.merchant_id)
    wanted = search.PaymentFilter(
        reference=query.reference,
        wallet_id=query.wallet_id,
        merchant_id=merchant_id,
        order_reference=query.order_reference,
        state=query.state,
        created_from=query.created_from,
        created_to=query.created_to,
        updated_from=query.updated_from,
        by_update=query.by_update,
    )
    found = await search.payments(call.services.reads, wanted, place(query.cursor), query.limit + 1) if possible else []
    page = [one for one, _ in found[: query.limit]]
    snapshots = await call.store.load_many(page)
    shown: list[Answer] = [await _shown(call, snapshots[one]) for one in page if one in snapshots]
    kind: Kind = "payments_updated" if query.by_update else "payments"
    more = next_cursor(kind, found[query.limit - 1][-1]) if len(found) > query.limit else None
    return call.json(answers.page_answer(shown, more))


async def complete(call: Call) -> Response:
    def decide(snapshot: Snapshot, body: bodies.CompletePayment, _: PolicyContext, context: Context) -> Change:
        return payments.complete(snapshot, completed_at=body.completed_at, provider_reference=body.provider_reference, context=context)

    inbound = await Inbound.read(call.request, call.operation, bodies.CompletePayment)
    return await call.command(inbound, _doing(call, decide))


async def fail(call: Call) -> Response:
    def decide(snapshot: Snapshot, body: bodies.FailPayment, _: PolicyContext, context: Context) -> Change:
        return payments.fail(snapshot, code=body.code, detail=body.detail, context=context)

    inbound = await Inbound.read(call.request, call.operation, bodies.FailPayment)
    return await call.command(inbound, _doing(call, decide))


async def modify(call: Call) -> Response:
    def decide(snapshot: Snapshot, body: bodies.ModifyPayment, _: PolicyContext, context: Context) -> Change:
        funding = None if body.funding is None else _funding(body.funding, call)
        items, names = _items(body.items)
        return payments.modify(
            snapshot, amount=body.amount, reason=body.reason, funding=funding, items=items, item_names=names, context=context
        )

    inbound = await Inbound.read(call.request, call.operation, bodies.ModifyPayment)
    return await call.command(inbound, _doing(call, decide))


async def change_fulfilment(call: Call) -> Response:
    def decide(snapshot: Snapshot, body: bodies.ChangeFulfilment, _: PolicyContext, context: Context) -> Change | None:
        told = fulfilment.FulfilmentTold(
            status=body.status,
            at=body.at,
            carrier=body.carrier,
            tracking_number=body.tracking_number,
            correction=body.correction or False,
            note=body.note,
        )
        return fulfilment.change_fulfilment(snapshot, told, context)

    inbound = await Inbound.read(call.request, call.operation, bodies.ChangeFulfilment)
    return await call.command(inbound, _doing(call, decide))


def terms_of(body: bodies.RegisterPayment, call: Call) -> payments.PaymentDetails:
    """What the body says, and nothing that it leaves out.

    Raises RequestProblem for times ahead, currencies that were withdrawn before, and rails that are not there.
    """
    now = call.services.runner.runtime.clock()
    if errors := bodies.check_times(body, now) + bodies.check_currency(body, now):
        raise RequestProblem("validation-failed", members={"errors": errors})
    said = body.model_fields_set
    items, names = _items(body.items)
    earned = (
        None
        if body.earned is None
        else tuple(Earned(kind=e.kind, amount=e.amount, provider=e.provider, provider_reference=e.provider_reference) for e in body.earned)
    )
    return payments.PaymentDetails(
        reference=body.reference,
        wallet_id=body.wallet_id,
        merchant_id=body.merchant_id,
        amount=body.amount,
        currency=body.currency,
        order_reference=body.order_reference,
        category=body.category if "category" in said else None,
        funding=None if body.funding is None else _funding(body.funding, call),
        items=items,
        item_names=names,
        earned=earned,
        fulfilment=body.fulfilment if "fulfilment" in said else None,
        shipped_at=body.shipped_at,
        delivered_at=body.delivered_at,
        completed_at=body.completed_at,
        authorised_at=body.authorised_at,
        metadata=None if body.metadata is None else dict(body.metadata),
    )


def place(after: After | None) -> search.Place | None:
    return None if after is None else search.Place(after.created_at, after.id)


def next_cursor(kind: Kind, last: search.Place) -> str:
    """As the search found it: it may have changed since."""
    return cursor.encode(kind, After(last.at, last.id))


def _funding(sources: tuple[bodies.FundingBody, ...], call: Call) -> tuple[Funding, ...]:
    for position, source in enumerate(sources):
        if source.provider not in call.services.rails.providers:
            known = tuple(sorted(call.services.rails.providers))
            unknown = Fault(f"/funding/{position}/provider", FaultCode.unknown_provider, {"allowed": known})
            raise RequestProblem("validation-failed", members={"errors": [unknown]})
    return tuple(
        Funding(source=f.source, amount=f.amount, provider=f.provider, provider_reference=f.provider_reference, funder=f.funder)
        for f in sources
    )


def _items(lines: tuple[bodies.ItemBody, ...] | None) -> tuple[tuple[Item, ...] | None, tuple[str | None, ...] | None]:
    """The lines, and apart from them what people call them."""
    if lines is None:
        return None, None
    items = tuple(Item(reference=line.reference, quantity=line.quantity, amount=line.amount) for line in lines)
    return items, tuple(line.name for line in lines)


async def _shown(call: Call, snapshot: Snapshot) -> Answer:
    return payment_view(snapshot, await call.services.runner.runtime.terms(snapshot.payment), call)


def _doing(call: Call, decide: Callable[[Snapshot, B, PolicyContext, Context], Change | None]) -> Doing[B]:
    """A step of the payment itself, answered with the payment as it then is."""

    def answer(snapshot: Snapshot, terms: PolicyContext, _: bool) -> tuple[int, Answer, dict[str, str]]:
        return 200, payment_view(snapshot, terms, call), {"etag": answers.etag(snapshot.payment.version)}

    payment_id: UUID = call.path_id("pay", "payment_id")
    return Doing(
        wanted=SnapshotQuery(payment_id=payment_id, shown=True),
        decide=decide,
        answer=answer,
        version=lambda snapshot: snapshot.payment.version,
        actions=payment_actions,
    )
