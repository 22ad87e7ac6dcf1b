"""What came of a replay: the end of each request, the next step after an answer, and the checks that find what is wrong."""

from pathlib import Path
from typing import Any

from service.terminal.api_client import Reply
from service.terminal.replay_plan import Run, read_plan
from service.terminal.replay_tally import Outcome, Tally, checks, hand_off, judge, percentile, step_after
from tests.unit.service.terminal.history import NOW, cancellation, payment, write


def test_what_is_done_after_an_answer() -> None:
    cases: list[tuple[int, dict[str, Any], str]] = [
        (201, {"state": "executing"}, "follow"),
        (200, {"state": "executing"}, "follow"),
        (201, {"state": "awaiting_merchant"}, "withdraw"),
        (201, {"state": "awaiting_return"}, "withdraw"),
        (201, {"state": "awaiting_agent"}, "withdraw"),
        (201, {"state": "awaiting_second_approval"}, "withdraw"),
        (200, {"state": "completed"}, "over"),
        (200, {"state": "needs_attention"}, "over"),
        (422, {"code": "policy-refused"}, "over"),
    ]
    found = [(status, body, step_after(Reply(status, body))) for status, body, _ in cases]

    assert found == cases


def test_the_end_of_a_request(tmp_path: Path) -> None:
    cases: list[tuple[Reply, str | None, Outcome, str]] = [
        (Reply(200, {"state": "completed", "amount": 33, "decision": {"rule": "r"}}), None, Outcome.refunded, "r"),
        (Reply(200, {"state": "withdrawn", "amount": 33}), "merchant", Outcome.handed_off, "merchant"),
        (Reply(200, {"state": "needs_attention", "amount": 33}), None, Outcome.error, "the cancellation ended as needs_attention"),
        (Reply(200, {"state": "withdrawn", "amount": 33}), None, Outcome.error, "the cancellation ended as withdrawn"),
        (Reply(422, {"code": "policy-refused", "rule": "q", "refusal": "limit-reached"}), None, Outcome.refused, "q: limit-reached"),
        (Reply(422, {"code": "policy-refused", "rule": None, "refusal": "no-rule"}), None, Outcome.refused, "no rule: no-rule"),
        (Reply(409, {"code": "invalid-state"}), None, Outcome.already_over, "invalid-state"),
        (Reply(422, {"code": "amount-exceeds-refundable"}), None, Outcome.too_much, "amount-exceeds-refundable"),
        (Reply(422, {"code": "validation-failed", "detail": "Mend it."}), None, Outcome.error, "422 validation-failed: Mend it."),
        (Reply(404, {}), None, Outcome.error, "404"),
        (Reply(500, {}), None, Outcome.error, "500"),
    ]
    write(tmp_path, [payment("p-0")], [cancellation("p-0", "C1")])
    (case,) = read_plan(tmp_path, Run.starting(NOW)).cases

    ends = [(one, handed_to, judge(case, case.wishes[0], one, asked_seconds=0.1, handed_to=handed_to)) for one, handed_to, _, _ in cases]

    assert [(one, handed_to, end.outcome, end.detail) for one, handed_to, end in ends] == cases
    assert {(end.amount, end.expected) for _, _, end in ends} == {(33, 33)}


def test_a_second_approval_is_a_hand_off_of_its_own() -> None:
    assert hand_off(Reply(201, {"state": "awaiting_merchant", "route": "merchant"})) == "merchant"
    assert hand_off(Reply(201, {"state": "awaiting_second_approval", "route": "automatic"})) == "automatic, second approval"


def test_each_check_finds_what_it_is_there_for(tmp_path: Path) -> None:
    write(tmp_path, [payment("p-0"), payment("p-1")], [cancellation("p-0", "C1", pieces={"A": 3, "B": 1}), cancellation("p-1", "C2")])
    plan = read_plan(tmp_path, Run.starting(NOW))
    tally = Tally(plan, {"accepted": 1, "duplicates": 0, "rejected": 1})
    first, second = plan.cases
    wrong = Reply(200, {"state": "completed", "amount": 151})
    tally.results.append(judge(first, first.wishes[0], wrong, asked_seconds=0.1))
    first.ledger.grant(first.wishes[0])
    tally.payments[first.reference] = {
        "reference": first.reference,
        "state": "completed",
        "amount_refunded": 149,
        "amount_reserved": 1,
    }

    found = {check.name: check for check in checks(tally)}

    assert not any(check.holds for check in found.values())
    told = [fault for check in found.values() for fault in check.faults]
    assert "1 of 2 are there, 1 were rejected" in told
    assert "2 requests, 1 outcomes" in told
    assert "the outcomes' amounts do not sum to what was asked for" in told
    assert f"{first.reference} C1: 151 instead of 150" in told
    assert f"{first.reference}: 149 instead of 150" in told
    assert f"{first.reference}: completed instead of refunded" in told
    assert f"{first.reference}: 1 is reserved" in told
    assert f"{second.reference}: could not be read" in told


def test_percentiles_are_values_that_occurred() -> None:
    assert [percentile(range(10, 0, -1), share) for share in (0.0, 0.1, 0.5, 0.95, 1.0)] == [1, 1, 5, 10, 10]
    assert percentile([], 0.5) is None
