"""One window is open whenever another is, as far as the calendar of the policy tells."""

import pytest

from tests.factories import policy_of
from tests.unit.workflows.domain.policies.rules import CN
from workflows.domain.enums import Anchor, PaymentState
from workflows.domain.policies import coverage
from workflows.domain.policies.coverage import Coverage
from workflows.domain.windows import WindowSpec, parse_length

COMPLETED, PENDING = PaymentState.completed, PaymentState.pending


def spec(length: str, anchor: Anchor = Anchor.completed_at) -> WindowSpec:
    return WindowSpec(anchor=anchor, length=parse_length(length))


def in_china() -> Coverage:
    return Coverage(policy_of(timezone="Asia/Shanghai", calendar="CN"), CN)


def test_lengths_are_compared_on_every_day_of_the_calendar() -> None:
    cases: list[tuple[str, str, bool]] = [
        ("30 days", "1 month", False),  # of July
        ("31 days", "1 month", True),
        ("12 hours", "24 hours", False),
        ("1 month", "28 days", True),
        ("1 month", "29 days", False),  # of February
        ("15 days", "3 business_days", True),  # no holidays are that long
        ("7 days", "5 business_days", False),  # but this long
        ("5 business_days", "5 days", True),
    ]

    seen = in_china()

    assert [(wide, narrow, seen.holds(spec(wide), spec(narrow), COMPLETED)) for wide, narrow, _ in cases] == cases


def test_windows_of_two_anchors_are_not_compared() -> None:
    shipped, completed = spec("15 days", Anchor.shipped_at), spec("3 business_days")

    assert not in_china().holds(shipped, completed, COMPLETED)
    assert in_china().holds(None, completed, COMPLETED)
    assert not in_china().holds(spec("15 days"), None, COMPLETED)
    assert in_china().holds(spec("15 days"), None, PENDING)  # what has not happened leaves a window open


def test_after_so_many_pairs_only_what_is_proven_without_the_calendar_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "PAIRS_MAX", 1)
    seen = in_china()

    first, second = (spec("15 days"), spec("3 business_days")), (spec("16 days"), spec("3 business_days"))
    assert seen.holds(*first, COMPLETED)
    assert not seen.holds(*second, COMPLETED), "too many"
    assert seen.holds(*first, COMPLETED), "looked at before"
    assert seen.holds(spec("16 days"), spec("15 days"), COMPLETED), "needs no calendar"
