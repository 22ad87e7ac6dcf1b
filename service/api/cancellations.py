"""Cancellations: what would happen, asking, reading."""

from datetime import datetime, timedelta
from uuid import UUID

from starlette.responses import Response

from service.api import answers, bodies, queries
from service.api.answers import Answer, EligibilityView
from service.api.calls import Call, Doing
from service.api.cursor import Kind
from service.api.i18n import NextStep, eligibility_message, next_steps
from service.api.payments import next_cursor, place
from service.api.problems import slug_of
from service.api.reading import Inbound
from service.api.views import cancellation_view, payment_actions
from workflows.domain import ids
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import requests
from workflows.domain.decisions.eligibility import Outlook, foresee
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.requests import CancellationRequest, OverrideRequest
from workflows.domain.enums import ActorRole, CancellationTrigger, Channel, PaymentState
from workflows.domain.errors import Invalid
from workflows.domain.eta import estimate
from workflows.domain.machines import CANCELLATION
from workflows.domain.model import Actor, Cancellation, ItemQuantity, Snapshot
from workflows.domain.policy import Allowed, Denied
from workflows.domain.records import digest_text
from workflows.storage import search
from workflows.storage.snapshot import SnapshotQuery


async def eligibility(call: Call) -> Response:
    """The very code path of a request, on the same facts, without the apply."""
    now = call.now()
    snapshot = await call.snapshot(call.path_id("pay", "payment_id"), requests_since=now - _DAY)
    query = call.query(queries.Eligibility)
    terms = await call.services.runner.runtime.terms(snapshot.payment)
    role = ActorRole(call.principal.role.value)
    # An auditor asks as the customer would; an agent who names no channel asks as one on the line.
    asks = ActorRole.wallet if query.as_customer or role not in _ASK else role
    channel = query.channel or (None if asks in {ActorRole.wallet, ActorRole.merchant} else _LINE)
    try:
        actor = Actor(role=asks, id=call.principal.sub, channel=requests.actor_channel(asks, channel))
        requested = CancellationRequest(actor=actor, reason=query.reason, amount=query.amount, items=query.items)
        outlook = foresee(snapshot, requested, terms, now)
    except Invalid as fault:
        raise Invalid(f"/query{fault.pointer}", fault.code, **fault.members) from None
    return call.json(answers.eligibility_answer(_eligibility(call, snapshot, outlook, terms, now)))


async def request(call: Call) -> Response:
    inbound = await Inbound.read(call.request, call.operation, bodies.RequestCancellation)
    role = ActorRole(call.principal.role.value)
    body = inbound.body
    made: list[UUID] = []

    def decide(snapshot: Snapshot, said: bodies.RequestCancellation, terms: PolicyContext, context: Context) -> Change | None:
        made.clear()
        channel = requests.actor_channel(role, said.channel)
        actor = Actor(role=role, id=call.principal.sub, channel=channel)
        requested = _ask(said, actor)
        known = requests.find_repeated(snapshot, requested)
        if known is not None:
            if known.refusal is not None:
                raise requests.refusal_of(known)
            made.append(known.id)
            return None
        change = requests.request(snapshot, requested, terms, context)
        made.extend(one.id for one in change.cancellations)
        return change

    def answer(snapshot: Snapshot, terms: PolicyContext, changed: bool) -> tuple[int, Answer, dict[str, str]]:
        found = snapshot.cancellation(made[0]) if made else None
        if found is None:
            raise LookupError("the cancellation that was just decided is not in its snapshot")
        headers = {"location": f"/v1/cancellations/{ids.public('can', found.id)}", "etag": answers.etag(found.version)}
        shown = cancellation_view(snapshot, found, terms, call)
        return 201 if changed else 200, shown, headers

    doing = Doing(
        wanted=SnapshotQuery(
            payment_id=call.path_id("pay", "payment_id"),
            client_reference=body.client_reference if body else None,
            requests_since=call.now() - _DAY,
            shown=body is not None and body.client_reference is not None,  # one that was asked for before is shown with its texts
        ),
        decide=decide,
        answer=answer,
        version=lambda snapshot: snapshot.payment.version,
        actions=payment_actions,
        channel=body.channel if body else None,
        repeated=lambda snapshot: body is not None and requests.is_repeated(snapshot, body.client_reference),
    )
    return await call.command(inbound, doing)


async def get(call: Call) -> Response:
    cancellation_id = call.path_id("can", "cancellation_id")
    snapshot = await call.snapshot(await call.payment_of_cancellation(cancellation_id), cancellation_id=cancellation_id, shown=True)
    call.query(queries.NoQuery)
    found = requests.must_find(snapshot, snapshot.cancellation(cancellation_id))
    return call.json(await _shown(call, snapshot, found), headers={"etag": answers.etag(found.version)})


