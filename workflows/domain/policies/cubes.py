"""Sets of requests as cubes: one bit mask for each thing that a policy's `when` can test, and the arithmetic on them.

Each axis divides its values into classes that no condition tells apart; a bit stands for a class. A cube is the set of requests whose
value lies in its mask on every axis, so that a `when`, which asks that all its tests hold, is exactly one cube. What nobody can ask for
has no bit: payments in another state than pending and completed, and channels that are not open to a role.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from operator import and_, ne

from msgspec import Struct

Cube = tuple[int, ...]  # a mask for each Axis, none of them 0


class Axis(IntEnum):
    """The positions in a cube."""

    state = 0
    fulfilment = 1
    category = 2
    caller = 3  # role and channel together: not every role may use every channel
    reason = 4
    source = 5  # which sources a payment has, as a set
    merchant_id = 6
    currency = 7
    amount = 8


class Budget:
    """How much work a question may cost. `spent` says that it was not examined wholly."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @property
    def spent(self) -> bool:
        return self.steps <= 0


class Reach(Struct, frozen=True):
    """The requests of one cube that none of the others covers: one part of them, or None; and whether that answer is certain."""

    part: Cube | None
    certain: bool


def intersection(first: Cube, second: Cube) -> Cube | None:
    """The requests in both cubes; None where there are none."""
    both = tuple(map(and_, first, second))
    return both if all(both) else None


def meet(first: Cube, second: Cube) -> bool:
    """Whether any request is in both cubes."""
    return all(map(and_, first, second))


def covers(outer: Cube, inner: Cube) -> bool:
    """Whether each request of `inner` is in `outer`."""
    return not any(b & ~a for a, b in zip(outer, inner, strict=True))


def difference(cube: Cube, without: Cube) -> list[Cube]:
    """The requests of `cube` that are not in `without`, as cubes that do not overlap."""
    rest, parts = list(cube), []
    if not meet(cube, without):
        return [cube]
    for axis, mask in enumerate(without):
        if left := rest[axis] & ~mask:
            parts.append((*rest[:axis], left, *rest[axis + 1 :]))
            rest[axis] &= mask
    return parts


def uncovered(cube: Cube, others: Iterable[Cube], budget: Budget) -> Iterator[Cube]:
    """The requests of `cube` that are in none of `others`, as cubes that do not overlap.

    It stops early, with `budget.spent`, where that takes too long: what it gave until then is right, but may not be all.
    """
    waiting: list[tuple[Cube, list[Cube]]] = [(cube, list(others))]
    while waiting:
        part, candidates = waiting.pop()
        met = [other for other in candidates if all(map(and_, part, other))]  # meet, without the call: most of the time goes here
        budget.steps -= len(candidates) + 1
        if not met:
            yield part
            continue
        if budget.spent:
            return
        # The fewer axes on which it cuts, the fewer parts are left.
        cut = min(met, key=lambda other: sum(map(ne, map(and_, part, other), part)))
        waiting.extend((left, met) for left in difference(part, cut))


def reach(cube: Cube, others: Iterable[Cube], budget: Budget) -> Reach:
    """What is left of `cube` beside the others."""
    part = next(uncovered(cube, others, budget), None)
    return Reach(part, part is not None or not budget.spent)


def widened(cube: Cube, within: Cube, others: Sequence[Cube], order: Sequence[Axis] = tuple(reversed(Axis))) -> Cube:
    """The largest cube around `cube` inside `within` that still meets none of the others, widened axis by axis in this order."""
    masks = list(cube)
    for axis in order:
        taken = 0
        for other in others:
            if all(a & b for position, (a, b) in enumerate(zip(masks, other, strict=True)) if position != axis):
                taken |= other[axis]
        masks[axis] = within[axis] & ~taken
    return tuple(masks)


def enough(cube: Cube, others: Sequence[Cube], budget: Budget) -> list[int]:
    """The positions of some of the others that cover the cube together, none of which could be left out.

    For others that do cover it; where the budget ends first, some may be more than is needed.
    """
    for position, other in enumerate(others):
        if covers(other, cube):
            return [position]
    kept = [position for position, other in enumerate(others) if meet(cube, other)]
    for position in reversed(kept.copy()):
        without = [others[one] for one in kept if one != position]
        left = reach(cube, without, budget)
        if left.part is None and left.certain:
            kept.remove(position)
    return kept
