"""What is told of each finding in an export."""

from service.terminal.finding_texts import FINDING_TEXTS, finding_text
from tests.factories import chain, export, in_order, judge
from workflows.domain.verifying import ExportFault, FindingReason


def test_every_reason_has_its_text() -> None:
    assert set(FINDING_TEXTS) == set(FindingReason)


def test_a_finding_is_told_with_its_members() -> None:
    lines = export(in_order(chain("a", 3)))

    missing = judge([lines[0], *lines[2:]]).findings[0]

    assert (missing.fault, missing.reason, dict(missing.members)) == (
        ExportFault.gap,
        FindingReason.missing_records,
        {"last": 1, "missing": 1},
    )
    assert finding_text(missing) == "follows sequence 1: 1 missing"
