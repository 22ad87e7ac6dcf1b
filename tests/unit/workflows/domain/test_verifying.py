"""Whatever is done to an export, the verifier sees it and names the place."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.terminal.finding_texts import finding_text
from tests.factories import NOW, OURS, THEIRS, chain, export, in_order, judge, lines_of
from workflows.domain.canonical import canonical
from workflows.domain.exports import Scope, export_line
from workflows.domain.records import GENESIS, Record, hash_of
from workflows.domain.verifying import FINDINGS_MAX, ExportFault, Finding, VerificationStatus

RECORDS = in_order([*chain("a", 4), *chain("b", 3), *chain("c", 1)])
LINES = export(RECORDS)
TRAILER_LINE = len(LINES)


def faults(findings: tuple[Finding, ...]) -> set[ExportFault]:
    return {finding.fault for finding in findings}


def tamper(lines: list[bytes], place: int, change: Callable[[dict[str, object]], object], *, rehash: bool = False) -> list[bytes]:
    """Change one record's content, with the hash that it had or with one that fits."""
    record = json.loads(lines[place])
    stated = record.pop("hash")
    change(record)
    body = canonical(record)
    return [*lines[:place], export_line(body, hash_of(body) if rehash else stated), *lines[place + 1 :]]


def test_an_export_is_verified() -> None:
    verdict = judge(LINES, trusted_key=OURS)

    assert (verdict.status, verdict.findings) == (VerificationStatus.verified, ())
    assert (verdict.records, verdict.chains, verdict.signer, verdict.signer_trusted) == (8, 3, OURS, True)


def test_without_a_trusted_key_the_signer_is_not_trusted() -> None:
    verdict = judge(LINES)
    assert (verdict.status, verdict.signer, verdict.signer_trusted) == (VerificationStatus.verified, OURS, False)


def test_an_empty_export_is_its_trailer() -> None:
    scope = Scope(start=NOW, end=NOW + timedelta(days=1), merchant_id="m-1")
    lines = export([], scope=scope)
    verdict = judge(lines, trusted_key=OURS)
    assert (len(lines), verdict.status, verdict.records, verdict.scope) == (1, VerificationStatus.verified, 0, scope)


def test_chains_go_on_over_days() -> None:
    records = in_order([*chain("a", 5, step=timedelta(hours=7)), *chain("b", 5, step=timedelta(hours=9))])
    lines = export(records)
    assert [record.chain for record in records] != sorted(record.chain for record in records)  # they really alternate
    assert judge(lines, trusted_key=OURS).status is VerificationStatus.verified


def test_a_chain_may_begin_late_where_the_export_does() -> None:
    late = chain("a", 5, step=timedelta(days=1))[2:]
    assert judge(export(late, scope=Scope(start=late[0].occurred_at))).status is VerificationStatus.verified

    verdict = judge(export(late))
    assert verdict.status is VerificationStatus.tampered
    assert [(finding.line, finding.fault, finding.sequence) for finding in verdict.findings] == [(1, ExportFault.gap, 3)]


@pytest.mark.parametrize("flip", [0x20, *(pytest.param(bits, marks=pytest.mark.long) for bits in (0x01, 0x80, 0xFF))])
@pytest.mark.slow
def test_every_byte_counts(flip: int) -> None:
    whole = b"".join(LINES)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= flip
        verdict = judge(_lines(bytes(changed)), trusted_key=OURS)

        assert verdict.status is VerificationStatus.tampered, place
        line = whole.count(b"\n", 0, place) + 1
        assert verdict.findings[0].line in {line, line + 1, TRAILER_LINE}, (place, verdict.findings)


@given(place=st.integers(0, len(b"".join(LINES)) - 1), byte=st.integers(0, 255))
def test_any_byte_at_any_place(place: int, byte: int) -> None:
    whole = bytearray(b"".join(LINES))
    if whole[place] == byte:
        return
    whole[place] = byte
    assert judge(_lines(bytes(whole))).status is VerificationStatus.tampered


@given(st.integers(0, len(b"".join(LINES)) - 1))
def test_a_stream_that_was_cut_anywhere_is_not_verified(length: int) -> None:
    verdict = judge(_lines(b"".join(LINES)[:length]))
    assert verdict.status is not VerificationStatus.verified
    assert verdict.findings


def test_a_stream_cut_between_two_lines() -> None:
    verdict = judge(LINES[:-1])
    assert [(finding.line, finding.fault) for finding in verdict.findings] == [(8, ExportFault.cut)]


@pytest.mark.parametrize("place", range(len(RECORDS)))
def test_each_record_dropped(place: int) -> None:
    verdict = judge([*LINES[:place], *LINES[place + 1 :]])

    assert verdict.status is VerificationStatus.tampered
    assert ExportFault.trailer_differs in faults(verdict.findings)
    dropped = RECORDS[place]
    followed = any(record.chain == dropped.chain and record.sequence > dropped.sequence for record in RECORDS)
    gaps = [finding for finding in verdict.findings if finding.fault is ExportFault.gap]
    assert [(gap.line, gap.chain, gap.sequence) for gap in gaps] == ([(place + 1, dropped.chain, dropped.sequence + 1)] if followed else [])


