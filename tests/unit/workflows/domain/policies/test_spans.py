"""None"""

from workflows.domain.enums import Anchor, PaymentState
from workflows.domain.policies.spans import can_open, is_empty, may_be_empty, outlasts
from workflows.domain.windows import WindowSpec, parse_length

PENDING, COMPLETED = PaymentState.pending, PaymentState.completed


def spec(length: str, anchor: Anchor = Anchor.completed_at, *, next_day: bool = False, requires: bool = False) -> WindowSpec:
    return WindowSpec(anchor=anchor, length=parse_length(length), next_day=next_day, requires_anchor=requires)


def test_one_window_outlasts_another_where_that_is_proven() -> None:
    cases: list[tuple[WindowSpec | None, WindowSpec | None, PaymentState, bool]] = [
        (None, spec("1 day"), COMPLETED, True),
        (spec("1 day"), None, COMPLETED, False),
        (spec("1 day"), None, PENDING, True),  # what has not happened leaves a window open
        (spec("1 day", requires=True), None, PENDING, False),
        (spec("1 day", requires=True), spec("1 day"), PENDING, False),
        (spec("1 day", requires=True), spec("1 day"), COMPLETED, True),
        (spec("2 days"), spec("1 day", Anchor.authorised_at), COMPLETED, False),
        (spec("9 days", Anchor.shipped_at), spec("1 day", Anchor.shipped_at, requires=True), COMPLETED, True),
        (spec("9 days", Anchor.shipped_at, requires=True), spec("1 day", Anchor.shipped_at), COMPLETED, False),
        (spec("2 days"), spec("2 days", next_day=True), COMPLETED, False),
        (spec("9 days"), spec("2 days", next_day=True), COMPLETED, True),
        (spec("3 months"), spec("80 days"), COMPLETED, True),
        (spec("3 months"), spec("90 days"), COMPLETED, False),
        (spec("30 business_days"), spec("20 days"), COMPLETED, True),
        (spec("900 days"), spec("2 business_days"), COMPLETED, False),
    ]

    wrong = [case for case in cases if outlasts(*case[:3]) is not case[3]]

    assert wrong == []


def test_a_window_can_open_unless_it_is_empty_or_its_anchor_never_happens() -> None:
    nothing, a_day = spec("0 days"), spec("1 day")

    assert can_open(None, PENDING)
    assert can_open(a_day, COMPLETED)
    assert not can_open(nothing, COMPLETED)
    assert can_open(nothing, PENDING)  # what has not happened leaves a window open
    assert not can_open(spec("1 day", requires=True), PENDING)
    assert can_open(spec("0 days", Anchor.shipped_at), COMPLETED)  # open until the goods are on their way
    assert not can_open(spec("0 days", Anchor.shipped_at, requires=True), COMPLETED)


def test_only_what_surely_closes_at_once_is_empty_and_what_might_is_told_apart() -> None:
    cases = {
        spec("0 seconds"): (True, True),
        spec("0 days"): (True, True),
        spec("1 second"): (False, False),
        spec("0 days", next_day=True): (False, True),
        WindowSpec(anchor=Anchor.completed_at, end_of_day=parse_length("0 seconds")): (False, False),
    }

    assert {window: (is_empty(window), may_be_empty(window)) for window in cases} == cases
