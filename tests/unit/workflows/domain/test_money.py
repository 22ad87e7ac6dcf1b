"""Shares of money: exact sums, and the fast pro rata against its unit-by-unit definition."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workflows.domain.enums import Allocation, Source
from workflows.domain.money import allocate, line_amount, share

SOURCES = tuple(Source)
AMOUNT_MAX = 10**15


def naive_pro_rata(amount: int, capacities: Sequence[int], taken: Sequence[int]) -> list[int]:
    """The definition, word for word: one unit at a time from the source furthest above its exact share, the earlier of equals."""
    whole, cumulative = sum(capacities), sum(taken) + amount
    target = [max(has, want) for has, want in zip(taken, share(cumulative, capacities), strict=True)]
    while sum(target) > cumulative:
        above = [i for i in range(len(target)) if target[i] > taken[i]]
        target[max(above, key=lambda i: (target[i] * whole - cumulative * capacities[i], -i))] -= 1
    return [want - has for want, has in zip(target, taken, strict=True)]


def pro_rata(amount: int, capacities: Sequence[int], taken: Sequence[int]) -> list[int]:
    return allocate(amount, capacities=capacities, taken=taken, sources=[Source.balance] * len(capacities), rule=Allocation.pro_rata)


@st.composite
def situations(draw: st.DrawFn, amount_max: int) -> tuple[int, list[int], list[int]]:
    """An amount, capacities, and anything at all that may have been taken before by whatever rule."""
    capacities = draw(st.lists(st.integers(0, amount_max), min_size=1, max_size=6))
    taken = [draw(st.integers(0, capacity)) for capacity in capacities]
    return draw(st.integers(0, sum(capacities) - sum(taken))), capacities, taken


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Capacities, and partial amounts that sum to all of them."""
    capacities = draw(st.lists(st.integers(1, draw(st.sampled_from([9, 300, AMOUNT_MAX]))), min_size=1, max_size=6))
    whole = sum(capacities)
    cuts = sorted(draw(st.sets(st.integers(1, whole), max_size=25)) | {0, whole})
    return capacities, [after - before for before, after in pairwise(cuts)]


@given(total=st.integers(0, AMOUNT_MAX), weights=st.lists(st.integers(0, AMOUNT_MAX), min_size=1, max_size=8))
def test_shares_sum_to_the_total_and_are_within_one_unit_of_exact(total: int, weights: list[int]) -> None:
    shares = share(total, weights)

    whole = sum(weights)
    assert sum(shares) == (total if whole else 0)
    assert all(part == 0 for part, weight in zip(shares, weights, strict=True) if weight == 0)
    if whole:
        assert all(abs(part - Fraction(total * weight, whole)) < 1 for part, weight in zip(shares, weights, strict=True))


def test_the_earlier_of_equal_remainders_gets_the_unit() -> None:
    assert share(100, [1, 1, 1]) == [34, 33, 33]
    assert share(2, [1, 1, 1]) == [1, 1, 0]


@given(situation=situations(amount_max=40))
@example(situation=(1, [30, 0, 1], [0, 0, 0]))
@example(situation=(2, [10, 10, 10], [10, 0, 9]))
def test_pro_rata_is_its_unit_by_unit_definition(situation: tuple[int, list[int], list[int]]) -> None:
    assert pro_rata(*situation) == naive_pro_rata(*situation)


@given(situation=situations(amount_max=AMOUNT_MAX))
def test_one_refund_sums_takes_nothing_back_and_stays_within_every_source(situation: tuple[int, list[int], list[int]]) -> None:
    amount, capacities, taken = situation

    for rule in Allocation:
        shares = allocate(amount, capacities=capacities, taken=taken, sources=SOURCES[: len(taken)], rule=rule)

        assert sum(shares) == amount
        assert all(0 <= part <= capacity - has for part, capacity, has in zip(shares, capacities, taken, strict=True))


