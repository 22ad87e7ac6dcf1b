"""run(command): load, decide, apply, and again where somebody else was faster: how a caller's step is carried out.

A command holds no transaction and no lock in the database while it thinks. Two commands for one payment in the same process wait
for each other here, which only saves them a lost race; between processes the payment's version decides.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from workflows.domain.changes import Change, Context
from workflows.domain.decisions import payments
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.errors import (
    IdempotencyInFlight,
    IdempotencyKeyReused,
    NotFound,
    Refused,
    Unavailable,
)
from workflows.domain.ids import payment_id
from workflows.domain.model import Actor, IdempotentResponse, Payment, Snapshot
from workflows.domain.ports import Calendar, Clock, NewId
from workflows.storage.apply import Applied, ResponseToKeep
from workflows.storage.snapshot import SnapshotQuery
from workflows.storage.store import Store

SECONDS_MAX = 5.0  # a command that has not come through by then is given up, and may be repeated under its key
ATTEMPTS_MAX = 50
_JITTER_MICROSECONDS = 20_000

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
        published = await self.store.policies.get(payment.policy_version)
        if published is None:
            raise Unavailable
        return PolicyContext(policy=published.policy, calendar=self.calendar(published.policy.calendar))


class Runner:
    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._queues = _Queues()

    async def run(self, command: Command) -> Replied:
        """The reply to a command: of this run, or the one that was kept. Raises what the command's functions raise, and
        NotFound, IdempotencyKeyReused, IdempotencyInFlight, Unavailable.
        """
        try:
            async with asyncio.timeout(self.runtime.command_seconds_max), self._queues.turn(command.query.payment_id):
                for attempt in range(ATTEMPTS_MAX):
                    try:
                        if (replied := await self._once(command)) is not None:
                            return replied
                    except TRANSIENT:
                        if attempt >= _TRANSIENT_ATTEMPTS:
                            raise Unavailable from None
                    await pause(attempt)
        except TimeoutError:
            # It may have come through all the same: only the same key again can tell.
            raise (IdempotencyInFlight if command.idempotency else Unavailable)() from None
        raise Unavailable

    async def register(self, terms: payments.PaymentDetails, *, actor: Actor, request_id: str | None) -> Registered:
        """The payment of that reference, made now or found. Raises PaymentReferenceConflict, Invalid, Unavailable."""
        try:
            async with asyncio.timeout(self.runtime.command_seconds_max):
                for attempt in range(ATTEMPTS_MAX):
                    try:
                        if (registered := await self._register(terms, self.runtime.context(actor, request_id))) is not None:
                            return registered
                    except TRANSIENT:
                        if attempt >= _TRANSIENT_ATTEMPTS:
                            raise Unavailable from None
                    await pause(attempt)
        except TimeoutError:
            raise Unavailable from None
        raise Unavailable

    async def _register(self, terms: payments.PaymentDetails, context: Context) -> Registered | None:
        """One round; None where somebody else was faster."""
        runtime = self.runtime
        id_ = payment_id(terms.reference)
        policy_version, found = await runtime.store.load_for_registration(id_, terms.authorised(context.now))
        if found is not None:
            payments.check_same(found, terms)
            return Registered(snapshot=found, new=False)
        if policy_version is None:
            raise Unavailable
        change = payments.register(
            terms,
            policy_version=policy_version,
            uetr=UUID(bytes=context.new_salt(), version=4),
            default_provider=runtime.default_provider,
            context=context,
        )
        if await runtime.store.apply(change) is not Applied:
            return None
        return Registered(snapshot=change.after(None), new=True)

    async def _once(self, command: Command) -> Replied | None:
        """One round; None where somebody else was faster."""
        runtime, idempotency = self.runtime, command.idempotency
        snapshot = await runtime.store.load(command.query)
        if snapshot is None or not command.visible(snapshot):
            raise NotFound
        if idempotency is not None and snapshot.reply is not None:
            if snapshot.reply.fingerprint != idempotency.fingerprint:
                raise IdempotencyKeyReused
            return Replied(snapshot.reply, replayed=True)
        command.version(snapshot)
        terms = await runtime.terms(snapshot.payment)
        context = runtime.context(command.actor(), command.request_id, snapshot.payment)
        try:
            change = command.decide(snapshot, terms, context)
        except Refused as refusal:
            reply = command.refuse(refusal, snapshot, terms)
            return await self._kept(command, snapshot, reply, context)
        if change is None:
            return await self._kept(command, snapshot, command.reply(snapshot, terms, None), context)
        after = change.after(snapshot)
        reply = command.reply(after, terms, change) if change.refusal is None else command.refuse(change.refusal, after, terms)
        keep = _keep(command, reply, context)
        if await runtime.store.apply(change, keep=keep) is not Applied:
            return None
        for cancellation in change.cancellations:
            runtime.store.remember(cancellation.id, change.payment.id)
        return Replied(reply)

    async def _kept(self, command: Command, snapshot: Snapshot, reply: IdempotentResponse, context: Context) -> Replied | None:
        """Keep the reply to a command that changed nothing; None where another reply was kept under its key meanwhile."""
        keep = _keep(command, reply, context)
        if keep is not None and not await self.runtime.store.keep_response(snapshot.payment.id, keep):
            return None
        return Replied(reply)


def _keep(command: Command, reply: IdempotentResponse, context: Context) -> ResponseToKeep | None:
    idempotency = command.idempotency
    return None if idempotency is None else ResponseToKeep(caller=idempotency.caller, key=idempotency.key, reply=reply, at=context.now)


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