@pytest.mark.parametrize("place", range(len(RECORDS)))
def test_each_record_repeated(place: int) -> None:
    verdict = judge([*LINES[: place + 1], *LINES[place:]])
    repeated = [finding for finding in verdict.findings if finding.fault is ExportFault.repeated]
    assert [(f.line, f.chain, f.sequence) for f in repeated] == [(place + 2, RECORDS[place].chain, RECORDS[place].sequence)]


@pytest.mark.parametrize("place", range(len(RECORDS) - 1))
def test_each_pair_swapped(place: int) -> None:
    verdict = judge([*LINES[:place], LINES[place + 1], LINES[place], *LINES[place + 2 :]])

    assert verdict.status is VerificationStatus.tampered
    swapped = [finding for finding in verdict.findings if finding.fault is ExportFault.out_of_order]
    assert [(f.line, f.chain, f.sequence) for f in swapped] == [(place + 2, RECORDS[place].chain, RECORDS[place].sequence)]


@pytest.mark.parametrize("place", range(len(RECORDS)))
def test_a_changed_amount_is_named(place: int) -> None:
    verdict = judge(tamper(LINES, place, lambda record: record.update(amount=1)))
    changed = [finding for finding in verdict.findings if finding.fault is ExportFault.changed]
    assert [(f.line, f.chain, f.sequence) for f in changed] == [(place + 1, RECORDS[place].chain, RECORDS[place].sequence)]


def test_a_changed_record_with_a_hash_that_fits_breaks_the_link() -> None:
    verdict = judge(tamper(LINES, 0, lambda record: record.update(amount=1), rehash=True))
    assert [(f.line, f.fault) for f in verdict.findings] == [(2, ExportFault.broken_link), (9, ExportFault.trailer_differs)]


def test_a_first_record_has_none_before_it() -> None:
    first = chain("a", 1)
    lines = tamper(export(first), 0, lambda record: record.update(previous_hash="1" * 64), rehash=True)
    assert ExportFault.broken_link in faults(judge(lines).findings)
    assert first[0].previous_hash == GENESIS


class TestForgedTrailers:
    """The last record of a chain is dropped, which no later record can tell, and the trailer is made to fit."""

    short = RECORDS[:-1]

    def test_not_signed_anew(self) -> None:
        forged = json.loads(export(self.short)[-1])
        forged["signature"] = json.loads(LINES[-1])["signature"]
        verdict = judge([*lines_of(self.short), canonical(forged) + b"\n"])
        assert [(f.line, f.fault) for f in verdict.findings] == [(8, ExportFault.signature)]

    def test_signed_by_somebody_else_in_our_name(self) -> None:
        forged = json.loads(export(self.short)[-1])
        forged["signature"] = json.loads(export(self.short, key=THEIRS)[-1])["signature"]
        assert faults(judge([*lines_of(self.short), canonical(forged) + b"\n"]).findings) == {ExportFault.signature}

    def test_signed_by_somebody_else_in_his_own_name(self) -> None:
        forged = export(self.short, key=THEIRS)

        verdict = judge(forged, trusted_key=OURS)
        assert [(f.line, f.fault) for f in verdict.findings] == [(8, ExportFault.other_signer)]

        unaware = judge(forged)  # nobody can tell without knowing our key, and the verdict says so
        assert (unaware.status, unaware.signer, unaware.signer_trusted) == (VerificationStatus.verified, THEIRS, False)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": True},
        {"count": "8"},
        {"count": True},
        {"count": -1},
        {"digest": None},
        {"key": 1},
        {"from": "yesterday"},
        {"merchant_id": 1},
    ],
    ids=str,
)
def test_a_trailer_of_another_form(change: dict[str, object]) -> None:
    value = json.loads(LINES[-1])
    value["trailer"].update(change)
    verdict = judge([*LINES[:-1], canonical(value) + b"\n"])
    assert [(f.line, f.fault) for f in verdict.findings] == [(9, ExportFault.trailer_differs)]


@pytest.mark.parametrize("member", ["version", "from", "to", "merchant_id", "count", "digest", "runs", "chains_digest", "key"])
def test_a_trailer_without_a_member(member: str) -> None:
    value = json.loads(LINES[-1])
    del value["trailer"][member]
    assert judge([*LINES[:-1], canonical(value) + b"\n"]).status is VerificationStatus.tampered


@pytest.mark.parametrize("value", [{"trailer": [], "signature": ""}, {"trailer": {}, "signature": 1}, {"trailer": None, "signature": None}])
def test_a_trailer_that_is_none(value: object) -> None:
    assert faults(judge([*LINES[:-1], canonical(value) + b"\n"]).findings) == {ExportFault.trailer_differs}


