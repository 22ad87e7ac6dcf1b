"""How many lines of a kind are written: some at once, then one a second, and the others are counted."""

from service.line_limit import KINDS_MAX, LINES_AT_ONCE, OTHERS, LineLimit


def test_one_line_a_second_after_the_first_ones() -> None:
    now = [0.0]
    limit = LineLimit(lambda: now[0])

    assert [limit.admits("a") for _ in range(LINES_AT_ONCE + 3)] == [True] * LINES_AT_ONCE + [False] * 3
    assert limit.admits("b"), "another kind has its own"
    now[0] = 1.0
    assert [limit.admits("a"), limit.admits("a")] == [True, False]
    assert limit.take_left_out() == {"a": 4}
    assert limit.take_left_out() == {}


def test_so_many_kinds_are_told_apart_and_all_others_share_one_limit() -> None:
    limit = LineLimit(lambda: 0.0)

    admitted = sum(limit.admits(f"kind {number}") for number in range(10 * KINDS_MAX))

    assert admitted == KINDS_MAX + LINES_AT_ONCE
    assert limit.take_left_out() == {OTHERS: 9 * KINDS_MAX - LINES_AT_ONCE}
