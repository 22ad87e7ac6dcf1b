"""Changes of what belongs to no payment: rows, their record on the service's own chain, and the reply to keep, in one statement."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workflows.domain.changes import Context
from workflows.domain.model import DataValue
from workflows.domain.record_types import RecordType
from workflows.domain.records import GENESIS, Record, RecordDraft, chain_id, seal
from workflows.storage.apply import ApplyResult, insert
from workflows.storage.mapping import RECORD, REPLY, KeptReply, TableMapping

SERVICE_CHAIN = "service"
SERVICE_CHAIN_ID = chain_id(SERVICE_CHAIN)

HEAD_COLUMNS = "head.sequence, head.hash, head.occurred_at"


def head_of(parameter: str) -> str:
    """SQL, to be joined: the last record of the chain whose id is that parameter, or nulls."""
    return f"""left join lateral (
           select sequence, hash, occurred_at from record where chain_id = {parameter} order by sequence desc limit 1) head on true"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """The chain's last record; `at`: None before the first."""

    sequence: int
    hash: str
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """What one statement writes: rows, each with its table, their record, and the reply to keep."""

    rows: tuple[tuple[TableMapping[Any], Any], ...]
    record: Record
    reply: KeptReply | None = None


def chain_head(row: Any) -> ChainHead:
    """Of a row with `HEAD_COLUMNS`."""
    return ChainHead(sequence=row["sequence"] or 0, hash=row["hash"].hex() if row["hash"] else GENESIS, at=row["occurred_at"])


def service_record(type_: RecordType, data: dict[str, DataValue], *, after: ChainHead, context: Context) -> Record:
    """The next record of the service's chain."""
    draft = RecordDraft(
        type=type_,
        occurred_at=context.now,
        actor=context.actor,
        from_state=None,
        to_state=None,
        amount=None,
        currency=None,
        data=data,
        request_id=context.request_id,
    )
    return seal(draft, id=context.new_id(), chain=SERVICE_CHAIN, payment_id=None, sequence=after.sequence + 1, previous_hash=after.hash)


async def write(connection: Any, change: ServiceChange) -> ApplyResult:
    """Conflict where another row of that number, or another record of the chain, was faster: nothing was written."""
    replies = [] if change.reply is None else [change.reply]
    rows = [(table, [row]) for table, row in change.rows]
    return await insert(connection, *rows, (RECORD, [change.record]), (REPLY, replies))
