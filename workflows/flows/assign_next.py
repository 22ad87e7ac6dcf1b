"""The next case: the most urgent one that nobody has and this caller may decide is assigned to the caller.

Who is faster is decided by the payment's version, as for every change. Whoever comes second takes the case after it, and looks again
when all that he saw are taken; only a look that finds nothing ends without a case.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from workflows.commands import Beforehand, Decision, Idempotency, Replied, Runner, Runtime, Write, execute, kept_reply
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.reviews import assign, may_take
from workflows.domain.enums import ActorRole
from workflows.domain.errors import NotFound
from workflows.domain.ids import scope_id
from workflows.domain.model import Actor, Cancellation, IdempotentResponse, Snapshot
from workflows.storage.mapping import ResponseToKeep
from workflows.storage.next_cases import NextCasesQuery
from workflows.storage.snapshot import SnapshotQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignNext:
    """A caller who asks for a case. `path`: the collection's, under which the reply is kept."""

    path: str
    actor: Actor
    request_id: str
    idempotency: Idempotency
    reply: Callable[[Snapshot, PolicyContext, Cancellation], IdempotentResponse]
    nothing: Callable[[], IdempotentResponse]  # the reply where there is no case


async def assign_next(runner: Runner, command: AssignNext) -> Replied:
    """The reply with the case, or without one, of this run or kept. Raises IdempotencyKeyReused, IdempotencyInFlight, Unavailable."""
    scope = scope_id(command.path)

    async def once() -> Replied:
        return await _Search(runner.runtime, command, scope).run()

    # One after the other in this process: else all of them would try for the same case.
    return await runner.in_turn(scope, once, command.idempotency)


class _Search:
    """One search for a case. `without`: those that this caller may not take after all."""

    def __init__(self, runtime: Runtime, command: AssignNext, scope: UUID) -> None:
        self._runtime = runtime
        self._command = command
        self._scope = scope
        self._without: set[UUID] = set()

    async def run(self) -> Replied:
        idempotency, store = self._command.idempotency, self._runtime.store
        while True:
            found = await store.next_cases(self._query())
            if (kept := kept_reply(found.reply, idempotency)) is not None:
                return kept
            for payment_id, cancellation_id in found.cases:
                replied = await self._take(payment_id, cancellation_id)
                if replied is not None:
                    return replied
            if not found.cases:
                reply = self._command.nothing()
                if await store.keep_response(self._scope, self._keep(reply)):
                    return Replied(reply)

    def _query(self) -> NextCasesQuery:
        actor, idempotency = self._command.actor, self._command.idempotency
        return NextCasesQuery(
            sub=actor.id,
            is_supervisor=actor.role is ActorRole.supervisor,
            now=self._runtime.clock(),
            scope_id=self._scope,
            key=idempotency.key,
            without=self._without,
        )

    async def _take(self, payment_id: UUID, cancellation_id: UUID) -> Replied | None:
        """The reply, once the case is assigned; None where somebody else has it."""
        query = SnapshotQuery(
            payment_id=payment_id,
            cancellation_id=cancellation_id,
            caller=self._command.idempotency.caller,
            key=self._command.idempotency.key,
            scope_id=self._scope,
            shown=True,
        )

        async def load() -> tuple[Snapshot, PolicyContext | None]:
            snapshot = await self._runtime.store.load(query)
            if snapshot is None:
                raise NotFound
            return snapshot, await self._runtime.find_terms(snapshot.payment)

        return await execute(self._runtime.store, load, lambda loaded: self._decide(loaded, cancellation_id))

    def _decide(self, loaded: tuple[Snapshot, PolicyContext | None], cancellation_id: UUID) -> Decision[Replied | None] | Beforehand:
        """As a caller's command would, but what cannot be taken is passed over."""
        snapshot, terms = loaded
        kept = kept_reply(snapshot.reply, self._command.idempotency)
        if kept is not None:
            return Decision(kept)
        if terms is not None and (struck := self._runtime.strike(snapshot, terms, self._command.request_id)) is not None:
            return Beforehand(Write(change=struck))
        context = self._runtime.context(self._command.actor, self._command.request_id, snapshot.payment.updated_at)
        row = snapshot.cancellation(cancellation_id)
        if terms is None or row is None or not may_take(row, context.actor):
            if row is None or row.assigned_to is None:
                self._without.add(cancellation_id)
            return Decision(None)
        change = assign(snapshot, row, to=None, context=context)
        reply = self._command.reply(change.after(snapshot), terms, change.cancellations[0])
        write = Write(change=change, keep=self._keep(reply), scope_id=self._scope)
        return Decision(Replied(reply, cancellations=(cancellation_id,)), write)

    def _keep(self, reply: IdempotentResponse) -> ResponseToKeep:
        idempotency = self._command.idempotency
        return ResponseToKeep(caller=idempotency.caller, key=idempotency.key, reply=reply, at=self._runtime.clock())
