"""Resolve an anomaly that belongs to no payment: a step, its record on the service's chain, and the reply to keep, in one statement."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from workflows.commands import Decision, Idempotency, Replied, Runner, Runtime, Write, execute, kept_reply
from workflows.domain.anomaly_steps import NOTE, next_step, note_value, with_step
from workflows.domain.changes import Context
from workflows.domain.decisions.anomalies import Resolution, check, step_data, step_type
from workflows.domain.errors import NotFound, Refused
from workflows.domain.ids import scope_id
from workflows.domain.model import Actor, Anomaly, IdempotentResponse, PersonalText
from workflows.domain.records import digest_text
from workflows.storage.anomalies import AnomalyQuery, AnomalyResolutionState, FoundAnomaly
from workflows.storage.mapping import ANOMALY_STEP, TEXT, KeptReply, ResponseToKeep
from workflows.storage.service_chain import ServiceChange, service_record


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveAnomaly:
    """What a caller decided about an anomaly without a payment. `path`: the collection's, under which the reply is kept."""

    anomaly_id: UUID
    resolution: Resolution
    path: str
    actor: Actor
    request_id: str
    idempotency: Idempotency
    version: Callable[[Anomaly], None]  # If-Match
    reply: Callable[[FoundAnomaly], IdempotentResponse]
    refuse: Callable[[Exception, Anomaly], IdempotentResponse]


async def resolve_without_payment(runner: Runner, command: ResolveAnomaly) -> Replied:
    """The reply of this run or kept. Raises NotFound, IdempotencyKeyReused, IdempotencyInFlight, Unavailable, and what `version` raises."""
    scope, idempotency, store = scope_id(command.path), command.idempotency, runner.runtime.store
    query = AnomalyQuery(id=command.anomaly_id, scope_id=scope, caller=idempotency.caller, key=idempotency.key)

    async def once() -> Replied:
        return await execute(
            store, lambda: store.load_for_resolution(query), lambda loaded: _resolve(runner.runtime, command, scope, loaded)
        )

    return await runner.in_turn(command.anomaly_id, once, idempotency)


def _resolve(runtime: Runtime, command: ResolveAnomaly, scope: UUID, loaded: AnomalyResolutionState) -> Decision[Replied]:
    if loaded.found is None:
        raise NotFound
    if (kept := kept_reply(loaded.reply, command.idempotency)) is not None:
        return Decision(kept)
    found = loaded.found
    command.version(found.anomaly)
    context = runtime.context(command.actor, command.request_id, after=loaded.head.at)
    try:
        check(None, found.anomaly, command.resolution.action, context.actor)
    except Refused as refusal:
        reply = command.refuse(refusal, found.anomaly)
        return Decision(Replied(reply), Write(keep=_keep(command, reply, context), scope_id=scope))
    return _taken(command, scope, loaded, found, context)


def _taken(
    command: ResolveAnomaly, scope: UUID, loaded: AnomalyResolutionState, found: FoundAnomaly, context: Context
) -> Decision[Replied]:
    step = next_step(found.anomaly, command.resolution.action, context.actor, context.now, closes=True)
    text = PersonalText(
        id=context.new_id(),
        payment_id=found.anomaly.scope_id,
        subject_id=found.anomaly.id,
        name=NOTE,
        value=note_value(step, command.resolution.note),
        salt=context.new_salt(),
    )
    data = step_data(found.anomaly, step) | {f"{NOTE}_digest": digest_text(text.value, text.salt)}
    after = FoundAnomaly(
        anomaly=with_step(found.anomaly, step), texts=(*found.texts, text), cancellation_id=found.cancellation_id, late=found.late
    )
    reply = command.reply(after)
    change = ServiceChange(
        rows=((ANOMALY_STEP, step), (TEXT, text)),
        record=service_record(step_type(step), data, after=loaded.head, context=context),
        reply=KeptReply(scope, _keep(command, reply, context)),
    )
    return Decision(Replied(reply), Write(service=change))


def _keep(command: ResolveAnomaly, reply: IdempotentResponse, context: Context) -> ResponseToKeep:
    return ResponseToKeep(caller=command.idempotency.caller, key=command.idempotency.key, reply=reply, at=context.now)
