"""Commands: load, decide, apply, and again where somebody else was faster.

`execute` is the one loop by which anything changes: a caller's command, a registration, what a worker learnt, a deadline. It holds no
transaction and no lock in the database while it thinks: between processes the payment's version decides. Two commands of callers for
one payment in the same process wait for each other, which only saves them a lost race.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

import asyncpg
from msgspec.structs import replace

from workflows.domain.changes import Change, Context
from workflows.domain.decisions import payments
from workflows.domain.decisions.clocks import strike_overdue
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import ActorRole, Channel
from workflows.domain.errors import (
    IdempotencyInFlight,
    IdempotencyKeyReused,
    LeaseLost,
    NotFound,
    Refused,
    Unavailable,
)
from workflows.domain.ids import payment_id
from workflows.domain.model import Actor, IdempotentResponse, Payment, Snapshot
from workflows.domain.ports import Calendar, Clock, NewId
from workflows.storage.apply import Applied, ApplyResult, Conflict, Fence, Lost, NotificationMark
from workflows.storage.mapping import ResponseToKeep
from workflows.storage.snapshot import SnapshotQuery
from workflows.storage.store import Store

L = TypeVar("L")
R = TypeVar("R")

SECONDS_MAX = 5.0  # a command that has not come through by then is given up, and may be repeated under its key
ATTEMPTS_MAX = 50
_JITTER_MICROSECONDS = 20_000

SERVICE = Actor(role=ActorRole.system, id="service", channel=Channel.system)  # what it does by itself in the course of a request

# The database was away, or is going: nothing is lost by trying again, since every command is safe to repeat.
TRANSIENT = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection cut in the middle of a message
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
)


@dataclass(frozen=True, slots=True)
class Idempotency:
    caller: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One thing to do to one payment. The functions are pure; what they raise ends the command."""

    query: SnapshotQuery
    actor: Callable[[], Actor]
    request_id: str
    visible: Callable[[Snapshot], bool]  # False: for this caller there is no such payment
    version: Callable[[Snapshot], None]  # If-Match
    decide: Callable[[Snapshot, PolicyContext, Context], Change | None]  # None: nothing is to change
    reply: Callable[[Snapshot, PolicyContext, Change | None], IdempotentResponse]  # None: nothing changed
    refuse: Callable[[Exception, Snapshot, PolicyContext], IdempotentResponse]
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class Replied:
    reply: IdempotentResponse
    replayed: bool = False
    cancellations: tuple[UUID, ...] = ()  # that were changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    snapshot: Snapshot
    new: bool


def _database_time() -> None:
    """No moment of ours: the database's own clock counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What every command needs from outside."""

    store: Store
    clock: Clock
    new_id: NewId
    new_salt: Callable[[], bytes]
    calendar: Callable[[str], Calendar]
    default_provider: str = "sandbox"
    command_seconds_max: float = SECONDS_MAX
    monotonic: Callable[[], float] = time.monotonic  # seconds; what a lease has left is measured by it
    queue_clock: Callable[[], datetime | None] = _database_time  # when a job is due and a lease over; None: by the database's own clock

    def context(self, actor: Actor, request_id: str | None, after: Payment | None = None) -> Context:
        """One moment for the whole change: now, and never before the payment's last change, since clocks of machines differ."""
        now = self.clock() if after is None else max(self.clock(), after.updated_at)
        return Context(actor=actor, now=now, new_id=self.new_id, new_salt=self.new_salt, request_id=request_id)

    async def terms(self, payment: Payment) -> PolicyContext:
        """The policy that is pinned to the payment. Raises Unavailable where it is not there: none is ever decided without its own."""
        return given(await self.find_terms(payment))

    def struck(self, snapshot: Snapshot, terms: PolicyContext) -> Snapshot:
        """The snapshot as whoever acts now finds it: with the clocks struck whose time is over. Nothing is written."""
        change = strike_overdue(snapshot, terms, self.context(SERVICE, None, snapshot.payment))
        return snapshot if change is None else change.after(snapshot)

    async def find_terms(self, payment: Payment) -> PolicyContext | None:
        """As `terms`, but None where it is not there: not everything that is asked needs it."""
        published = await self.store.policies.get(payment.policy_version)
        return None if published is None else PolicyContext(policy=published.policy, calendar=self.calendar(published.policy.calendar))


