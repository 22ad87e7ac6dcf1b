"""A replay's result as tables: numbers to the last minor unit, the first faults in full, the others counted."""

import io
import re
from pathlib import Path

from rich.console import Console

from service.terminal.api_client import Reply
from service.terminal.replay_plan import Run, read_plan
from service.terminal.replay_table import Timing, print_result
from service.terminal.replay_tally import Check, Tally, judge
from tests.unit.service.terminal.history import NOW, cancellation, payment, write


def printed(folder: Path, replies: list[Reply], found: list[Check], *, cancelling: float = 2.0) -> str:
    names = [f"p-{number}" for number in range(len(replies))]
    write(folder, [payment(name) for name in names], [cancellation(name, "C1") for name in names])
    plan = read_plan(folder, Run.starting(NOW))
    tally = Tally(plan, {"accepted": len(names), "duplicates": 0})
    for case, reply in zip(plan.cases, replies, strict=True):
        tally.results.append(judge(case, case.wishes[0], reply, asked_seconds=12.5))
    console = Console(file=io.StringIO(), width=200)
    print_result(console, tally, found, Timing(importing=1, cancelling=cancelling, requests=3_000, repeated=2))
    assert isinstance(console.file, io.StringIO)
    return " ".join(re.sub("[│┃]", " ", console.file.getvalue()).split())


def test_outcomes_and_times_are_counted(tmp_path: Path) -> None:
    body = {"state": "completed", "amount": 33, "created_at": "2026-11-22T14:00:00Z", "updated_at": "2026-11-22T14:00:00.250000Z"}

    told = printed(tmp_path, [Reply(200, body), Reply(409, {"code": "invalid-state"})], [Check("it holds", [])])

    assert "registered 2 GBP 3.00" in told
    assert "requested 2 GBP 0.66" in told
    assert "refunded 1 GBP 0.33" in told
    assert "payment already over: 409 invalid-state: an earlier cancellation had undone the whole payment." in told
    assert "more than was left: 422" not in told, "nothing that did not happen is explained"
    assert "calls 3,000, 1,500/s" in told
    assert "request to answer 12.5 s 12.5 s" in told
    assert "request to money 250 ms 250 ms" in told
    assert "it holds yes" in told


def test_of_many_faults_the_first_ten_are_told_and_the_others_counted(tmp_path: Path) -> None:
    told = printed(tmp_path, [Reply(500, {})], [Check("sums", [f"fault {number}\x1b[2J" for number in range(1_010)])], cancelling=0)

    assert "sums no (1,010)" in told
    assert told.count("sums: fault") == 10
    assert "sums: and 1,000 more" in told
    assert "\x1b" not in told
    assert "calls 3,000, 0/s" in told
    assert "request to money - -" in told
    assert "errors: replay-261122140000-p-0 C1: 500" in told
