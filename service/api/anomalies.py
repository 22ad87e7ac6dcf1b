"""Anomalies: words of a rail that no transition allows, listed, read, and resolved by people."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from msgspec.structs import replace
from starlette.responses import Response

from service.api.anomaly_messages import anomaly_message
from service.api.commands import Rendered, StepSpec, check_version, etag, refusal_of, reply_of, response_of, run
from service.api.context import ForStaff, RequestContext, ReviewersStep
from service.api.models.anomalies import AnomalyOut, AnomalyStepOut, ListAnomalies, ResolveAnomalyBody
from service.api.models.base import AnomalyId, Page
from service.api.pagination import After, encode, place
from service.api.problem_responses import problems
from service.api.problems import Listener
from service.api.responses import CHANGED, VERSIONED, links
from service.api.routing import ApiRoute, action
from workflows.commands import Idempotency
from workflows.domain.anomaly_steps import NOTE
from workflows.domain.changes import Change, Context
from workflows.domain.decisions.anomalies import Resolution, actions, resolve
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import AnomalyAction
from workflows.domain.errors import InvalidState, NotFound
from workflows.domain.model import Anomaly, IdempotentResponse, PersonalText, Snapshot
from workflows.flows.resolve_anomaly import ResolveAnomaly, resolve_without_payment
from workflows.storage import anomalies
from workflows.storage.anomalies import FoundAnomaly
from workflows.storage.list_filters import AnomalyFilter
from workflows.storage.snapshot import SnapshotQuery

PATH = "/v1/anomalies"

router = APIRouter(prefix=PATH, tags=["anomalies"], route_class=ApiRoute)

_ID = {"anomaly_id": "$response.body#/id"}
_FIRST = {"anomaly_id": "$response.body#/data/0/id"}


@router.get(
    "",
    summary="List anomalies",
    openapi_extra=links(200, get_anomaly=_FIRST, resolve_anomaly=_FIRST),
)
async def list_anomalies(context: ForStaff, query: Annotated[ListAnomalies, Query()]) -> Page[AnomalyOut]:
    """Words of a rail, or of the wallet, that no transition allows, newest first. They are kept and change nothing by themselves.

    `state=open` is what nobody has seen to yet, `state=awaiting_second_approval` what a supervisor must confirm. One word makes one
    anomaly, however often it comes. Words that belong to no payment are listed too, without a `payment_id`.
    """
    wanted = AnomalyFilter(**query.filters())
    found = await anomalies.page(context.services.reads, wanted, place(query.cursor), query.limit + 1)
    shown = found[: query.limit]
    more = encode("anomalies", After(shown[-1].at, shown[-1].id)) if len(found) > query.limit else None
    return Page(data=await _shown(context, [one.id for one in shown]), next_cursor=more)


@router.get(
    "/{anomaly_id}",
    summary="Get an anomaly",
    responses=VERSIONED,
    openapi_extra=links(200, get_payment={"payment_id": "$response.body#/payment_id"}, resolve_anomaly=_ID),
)
async def get_anomaly(context: ForStaff, anomaly_id: AnomalyId, response: Response) -> AnomalyOut:
    """What was said, what people did about it, and what can be done now; `message` says it in the language asked for."""
    shown = await _shown(context, [anomaly_id])
    if not shown:
        raise NotFound
    response.headers["etag"] = etag(shown[0].version)
    return shown[0]


@router.post(
    "/{anomaly_id}/resolve",
    response_model=AnomalyOut,
    summary="Resolve an anomaly",
    responses={**CHANGED, **problems("invalid-state", "second-approver-required")},
    openapi_extra=action(*AnomalyAction) | links(200, get_anomaly=_ID, resolve_anomaly=_ID),
)
async def resolve_anomaly(context: ReviewersStep, anomaly_id: AnomalyId, body: ResolveAnomalyBody) -> Response:
    """What a person decided; the note and who decided are on record, and the anomaly stays resolved whatever is said again.

    `note`: it was looked into, and nothing moves. It also drops a refund that was proposed.

    `adopt`: a leg that had failed was paid after all, and now counts as paid; its refund, cancellation and payment follow. Only for
    `paid_after_failure`, while the leg is `failed` and nothing that replaced it was paid or still may be. Where the refund was closed
    meanwhile, what the leg paid is taken from what is refundable: 409 `invalid-state` where that no longer suffices.

    `refund`: what was captured late goes back to where it came from. The first person proposes it (`awaiting_second_approval`); another
    person, a supervisor, calls again and confirms it, else 403 `second-approver-required`. One refund pays back all late captures of the
    payment that are not resolved yet, and resolves them all. Only for `captured_late`, while the payment is `cancelled` or `failed`.

    What is not possible is 409 `invalid-state` with the anomaly's `state` and what is possible instead.
    """
    return await _resolve(context, anomaly_id, Resolution(action=body.action, note=body.note))


async def _shown(context: RequestContext, ids: list[UUID]) -> list[AnomalyOut]:
    found = await context.store.load_anomalies(ids)
    payments = {one.anomaly.payment_id for one in found if one.anomaly.payment_id is not None}
    cancellations = {one.cancellation_id for one in found if one.cancellation_id is not None}
    snapshots = await context.store.load_many(list(payments), list(cancellations)) if payments else {}
    return [_found_out(context, one, None if (id_ := one.anomaly.payment_id) is None else snapshots.get(id_)) for one in found]


def _found_out(context: RequestContext, found: FoundAnomaly, snapshot: Snapshot | None) -> AnomalyOut:
    known = None if snapshot is None else replace(snapshot, anomalies=found.late)
    return _out(context, found.anomaly, found.texts, known)


def _out(context: RequestContext, anomaly: Anomaly, texts: tuple[PersonalText, ...], snapshot: Snapshot | None) -> AnomalyOut:
    notes = {text.value["number"]: text.value["note"] for text in texts if text.subject_id == anomaly.id and text.name == NOTE}
    return AnomalyOut.of(
        anomaly,
        version=_version(anomaly),
        said=anomaly.data.get("said"),
        data={name: value for name, value in anomaly.data.items() if name != "said"},
        message=anomaly_message(snapshot, anomaly, context.language),
        steps=[AnomalyStepOut.of(step, note=notes.get(step.number)) for step in anomaly.steps],
        updated_at=anomaly.steps[-1].at if anomaly.steps else anomaly.created_at,
        available_actions=context.available(actions(snapshot, anomaly, context.actor())),
    )


def _version(anomaly: Anomaly) -> int:
    return len(anomaly.steps) + 1


def _rendered(answer: AnomalyOut) -> Rendered:
    return Rendered(answer=answer, version=answer.version)


async def _resolve(context: RequestContext, anomaly_id: UUID, resolution: Resolution) -> Response:
    known = (await context.anomaly(anomaly_id)).anomaly
    if known.payment_id is None:
        return await _resolve_without_payment(context, anomaly_id, resolution)

    def find(snapshot: Snapshot) -> Anomaly:
        found = next((one for one in snapshot.anomalies if one.id == anomaly_id), None)
        if found is None:
            raise NotFound
        return found

    def decide(snapshot: Snapshot, terms: PolicyContext, change_context: Context) -> Change:
        rules = context.successor_rules()
        return resolve(snapshot, find(snapshot), resolution, terms=terms, successors=rules, context=change_context)

    step = StepSpec(
        query=SnapshotQuery(payment_id=known.payment_id, leg_id=known.leg_id, shown=True),
        decide=decide,
        render=lambda snapshot, *_: _rendered(_out(context, find(snapshot), snapshot.texts, snapshot)),
        version=lambda snapshot: _version(find(snapshot)),
        actions=lambda snapshot, _: actions(snapshot, find(snapshot), context.actor()),
    )
    return await run(context, step)


async def _resolve_without_payment(context: RequestContext, anomaly_id: UUID, resolution: Resolution) -> Response:
    def refuse(error: Exception, anomaly: Anomaly) -> IdempotentResponse:
        if isinstance(error, InvalidState):
            error.available_actions = actions(None, anomaly, context.actor())
        return refusal_of(context, error, Listener(language=context.language, available=context.available))

    command = ResolveAnomaly(
        anomaly_id=anomaly_id,
        resolution=resolution,
        path=PATH,
        actor=context.actor(),
        request_id=context.trace_id,
        idempotency=Idempotency(context.principal.sub, context.key or "", context.fingerprint),
        version=lambda anomaly: check_version(context, _version(anomaly)),
        reply=lambda found: reply_of(context, _rendered(_found_out(context, found, None))),
        refuse=refuse,
    )
    return response_of(await resolve_without_payment(context.services.runner, command))