def test_the_same_trailer_in_other_bytes_is_not_canonical() -> None:
    verdict = judge([*LINES[:-1], json.dumps(json.loads(LINES[-1])).encode() + b"\n"])
    assert [(f.line, f.fault) for f in verdict.findings] == [(9, ExportFault.not_canonical)]


def test_the_same_signature_in_another_base64_is_refused() -> None:
    value = json.loads(LINES[-1])
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = value["signature"][-3]  # of its six bits, the lower four belong to no byte
    value["signature"] = value["signature"][:-3] + digits[digits.index(last) + 1] + "=="
    verdict = judge([*LINES[:-1], canonical(value) + b"\n"])
    assert [(f.line, f.fault) for f in verdict.findings] == [(9, ExportFault.trailer_differs)]


def test_the_trailer_says_which_totals_differ() -> None:
    verdict = judge([*LINES[:3], *LINES[4:]])
    assert finding_text(verdict.findings[-1]) == "count, digest, chains_digest: the trailer counts 8 records, the file holds 7"


@pytest.mark.parametrize("extra", [LINES[0], LINES[-1], b"\n", b"{}\n"], ids=["record", "trailer", "empty", "object"])
def test_nothing_may_follow_the_trailer(extra: bytes) -> None:
    verdict = judge([*LINES, extra])
    assert [(f.line, f.fault) for f in verdict.findings] == [(10, ExportFault.after_trailer)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line.replace(b":", b": ", 1),
        lambda line: line.replace(b"\n", b"\r\n"),
        lambda line: b" " + line,
        lambda line: b"\xef\xbb\xbf" + line,
        lambda line: line.replace("退".encode(), b"\\u9000"),
        lambda line: line.replace(b'"amount":1000', b'"amount":1000,"amount":1000'),
        lambda line: line.replace(b'"amount":1000', b'"amount":1000.0'),
        lambda line: line.replace(b'"amount":1000', b'"amount":1e3'),
        lambda line: line.replace(b'"amount":1000', b'"amount":NaN'),
        lambda line: line.replace(b'"amount":1000', b'"amount":' + b"9" * 5000),
        lambda line: line.replace("退".encode(), b"\\ud800"),
        lambda line: line.replace(b'{"reason"', b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"reason"'),
        lambda line: line.replace(b'{"reason"', b'{"x":' + b"[" * 40 + b"]" * 40 + b',"reason"'),
        lambda line: line.decode().encode("utf-16"),
    ],
)
def test_the_same_in_other_bytes_is_not_canonical(spoil: Callable[[bytes], bytes]) -> None:
    spoilt = spoil(LINES[4])
    assert spoilt != LINES[4]
    verdict = judge([*LINES[:4], spoilt, *LINES[5:]])
    assert (verdict.findings[0].line, verdict.findings[0].fault) == (5, ExportFault.not_canonical)


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": "1"},
        {"sequence": True},
        {"sequence": 0},
        {"chain": None},
        {"occurred_at": 1},
        {"previous_hash": "A" * 64},
        {"hash": "0" * 63},
        {"hash": None},
        {"log_index": 1},
    ],
    ids=str,
)
def test_what_is_not_a_record(change: dict[str, object]) -> None:
    value = json.loads(LINES[0]) | change
    verdict = judge([canonical(value) + b"\n", *LINES[1:]])
    assert (verdict.findings[0].line, verdict.findings[0].fault) == (1, ExportFault.not_a_record)


@pytest.mark.parametrize("lines", [[], [b""], [b"PK\x03\x04"], [b"hello\n", b"world\n"], [b"{}\n"], [b"[]\n"], [b'{"a":1}\n']])
def test_what_is_no_export_at_all(lines: list[bytes]) -> None:
    assert judge(lines).status is VerificationStatus.unreadable


def test_findings_are_listed_up_to_a_limit_and_all_counted() -> None:
    verdict = judge([LINES[0].replace(b"1000", b"1001")] * 300)
    assert len(verdict.findings) == FINDINGS_MAX
    assert verdict.findings_total == 300 + 299 + 1  # changed, repeated, cut


CHAINS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 6), max_size=4)


@st.composite
def exports(draw: st.DrawFn) -> list[Record]:
    step = draw(st.sampled_from([timedelta(minutes=1), timedelta(hours=5), timedelta(hours=30)]))
    return in_order(record for name, length in draw(CHAINS).items() for record in chain(name, length, step=step))


@given(exports())
def test_every_honest_export_is_verified(records: list[Record]) -> None:
    assert judge(export(records), trusted_key=OURS).findings == ()


@given(records=exports(), data=st.data())
@settings(max_examples=2 * settings().max_examples)
def test_no_other_selection_or_order_fits_the_trailer(records: list[Record], data: st.DataObject) -> None:
    honest = export(records)
    other = data.draw(st.lists(st.sampled_from(honest[:-1]), max_size=len(honest) + 1) if records else st.just([]))
    if other != honest[:-1]:
        assert judge([*other, honest[-1]]).status is VerificationStatus.tampered


def _lines(content: bytes) -> list[bytes]:
    """As a file is read: split after newlines only."""
    *whole, rest = content.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])
