"""Of what workers tell of a rail the worst counts, and of that the earliest."""

from tests.factories import HOUR, MINUTE, NOW
from workflows.domain.rail_states import BreakerState, RailState, worst_of_each


def told(name: str, state: BreakerState, hours: int = 1) -> RailState:
    return RailState(name, state, NOW - hours * HOUR)


def test_the_worst_state_of_each_rail_by_name() -> None:
    closed, half_open, opened = (told("sandbox", state) for state in (BreakerState.closed, BreakerState.half_open, BreakerState.open))
    other = told("other", BreakerState.closed)

    assert worst_of_each([]) == []
    assert worst_of_each([closed, half_open, other]) == [other, half_open]
    assert worst_of_each([opened, half_open, closed]) == worst_of_each([closed, half_open, opened]) == [opened]


def test_of_two_in_the_same_state_the_earlier_one_counts() -> None:
    early = told("sandbox", BreakerState.open, hours=5)
    late = RailState("sandbox", BreakerState.open, NOW - MINUTE)

    assert worst_of_each([late, told("sandbox", BreakerState.closed, hours=9), early]) == [early]
