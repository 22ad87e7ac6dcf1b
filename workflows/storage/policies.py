"""Published policies: read once, then kept in memory, since none of them ever changes."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workflows.domain.enums import ActorRole, Channel, RecordType
from workflows.domain.model import Actor
from workflows.domain.policy import Policy
from workflows.domain.policy_form import parse_policy, policy_data
from workflows.domain.ports import NewId
from workflows.domain.records import GENESIS, RecordDraft, chain_id, digest_text, seal
from workflows.domain.times import rfc3339
from workflows.storage.apply import Applied, insert
from workflows.storage.mapping import POLICY, RECORD, PublishedPolicy

SERVICE_CHAIN = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
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

    async def versions(self) -> list[str]:
        """Newest first."""
        return [row["version"] for row in await self._pool.fetch("select version from policy order by ordinal desc")]


async def publish_first(connection: Any, policy: Policy, *, now: datetime, new_id: NewId) -> bool:
    """Publish the policy that a new database starts with; False where one is published already. `connection`: asyncpg's.

    Of two that start at once, the one who comes second finds the chain's next place taken, and then the policy.
    """
    actor = Actor(role=ActorRole.system, id="refundry", channel=Channel.system)
    document = policy_data(policy)
    while not await connection.fetchval("select exists (select 1 from policy)"):
        head = await connection.fetchrow(
            "select sequence, hash from record where chain_id = $1 order by sequence desc limit 1", chain_id(SERVICE_CHAIN)
        )
        draft = RecordDraft(
            type=RecordType.policy_published,
            occurred_at=now,
            actor=actor,
            from_state=None,
            to_state=None,
            amount=None,
            currency=None,
            data={
                "policy_version": policy.version,
                "effective_from": rfc3339(policy.effective_from),
                "document_digest": digest_text(document, b""),
            },
            request_id=None,
        )
        record = seal(
            draft,
            id=new_id(),
            chain=SERVICE_CHAIN,
            payment_id=None,
            sequence=head["sequence"] + 1 if head else 1,
            previous_hash=head["hash"].hex() if head else GENESIS,
        )
        published = PublishedPolicy(
            version=policy.version,
            ordinal=1,
            effective_from=policy.effective_from,
            document=document,
            published_at=now,
            published_by=actor.id,
        )
        if await insert(connection, (POLICY, [published]), (RECORD, [record])) is Applied:
            return True
    return False
