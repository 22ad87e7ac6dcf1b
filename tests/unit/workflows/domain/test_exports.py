"""The export's form."""

import csv
import io
import json
from base64 import b64decode
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

import pytest

from tests.factories import NOW, OURS, chain, export, sign
from workflows.domain.canonical import canonical
from workflows.domain.enums import ActorRole, Channel
from workflows.domain.exports import CSV_COLUMNS, ExportDigest, Scope, csv_header, csv_line
from workflows.domain.model import Actor
from workflows.domain.record_types import RecordType
from workflows.domain.records import GENESIS, RecordDraft, seal

RECORDS = chain("a", 2)


def test_a_line_is_the_record_with_its_hash_last() -> None:
    line, *_ = export(RECORDS)
    assert line == (RECORDS[0].body[:-1] + f',"hash":"{RECORDS[0].hash}"}}\n').encode()
    assert json.loads(line) == json.loads(RECORDS[0].body) | {"hash": RECORDS[0].hash}


def test_the_trailer_names_and_signs_the_totals() -> None:
    scope = Scope(start=NOW, end=NOW + timedelta(days=1), merchant_id="m-1")
    *lines, last = export(RECORDS, scope=scope)

    value = json.loads(last)
    one, two = RECORDS
    assert value["trailer"] == {
        "version": 1,
        "from": "2026-11-22T09:00:00.000000Z",
        "to": "2026-11-23T09:00:00.000000Z",
        "merchant_id": "m-1",
        "count": 2,
        "digest": sha256(b"".join(lines)).hexdigest(),
        "runs": 1,
        "chains_digest": sha256(canonical([one.chain, 1, one.hash, 2, two.hash]) + b"\n").hexdigest(),
        "key": OURS,
    }
    assert b64decode(value["signature"]) == sign(b"refundry-export-v1\n" + canonical(value["trailer"]))
    assert last == canonical(value) + b"\n"


def test_a_chain_that_comes_back_is_another_run() -> None:
    digest = ExportDigest()
    for line, name in [(b"1", "a"), (b"2", "a"), (b"3", "b"), (b"4", "a")]:
        digest.add(line, name, int(line), "h")
    totals = digest.totals()
    assert (totals.count, totals.runs) == (4, 3)
    assert totals.chains_digest == sha256(b'["a",1,"h",2,"h"]\n["b",3,"h",3,"h"]\n["a",4,"h",4,"h"]\n').hexdigest()
    assert digest.totals() == totals


def test_an_empty_export_has_totals_too() -> None:
    nothing = sha256().hexdigest()
    totals = ExportDigest().totals()
    assert (totals.count, totals.digest, totals.runs, totals.chains_digest) == (0, nothing, 0, nothing)


def test_csv_says_the_same() -> None:
    record = RECORDS[1]
    header, row = csv.reader(io.StringIO(csv_header() + csv_line(record.body, record.hash), newline=""), strict=True)
    said = dict(zip(header, row, strict=True))

    assert header == list(CSV_COLUMNS)
    assert said == {
        "id": f"rec_{record.id.hex}",
        "chain": record.chain,
        "payment_id": record.chain,
        "sequence": "2",
        "type": "refund.succeeded",
        "occurred_at": "2026-11-22T09:01:00.000000Z",
        "actor_role": "system",
        "actor_id": "worker",
        "actor_channel": "system",
        "from_state": "refunding",
        "to_state": "refunding",
        "amount": "1000",
        "currency": "CNY",
        "data": '{"reason":"ž ✓ 退款"}',
        "request_id": "",
        "previous_hash": record.previous_hash,
        "hash": record.hash,
    }


@pytest.mark.parametrize(
    ("actor", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@sum", "'@sum"),
        ("\tx", "\\u0009x"),
        ("a;=1+1", "a\\u003b=1+1"),
        (";=1+1", "\\u003b=1+1"),
        ("\rx", "'\rx"),
        ("a=1", "a=1"),
        ("'x", "'x"),
        ('say "a, b"\r\nc', 'say "a, b"\r\nc'),
        ("", ""),
    ],
)
def test_a_cell_is_never_a_formula(actor: str, cell: str) -> None:
    draft = RecordDraft(
        type=RecordType.payment_anomaly,
        occurred_at=NOW,
        actor=Actor(role=ActorRole.agent, id=actor, channel=Channel.hotline),
        from_state=None,
        to_state=None,
        amount=-5,
        currency=None,
        data={},
        request_id=None,
    )
    record = seal(draft, id=UUID(int=1), chain="service", payment_id=None, sequence=1, previous_hash=GENESIS)

    (row,) = csv.reader(io.StringIO(csv_line(record.body, record.hash), newline=""), strict=True)
    assert row[CSV_COLUMNS.index("actor_id")] == cell
    assert row[CSV_COLUMNS.index("amount")] == "-5"  # a number is no text, and stays one
    assert csv_line(record.body, record.hash).endswith("\r\n")