async def list_(call: Call) -> Response:
    query = call.query(queries.ListCancellations)
    merchant_id, possible = call.merchant_only(query.merchant_id)
    wanted = search.CancellationFilter(
        state=query.state,
        route=query.route,
        merchant_id=merchant_id,
        payment_id=query.payment_id,
        assigned_to=query.assigned_to,
        overdue=query.overdue,
        wallet_id=query.wallet_id,
        created_from=query.created_from,
        created_to=query.created_to,
        updated_from=query.updated_from,
        by_update=query.by_update,
    )
    now = call.now()
    found = await search.cancellations(call.services.reads, wanted, place(query.cursor), query.limit + 1, now=now) if possible else []
    page = found[: query.limit]
    snapshots = await call.store.load_many([payment for payment, _, _ in page], [one for _, one, _ in page])
    rows: list[tuple[Snapshot, Cancellation]] = []
    for payment_id, cancellation_id, _ in page:
        snapshot = snapshots.get(payment_id)
        row = None if snapshot is None else snapshot.cancellation(cancellation_id)
        if snapshot is not None and row is not None:
            rows.append((snapshot, row))
    kind: Kind = "cancellations_updated" if query.by_update else "cancellations"
    more = next_cursor(kind, page[-1][-1]) if len(found) > query.limit else None
    return call.json(answers.page_answer([await _shown(call, snapshot, row) for snapshot, row in rows], more))


def _ask(body: bodies.RequestCancellation, actor: Actor) -> CancellationRequest:
    items = None if body.items is None else tuple(ItemQuantity(reference=i.reference, quantity=i.quantity) for i in body.items)
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
        verification=None if body.verification is None else body.verification.model_dump(),
        override=override,
        fingerprint=digest_text(substance, b""),
    )


async def _shown(call: Call, snapshot: Snapshot, cancellation: Cancellation) -> Answer:
    terms = await call.services.runner.runtime.terms(snapshot.payment)
    return cancellation_view(snapshot, cancellation, terms, call)


def _eligibility(call: Call, snapshot: Snapshot, outlook: Outlook, terms: PolicyContext, now: datetime) -> EligibilityView:
    payment, zone = snapshot.payment, terms.policy.zone
    verdict = outlook.assessment.verdict if outlook.assessment else None
    refusal: str | None = None
    steps: tuple[str, ...] = ()
    if outlook.refused is not None:
        refusal = slug_of(outlook.refused)
        steps = _steps(refusal, snapshot)
    elif isinstance(verdict, Denied):
        refusal, steps = verdict.refusal.value, verdict.next_steps
    else:
        steps = (NextStep.request_cancellation,)
    allowed = refusal is None
    sources = [source for source, _ in outlook.allocation]
    return EligibilityView(
        allowed=allowed,
        route=verdict.route if isinstance(verdict, Allowed) else None,
        rule=verdict.rule if verdict else None,
        policy_version=payment.policy_version,
        window=verdict.window if verdict else None,
        amount_refundable=payment.amount_refundable,
        allocation=outlook.allocation,
        forfeited=outlook.forfeited,
        eta=estimate(sources, now, terms.calendar, zone) if sources and not outlook.is_void else None,
        refusal=refusal,
        by_reason=outlook.by_reason,
        message=eligibility_message(outlook, payment, refusal=refusal, spoken=call.language, zone=zone),
        next_steps=next_steps(steps, call.language),
    )


def _steps(slug: str, snapshot: Snapshot) -> tuple[str, ...]:
    """What can be done instead, where the payment itself allows no request: only what is possible now."""
    payment, open_one = snapshot.payment, snapshot.open_cancellation
    match slug:
        case "cancellation-open" if open_one is not None and CANCELLATION.may(open_one.state, CancellationTrigger.withdraw):
            return NextStep.wait, NextStep.withdraw
        case "cancellation-open":
            return (NextStep.wait,)
        case "amount-exceeds-refundable":
            return (NextStep.request_cancellation if payment.amount_refundable else NextStep.contact_support,)
        case "invalid-state" if payment.state is PaymentState.refunding:
            return (NextStep.wait,)
        case _:
            return _STEPS.get(slug, ())


_DAY = timedelta(days=1)
_ASK = frozenset({ActorRole.wallet, ActorRole.agent, ActorRole.supervisor, ActorRole.merchant})
_LINE = Channel.hotline
_STEPS: dict[str, tuple[str, ...]] = {
    "partial-not-supported": (NextStep.modifications,),
    "payment-disputed": (NextStep.wait, NextStep.contact_support),
    "wallet-frozen": (NextStep.contact_support,),
}
