"""The arithmetic on sets of requests against sets of points, and what is said of windows without a clock."""

import random
from itertools import product

from workflows.domain.policies.cubes import Axis, Budget, Cube, covers, difference, enough, intersection, reach, uncovered, widened

WHOLE: Cube = (3, 7, 3, 7, 1, 1, 1, 3, 3)


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
