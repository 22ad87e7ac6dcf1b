"""A caller's step: run in the promised order of checks, answered with its reply, which is kept under the caller's key."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from pydantic import BaseModel
from starlette.responses import Response

from service.api.context import RequestContext
from service.api.conversion import cancellation_request, customer_channel
from service.api.handlers import instance
from service.api.models.base import to_json
from service.api.models.cancellations import RequestCancellation
from service.api.problems import Listener, problem_for
from service.api.reading import JSON_TYPE
from service.api.render import cancellation_out, payment_actions, payment_out
from service.api.types import CustomerChannel
from workflows.commands import Command, Idempotency, Replied
from workflows.domain import ids
from workflows.domain.agent_limits import DAY
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import permitted, requests
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import ASKS_FOR_OTHERS, ActorRole, Channel
from workflows.domain.errors import InvalidState, VersionMismatch
from workflows.domain.model import Actor, Cancellation, IdempotentResponse, Snapshot
from workflows.flows.assign_next import AssignNext, assign_next
from workflows.storage.agent_requests import AgentRequestsQuery
from workflows.storage.snapshot import SnapshotQuery

DecidePayment = Callable[..., Change | None]  # (snapshot, *, terms, context)
DecideCancellation = Callable[..., Change]  # (snapshot, cancellation, *, terms, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A reply to be kept: the resource as it then is."""

    answer: BaseModel
    version: int
    status: int = 200
    location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """What is particular to one command."""

    query: SnapshotQuery
    decide: Callable[[Snapshot, PolicyContext, Context], Change | None]
    render: Callable[[Snapshot, PolicyContext, Change | None], Rendered]
    version: Callable[[Snapshot], int]  # of the resource that If-Match speaks of
    actions: Callable[[Snapshot, PolicyContext], tuple[str, ...]]  # what the state allows instead, where it does not allow this
    channel: Channel | None = None
    agent_requests: AgentRequestsQuery | None = None
    repeated: Callable[[Snapshot], bool] = lambda _: False  # known by the caller's own name: no version is asked for then


async def change_payment(context: RequestContext, payment_id: UUID, decide: DecidePayment) -> Response:
    """A step of the payment itself, answered with the payment as it then is."""
    return await run(
        context,
        StepSpec(
            query=SnapshotQuery(payment_id=payment_id, shown=True),
            decide=lambda snapshot, policy, change_context: decide(snapshot, terms=policy, context=change_context),
            render=lambda snapshot, policy, _: Rendered(answer=payment_out(snapshot, policy, context), version=snapshot.payment.version),
            version=lambda snapshot: snapshot.payment.version,
            actions=lambda snapshot, _: payment_actions(snapshot),
        ),
    )


async def change_cancellation(
    context: RequestContext, cancellation_id: UUID, decide: DecideCancellation, *, channel: CustomerChannel | None = None
) -> Response:
    """A step on a cancellation, answered with the cancellation as it then is. `channel`: where the customer spoke."""

    spoken = customer_channel(channel)

    def find(snapshot: Snapshot) -> Cancellation:
        return requests.must_find(snapshot, snapshot.cancellation(cancellation_id))

    def decide_there(snapshot: Snapshot, policy: PolicyContext, change_context: Context) -> Change:
        if spoken is not None:
            requests.actor_channel(change_context.actor.role, spoken)
        return decide(snapshot, find(snapshot), terms=policy, context=change_context)

    def render(snapshot: Snapshot, policy: PolicyContext, _: Change | None) -> Rendered:
        found = find(snapshot)
        return Rendered(answer=cancellation_out(snapshot, found, policy, context), version=found.version)

    payment_id = await context.payment_of_cancellation(cancellation_id)
    step = StepSpec(
        query=SnapshotQuery(payment_id=payment_id, cancellation_id=cancellation_id, shown=True),
        decide=decide_there,
        render=render,
        version=lambda snapshot: find(snapshot).version,
        actions=lambda snapshot, policy: permitted.actions(snapshot, find(snapshot), policy, context.actor(), context.now()),
        channel=spoken,
    )
    return await run(context, step)