def given(terms: PolicyContext | None) -> PolicyContext:
    if terms is None:
        raise Unavailable
    return terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What one statement writes: a change with the reply to keep; or either alone; or the fate of a job, with or without a change."""

    change: Change | None = None
    keep: ResponseToKeep | None = None
    scope_id: UUID | None = None  # the payment of a reply without a change
    fence: Fence | None = None
    mark: NotificationMark | None = None


@dataclass(frozen=True, slots=True)
class Decision(Generic[R]):
    """What a command comes to, once `write` is written; None: nothing is to be written."""

    result: R
    write: Write | None = None


async def execute(
    store: Store,
    load: Callable[[], Awaitable[L]],
    decide: Callable[[L], Decision[R]],
    *,
    attempts: int = ATTEMPTS_MAX,
) -> R:
    """Load, decide, apply, until what was decided upon is still so when it is written.

    Raises what `load` and `decide` raise, LeaseLost where another worker has the job now, Unavailable where others are always faster.
    """
    for attempt in range(attempts):
        decision = decide(await load())
        if decision.write is None:
            return decision.result
        answer = await _write(store, decision.write)
        if answer is Applied:
            return decision.result
        if answer is Lost:
            raise LeaseLost
        await pause(attempt)
    raise Unavailable


async def _write(store: Store, write: Write) -> ApplyResult:
    if write.change is not None:
        return await store.apply(write.change, keep=write.keep, fence=write.fence, mark=write.mark)
    if write.fence is not None:
        return Applied if await store.finish_job(write.fence) else Lost
    if write.keep is not None and write.scope_id is not None:
        return Applied if await store.keep_response(write.scope_id, write.keep) else Conflict
    return Applied


class Runner:
    """Runs callers' commands: one after the other for each payment, within a time, and again after a fault that repeating can cure."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._queues = _Queues()

    async def run(self, command: Command) -> Replied:
        """The reply to a command: of this run, or the one that was kept. Raises what the command's functions raise, and
        NotFound, IdempotencyKeyReused, IdempotencyInFlight, Unavailable.
        """

        async def once() -> Replied:
            return await execute(self.runtime.store, load, lambda loaded: _decide(self.runtime, command, loaded))

        async def load() -> tuple[Snapshot, PolicyContext | None]:
            snapshot = await self.runtime.store.load(command.query)
            if snapshot is None or not command.visible(snapshot):
                raise NotFound
            return snapshot, await self.runtime.find_terms(snapshot.payment)

        try:
            async with asyncio.timeout(self.runtime.command_seconds_max), self._queues.turn(command.query.payment_id):
                replied = await _patiently(once)
        except TimeoutError:
            # It may have come through all the same: only the same key again can tell.
            raise (IdempotencyInFlight if command.idempotency else Unavailable)() from None
        for cancellation_id in replied.cancellations:
            self.runtime.store.remember(cancellation_id, command.query.payment_id)
        return replied

    async def register(self, terms: payments.PaymentDetails, *, actor: Actor, request_id: str | None) -> Registered:
        """The payment of that reference, made now or found. Raises PaymentReferenceConflict, Invalid, Unavailable."""
        runtime, id_ = self.runtime, payment_id(terms.reference)
        context = runtime.context(actor, request_id)

        async def once() -> Registered:
            return await execute(runtime.store, load, lambda loaded: _register(runtime, terms, loaded, context))

        async def load() -> tuple[str | None, Snapshot | None]:
            return await runtime.store.load_for_registration(id_, terms.authorised(context.now))

        try:
            async with asyncio.timeout(runtime.command_seconds_max):
                return await _patiently(once)
        except TimeoutError:
            raise Unavailable from None


def _decide(runtime: Runtime, command: Command, loaded: tuple[Snapshot, PolicyContext | None]) -> Decision[Replied]:
    snapshot, found = loaded
    idempotency = command.idempotency
    if idempotency is not None and snapshot.reply is not None:
        if snapshot.reply.fingerprint != idempotency.fingerprint:
            raise IdempotencyKeyReused
        return Decision(Replied(snapshot.reply, replayed=True))
    command.version(snapshot)
    terms = given(found)
    context = runtime.context(command.actor(), command.request_id, snapshot.payment)
    struck = strike_overdue(snapshot, terms, replace(context, actor=SERVICE))
    current = snapshot if struck is None else struck.after(snapshot)
    change = None
    try:
        change = command.decide(current, terms, context)
    except Refused as refusal:
        reply = command.refuse(refusal, current, terms)
    else:
        after = current if change is None else change.after(current)
        refused = None if change is None else change.refusal
        reply = command.reply(after, terms, change) if refused is None else command.refuse(refused, after, terms)
    if struck is not None:
        change = struck if change is None else struck.then(change)
    keep = None
    if idempotency is not None:
        keep = ResponseToKeep(caller=idempotency.caller, key=idempotency.key, reply=reply, at=context.now)
    made = () if change is None else tuple(cancellation.id for cancellation in change.cancellations)
    return Decision(Replied(reply, cancellations=made), Write(change=change, keep=keep, scope_id=snapshot.payment.id))


def _register(
    runtime: Runtime, terms: payments.PaymentDetails, loaded: tuple[str | None, Snapshot | None], context: Context
) -> Decision[Registered]:
    policy_version, found = loaded
    if found is not None:
        payments.check_same(found, terms)
        return Decision(Registered(snapshot=found, new=False))
    if policy_version is None:
        raise Unavailable
    change = payments.register(
        terms,
        policy_version=policy_version,
        uetr=UUID(bytes=context.new_salt(), version=4),
        default_provider=runtime.default_provider,
        context=context,
    )
    return Decision(Registered(snapshot=change.after(None), new=True), Write(change=change))


async def _patiently(once: Callable[[], Awaitable[R]]) -> R:
    """Again where the database was away for a moment: every command is safe to repeat."""
    for attempt in range(_TRANSIENT_ATTEMPTS):
        try:
            return await once()
        except TRANSIENT:
            await pause(attempt)
    try:
        return await once()
    except TRANSIENT:
        raise Unavailable from None


_TRANSIENT_ATTEMPTS = 4


async def pause(attempt: int) -> None:
    """A growing, uneven wait, so that those who lost a race do not meet again."""
    await asyncio.sleep(secrets.randbelow(_JITTER_MICROSECONDS) / 1e6 * min(attempt + 1, 10))


class _Queues:
    """One queue for each payment that this process is at work on."""

    def __init__(self) -> None:
        self._locks: dict[UUID, tuple[asyncio.Lock, list[int]]] = {}

    @asynccontextmanager
    async def turn(self, key: UUID) -> AsyncIterator[None]:
        lock, waiting = self._locks.setdefault(key, (asyncio.Lock(), [0]))
        waiting[0] += 1
        try:
            async with lock:
                yield
        finally:
            waiting[0] -= 1
            if not waiting[0]:
                self._locks.pop(key, None)
