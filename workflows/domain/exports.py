"""The form of an export of records: one line a record, and a signed trailer that makes a cut or changed stream visible.

A line is the record's canonical body with its hash appended as the last member. Lines are ordered by UTC day, then by the chain's
id, then by sequence. The trailer's digests can be made in constant memory, by the one who writes and by the one who checks.
"""

import csv
import io
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from workflows.domain.canonical import canonical, canonical_unchecked
from workflows.domain.times import parse_rfc3339, rfc3339

Sign = Callable[[bytes], bytes]

VERSION = 1
SIGNED_PREFIX = b"refundry-export-v1\n"  # so that a signature made for something else never fits an export
CSV_COLUMNS = (
    "id",
    "chain",
    "payment_id",
    "sequence",
    "type",
    "occurred_at",
    "actor_role",
    "actor_id",
    "actor_channel",
    "from_state",
    "to_state",
    "amount",
    "currency",
    "data",
    "request_id",
    "previous_hash",
    "hash",
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\r")  # a spreadsheet would calculate, or skip to, what follows


class Scope(Struct, frozen=True, kw_only=True):
    """What was asked for: records from `start` until before `end`, of one merchant or of all. None means without that limit."""

    start: datetime | None = None
    end: datetime | None = None
    merchant_id: str | None = None


class Totals(Struct, frozen=True, kw_only=True):
    """What a trailer says of the lines before it. A run is an unbroken row of lines of one chain."""

    count: int
    digest: str  # hex SHA-256 over every line's bytes
    runs: int
    chains_digest: str  # hex SHA-256 over each run's chain, first sequence and hash, last sequence and hash


class Trailer(Struct, frozen=True, kw_only=True):
    """A trailer as read; `key` is the C2SP verifier key of whoever claims to have signed it."""

    scope: Scope
    totals: Totals
    key: str
    signature: bytes
    signed: bytes


class ExportDigest:
    """Totals of the lines seen so far, in constant memory."""

    __slots__ = ("_chain", "_chains", "_first", "_last", "_lines", "count", "runs")

    def __init__(self) -> None:
        self.count = 0
        self.runs = 0
        self._lines = sha256()
        self._chains = sha256()
        self._chain: bytes | None = None
        self._first = self._last = (b"", b"")  # sequence and hash

    def add(self, line: bytes, chain: str, sequence: int, record_hash: str) -> None:
        """Take in one line, its newline included."""
        self.add_lines(line, [chain.encode()], [b"%d" % sequence], [record_hash.encode()])

    def add_lines(self, lines: bytes, chains: Sequence[bytes], sequences: Sequence[bytes], hashes: Sequence[bytes]) -> None:
        """Take in many lines at once, with the chain, sequence and hash of each."""
        if not chains:
            return
        self._lines.update(lines)
        self.count += len(chains)
        starts = [at for at, (chain, before) in enumerate(zip(chains, [self._chain, *chains], strict=False)) if chain != before]
        self.runs += len(starts)
        ended: list[bytes] = []
        for at in starts:
            if self._chain is not None:
                ended += _run(self._chain, self._first, (sequences[at - 1], hashes[at - 1]) if at else self._last)
            self._chain, self._first = chains[at], (sequences[at], hashes[at])
        self._last = (sequences[-1], hashes[-1])
        self._chains.update(b"".join(ended))

    def totals(self) -> Totals:
        chains = self._chains.copy()
        if self._chain is not None:
            chains.update(b"".join(_run(self._chain, self._first, self._last)))
        return Totals(count=self.count, digest=self._lines.hexdigest(), runs=self.runs, chains_digest=chains.hexdigest())


def _run(chain: bytes, first: tuple[bytes, bytes], last: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    """The pieces of the canonical JSON of `[chain, first sequence, first hash, last sequence, last hash]`, and a newline."""
    return (b"[", canonical_unchecked(chain.decode()), b",", first[0], b',"', first[1], b'",', last[0], b',"', last[1], b'"]\n')


def export_line(body: bytes, record_hash: str) -> bytes:
    """A record's line, newline included. The hash stands last, out of order, so that the body's bytes stay as they were hashed."""
    return export_lines_of([body], [record_hash.encode()])


def export_lines_of(bodies: Sequence[bytes], hashes: Sequence[bytes]) -> bytes:
    """The lines of many records, put together in one go."""
    pieces = [b"", b',"hash":"', b"", b'"}\n'] * len(bodies)
    pieces[0::4] = [body[:-1] for body in bodies]
    pieces[2::4] = hashes
    return b"".join(pieces)


def trailer_line(totals: Totals, *, scope: Scope, key: str, sign: Sign) -> bytes:
    """The last line of an export. `key` is the C2SP verifier key that belongs to `sign`."""
    trailer = {
        "version": VERSION,
        "from": None if scope.start is None else rfc3339(scope.start),
        "to": None if scope.end is None else rfc3339(scope.end),
        "merchant_id": scope.merchant_id,
        "key": key,
        **asdict(totals),
    }
    signature = sign(SIGNED_PREFIX + canonical(trailer))
    return canonical({"trailer": trailer, "signature": b64encode(signature).decode()}) + b"\n"


def read_trailer(value: dict[str, Any]) -> Trailer:  # Any: parsed JSON of unknown origin
    """The trailer in a parsed last line; ValueError where it is not one of this version."""
    trailer, text = value.get("trailer"), value.get("signature")
    if not isinstance(trailer, dict) or not isinstance(text, str):
        raise ValueError("not a trailer")
    if trailer.get("version") != VERSION or trailer["version"] is True:
        raise ValueError("a trailer of another version")
    try:
        signature = b64decode(text, validate=True)
        if b64encode(signature).decode() != text:
            raise ValueError("a signature that is not in canonical base64")
        return Trailer(
            scope=Scope(start=_moment(trailer["from"]), end=_moment(trailer["to"]), merchant_id=_optional_text(trailer["merchant_id"])),
            totals=Totals(
                count=_number(trailer["count"]),
                digest=_text(trailer["digest"]),
                runs=_number(trailer["runs"]),
                chains_digest=_text(trailer["chains_digest"]),
            ),
            key=_text(trailer["key"]),
            signature=signature,
            signed=SIGNED_PREFIX + canonical(trailer),
        )
    except KeyError as missing:
        raise ValueError(f"a trailer without {missing}") from missing


def csv_header() -> str:
    return _csv_line(list(CSV_COLUMNS))


def csv_line(body: str, record_hash: str) -> str:
    """A record as one line of RFC 4180, safe to open in a spreadsheet."""
    record = json.loads(body)
    actor = record["actor"]
    flat = record | {"actor_role": actor["role"], "actor_id": actor["id"], "actor_channel": actor["channel"], "hash": record_hash}
    flat["data"] = canonical_unchecked(record["data"]).decode()
    return _csv_line([flat[column] for column in CSV_COLUMNS])


def _csv_line(cells: list[str | int | None]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([_safe(cell) for cell in cells])
    return text.getvalue()


def _safe(cell: str | int | None) -> str | int | None:
    """A text that no spreadsheet calculates, also where `;` or a tab begins its next cell: they are written as JSON may write them."""
    if not isinstance(cell, str):
        return cell
    cell = cell.replace(";", "\\u003b").replace("\t", "\\u0009")
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a trailer with something else where a text belongs")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a trailer with something else where a count belongs")
    return value


def _moment(value: object) -> datetime | None:
    return None if value is None else parse_rfc3339(_text(value))
