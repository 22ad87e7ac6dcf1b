"""What is told of each finding in an export, for the person who runs `refundry verify`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from workflows.domain.verifying import Finding, FindingReason

FINDING_TEXTS: Final[Mapping[FindingReason, str]] = MappingProxyType(
    {
        FindingReason.not_canonical_json: "not one JSON object in canonical form",
        FindingReason.other_members: "its members are not those of a record",
        FindingReason.other_form: "not, byte for byte, the form in which records are written",
        FindingReason.no_canonical_form: "holds what no record can hold",
        FindingReason.other_hash: "its content does not have the hash that it claims",
        FindingReason.same_sequence: "the record before it has the same sequence",
        FindingReason.earlier_sequence: "comes after sequence {last} of its chain",
        FindingReason.missing_records: "follows sequence {last}: {missing} missing",
        FindingReason.late_start: "the chain begins at sequence {sequence}",
        FindingReason.other_previous_hash: "does not name the hash of the record before it",
        FindingReason.first_with_previous: "the first record of a chain has none before it",
        FindingReason.wrong_place: "lines stand by day, then by chain, then by sequence",
        FindingReason.no_trailer: "the export ends without its trailer, after {count} records",
        FindingReason.line_after_trailer: "nothing may follow the trailer",
        FindingReason.trailer_unreadable: "{problem}",
        FindingReason.trailer_form: "the trailer is not, byte for byte, in the form in which it is written",
        FindingReason.trailer_totals: "{names}: the trailer counts {told} records, the file holds {found}",
        FindingReason.wrong_signature: "the trailer was not signed with the key that it names",
        FindingReason.untrusted_signer: "signed by {signer}, not by the trusted key",
    }
)


def finding_text(finding: Finding) -> str:
    members = {name: ", ".join(value) if isinstance(value, tuple) else value for name, value in finding.members.items()}
    return FINDING_TEXTS[finding.reason].format(**members)
