"""What belongs to no payment is written with its record and its reply, or not at all."""

from typing import Any

from tests.factories import NOW, WALLET, new_id
from workflows.domain.changes import Context
from workflows.domain.model import IdempotentResponse, MerchantContact
from workflows.domain.record_types import RecordType
from workflows.domain.records import GENESIS
from workflows.storage.apply import Applied, Conflict
from workflows.storage.mapping import MERCHANT, KeptReply, MerchantVersion, ResponseToKeep
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

HEAD = f"select {HEAD_COLUMNS} from (select 1) as one {head_of('$1')}"  # noqa: S608 -- our own words


def version(merchant_id: str) -> MerchantVersion:
    return MerchantVersion(
        merchant_id=merchant_id,
        version=1,
        name="Shop",
        contact=MerchantContact(),
        webhook=None,
        rules=[],
        auto_accept_up_to={},
        changed_at=NOW,
        changed_by="olga",
    )


def change(merchant_id: str, after: ChainHead) -> ServiceChange:
    context = Context(actor=WALLET, now=NOW, new_id=new_id, new_salt=lambda: b"", request_id="r-1")
    record = service_record(RecordType.merchant_changed, {"merchant_id": merchant_id}, after=after, context=context)
    reply = IdempotentResponse(fingerprint="f", status=200, body=b"{}")
    keep = KeptReply(new_id(), ResponseToKeep(caller="c", key=merchant_id, reply=reply, at=NOW))
    return ServiceChange(rows=((MERCHANT, version(merchant_id)),), record=record, reply=keep)


async def head(pool: Any) -> ChainHead:
    return chain_head(await pool.fetchrow(HEAD, SERVICE_CHAIN_ID))


async def test_before_the_first_record_a_chain_begins_with_zeros(pool: Any) -> None:
    assert chain_head(await pool.fetchrow(HEAD, new_id())) == ChainHead(sequence=0, hash=GENESIS, at=None)


async def test_each_change_is_the_next_link(pool: Any) -> None:
    before = await head(pool)
    first = change("m-1", before)
    assert await write(pool, first) is Applied
    after = await head(pool)

    assert (after.sequence, after.hash, after.at) == (before.sequence + 1, first.record.hash, NOW)
    assert first.record.previous_hash == before.hash
    assert await write(pool, change("m-2", after)) is Applied
    assert await pool.fetchval("select array_agg(key order by key) from kept_reply") == ["m-1", "m-2"]


async def test_who_comes_second_leaves_neither_a_row_nor_a_record_nor_a_reply(pool: Any) -> None:
    before = await head(pool)
    await write(pool, change("m-1", before))
    after = await head(pool)

    assert await write(pool, change("m-2", before)) is Conflict, "another record took the place in the chain"
    assert await write(pool, change("m-1", after)) is Conflict, "another row has that number"

    assert await head(pool) == after
    assert await pool.fetchval("select array_agg(merchant_id) from merchant") == ["m-1"]
    assert await pool.fetchval("select array_agg(key) from kept_reply") == ["m-1"]
