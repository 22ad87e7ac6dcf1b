"""Commands: load, decide, apply, and again where somebody else was faster.

`execute` is the one loop by which anything changes: a caller's command, a registration, what a worker learnt, a deadline. It holds no
transaction and no lock in the database while it thinks: between processes the payment's version decides. Two commands of callers for
one payment in the same process wait for each other, which only saves them a lost race.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

import asyncpg
from msgspec.structs import replace

from workflows.domain.agent_limits import AgentRequests
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import payments
from workflows.domain.decisions.clocks import strike_overdue
from workflows.domain.decisions.policy_context import PolicyContext, context_for
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
from workflows.domain.policies.calendar import business_days
from workflows.domain.ports import Calendar, Clock, NewId
from workflows.storage.agent_requests import AgentRequestsQuery
from workflows.storage.apply import Applied, ApplyResult, Conflict, Fence, Lost, NotificationMark
from workflows.storage.mapping import ResponseToKeep
from workflows.storage.service_chain import ServiceChange
from workflows.storage.snapshot import Registration, SnapshotQuery
from workflows.storage.store import Store
from workflows.turns import Turns

L = TypeVar("L")
R = TypeVar("R")

SECONDS_MAX = 5.0  # a command that has not come through by then is given up, and may be repeated under its key
ATTEMPTS_MAX = 50
_JITTER_MICROSECONDS = 20_000
_TERMS_KEPT_MAX = 1_000
_LOCKED_ATTEMPTS_MAX = 3  # after them a worker leaves the job to its lease, and a caller is told to try again
_LOCKED_PAUSE_SECONDS = 0.5

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
    asyncpg.LockNotAvailableError,  # somebody holds a row for longer than a connection may wait
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
    agent_requests: AgentRequestsQuery | None = None  # asked only where the policy in force limits them


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

    kept_terms: dict[tuple[str, str | None], PolicyContext] = field(default_factory=dict)  # by the versions of policy and merchant

    def context(self, actor: Actor, request_id: str | None, after: datetime | None = None) -> Context:
        """One moment for the whole change: now, and never before the last change of the same thing, since clocks of machines differ."""
        now = self.clock() if after is None else max(self.clock(), after)
        return Context(actor=actor, now=now, new_id=self.new_id, new_salt=self.new_salt, request_id=request_id)

    async def terms(self, payment: Payment) -> PolicyContext:
        """The policy that is pinned to the payment. Raises Unavailable where it is not there: none is ever decided without its own."""
        return given(await self.find_terms(payment))

    def strike(self, snapshot: Snapshot, terms: PolicyContext, request_id: str | None = None) -> Change | None:
        """What the clocks come to whose time is over; None where there is none."""
        if all(cancellation.clock is None for cancellation in snapshot.cancellations):
            return None  # most requests find none, and a moment costs them something
        return strike_overdue(snapshot, terms, self.context(SERVICE, request_id, snapshot.payment.updated_at))

    def struck(self, snapshot: Snapshot, terms: PolicyContext) -> Snapshot:
        """The snapshot as whoever acts now will find it. Nothing is written."""
        while (change := self.strike(snapshot, terms)) is not None:  # what it leads to may be over, too
            snapshot = change.after(snapshot)
        return snapshot

    async def agent_requests(self, wanted: AgentRequestsQuery, payment: Payment) -> AgentRequests | None:
        """What one of ours asked for, with the limits in force; None where there are none, so that nothing has to be counted."""
        in_force = await self.store.policies.in_force(self.clock())
        limits = None if in_force is None else in_force.policy.agent_limits
        return None if limits is None else replace(await self.store.agent_requests(wanted, payment), limits=limits)

    async def find_terms(self, payment: Payment) -> PolicyContext | None:
        """As `terms`, but None where it is not there: not everything that is asked needs it."""
        return await self.pinned_terms(payment.policy_version, payment.merchant_rules_version)

    async def pinned_terms(self, policy_version: str, merchant_rules_version: str | None) -> PolicyContext | None:
        """The terms under these versions; None where one of them is not there."""
        known = self.kept_terms.get((policy_version, merchant_rules_version))
        if known is not None:
            return known
        published = await self.store.policies.get(policy_version)
        merchant = None if merchant_rules_version is None else await self.store.merchants.get(merchant_rules_version)
        if published is None or (merchant is None and merchant_rules_version is not None):
            return None
        found = context_for(published.policy, merchant, business_days(published.policy, self.calendar))
        if len(self.kept_terms) >= _TERMS_KEPT_MAX:
            self.kept_terms.clear()
        self.kept_terms[policy_version, merchant_rules_version] = found
        return found


def given(found: R | None) -> R:
    """Raises Unavailable where what has to be there is not: a policy, mostly."""
    if found is None:
        raise Unavailable
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What one statement writes: a change with the reply to keep; either alone; the fate of a job; what is no payment's, with its reply."""

    change: Change | None = None
    keep: ResponseToKeep | None = None
    scope_id: UUID | None = None  # the payment, or the collection, that the reply is kept under
    fence: Fence | None = None
    mark: NotificationMark | None = None
    service: ServiceChange | None = None


@dataclass(frozen=True, slots=True)
class Decision(Generic[R]):
    """What a command comes to, once `write` is written; None: nothing is to be written."""

    result: R
    write: Write | None = None


@dataclass(frozen=True, slots=True)
class Beforehand:
    """What has to be written before there is anything to decide. Then it is loaded again."""

    write: Write


