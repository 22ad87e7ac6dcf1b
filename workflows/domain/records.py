"""Records: what happened, sealed into a chain in which no byte can change unseen."""

from datetime import datetime
from hashlib import sha256
from uuid import UUID

from msgspec import Struct

from workflows.domain import ids
from workflows.domain.canonical import canonical, canonical_unchecked, check
from workflows.domain.model import Actor, DataValue
from workflows.domain.record_types import RecordType
from workflows.domain.times import rfc3339

GENESIS = "0" * 64  # what the first record of a chain gives as the hash before it
LEAF = b"\x00"  # RFC 6962 puts it before every leaf, so that a record's hash is its leaf in the log


class RecordDraft(Struct, frozen=True, kw_only=True):
    """What a decision says happened. The states are the payment's; the amount is in minor units."""

    type: RecordType
    occurred_at: datetime
    actor: Actor
    from_state: str | None
    to_state: str | None
    amount: int | None
    currency: str | None
    data: dict[str, DataValue]
    request_id: str | None


class Record(Struct, frozen=True, kw_only=True):
    """One link of a chain. `body` is the canonical text of the record without `hash` and `log_index`: what was hashed."""

    id: UUID
    chain: str
    payment_id: UUID | None
    sequence: int
    type: RecordType
    occurred_at: datetime
    actor: Actor
    previous_hash: str
    hash: str
    body: str


def seal(draft: RecordDraft, *, id: UUID, chain: str, payment_id: UUID | None, sequence: int, previous_hash: str) -> Record:
    """The record of `draft` at its place in its chain; ValueError where it cannot be written in canonical form."""
    actor = draft.actor
    check((draft.data, draft.amount, sequence))
    body = canonical_unchecked(
        {
            "id": f"rec_{id.hex}",
            "chain": chain,
            "payment_id": None if payment_id is None else f"pay_{payment_id.hex}",
            "sequence": sequence,
            "type": draft.type,
            "occurred_at": rfc3339(draft.occurred_at),
            "actor": {"role": actor.role, "id": actor.id, "channel": actor.channel},
            "from_state": draft.from_state,
            "to_state": draft.to_state,
            "amount": draft.amount,
            "currency": draft.currency,
            "data": draft.data,
            "request_id": draft.request_id,
            "previous_hash": previous_hash,
        }
    )
    return Record(
        id=id,
        chain=chain,
        payment_id=payment_id,
        sequence=sequence,
        type=draft.type,
        occurred_at=draft.occurred_at,
        actor=actor,
        previous_hash=previous_hash,
        hash=hash_of(body),
        body=body.decode(),
    )


def hash_of(body: bytes) -> str:
    """The hash of a record, in hex, from its canonical bytes."""
    return sha256(LEAF + body).hexdigest()


def chain_id(chain: str) -> UUID:
    """The id under which a chain's records are kept and ordered: its payment's, or one made of its name."""
    return ids.parse("pay", chain) or ids.scope_id(chain)


def digest_text(value: DataValue, salt: bytes) -> str:
    """What a record holds instead of a personal text: hex SHA-256 of the salt and the text's canonical form."""
    return sha256(salt + canonical(value)).hexdigest()
