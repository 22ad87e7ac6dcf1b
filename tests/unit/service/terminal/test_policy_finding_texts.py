"""Each finding in a policy has its sentence, with its line and an example."""

from datetime import UTC, datetime
from pathlib import Path

from service.terminal.policy_finding_texts import POLICY_FINDING_TEXTS, policy_finding_text
from tests.unit.service.terminal.linting import MISTAKES, PENDING, lint
from workflows.domain.policies.lint import PolicyFinding, PolicyFindingCode, Severity

ONE_YUAN = PENDING.replace("pending", "completed").replace("100.00", "1.00")


def test_each_finding_is_told_with_its_line_and_an_example(tmp_path: Path) -> None:
    status, said = lint(tmp_path, MISTAKES)

    assert status == 1
    assert said.splitlines() == [
        "FILE:10: error: by-nobody: never matches: no request can meet its conditions on role, channel.",
        f"FILE:14: error: not-yet: never opens: no payment that it is for has completed_at, which its window requires. {PENDING}",
        f"FILE:17: error: exact: never decides: settled always decide before it. {ONE_YUAN}",
        f"FILE:18: warning: exact: tests an amount without a currency: the number counts in each of them. {ONE_YUAN}",
        "FILE:6: warning: EUR: not in second_approval_above, so a second person is needed for every amount (not-yet, settled, exact). "
        "Example: pending payment of EUR 100.00 from balance to another-merchant, general, fulfilment none; "
        "agent asks by hotline: changed_mind.",
        "FILE:8: warning: no rule is for a pending payment. Example: pending payment of CNY 100.00 from balance to another-merchant, "
        "general, fulfilment none; wallet asks by app: changed_mind.",
        "v-1: 4 rules, effective from 2026-12-01T00:00:00.000000Z. The form is right; 3 errors, 3 warnings, 0 notes.",
    ]


def test_every_finding_has_a_sentence() -> None:
    assert set(POLICY_FINDING_TEXTS) == set(PolicyFindingCode)
    for code in PolicyFindingCode:
        finding = PolicyFinding(code=code, severity=Severity.note, pointer="", members=MEMBERS, others=tuple("abcdefg"))
        assert "{" not in policy_finding_text(finding)


MEMBERS: dict[str, str | tuple[str, ...] | datetime | None] = {
    "subjects": ("state",),
    "anchor": "completed_at",
    "opens_at": datetime(2026, 1, 1, tzinfo=UTC),
    "closes_at": datetime(2026, 1, 1, tzinfo=UTC),
    "currencies": ("CNY",),
    "state": "pending",
    "what": "gap",
}
