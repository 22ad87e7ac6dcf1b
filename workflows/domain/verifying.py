"""Is an export what the service wrote? Checked line by line, without database or network, with the place of every fault."""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from workflows.domain.canonical import DECODER, canonical
from workflows.domain.exports import CSV_COLUMNS, ExportDigest, Scope, Trailer, export_line, read_trailer
from workflows.domain.faults import FaultMember
from workflows.domain.records import GENESIS, chain_id, hash_of

CheckSignature = Callable[[str, bytes, bytes], bool]  # the verifier key's text, the signature, what was signed

FINDINGS_MAX = 100
RECORD_MEMBERS = frozenset(CSV_COLUMNS) - {"actor_role", "actor_id", "actor_channel"} | {"actor"}
TRAILER_MEMBERS = frozenset({"trailer", "signature"})


class ExportFault(StrEnum):
    """What can be wrong with an export."""

    not_canonical = "not_canonical"  # the line is not, byte for byte, what the service writes
    not_a_record = "not_a_record"
    changed = "changed"  # the record's content does not have the hash that it claims
    gap = "gap"  # records of a chain are missing
    repeated = "repeated"
    out_of_order = "out_of_order"
    broken_link = "broken_link"  # the record does not name the hash of the record before it
    cut = "cut"  # no trailer
    trailer_differs = "trailer_differs"
    signature = "signature"
    other_signer = "other_signer"  # well signed, but not by the key that is trusted
    after_trailer = "after_trailer"


class FindingReason(StrEnum):
    """How an export's fault shows; beside it the members that its sentence needs."""

    not_canonical_json = "not_canonical_json"
    other_members = "other_members"
    other_form = "other_form"
    no_canonical_form = "no_canonical_form"  # holds what no record can hold
    other_hash = "other_hash"
    same_sequence = "same_sequence"
    earlier_sequence = "earlier_sequence"  # last
    missing_records = "missing_records"  # last, missing
    late_start = "late_start"  # sequence
    other_previous_hash = "other_previous_hash"
    first_with_previous = "first_with_previous"
    wrong_place = "wrong_place"
    no_trailer = "no_trailer"  # count
    line_after_trailer = "line_after_trailer"
    trailer_unreadable = "trailer_unreadable"  # problem
    trailer_form = "trailer_form"
    trailer_totals = "trailer_totals"  # names, told, found
    wrong_signature = "wrong_signature"
    untrusted_signer = "untrusted_signer"  # signer


class VerificationStatus(StrEnum):
    verified = "verified"
    tampered = "tampered"
    unreadable = "unreadable"  # not an export at all


class Finding(Struct, frozen=True, kw_only=True):
    """One fault and its place; lines count from 1."""

    line: int
    fault: ExportFault
    reason: FindingReason
    members: Mapping[str, FaultMember] = field(default_factory=dict)
    chain: str | None = None
    sequence: int | None = None


class Verdict(Struct, frozen=True, kw_only=True):
    """`findings` is the first FINDINGS_MAX of `findings_total`. Without a trusted key, `signer` is only what the trailer claims."""

    status: VerificationStatus
    records: int
    chains: int
    findings: tuple[Finding, ...]
    findings_total: int
    signer: str | None
    signer_trusted: bool
    scope: Scope | None


def verify_export(lines: Iterable[bytes], *, check_signature: CheckSignature, trusted_key: str | None = None) -> Verdict:
    """Check an export, given as its lines with their newlines.

    The signature is always checked against the key that the trailer names, and that key against `trusted_key` where one is given:
    only this second check can tell our signature from a forger's. Memory grows by some 200 bytes a chain.
    """
    check = _Check(check_signature, trusted_key)
    for line in lines:
        check.line(line)
    return check.verdict()