async def run_cancellation_request(context: RequestContext, payment_id: UUID, body: RequestCancellation) -> Response:
    """A request for cancellation: 201 with the new one, or 200 with the one that has this `client_reference`."""
    role, channel = ActorRole(context.principal.role.value), customer_channel(body.channel)
    since = context.now() - DAY

    def requested() -> requests.CancellationRequest:
        actor = Actor(role=role, id=context.principal.sub, channel=requests.actor_channel(role, channel))
        return cancellation_request(body, actor)

    def decide(snapshot: Snapshot, policy: PolicyContext, change_context: Context) -> Change | None:
        wish = requested()
        known = requests.find_repeated(snapshot, wish)
        if known is None:
            return requests.request(snapshot, wish, policy, change_context)
        if known.refusal is not None:
            raise requests.refusal_of(known)
        return None

    def render(snapshot: Snapshot, policy: PolicyContext, change: Change | None) -> Rendered:
        found = requests.must_find(snapshot, change.cancellations[0] if change else requests.find_repeated(snapshot, requested()))
        return Rendered(
            answer=cancellation_out(snapshot, found, policy, context),
            version=found.version,
            status=201 if change else 200,
            location=f"/v1/cancellations/{ids.public('can', found.id)}",
        )

    step = StepSpec(
        query=SnapshotQuery(
            payment_id=payment_id,
            client_reference=body.client_reference,
            requests_since=since,
            shown=body.client_reference is not None,  # one that was asked for before is shown with its texts
        ),
        decide=decide,
        render=render,
        version=lambda snapshot: snapshot.payment.version,
        actions=lambda snapshot, _: payment_actions(snapshot),
        channel=channel,
        agent_requests=AgentRequestsQuery(sub=context.principal.sub, since=since) if role in ASKS_FOR_OTHERS else None,
        repeated=lambda snapshot: requests.is_repeated(snapshot, body.client_reference),
    )
    return await run(context, step)


async def take_next_case(context: RequestContext, path: str) -> Response:
    """The most urgent case that nobody has, now the caller's: 200, or 204 where there is none. `path`: the collection's."""

    def reply(snapshot: Snapshot, policy: PolicyContext, taken: Cancellation) -> IdempotentResponse:
        return reply_of(context, Rendered(answer=cancellation_out(snapshot, taken, policy, context), version=taken.version))

    command = AssignNext(
        path=path,
        actor=context.actor(),
        request_id=context.trace_id,
        idempotency=Idempotency(context.principal.sub, context.key or "", context.fingerprint),
        reply=reply,
        nothing=lambda: IdempotentResponse(fingerprint=context.fingerprint, status=204, body=b""),
    )
    return response_of(await assign_next(context.services.runner, command))


async def run(context: RequestContext, step: StepSpec) -> Response:
    """The reply of this run, or the one that was kept."""
    caller, key = context.principal.sub, context.key

    def reply(snapshot: Snapshot, policy: PolicyContext, change: Change | None) -> IdempotentResponse:
        return reply_of(context, step.render(snapshot, policy, change))

    def refuse(error: Exception, before: Snapshot, policy: PolicyContext) -> IdempotentResponse:
        if isinstance(error, InvalidState):
            error.available_actions = step.actions(before, policy)
        return _refusal(context, error, before, policy)

    def check_version_of(snapshot: Snapshot) -> None:
        if not step.repeated(snapshot):
            check_version(context, step.version(snapshot))

    replied = await context.services.runner.run(
        Command(
            query=replace(step.query, caller=caller, key=key),
            actor=lambda: context.actor(step.channel),
            request_id=context.trace_id,
            visible=context.owns,
            version=check_version_of,
            decide=step.decide,
            reply=reply,
            refuse=refuse,
            idempotency=None if key is None else Idempotency(caller, key, context.fingerprint),
            agent_requests=step.agent_requests,
        )
    )
    return response_of(replied)


def reply_of(context: RequestContext, rendered: Rendered) -> IdempotentResponse:
    """The reply to keep, in the caller's language."""
    headers = {"content-type": JSON_TYPE, "content-language": context.language.value, "etag": etag(rendered.version)}
    if rendered.location is not None:
        headers["location"] = rendered.location
    return IdempotentResponse(fingerprint=context.fingerprint, status=rendered.status, body=to_json(rendered.answer), headers=headers)


def check_version(context: RequestContext, current: int) -> None:
    """Raises VersionMismatch where the caller looked at another version."""
    if context.if_match is not None and current not in context.if_match:
        raise VersionMismatch(current)


def etag(version: int) -> str:
    return f'"{version}"'


def _refusal(context: RequestContext, error: Exception, before: Snapshot, policy: PolicyContext) -> IdempotentResponse:
    return refusal_of(
        context,
        error,
        Listener(language=context.language, zone=policy.policy.zone, available=context.available, merchant=before.merchant),
    )


def refusal_of(context: RequestContext, error: Exception, listener: Listener) -> IdempotentResponse:
    """The problem that a refusal of the domain is, to be kept. Raises the error again where it is none."""
    told = problem_for(error, listener, instance=instance(context), trace_id=context.trace_id)
    if told is None:
        raise error
    return IdempotentResponse(fingerprint=context.fingerprint, status=told.status, body=told.body, headers=told.headers)


def response_of(replied: Replied) -> Response:
    """The reply over HTTP, marked where it is an earlier one again."""
    reply = replied.reply
    headers = {**reply.headers, "idempotent-replayed": "true"} if replied.replayed else reply.headers
    return Response(reply.body, reply.status, headers)
