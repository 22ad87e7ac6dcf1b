"""Published policies: read once and kept in memory, since none of them ever changes; and how a new version is published."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from workflows.domain.changes import Context
from workflows.domain.enums import ActorRole, Channel
from workflows.domain.model import Actor, IdempotentResponse
from workflows.domain.policies.calendar import with_calendar
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.form import parse_policy
from workflows.domain.policies.policy import Policy
from workflows.domain.ports import Calendar, NewId
from workflows.domain.record_types import RecordType
from workflows.domain.records import digest_text
from workflows.domain.times import rfc3339
from workflows.storage.apply import Applied
from workflows.storage.mapping import POLICY, KeptReply, PublishedPolicy
from workflows.storage.service_chain import (
    HEAD_COLUMNS,
    SERVICE_CHAIN_ID,
    ChainHead,
    ServiceChange,
    chain_head,
    head_of,
    service_record,
    write,
)
from workflows.storage.snapshot import REPLY_COLUMNS, kept_reply, policy_in_force


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
    """What a publication is decided upon. `existing`: what has that version already."""

    ordinal: int  # of the latest version; 0: there is none
    head: ChainHead
    existing: Published | None
    reply: IdempotentResponse | None


async def load_for_publication(connection: Any, wanted: PublicationQuery) -> PublicationState:
    """One statement, one snapshot. `connection`: `Connections`, or asyncpg's connection or pool."""
    row = await connection.fetchrow(_LOAD, SERVICE_CHAIN_ID, wanted.version, wanted.scope_id, wanted.caller, wanted.key)
    existing = None
    if row["document"] is not None:
        policy = parse_policy(json.loads(row["document"]))
        existing = Published(policy=policy, published_at=row["published_at"], published_by=row["published_by"])
    return PublicationState(ordinal=row["ordinal"], head=chain_head(row), existing=existing, reply=kept_reply(row))


def publication(policy: Policy, after: PublicationState, *, context: Context, reply: KeptReply | None = None) -> ServiceChange:
    """The next version and the next record of the service's chain."""
    document = policy_data(policy)
    data = {
        "policy_version": policy.version,
        "effective_from": rfc3339(policy.effective_from),
        "document_digest": digest_text(document, b""),
    }
    row = PublishedPolicy(
        version=policy.version,
        ordinal=after.ordinal + 1,
        effective_from=policy.effective_from,
        document=document,
        published_at=context.now,
        published_by=context.actor.id,
    )
    record = service_record(RecordType.policy_published, data, after=after.head, context=context)
    return ServiceChange(rows=((POLICY, row),), record=record, reply=reply)


async def publish_first(connection: Any, policy: Policy, *, now: datetime, new_id: NewId, library: Callable[[str], Calendar]) -> bool:
    """Publish the policy that a new database starts with; False where one is published already. `connection`: asyncpg's.

    Of two that start at once, the one who comes second finds the chain's next place taken, and then the policy.
    """
    actor = Actor(role=ActorRole.system, id="refundry", channel=Channel.system)
    context = Context(actor=actor, now=now, new_id=new_id, new_salt=lambda: b"", request_id=None)
    query = PublicationQuery(version=policy.version)
    while not await connection.fetchval("select exists (select 1 from policy)"):
        dated = with_calendar(policy, library, now)
        found = await load_for_publication(connection, query)
        if not found.ordinal and await write(connection, publication(dated, found, context=context)) is Applied:
            return True
    return False


_IN_FORCE = f"select {policy_in_force('$1')}"
_LOAD = f"""
    select (select coalesce(max(ordinal), 0) from policy) as ordinal,
           {HEAD_COLUMNS},
           p.document, p.published_at, p.published_by,
           {REPLY_COLUMNS}
      from (select 1) as one
      {head_of("$1")}
      left join policy p on p.version = $2
      left join kept_reply k on k.scope_id = $3 and k.caller = $4 and k.key = $5"""
