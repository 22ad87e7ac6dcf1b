"""Publish a version of the policy: with its record and the reply to keep, in one statement."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from workflows.commands import Decision, Idempotency, Replied, Runner, Runtime, Write, execute, kept_reply
from workflows.domain.errors import PolicyVersionConflict
from workflows.domain.ids import scope_id
from workflows.domain.model import Actor, IdempotentResponse
from workflows.domain.policies.calendar import same_calendar, with_calendar
from workflows.domain.policies.policy import Policy
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
    """The reply to an operator's new version, of this run or kept.

    Raises PolicyVersionConflict, IdempotencyKeyReused, IdempotencyInFlight, Unavailable.
    """
    scope, idempotency, store = scope_id(command.path), command.idempotency, runner.runtime.store
    # The library's first look at a country's holidays takes some tenths of a second, which nobody else should wait for.
    policy = await asyncio.to_thread(with_calendar, command.policy, runner.runtime.calendar, runner.runtime.clock())
    query = PublicationQuery(version=command.policy.version, scope_id=scope, caller=idempotency.caller, key=idempotency.key)

    async def once() -> Replied:
        return await execute(
            store, lambda: store.load_for_publication(query), lambda found: _publish(runner.runtime, command, policy, scope, found)
        )

    return await runner.in_turn(scope, once, idempotency)


def _publish(runtime: Runtime, command: PublishPolicy, policy: Policy, scope: UUID, found: PublicationState) -> Decision[Replied]:
    idempotency = command.idempotency
    if (kept := kept_reply(found.reply, idempotency)) is not None:
        return Decision(kept)
    context = runtime.context(command.actor, command.request_id, after=found.head.at)
    fresh = Published(policy=policy, published_at=context.now, published_by=command.actor.id)
    published = found.existing or fresh
    if published.policy not in (policy, same_calendar(command.policy, published.policy)):
        raise PolicyVersionConflict
    reply = command.reply(published, published is fresh)
    keep = ResponseToKeep(caller=idempotency.caller, key=idempotency.key, reply=reply, at=context.now)
    if published is not fresh:
        return Decision(Replied(reply), Write(keep=keep, scope_id=scope))
    made = publication(policy, found, context=context, reply=KeptReply(scope, keep))
    return Decision(Replied(reply), Write(service=made))
