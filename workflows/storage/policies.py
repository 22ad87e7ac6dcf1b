"""Published policies: read once and kept in memory, since none of them ever changes; and how a new version is published."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from workflows.domain.changes import Context
from workflows.domain.enums import ActorRole, Channel, RecordType
from workflows.domain.model import Actor, IdempotentResponse
from workflows.domain.policy import Policy
from workflows.domain.policy_form import parse_policy, policy_data
from workflows.domain.ports import NewId
from workflows.domain.records import GENESIS, Record, RecordDraft, chain_id, digest_text, seal
from workflows.domain.times import rfc3339
from workflows.storage.apply import Applied, ApplyResult, insert
from workflows.storage.mapping import POLICY, RECORD, REPLY, KeptReply, PublishedPolicy
from workflows.storage.snapshot import REPLY_COLUMNS, kept_reply, policy_in_force

SERVICE_CHAIN = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A version of the policy, with when and by whom it was published."""

    policy: Policy
    published_at: datetime
    published_by: str


class Policies:
    """The published policies by version, each read from the database at most once."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._known: dict[str, Published] = {}

    async def get(self, version: str) -> Published | None:
        known = self._known.get(version)
        if known is None:
            row = await self._pool.fetchrow("select document, published_at, published_by from policy where version = $1", version)
            if row is None:
                return None
            policy = parse_policy(json.loads(row["document"]))
            known = Published(policy=policy, published_at=row["published_at"], published_by=row["published_by"])
            self._known[version] = known
        return known

    async def in_force(self, now: datetime) -> Published | None:
        """The version by which payments that are authorised now are decided; None in a database without any."""
        version = await self._pool.fetchval(_IN_FORCE, now)
        return None if version is None else await self.get(version)

    async def page(self, limit: int, before: int | None = None) -> list[tuple[int, Published]]:
        """The newest, or those published before that one, each with its number."""
        rows = await self._pool.fetch(
            "select version, ordinal from policy where $2::int is null or ordinal < $2 order by ordinal desc limit $1", limit, before
        )
        found = [(row["ordinal"], await self.get(row["version"])) for row in rows]
        return [(ordinal, published) for ordinal, published in found if published is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationQuery:
    """What to look up before a version is published; `scope_id`, `caller` and `key`: where its reply would be kept."""

    version: str
    scope_id: UUID | None = None
    caller: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationState:
    """What a publication is decided upon. `existing`: what has that version already; `last_at`: when the chain was last written."""

    ordinal: int  # of the latest version; 0: there is none
    sequence: int  # of the chain's last record
    head: str
    last_at: datetime | None
    existing: Published | None
    reply: IdempotentResponse | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPublication:
    """What one statement writes: the version, its record, and the reply to keep."""

    policy: PublishedPolicy
    record: Record
    reply: KeptReply | None = None


async def load_for_publication(connection: Any, wanted: PublicationQuery) -> PublicationState:
    """One statement, one snapshot. `connection`: `Connections`, or asyncpg's connection or pool."""
    row = await connection.fetchrow(_LOAD, chain_id(SERVICE_CHAIN), wanted.version, wanted.scope_id, wanted.caller, wanted.key)
    existing = None
    if row["document"] is not None:
        policy = parse_policy(json.loads(row["document"]))
        existing = Published(policy=policy, published_at=row["published_at"], published_by=row["published_by"])
    return PublicationState(
        ordinal=row["ordinal"],
        sequence=row["sequence"] or 0,
        head=row["hash"].hex() if row["hash"] else GENESIS,
        last_at=row["occurred_at"],
        existing=existing,
        reply=kept_reply(row),
    )


def publication(policy: Policy, after: PublicationState, *, context: Context, reply: KeptReply | None = None) -> PolicyPublication:
    """The next version and the next record of the service's chain."""
    document = policy_data(policy)
    draft = RecordDraft(
        type=RecordType.policy_published,
        occurred_at=context.now,
        actor=context.actor,
        from_state=None,
        to_state=None,
        amount=None,
        currency=None,
        data={
            "policy_version": policy.version,
            "effective_from": rfc3339(policy.effective_from),
            "document_digest": digest_text(document, b""),
        },
        request_id=context.request_id,
    )
    record = seal(draft, id=context.new_id(), chain=SERVICE_CHAIN, payment_id=None, sequence=after.sequence + 1, previous_hash=after.head)
    row = PublishedPolicy(
        version=policy.version,
        ordinal=after.ordinal + 1,
        effective_from=policy.effective_from,
        document=document,
        published_at=context.now,
        published_by=context.actor.id,
    )
    return PolicyPublication(policy=row, record=record, reply=reply)


async def publish(connection: Any, made: PolicyPublication) -> ApplyResult:
    """Conflict where another version, or another record of the chain, was faster: nothing was written."""
    replies = [] if made.reply is None else [made.reply]
    return await insert(connection, (POLICY, [made.policy]), (RECORD, [made.record]), (REPLY, replies))


async def publish_first(connection: Any, policy: Policy, *, now: datetime, new_id: NewId) -> bool:
    """Publish the policy that a new database starts with; False where one is published already. `connection`: asyncpg's.

    Of two that start at once, the one who comes second finds the chain's next place taken, and then the policy.
    """
    actor = Actor(role=ActorRole.system, id="refundry", channel=Channel.system)
    context = Context(actor=actor, now=now, new_id=new_id, new_salt=lambda: b"", request_id=None)
    query = PublicationQuery(version=policy.version)
    while not await connection.fetchval("select exists (select 1 from policy)"):
        found = await load_for_publication(connection, query)
        if not found.ordinal and await publish(connection, publication(policy, found, context=context)) is Applied:
            return True
    return False


_IN_FORCE = f"select {policy_in_force('$1')}"
_LOAD = f"""
    select (select coalesce(max(ordinal), 0) from policy) as ordinal,
           head.sequence, head.hash, head.occurred_at,
           p.document, p.published_at, p.published_by,
           {REPLY_COLUMNS}
      from (select 1) as one
      left join lateral (
           select sequence, hash, occurred_at from record where chain_id = $1 order by sequence desc limit 1) head on true
      left join policy p on p.version = $2
      left join kept_reply k on k.scope_id = $3 and k.caller = $4 and k.key = $5"""
