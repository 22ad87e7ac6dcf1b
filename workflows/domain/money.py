"""Shares of money, exact: integers in minor units in, integers that sum to the whole out."""

from bisect import bisect_left
from collections.abc import Sequence

from workflows.domain.enums import Allocation, Source

AMOUNT_MAX = 10**15  # of any payment, in minor units: every reader of JSON holds it exactly
PROMOTIONS = frozenset({Source.coupon, Source.points, Source.cashback})


def share(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` over `weights` by largest remainder; ties go to the earlier one."""
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def line_amount(amount: int, quantity: int, cancelled: int) -> int:
    """What `cancelled` of `quantity` pieces of a line of `amount` are worth together.

    The line's amount split over the pieces cancelled and the pieces kept, by largest remainder: by cumulative quantity, so that
    any order of partial cancellations sums to the line.
    """
    return share(amount, [cancelled, quantity - cancelled])[0]


def allocate(amount: int, *, capacities: Sequence[int], taken: Sequence[int], sources: Sequence[Source], rule: Allocation) -> list[int]:
    """Spread one refund of `amount` over the funding sources.

    `capacities` is what each source paid, `taken` what it already got back, both in minor units and in the payment's order.
    Returns one share per source: never negative, summing to `amount`, never more than the source has left.
    Requires `amount <= sum(capacities) - sum(taken)`.
    """
    left = [capacity - has for capacity, has in zip(capacities, taken, strict=True)]
    if not 0 <= amount <= sum(left) or min(left, default=0) < 0:
        raise ValueError("the sources cannot give that much")
    if rule is Allocation.pro_rata:
        return _pro_rata(amount, capacities, taken)
    promotions_first = rule is Allocation.promotions_first
    order = sorted(range(len(left)), key=lambda i: ((sources[i] in PROMOTIONS) is not promotions_first, i))
    shares = [0] * len(left)
    for i in order:
        shares[i] = min(left[i], amount - sum(shares))
    return shares


def _pro_rata(amount: int, capacities: Sequence[int], taken: Sequence[int]) -> list[int]:
    """Each source's cumulative target is its largest-remainder share of all refunded so far, never below what it already had.

    What those floors cost, unit by unit, comes from the source furthest above its exact share (ties: the earlier one). The
    distance is compared as integers: target * whole - cumulative * capacity.

    How far from exact a sequence of nothing but these can get, with n sources, in units:
    - above, at most 1 - 1/n. Largest remainder rounds up the k largest of n fractions that sum to k; the least of those is at
      least 1/n, so rounding it up adds at most 1 - 1/n. A floor was within that when it was set, the exact share has only grown
      since, and giving units up only lowers a target.
    - below, at most (n - 1)^2 / n, since the distances sum to zero and the n - 1 others are at most 1 - 1/n above. With two
      sources that is half a unit either way. It is not sharp for more: of millions of random histories with up to six sources
      none fell short by 1.2 units.
    After the last refund every distance is zero. Behind a refund by another rule a source may be far above its share; it then gets
    nothing until the others have caught up.
    """
    whole = sum(capacities)
    cumulative = sum(taken) + amount
    target = [max(has, want) for has, want in zip(taken, share(cumulative, capacities), strict=True)]
    excess = sum(target) - cumulative
    if excess > 0:
        distances = [want * whole - cumulative * capacity for want, capacity in zip(target, capacities, strict=True)]
        room = [want - has for want, has in zip(target, taken, strict=True)]
        target = [want - given for want, given in zip(target, _give_up(excess, whole, distances, room), strict=True)]
    return [want - has for want, has in zip(target, taken, strict=True)]


def _give_up(excess: int, whole: int, distances: Sequence[int], room: Sequence[int]) -> list[int]:
    """How many units each source gives where, one by one, `excess` of them come from the source that is then furthest above.

    A unit given lowers its source's distance by `whole`. So a source's units stand one on each level `distance // whole`,
    `distance // whole - 1`, ... until its room ends, and in all the greatest `excess` units are given: every one down to some
    level, found by bisection because `excess` may be as large as an amount, and of the level below the greatest remainders.
    """
    tops = [distance // whole for distance in distances]

    def given_down_to(level: int) -> list[int]:
        return [min(max(top - level + 1, 0), limit) for top, limit in zip(tops, room, strict=True)]

    levels = range(min(top - limit for top, limit in zip(tops, room, strict=True)), max(tops) + 2)
    level = levels[bisect_left(levels, True, key=lambda level: sum(given_down_to(level)) <= excess)]
    given = given_down_to(level)
    below = given_down_to(level - 1)
    candidates = [i for i in range(len(given)) if below[i] > given[i]]
    candidates.sort(key=lambda i: (-(distances[i] % whole), i))
    for i in candidates[: excess - sum(given)]:
        given[i] += 1
    return given
