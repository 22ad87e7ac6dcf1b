"""The arithmetic on sets of requests against sets of points, and what is said of windows without a clock."""

import random
from datetime import UTC, datetime
from itertools import product

import pytest

from workflows.domain.enums import Anchor, PaymentState
from workflows.domain.policies.conditions import Condition, Subject, When
from workflows.domain.policies.cubes import Axis, Budget, Cube, covers, difference, enough, intersection, reach, uncovered, widened
from workflows.domain.policies.space import space_of
from workflows.domain.policies.spans import outlasts
from workflows.domain.windows import WindowSpec, parse_length

WHOLE: Cube = (3, 7, 3, 7, 1, 1, 1, 3, 3)
PENDING, COMPLETED = PaymentState.pending, PaymentState.completed


def points(cube: Cube | None) -> set[tuple[int, ...]]:
    masks = cube or (0,) * len(Axis)
    return set(product(*([bit for bit in range(3) if mask >> bit & 1] for mask in masks)))


def random_cube(chance: random.Random) -> Cube:
    return tuple(chance.choice((*range(1, whole + 1), whole, whole, whole)) for whole in WHOLE)


def test_cubes_are_the_sets_of_their_points() -> None:
    chance = random.Random(5)
    for _ in range(300):
        first, second = random_cube(chance), random_cube(chance)
        parts = difference(first, second)

        assert points(intersection(first, second)) == points(first) & points(second)
        assert covers(first, second) is (points(first) >= points(second))
        assert set().union(*(points(part) for part in parts)) == points(first) - points(second)
        assert sum(len(points(part)) for part in parts) == len(points(first) - points(second))  # they do not overlap


def test_what_is_left_beside_others_is_found() -> None:
    chance = random.Random(6)
    covered = 0
    for _ in range(300):
        cube, others = random_cube(chance), [random_cube(chance) for _ in range(chance.randint(0, 12))]
        left = points(cube) - set().union(*(points(other) for other in others))
        parts = list(uncovered(cube, others, Budget(100_000)))

        assert set().union(*(points(part) for part in parts)) == left
        assert sum(len(points(part)) for part in parts) == len(left)
        assert (reach(cube, others, Budget(100_000)).part is None) is (not left)
        if left:
            wide = widened(parts[0], WHOLE, others)
            assert points(parts[0]) <= points(wide)
            assert not any(points(wide) & points(other) for other in others)
        else:
            covered += 1
            needed = [others[one] for one in enough(cube, others, Budget(100_000))]
            assert points(cube) <= set().union(*(points(one) for one in needed))
            for one in needed:
                assert not points(cube) <= set().union(*(points(other) for other in needed if other is not one))
    assert covered > 20


def test_too_much_work_is_told() -> None:
    others = [tuple(mask if axis != place else 1 for axis, mask in enumerate(WHOLE)) for place in (0, 1, 2, 3)]
    budget = Budget(3)

    assert not reach(WHOLE, [*others, (2, 6, 2, 6, 1, 1, 1, 3, 3)], budget).certain
    assert budget.spent


def test_a_cube_gives_an_example_that_its_conditions_take() -> None:
    when = When(
        conditions=(
            Condition(subject=Subject.source, values=frozenset({"card", "bank"})),
            Condition(subject=Subject.source, values=frozenset({"card"}), negated=True),
            Condition(subject=Subject.currency, values=frozenset({"CNY", "EUR"}), negated=True),
            Condition(subject=Subject.merchant_id, values=frozenset({"another-merchant"}), negated=True),
            Condition(subject=Subject.state, values=frozenset({"pending"})),
        ),
        amount_above=20_000,
        amount_up_to=20_001,
    )
    space = space_of([when])
    cube = space.cube(when)

    assert cube is not None
    facts = space.example(cube, datetime(2026, 1, 1, tzinfo=UTC))
    assert when.holds(facts)
    assert (facts.amount, facts.currency, facts.sources) == (20_001, "USD", ("bank",))
    assert facts.anchors[Anchor.completed_at] is None


def spec(length: str, anchor: Anchor = Anchor.completed_at, *, next_day: bool = False, requires: bool = False) -> WindowSpec:
    return WindowSpec(anchor=anchor, length=parse_length(length), next_day=next_day, requires_anchor=requires)


@pytest.mark.parametrize(
    ("earlier", "later", "state", "expected"),
    [
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
    ],
)
def test_one_window_outlasts_another_where_that_is_proven(
    earlier: WindowSpec | None, later: WindowSpec | None, state: PaymentState, expected: bool
) -> None:
    assert outlasts(earlier, later, state) is expected
