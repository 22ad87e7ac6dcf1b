"""Import and replay: what is planned, what is sent, what is counted, and what is found to be wrong."""

import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from service.auth.keys import LocalKeys, load_or_create_keys
from service.terminal.api_client import Reply
from service.terminal.failure import UserError
from service.terminal.replay import Surroundings, run_import, run_replay
from service.terminal.replay_plan import Line, ReplayLedger, Run, Wish, read_plan
from service.terminal.replay_tally import Outcome, Tally, checks, hand_off, judge, percentile, step_after
from tests.unit.service.terminal.fake_service import FakeService, Shaky

NOW = datetime(2026, 11, 22, 14, 0, 0, 999, tzinfo=UTC)
URL = "http://fake"


def payment(reference: str, at: str = "2010-12-01T08:26:00Z", **more: Any) -> dict[str, Any]:
    items = [{"reference": "A", "name": "a", "quantity": 3, "amount": 100}, {"reference": "B", "name": "b", "quantity": 1, "amount": 50}]
    moments = {"completed_at": at, "authorised_at": at}
    return {
        "reference": reference,
        "wallet_id": "w",
        "merchant_id": "m",
        "amount": 150,
        "currency": "GBP",
        "items": items,
        **moments,
        **more,
    }


def cancellation(reference: str, invoice: str, lag: int = 600, pieces: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    items = [{"reference": line, "quantity": quantity} for line, quantity in (pieces or {"A": 1}).items()]
    at = f"2010-12-02T00:{len(invoice):02d}:00Z"
    return {
        "invoice": invoice,
        "payment_reference": reference,
        "requested_at": at,
        "lag_seconds": lag,
        "items": items,
        "whole": False,
        **more,
    }


def write(folder: Path, payments: list[dict[str, Any]], cancellations: list[dict[str, Any]]) -> Path:
    for name, lines in (("payments", payments), ("cancellations", cancellations)):
        with gzip.open(folder / f"{name}.ndjson.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    return folder


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LocalKeys:
    return load_or_create_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def no_pause(_: float) -> None:
    """Time passes at once."""


def around(service: FakeService, loses: Callable[[httpx.Request], bool] = lambda _: False) -> Surroundings:
    transport = Shaky(httpx.ASGITransport(service.app), loses)
    return Surroundings(clock=lambda: NOW, transport=transport, pause=no_pause)


FOLDER_PAYMENTS = [payment("p-0"), payment("p-1"), payment("p-2", "2010-12-03T08:26:00Z"), payment("p-3"), payment("p-4")]
FOLDER_CANCELLATIONS = [
    cancellation("p-0", "C1", pieces={"A": 1}),
    cancellation("p-0", "C22", 700, pieces={"A": 2, "B": 1}),  # with C1, all of it
    cancellation("p-1", "M1"),  # the merchant decides
    cancellation("p-1", "C333", 900, pieces={"A": 1}),
    cancellation("p-3", "R1", 2_000_000),
    cancellation("p-4", "C4", pieces={"A": 3, "B": 1}, whole=True),
    cancellation("p-4", "C55", pieces={"A": 1}),  # after all of it went back
]


def verdict(invoice: str) -> str:
    return {"C": "automatic", "M": "merchant", "R": "refuse", "S": "stuck"}[invoice[0]]


def test_a_replay_counts_every_outcome_and_its_invariants_hold(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    folder = write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)

    status = run_replay(URL, keys, folder, console=console, around=around(service))

    told = " ".join(printed(console).split())
    assert status == 0
    assert service.effects == len(FOLDER_CANCELLATIONS)
    assert "│ registered │ 5 │ GBP 7.50 │" in told
    assert "│ requested │ 7 │" in told
    assert "│ refunded │ 4 │ GBP 3.33 │" in told  # 33 + 117, 33, 150
    assert "│ refused by rule │ 1 │ GBP 0.33 │" in told
    assert "│ ask-the-merchant: window-closed │ 1 │" in told
    assert "│ handed off, then withdrawn │ 1 │ GBP 0.33 │" in told
    assert "│ payment already over │ 1 │" in told
    assert "an earlier cancellation had undone the whole payment" in told
    assert "│ error │ 0 │" in told
    assert "request to money" in told
    assert "250 ms" in told
    assert "no (" not in told
    assert "refundry check" in told


def test_a_replay_loses_no_answer_and_does_nothing_twice(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    folder = write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)

    status = run_replay(URL, keys, folder, console=console, around=around(service, lambda _: True))

    assert status == 0
    assert service.effects == len(FOLDER_CANCELLATIONS)
    assert len(service.payments) == len(FOLDER_PAYMENTS)


def test_a_named_run_sends_the_same_again_and_another_run_makes_new_payments(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    folder = write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)
    run_replay(URL, keys, folder, console=console, around=around(service))
    before = (len(service.payments), service.effects)

    again = run_replay(URL, keys, folder, console=console, run="261122140000", around=around(service))
    after = (len(service.payments), service.effects)
    other = run_replay(URL, keys, folder, console=console, run="261122140001", around=around(service))

    assert (again, other) == (0, 0)
    assert after == before
    assert len(service.payments) == 2 * before[0]


def test_the_limit_takes_the_first_payments_with_their_cancellations_only(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    folder = write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)

    assert run_replay(URL, keys, folder, console=console, limit=2, around=around(service)) == 0

    assert len(service.payments) == 2
    assert service.effects == 4


def test_money_that_is_missing_is_found(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    service.pay_too_little = True
    folder = write(tmp_path, [payment("p-0")], [cancellation("p-0", "C1")])

    assert run_replay(URL, keys, folder, console=console, around=around(service)) == 1

    told = printed(console)
    assert "32 instead of 33" in told
    assert "GBP: 32 at the service, 33 by the data" in told


def test_a_refund_that_never_ends_is_an_error(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    folder = write(tmp_path, [payment("p-0")], [cancellation("p-0", "S1")])

    assert run_replay(URL, keys, folder, console=console, around=around(service)) == 1

    told = printed(console)
    assert "is a worker running?" in told
    assert "33 is reserved" in told


@pytest.mark.parametrize("name", ["payments", "cancellations"])
def test_a_folder_without_its_files_is_told(name: str, tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)
    (tmp_path / f"{name}.ndjson.gz").unlink()

    with pytest.raises(UserError, match=f"There is no {name}"):
        run_replay(URL, keys, tmp_path, console=console, around=around(FakeService(verdict)))


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


@pytest.mark.parametrize(
    ("status", "body", "step"),
    [
        (201, {"state": "executing"}, "follow"),
        (200, {"state": "executing"}, "follow"),
        (201, {"state": "awaiting_merchant"}, "withdraw"),
        (201, {"state": "awaiting_return"}, "withdraw"),
        (201, {"state": "awaiting_agent"}, "withdraw"),
        (201, {"state": "awaiting_second_approval"}, "withdraw"),
        (200, {"state": "completed"}, "over"),
        (200, {"state": "needs_attention"}, "over"),
        (422, {"code": "policy-refused"}, "over"),
    ],
)
def test_what_is_done_after_an_answer(status: int, body: dict[str, Any], step: str) -> None:
    assert step_after(Reply(status, body)) == step


@pytest.mark.parametrize(
    ("reply", "handed_to", "outcome", "detail"),
    [
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
    ],
)
def test_the_end_of_a_request(reply: Reply, handed_to: str | None, outcome: Outcome, detail: str, tmp_path: Path) -> None:
    write(tmp_path, [payment("p-0")], [cancellation("p-0", "C1")])
    (case,) = read_plan(tmp_path, Run.starting(NOW)).cases

    result = judge(case, case.wishes[0], reply, asked_seconds=0.1, handed_to=handed_to)

    assert (result.outcome, result.detail, result.amount, result.expected) == (outcome, detail, 33, 33)


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


@pytest.mark.parametrize(("share", "value"), [(0.5, 5), (0.95, 10), (1.0, 10), (0.0, 1), (0.1, 1)])
def test_percentiles_are_values_that_occurred(share: float, value: float) -> None:
    assert percentile(range(10, 0, -1), share) == value
    assert percentile([], share) is None


# Import.

LINES = b"".join(json.dumps(payment(f"i-{n}")).encode() + b"\n" for n in range(3))


@pytest.mark.parametrize("packed", [False, True])
def test_an_import_registers_what_the_file_holds(packed: bool, tmp_path: Path, console: Console) -> None:
    service = FakeService(verdict)
    file = tmp_path / "p.ndjson"
    file.write_bytes(gzip.compress(LINES) if packed else LINES)

    assert run_import(URL, "t", str(file), console=console, around=around(service)) == 0
    assert run_import(URL, "t", str(file), console=console, around=around(service)) == 0

    assert len(service.payments) == 3
    assert "3" in printed(console)


def test_an_import_with_a_bad_line_says_which_and_ends_with_one(tmp_path: Path, console: Console) -> None:
    file = tmp_path / "p.ndjson"
    file.write_bytes(LINES + b"nonsense\n")

    assert run_import(URL, "t", str(file), console=console, around=around(FakeService(verdict))) == 1

    assert "malformed-request" in printed(console)


def test_an_import_reads_the_standard_input(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService(verdict)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(LINES))))

    assert run_import(URL, "t", "-", console=console, around=around(service)) == 0

    assert len(service.payments) == 3


def test_an_import_of_a_damaged_or_absent_file_is_told(tmp_path: Path, console: Console) -> None:
    file = tmp_path / "p.ndjson.gz"
    file.write_bytes(gzip.compress(LINES)[:-9])

    with pytest.raises(UserError, match="is damaged"):
        run_import(URL, "t", str(file), console=console, around=around(FakeService(verdict)))
    with pytest.raises(UserError, match="cannot be read"):
        run_import(URL, "t", str(tmp_path / "absent"), console=console, around=around(FakeService(verdict)))


def test_somebody_who_watches_sees_bars(tmp_path: Path, keys: LocalKeys) -> None:
    watched = Console(file=io.StringIO(), width=100, force_terminal=True)
    folder = write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)

    assert run_replay(URL, keys, folder, console=watched, around=around(FakeService(verdict))) == 0

    assert "cancelling" in printed(watched)
    assert "7/7" in printed(watched)
