"""Merchants: the versions of what is told of each, and how another one is added."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import convert

from workflows.domain.changes import Context
from workflows.domain.model import MerchantContact
from workflows.domain.policies.document import rules_data
from workflows.domain.policies.form import parse_rules
from workflows.domain.policies.merchants import Merchant, MerchantDetails, changed_members, parse_rules_version, terms_data
from workflows.domain.record_types import RecordType
from workflows.domain.records import digest_text
from workflows.storage.mapping import MERCHANT, MerchantVersion
from workflows.storage.service_chain import HEAD_COLUMNS, SERVICE_CHAIN_ID, ChainHead, ServiceChange, chain_head, head_of, service_record
from workflows.storage.snapshot import merchant_in_force

_REMEMBERED_MAX = 1_000


class Merchants:
    """What is told of merchants. A version never changes, so those that payments are pinned to are remembered."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._known: dict[str, Merchant] = {}

    async def get(self, rules_version: str) -> Merchant | None:
        """The version that payments are pinned to under this name."""
        known = self._known.get(rules_version)
        if known is None:
            known = await self.version(*parse_rules_version(rules_version))
            if known is not None:
                if len(self._known) >= _REMEMBERED_MAX:
                    self._known.clear()
                self._known[rules_version] = known
        return known

    async def version(self, merchant_id: str, version: int | None = None) -> Merchant | None:
        """That version, or the newest; None where there is none."""
        row = await self._pool.fetchrow(_VERSION, merchant_id, version)
        return None if row is None else _merchant(row)

    async def page(self, limit: int, after: str | None = None, only: str | None = None) -> list[Merchant]:
        """The newest version of each merchant, by its id, from after that one on; of one merchant, where `only` names it."""
        if only is None:
            return [_merchant(row) for row in await self._pool.fetch(_PAGE, after or "", limit)]
        found = await self.version(only)
        return [] if found is None or (after is not None and only <= after) else [found]

    async def in_force(self, merchant_id: str, moment: datetime) -> Merchant | None:
        """The version that a payment to it would be pinned to which is authorised then."""
        rules_version = await self._pool.fetchval(_IN_FORCE, merchant_id, moment)
        return None if rules_version is None else await self.get(rules_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantState:
    """What a change is decided upon. `newest`: None before the first."""

    newest: Merchant | None
    head: ChainHead


async def load(connection: Any, merchant_id: str) -> MerchantState:
    """One statement, one snapshot. `connection`: `Connections`, or asyncpg's connection or pool."""
    row = await connection.fetchrow(_LOAD, SERVICE_CHAIN_ID, merchant_id)
    newest = None if row["merchant_id"] is None else _merchant(row)
    return MerchantState(newest=newest, head=chain_head(row))


def merchant_change(
    merchant_id: str, details: MerchantDetails, after: MerchantState, *, context: Context
) -> tuple[Merchant, ServiceChange]:
    """The next version and the next record of the service's chain, which names what changed and holds a digest of the terms."""
    newest = after.newest
    made = Merchant(
        id=merchant_id,
        version=1 if newest is None else newest.version + 1,
        details=details,
        created_at=context.now if newest is None else newest.created_at,
        changed_at=context.now,
        changed_by=context.actor.id,
    )
    data = {
        "merchant_id": merchant_id,
        "merchant_rules_version": made.rules_version,
        "changed": list(changed_members(None if newest is None else newest.details, details)),
        "terms_digest": digest_text(terms_data(details), b""),
    }
    row = MerchantVersion(
        merchant_id=merchant_id,
        version=made.version,
        name=details.name,
        contact=details.contact,
        webhook=details.webhook,
        rules=rules_data(details.rules),
        auto_accept_up_to=dict(details.auto_accept_up_to),
        changed_at=made.changed_at,
        changed_by=made.changed_by,
    )
    record = service_record(RecordType.merchant_changed, data, after=after.head, context=context)
    return made, ServiceChange(rows=((MERCHANT, row),), record=record)


def _merchant(row: Any) -> Merchant:
    return Merchant(
        id=row["merchant_id"],
        version=row["version"],
        details=MerchantDetails(
            name=row["name"],
            contact=convert(json.loads(row["contact"]), MerchantContact),
            webhook=row["webhook"],
            rules=parse_rules(json.loads(row["rules"])),
            auto_accept_up_to=json.loads(row["auto_accept_up_to"]),
        ),
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        changed_by=row["changed_by"],
    )


_FIRST = "(select f.changed_at from merchant f where f.merchant_id = m.merchant_id and f.version = 1) as created_at"
_COLUMNS = ", ".join([*(f"m.{column}" for column in MERCHANT.columns), _FIRST])
_VERSION = f"""
    select {_COLUMNS} from merchant m
     where m.merchant_id = $1 and ($2::integer is null or m.version = $2) order by m.version desc limit 1"""
# From one merchant's last version to the next merchant's: an index lookup for each on the page, however many versions there are.
_PAGE = f"""
    with recursive page as (
        (select m.* from merchant m where m.merchant_id > $1 order by m.merchant_id, m.version desc limit 1)
        union all
        select next.* from page, lateral (
            select m.* from merchant m where m.merchant_id > page.merchant_id order by m.merchant_id, m.version desc limit 1) next
    )
    select {_COLUMNS} from page m limit $2"""
_IN_FORCE = f"select {merchant_in_force('$1', '$2')}"
_LOAD = f"""
    select {HEAD_COLUMNS}, {_COLUMNS}
      from (select 1) as one
      {head_of("$1")}
      left join lateral (select * from merchant where merchant_id = $2 order by version desc limit 1) m on true"""
