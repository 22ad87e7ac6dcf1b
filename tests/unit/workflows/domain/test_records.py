"""Sealing records into a chain."""

import json
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from msgspec.structs import replace

from tests.factories import NOW, chain, draft
from workflows.domain import ids
from workflows.domain.model import DataValue
from workflows.domain.records import GENESIS, chain_id, digest_text, hash_of, seal

RECORD_ID = UUID("018f0000-0000-7000-8000-000000000001")
PAYMENT_ID = ids.payment_id("order-1")


def test_a_record_says_all_of_it_in_canonical_form() -> None:
    record = seal(draft(), id=RECORD_ID, chain=ids.public("pay", PAYMENT_ID), payment_id=PAYMENT_ID, sequence=1, previous_hash=GENESIS)

    said: dict[str, Any] = {
        "id": "rec_018f0000000070008000000000000001",
        "chain": f"pay_{PAYMENT_ID.hex}",
        "payment_id": f"pay_{PAYMENT_ID.hex}",
        "sequence": 1,
        "type": "refund.succeeded",
        "occurred_at": "2026-11-22T09:00:00.000000Z",
        "actor": {"role": "system", "id": "worker", "channel": "system"},
        "from_state": "refunding",
        "to_state": "refunding",
        "amount": 1000,
        "currency": "CNY",
        "data": {"reason": "ž ✓ 退款"},
        "request_id": None,
        "previous_hash": GENESIS,
    }
    assert json.loads(record.body) == said
    assert record.body.encode() == rfc8785.dumps(said)
    assert record.hash == sha256(b"\x00" + rfc8785.dumps(said)).hexdigest()


def test_a_chain_without_payment() -> None:
    record = seal(draft(), id=RECORD_ID, chain="wallet:w-1", payment_id=None, sequence=1, previous_hash=GENESIS)
    said = json.loads(record.body)
    assert (said["chain"], said["payment_id"]) == ("wallet:w-1", None)


def test_each_record_names_the_one_before_it() -> None:
    one, two, three = chain("a", 3)
    assert (one.previous_hash, two.previous_hash, three.previous_hash) == (GENESIS, one.hash, two.hash)
    assert [record.sequence for record in (one, two, three)] == [1, 2, 3]
    assert hash_of(three.body.encode()) == three.hash


@pytest.mark.parametrize(
    "data",
    [{"amount": 1.0}, {"n": 2**53}, {"é": "key"}, {"text": "\ud800"}, {"at": NOW}, {"id": PAYMENT_ID}],
    ids=["float", "big", "key", "surrogate", "moment", "uuid"],
)
def test_data_that_has_no_canonical_form_is_refused(data: dict[str, DataValue]) -> None:
    with pytest.raises(ValueError, match=r"."):
        seal(draft(data=data), id=RECORD_ID, chain="service", payment_id=None, sequence=1, previous_hash=GENESIS)


def test_an_amount_that_is_no_integer_is_refused() -> None:
    wrong = replace(draft(), amount=10.0)
    with pytest.raises(ValueError, match="float"):
        seal(wrong, id=RECORD_ID, chain="service", payment_id=None, sequence=1, previous_hash=GENESIS)


def test_a_chain_is_kept_under_its_payments_id_or_one_of_its_own() -> None:
    assert chain_id(f"pay_{PAYMENT_ID.hex}") == PAYMENT_ID
    assert chain_id("wallet:w-1") == ids.scope_id("wallet:w-1") != chain_id("wallet:w-2")
    assert chain_id("pay_not-an-id") == ids.scope_id("pay_not-an-id")


def test_a_texts_digest_depends_on_salt_and_text() -> None:
    assert digest_text("夏", b"salt") == sha256(b'salt"\xe5\xa4\x8f"').hexdigest()
    assert digest_text({"b": 1, "a": 2}, b"") == digest_text({"a": 2, "b": 1}, b"")
    assert len({digest_text("a", b"1"), digest_text("a", b"2"), digest_text("b", b"1")}) == 3
