"""Publish a version of the policy: with its record and the reply to keep, in one statement."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from workflows.commands import Decision, Idempotency, Replied, Runner, Runtime, Write, execute, kept_reply
from workflows.domain.errors import Invalid
from workflows.domain.faults import FaultCode
from workflows.domain.ids import scope_id
from workflows.domain.model import Actor, IdempotentResponse
from workflows.domain.policy import Policy
from workflows.storage.mapping import KeptReply, ResponseToKeep
from workflows.storage.policies import PublicationQuery, PublicationState, Published, publication


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPolicy:
    """A version to publish, for a caller. `path`: the collection's, under which its reply is kept."""

    policy: Policy
    path: str
    actor: Actor
    request_id: str
    idempotency: Idempotency
    reply: Callable[[Published, bool], IdempotentResponse]  # True: published now; False: it was there already


async def publish(runner: Runner, command: PublishPolicy) -> Replied:
    """The reply to an operator's new version, of this run or kept. Raises Invalid where the version is published with another content,
    IdempotencyKeyReused, IdempotencyInFlight, Unavailable.
    """
    scope, idempotency, store = scope_id(command.path), command.idempotency, runner.runtime.store
    query = PublicationQuery(version=command.policy.version, scope_id=scope, caller=idempotency.caller, key=idempotency.key)

    async def once() -> Replied:
        return await execute(
            store, lambda: store.load_for_publication(query), lambda found: _publish(runner.runtime, command, scope, found)
        )

    return await runner.in_turn(scope, once, idempotency)


def _publish(runtime: Runtime, command: PublishPolicy, scope: UUID, found: PublicationState) -> Decision[Replied]:
    idempotency = command.idempotency
    if (kept := kept_reply(found.reply, idempotency)) is not None:
        return Decision(kept)
    context = runtime.context(command.actor, command.request_id, after=found.last_at)
    fresh = Published(policy=command.policy, published_at=context.now, published_by=command.actor.id)
    published = found.existing or fresh
    if published.policy != command.policy:
        raise Invalid("/version", FaultCode.policy_version_taken)
    reply = command.reply(published, published is fresh)
    keep = ResponseToKeep(caller=idempotency.caller, key=idempotency.key, reply=reply, at=context.now)
    if published is not fresh:
        return Decision(Replied(reply), Write(keep=keep, scope_id=scope))
    made = publication(command.policy, found, context=context, reply=KeptReply(scope, keep))
    return Decision(Replied(reply), Write(publication=made))