@given(history=histories(), rules=st.lists(st.sampled_from(Allocation), min_size=27, max_size=27))
def test_any_sequence_of_partials_under_any_rules_sums_to_the_whole_and_empties_every_source(
    history: tuple[list[int], list[int]], rules: list[Allocation]
) -> None:
    capacities, amounts = history
    taken = [0] * len(capacities)

    for amount, rule in zip(amounts, rules, strict=False):
        shares = allocate(amount, capacities=capacities, taken=taken, sources=SOURCES[: len(taken)], rule=rule)
        assert min(shares) >= 0
        taken = [has + part for has, part in zip(taken, shares, strict=True)]

    assert taken == capacities


@given(history=histories())
def test_a_pure_pro_rata_sequence_stays_within_its_bound_of_the_exact_share(history: tuple[list[int], list[int]]) -> None:
    capacities, amounts = history
    n, whole = len(capacities), sum(capacities)
    taken, cumulative = [0] * n, 0

    for amount in amounts:
        taken = [has + part for has, part in zip(taken, pro_rata(amount, capacities, taken), strict=True)]
        cumulative += amount
        distances = [has - Fraction(cumulative * capacity, whole) for has, capacity in zip(taken, capacities, strict=True)]
        assert max(distances) <= Fraction(n - 1, n)
        assert min(distances) >= -Fraction((n - 1) ** 2, n)


def test_behind_a_cash_first_refund_the_source_ahead_waits_for_the_others() -> None:
    capacities = [6 * 10**14, 3 * 10**14, 10**14]
    taken = allocate(
        5 * 10**14,
        capacities=capacities,
        taken=[0, 0, 0],
        sources=(Source.balance, Source.coupon, Source.points),
        rule=Allocation.cash_first,
    )
    assert taken == [5 * 10**14, 0, 0]

    shares = pro_rata(2 * 10**14, capacities, taken)

    # Of 7 * 10^14 the exact shares are 42, 21 and 7 (times 10^13). Balance is 8 above with nothing to give up, so the other two,
    # equally far from theirs, give up 4 each.
    assert shares == [0, 17 * 10**13, 3 * 10**13]


def test_where_largest_remainder_would_take_a_unit_back_another_source_waits() -> None:
    """The Alabama paradox: the third source's share falls from 2 to 1 as the total grows from 10 to 11."""
    capacities = [6, 6, 2]
    assert share(10, capacities) == [4, 4, 2]
    assert share(11, capacities) == [5, 5, 1]

    assert pro_rata(1, capacities, [4, 4, 2]) == [0, 1, 0]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Allocation.cash_first, [50, 0, 30, 0]),
        (Allocation.promotions_first, [20, 20, 0, 40]),
        (Allocation.pro_rata, [29, 11, 17, 23]),
    ],
)
def test_the_rules_spread_eighty(rule: Allocation, expected: list[int]) -> None:
    sources = (Source.balance, Source.coupon, Source.card, Source.points)

    assert allocate(80, capacities=[50, 20, 30, 40], taken=[0, 0, 0, 0], sources=sources, rule=rule) == expected


@pytest.mark.parametrize(("amount", "taken"), [(-1, [0, 0]), (101, [0, 0]), (51, [50, 0]), (1, [60, 0])])
def test_what_the_sources_cannot_give_is_refused(amount: int, taken: list[int]) -> None:
    for rule in Allocation:
        with pytest.raises(ValueError, match="cannot give"):
            allocate(amount, capacities=[50, 50], taken=taken, sources=(Source.balance, Source.card), rule=rule)


@given(amount=st.integers(0, AMOUNT_MAX), quantity=st.integers(1, 200), steps=st.sets(st.integers(1, 200)))
def test_pieces_of_a_line_in_any_order_of_cancelling_sum_to_the_line(amount: int, quantity: int, steps: set[int]) -> None:
    counts = [0, *sorted(step for step in steps if step < quantity), quantity]

    pieces = [line_amount(amount, quantity, after) - line_amount(amount, quantity, before) for before, after in pairwise(counts)]

    assert sum(pieces) == amount
    assert min(pieces) >= 0
