"""Records and exports for these tests, and a signer that needs no library."""

import hmac
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from workflows.domain import ids
from workflows.domain.enums import ActorRole, Channel
from workflows.domain.exports import ExportDigest, Scope, export_line, trailer_line
from workflows.domain.model import Actor, DataValue
from workflows.domain.record_types import RecordType
from workflows.domain.records import GENESIS, Record, RecordDraft, chain_id, seal
from workflows.domain.verifying import Verdict, verify_export

MORNING = datetime(2026, 11, 22, 9, tzinfo=UTC)
OURS = "refundry+00000001+b3Vycw=="
THEIRS = "refundry+00000002+dGhlaXJz"
_SECRETS = {OURS: b"ours", THEIRS: b"theirs"}


def sign(data: bytes, key: str = OURS) -> bytes:
    return hmac.digest(_SECRETS[key], data, "sha256") * 2  # as long as an Ed25519 signature


def check_signature(key: str, signature: bytes, data: bytes) -> bool:
    return key in _SECRETS and hmac.compare_digest(signature, sign(data, key))


def draft(occurred_at: datetime = MORNING, data: dict[str, DataValue] | None = None) -> RecordDraft:
    return RecordDraft(
        type=RecordType.refund_succeeded,
        occurred_at=occurred_at,
        actor=Actor(role=ActorRole.system, id="worker", channel=Channel.system),
        from_state="refunding",
        to_state="refunding",
        amount=1000,
        currency="CNY",
        data={"reason": "ž ✓ 退款"} if data is None else data,
        request_id=None,
    )


def chain(name: str, length: int, *, start: datetime = MORNING, step: timedelta = timedelta(minutes=1)) -> list[Record]:
    """`length` records of one payment, `step` apart."""
    payment = ids.payment_id(name)
    records: list[Record] = []
    for sequence in range(1, length + 1):
        records.append(
            seal(
                draft(start + (sequence - 1) * step),
                id=UUID(bytes=sha256(f"{name}/{sequence}".encode()).digest()[:16], version=4),
                chain=ids.public("pay", payment),
                payment_id=payment,
                sequence=sequence,
                previous_hash=records[-1].hash if records else GENESIS,
            )
        )
    return records


def in_order(records: Iterable[Record]) -> list[Record]:
    """By day, chain and sequence, as an export is."""
    return sorted(records, key=lambda record: (record.occurred_at.date(), chain_id(record.chain), record.sequence))


def lines_of(records: Iterable[Record]) -> list[bytes]:
    return [export_line(record.body.encode(), record.hash) for record in records]


def export(records: Sequence[Record], *, scope: Scope | None = None, key: str = OURS) -> list[bytes]:
    """The lines of an export of these records in this order, with a trailer that fits them."""
    digest = ExportDigest()
    lines = lines_of(records)
    for line, record in zip(lines, records, strict=True):
        digest.add(line, record.chain, record.sequence, record.hash)
    return [*lines, trailer_line(digest.totals(), scope=scope or Scope(), key=key, sign=lambda data: sign(data, key))]


def judge(lines: Iterable[bytes], trusted_key: str | None = None) -> Verdict:
    return verify_export(lines, check_signature=check_signature, trusted_key=trusted_key)
