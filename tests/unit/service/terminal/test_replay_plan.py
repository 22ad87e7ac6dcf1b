"""What a replay is to do: the run, the shifted clocks, and what each cancellation is worth by the data alone."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.terminal.failure import UserError
from service.terminal.replay_plan import Line, ReplayLedger, Run, Wish, read_plan
from tests.unit.service.terminal.history import FOLDER_CANCELLATIONS, FOLDER_PAYMENTS, NOW, payment, write


def test_a_damaged_or_foreign_file_is_told(tmp_path: Path) -> None:
    run = Run.starting(NOW)
    write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)
    whole = (tmp_path / "payments.ndjson.gz").read_bytes()

    (tmp_path / "payments.ndjson.gz").write_bytes(whole[:-9])
    with pytest.raises(UserError, match="is damaged"):
        read_plan(tmp_path, run)
    (tmp_path / "payments.ndjson.gz").write_bytes(gzip.compress(b'{"reference": "x"}\n'))
    with pytest.raises(UserError, match="another form"):
        read_plan(tmp_path, run)


@pytest.mark.parametrize("name", ["", "x", "26112214000", "261322140000", "２６１１２２１４００００"])
def test_the_name_of_no_run_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is not the name of a run"):
        Run.named(name)


def test_a_run_named_again_is_the_same_run() -> None:
    assert Run.named(Run.starting(NOW).name) == Run.starting(NOW)


def test_each_payments_clock_is_set_by_its_first_cancellation(tmp_path: Path) -> None:
    write(tmp_path, FOLDER_PAYMENTS, list(reversed(FOLDER_CANCELLATIONS)))
    run = Run.starting(NOW)

    plan = read_plan(tmp_path, run)
    bodies = {body["reference"].rpartition("replay-261122140000-")[2]: body for body in map(json.loads, plan.lines())}

    assert bodies["p-0"]["completed_at"] == "2026-11-22T13:50:00.000000Z"  # 600 s, not the 700 of the second
    assert bodies["p-0"]["authorised_at"] == bodies["p-0"]["completed_at"]
    assert bodies["p-2"]["completed_at"] == "2026-11-22T14:00:00.000000Z"  # the last one of all, without a cancellation
    assert [wish.invoice for wish in plan.cases[0].wishes] == ["C1", "C22"]
    assert plan.requests == 7


def test_a_run_sends_the_same_bodies_whatever_its_limit(tmp_path: Path) -> None:
    run = Run.starting(NOW)
    write(tmp_path, [payment("alone"), *FOLDER_PAYMENTS], FOLDER_CANCELLATIONS)

    assert list(read_plan(tmp_path, run, 2).lines()) == list(read_plan(tmp_path, run).lines())[:2]


def test_a_reference_that_would_become_too_long_is_told() -> None:
    with pytest.raises(UserError, match="too long"):
        Run.starting(NOW).reference("r" * 46)
    assert len(Run.starting(NOW).reference("r" * 44)) == 64


@given(st.lists(st.integers(1, 7), min_size=1, max_size=9), st.integers(1, 10_000))
def test_any_order_of_partial_cancellations_comes_to_the_whole_line(parts: list[int], amount: int) -> None:
    ledger = ReplayLedger(amount, {"A": Line(sum(parts), amount)})

    for part in parts:
        ledger.grant(Wish("C", NOW, 0, (("A", part),), False))

    assert ledger.refunded == amount
    assert ledger.all_pieces_taken


def test_a_whole_cancellation_is_the_whole_amount_only_while_nothing_went_back() -> None:
    whole = Wish("C", NOW, 0, (("A", 3),), True)
    fresh = ReplayLedger(110, {"A": Line(3, 110)})
    begun = ReplayLedger(110, {"A": Line(4, 110)})
    begun.grant(Wish("C", NOW, 0, (("A", 1),), False))

    assert (fresh.wants_all(whole), fresh.worth(whole)) == (True, 110)
    assert (begun.wants_all(whole), begun.worth(whole)) == (False, 82)


def test_more_pieces_than_there_are_come_to_what_is_left_and_unknown_lines_to_nothing() -> None:
    ledger = ReplayLedger(100, {"A": Line(2, 100)})

    assert ledger.worth(Wish("C", NOW, 0, (("A", 5), ("Z", 1)), False)) == 100