class _Check:
    def __init__(self, check_signature: CheckSignature, trusted_key: str | None) -> None:
        self.check_signature = check_signature
        self.trusted_key = None if trusted_key is None else trusted_key.strip()
        self.number = 0
        self.readable = False
        self.digest = ExportDigest()
        self.trailer: Trailer | None = None
        self.trailer_seen = False
        self.findings: list[Finding] = []
        self.findings_total = 0
        self.chains: dict[bytes, tuple[int, bytes]] = {}  # a chain's id: its last sequence and hash
        self.place = ("", b"")  # day and chain of the furthest line
        self.late_starts: list[tuple[int, str, int]] = []  # chains that begin after sequence 1: right only if the export has a beginning

    def line(self, raw: bytes) -> None:
        self.number += 1
        if self.trailer_seen:
            self._find(ExportFault.after_trailer, FindingReason.line_after_trailer)
            return
        value = _parse(raw)
        if value is None:
            self._find(ExportFault.not_canonical, FindingReason.not_canonical_json)
        elif value.keys() == TRAILER_MEMBERS:
            self.readable = self.trailer_seen = True
            self._trailer(raw, value)
        elif _is_record(value):
            self.readable = True
            self._record(raw, value)
        else:
            self._find(ExportFault.not_a_record, FindingReason.other_members, value)

    def verdict(self) -> Verdict:
        if not self.trailer_seen:
            self._find(ExportFault.cut, FindingReason.no_trailer, count=self.digest.count)
        status = VerificationStatus.tampered if self.findings else VerificationStatus.verified
        return Verdict(
            status=status if self.readable else VerificationStatus.unreadable,
            records=self.digest.count,
            chains=len(self.chains),
            findings=tuple(sorted(self.findings, key=lambda finding: finding.line)),
            findings_total=self.findings_total,
            signer=None if self.trailer is None else self.trailer.key,
            signer_trusted=self.trailer is not None and self.trailer.key == self.trusted_key,
            scope=None if self.trailer is None else self.trailer.scope,
        )

    def _record(self, raw: bytes, value: dict[str, Any]) -> None:
        stated: str = value["hash"]
        try:
            body = canonical({name: member for name, member in value.items() if name != "hash"})
            written = export_line(body, stated)
        except (ValueError, RecursionError):
            self._find(ExportFault.not_canonical, FindingReason.no_canonical_form, value)
            return
        if written != raw:
            self._find(ExportFault.not_canonical, FindingReason.other_form, value)
        if hash_of(body) != stated:
            self._find(ExportFault.changed, FindingReason.other_hash, value)
        self._position(value, stated)
        self.digest.add(raw, value["chain"], value["sequence"], stated)

    def _position(self, value: dict[str, Any], stated: str) -> None:
        """Where the record stands in its chain and in the file."""
        sequence: int = value["sequence"]
        key = chain_id(value["chain"]).bytes
        known = self.chains.get(key)
        place = (value["occurred_at"][:10], key)
        if known is None:
            self._first_of_chain(value)
        elif sequence == known[0]:
            self._find(ExportFault.repeated, FindingReason.same_sequence, value)
        elif sequence < known[0]:
            self._find(ExportFault.out_of_order, FindingReason.earlier_sequence, value, last=known[0])
        elif sequence > known[0] + 1:
            self._find(ExportFault.gap, FindingReason.missing_records, value, last=known[0], missing=sequence - known[0] - 1)
        elif value["previous_hash"] != known[1].hex():
            self._find(ExportFault.broken_link, FindingReason.other_previous_hash, value)
        if place < self.place and (known is None or sequence > known[0]):
            self._find(ExportFault.out_of_order, FindingReason.wrong_place, value)
        self.place = max(self.place, place)
        if known is None or sequence > known[0]:
            self.chains[key] = (sequence, bytes.fromhex(stated))

    def _first_of_chain(self, value: dict[str, Any]) -> None:
        if value["sequence"] > 1:
            if len(self.late_starts) < FINDINGS_MAX:
                self.late_starts.append((self.number, value["chain"], value["sequence"]))
        elif value["previous_hash"] != GENESIS:
            self._find(ExportFault.broken_link, FindingReason.first_with_previous, value)

    def _trailer(self, raw: bytes, value: dict[str, Any]) -> None:
        try:
            trailer = read_trailer(value)
            whole = canonical(value) + b"\n"
        except (ValueError, RecursionError) as error:
            self._find(ExportFault.trailer_differs, FindingReason.trailer_unreadable, problem=str(error))
            return
        self.trailer = trailer
        if whole != raw:
            self._find(ExportFault.not_canonical, FindingReason.trailer_form)
        said, found = trailer.totals, self.digest.totals()
        differing = [name for name in ("count", "digest", "runs", "chains_digest") if getattr(said, name) != getattr(found, name)]
        if differing:
            self._find(
                ExportFault.trailer_differs,
                FindingReason.trailer_totals,
                names=tuple(differing),
                told=said.count,
                found=found.count,
            )
        if not self.check_signature(trailer.key, trailer.signature, trailer.signed):
            self._find(ExportFault.signature, FindingReason.wrong_signature)
        if self.trusted_key is not None and trailer.key != self.trusted_key:
            self._find(ExportFault.other_signer, FindingReason.untrusted_signer, signer=trailer.key)
        if trailer.scope.start is None:
            for line, chain, sequence in self.late_starts:
                self._keep(
                    Finding(
                        line=line,
                        fault=ExportFault.gap,
                        reason=FindingReason.late_start,
                        members={"sequence": sequence},
                        chain=chain,
                        sequence=sequence,
                    )
                )

    def _find(self, fault: ExportFault, reason: FindingReason, value: dict[str, Any] | None = None, **members: FaultMember) -> None:
        chain, sequence = (None, None) if value is None else (value.get("chain"), value.get("sequence"))
        self._keep(
            Finding(
                line=self.number,
                fault=fault,
                reason=reason,
                members=members,
                chain=chain if isinstance(chain, str) else None,
                sequence=sequence if isinstance(sequence, int) else None,
            )
        )

    def _keep(self, finding: Finding) -> None:
        self.findings_total += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)


def _is_record(value: dict[str, Any]) -> bool:
    """Whether the members are a record's, and those by which it is placed have their form."""
    if value.keys() != RECORD_MEMBERS:
        return False
    sequence = value["sequence"]
    return (
        isinstance(value["chain"], str)
        and isinstance(value["occurred_at"], str)
        and isinstance(sequence, int)
        and not isinstance(sequence, bool)
        and sequence >= 1
        and _is_hash(value["hash"])
        and _is_hash(value["previous_hash"])
    )


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == len(GENESIS) and not value.strip("0123456789abcdef")


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        value = DECODER.decode(raw.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