async def execute(
    store: Store,
    load: Callable[[], Awaitable[L]],
    decide: Callable[[L], Decision[R] | Beforehand],
    *,
    attempts: int = ATTEMPTS_MAX,
) -> R:
    """Load, decide, apply, until what was decided upon is still so when it is written.

    Raises what `load` and `decide` raise, LeaseLost where another worker has the job now, Unavailable where others are always faster.
    """
    locked = 0
    for attempt in range(attempts):
        decision = decide(await load())
        try:
            answer = Applied if decision.write is None else await _write(store, decision.write)
        except asyncpg.LockNotAvailableError:
            if (locked := locked + 1) > _LOCKED_ATTEMPTS_MAX:
                raise
            await asyncio.sleep(_LOCKED_PAUSE_SECONDS * locked)  # without a connection, which others need meanwhile
            continue
        if answer is Lost:
            raise LeaseLost
        if answer is not Applied:
            await pause(attempt)
        elif isinstance(decision, Decision):
            return decision.result
    raise Unavailable


async def _write(store: Store, write: Write) -> ApplyResult:
    if write.service is not None:
        return await store.apply_service_change(write.service)
    if write.change is not None:
        return await store.apply(write.change, keep=write.keep, scope_id=write.scope_id, fence=write.fence, mark=write.mark)
    if write.fence is not None:
        return Applied if await store.finish_job(write.fence) else Lost
    if write.keep is not None and write.scope_id is not None:
        return Applied if await store.keep_response(write.scope_id, write.keep) else Conflict
    return Applied


class Runner:
    """Runs callers' commands: one after the other for each payment, within a time, and again after a fault that repeating can cure."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.turns = Turns()

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
            if command.agent_requests is not None:
                asked = await self.runtime.agent_requests(command.agent_requests, snapshot.payment)
                snapshot = replace(snapshot, agent_requests=asked)
            return snapshot, await self.runtime.find_terms(snapshot.payment)

        replied = await self.in_turn(command.query.payment_id, once, command.idempotency)
        for cancellation_id in replied.cancellations:
            self.runtime.store.remember(cancellation_id, command.query.payment_id)
        return replied

    async def in_turn(self, key: UUID, once: Callable[[], Awaitable[Replied]], idempotency: Idempotency | None) -> Replied:
        """What `once` comes to, run within the time of a command, when all others of this key in this process have had their turn."""
        name = None if idempotency is None else (idempotency.caller, idempotency.key)
        is_second = name is not None and self.turns.is_queued(key, name)
        try:
            async with asyncio.timeout(self.runtime.command_seconds_max), self.turns.turn(key, name):
                return await _patiently(once)
        except TimeoutError:
            # It may have come through all the same: only the same request again can tell.
            raise (IdempotencyInFlight if is_second else Unavailable)() from None

    async def register(self, terms: payments.PaymentDetails, *, actor: Actor, request_id: str | None) -> Registered:
        """The payment of that reference, made now or found. Raises PaymentReferenceConflict, Invalid, Unavailable."""
        runtime, id_ = self.runtime, payment_id(terms.reference)
        context = runtime.context(actor, request_id)

        async def once() -> Registered:
            return await execute(runtime.store, load, lambda loaded: _register(runtime, terms, loaded, context))

        async def load() -> Registration:
            return await runtime.store.load_for_registration(id_, terms.authorised(context.now), terms.merchant_id)

        try:
            async with asyncio.timeout(runtime.command_seconds_max):
                return await _patiently(once)
        except TimeoutError:
            raise Unavailable from None


def _decide(runtime: Runtime, command: Command, loaded: tuple[Snapshot, PolicyContext | None]) -> Decision[Replied] | Beforehand:
    """A clock whose time is over is struck first: the command is decided upon what that leaves, its version too."""
    snapshot, found = loaded
    idempotency = command.idempotency
    if (kept := kept_reply(snapshot.reply, idempotency)) is not None:
        return Decision(kept)
    if found is not None and (struck := runtime.strike(snapshot, found, command.request_id)) is not None:
        return Beforehand(Write(change=struck))
    command.version(snapshot)
    terms = given(found)
    context = runtime.context(command.actor(), command.request_id, snapshot.payment.updated_at)
    change = None
    try:
        change = command.decide(snapshot, terms, context)
    except Refused as refusal:
        reply = command.refuse(refusal, snapshot, terms)
    else:
        after = snapshot if change is None else change.after(snapshot)
        refused = None if change is None else change.refusal
        reply = command.reply(after, terms, change) if refused is None else command.refuse(refused, after, terms)
    keep = None
    if idempotency is not None:
        keep = ResponseToKeep(caller=idempotency.caller, key=idempotency.key, reply=reply, at=context.now)
    made = () if change is None else tuple(cancellation.id for cancellation in change.cancellations)
    return Decision(Replied(reply, cancellations=made), Write(change=change, keep=keep, scope_id=snapshot.payment.id))


def kept_reply(reply: IdempotentResponse | None, idempotency: Idempotency | None) -> Replied | None:
    """The reply that was given before, again; None where there is none."""
    if idempotency is None or reply is None:
        return None
    if reply.fingerprint != idempotency.fingerprint:
        raise IdempotencyKeyReused
    return Replied(reply, replayed=True)


def _register(runtime: Runtime, terms: payments.PaymentDetails, loaded: Registration, context: Context) -> Decision[Registered]:
    if loaded.found is not None:
        payments.check_same(loaded.found, terms)
        return Decision(Registered(snapshot=loaded.found, new=False))
    if loaded.policy_version is None:
        raise Unavailable
    change = payments.register(
        terms,
        policy_version=loaded.policy_version,
        merchant_rules_version=loaded.merchant_rules_version,
        uetr=UUID(bytes=context.new_salt(), version=4),
        default_provider=runtime.default_provider,
        context=context,
    )
    return Decision(Registered(snapshot=replace(change.after(None), merchant=loaded.merchant), new=True), Write(change=change))


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
