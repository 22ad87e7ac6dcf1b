"""Simulations at the terminal: what is sent, what is shown, and what ends the command."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from service.terminal.simulation import SimulationCall, run_simulate
from tests.unit.service.terminal.linting import GOOD

Json = dict[str, Any]

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def explained(route: str | None, refusal: str | None, rule: str | None) -> Json:
    return {"route": route, "refusal": refusal, "rule": rule, "policy_version": "v-1", "window": None, "message": "So."}


def result(**members: Any) -> Json:
    difference = {
        **{"cancellation_id": "can_1", "payment_id": "pay_1", "amount": 20_000, "currency": "CNY"},
        "created_at": "2026-11-22T12:00:00.000000Z",
        "before": explained("merchant", None, "ask-the-merchant"),
        "after": explained(None, "no-rule", None),
    }
    usual = {
        **{"policy_version": "v-1", "decisions": 1200, "changed": 60, "kinder": 42, "harsher": 15, "window_changed": 0},
        **{"not_reproduced": 0, "skipped": 0},
        "transitions": [
            {"before": "merchant", "after": "no-rule", "decisions": 60, "amounts": {"CNY": 123_456, "JPY": 700}},
            {"before": "void", "after": "void", "decisions": 1140, "amounts": {"CNY": 1}},
        ],
        "rules_after": [{"rule": "all", "decisions": 1140}, {"rule": None, "decisions": 60}],
        "differences": [difference],
    }
    return {**usual, **members}


NOTHING = result(changed=0, kinder=0, harsher=0, transitions=[], rules_after=[], differences=[], decisions=0)


class Lines(httpx.SyncByteStream):
    """The lines of an answer, one after the other; one that is an exception is raised in its place."""

    def __init__(self, *lines: Json | BaseException) -> None:
        self.lines = lines
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for line in self.lines:
            if isinstance(line, BaseException):
                raise line
            yield json.dumps(line).encode() + b"\n"

    def close(self) -> None:
        self.closed = True


PROGRESS = {"type": "progress", "decisions": 500, "at": "2026-11-22T12:00:00.000000Z"}


def simulated(tmp_path: Path, answer: Lines | httpx.Response, text: str = GOOD, *, as_json: bool = False) -> tuple[int, str, list[Any]]:
    sent: list[Any] = []

    def serve(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path, request.headers["accept"]) == ("POST", "/v1/policies/simulate", "application/x-ndjson")
        assert (request.headers["authorization"], "idempotency-key" in request.headers) == ("Bearer t", False)
        sent.append(json.loads(request.read()))
        return httpx.Response(200, stream=answer) if isinstance(answer, Lines) else answer

    file, output = tmp_path / "policy.yaml", io.StringIO()
    file.write_text(text)
    call = SimulationCall(url="http://fake", token="t", file=file, start=START, end=END)
    status = run_simulate(call, console=Console(file=output, width=200), as_json=as_json, transport=httpx.MockTransport(serve))
    return status, output.getvalue().replace(str(file), "FILE"), sent


def test_the_policy_is_sent_with_its_span(tmp_path: Path) -> None:
    status, _, [sent] = simulated(tmp_path, Lines(PROGRESS, {"type": "result", **result()}))

    assert (status, sent["policy"]["version"]) == (0, "v-1")
    assert (sent["from"], sent["to"]) == ("2026-11-01T00:00:00.000000Z", "2026-12-01T00:00:00.000000Z")


def test_what_would_change_is_told_and_shown(tmp_path: Path) -> None:
    _, said, _ = simulated(tmp_path, Lines(PROGRESS, {"type": "result", **result()}))

    lines = said.splitlines()
    assert lines[0] == "v-1 would have changed 60 of 1,200 decisions: 42 kinder to the customer, 15 harsher, 3 neither."
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert cells == [
        ["merchant", "no-rule", "60", "CNY 1,234.56, JPY 700"],
        ["void", "void", "1,140", "CNY 0.01"],
        ["all", "1,140"],
        ["no rule", "60"],
        ["CNY 200.00", "can_1", "2026-11-22T12:00:00.000000Z", "merchant (ask-the-merchant)", "no-rule (no rule)"],
    ]
    assert "The largest differences: 1 of 60 (--json shows up to 100)" in said


def test_that_nothing_would_change_is_told(tmp_path: Path) -> None:
    status, said, _ = simulated(tmp_path, Lines({"type": "result", **NOTHING}))

    assert (status, said) == (0, "v-1 would have changed none of 0 decisions.\n")


def test_windows_and_what_cannot_be_replayed_are_told(tmp_path: Path) -> None:
    _, said, _ = simulated(tmp_path, Lines({"type": "result", **NOTHING, "window_changed": 7, "not_reproduced": 2, "skipped": 3}))

    assert said.splitlines() == [
        "v-1 would have changed none of 0 decisions. 7 more keep their route with another window.",
        "2 kept decisions are not what their own policy says when it is asked again. This should never be: report it, with the output of "
        "--json.",
        "3 were left out, since no policy had been asked.",
    ]


def test_the_raw_answer_is_printed_and_nothing_else(tmp_path: Path) -> None:
    answer = result() | {"merchant_id": "shop:100:[b]\\"}  # no emoji, and no markup

    status, said, _ = simulated(tmp_path, Lines(PROGRESS, {"type": "result", **answer}), as_json=True)

    assert (status, json.loads(said)) == (0, answer)


def test_a_stream_that_was_cut_is_no_result(tmp_path: Path) -> None:
    for lines in (Lines(PROGRESS), Lines(PROGRESS, httpx.RemoteProtocolError("peer closed"))):
        status, said, _ = simulated(tmp_path, lines)

        assert status == 1
        assert "again" in said
        assert "would have changed" not in said


def test_who_interrupts_it_leaves_nobody_waiting(tmp_path: Path) -> None:
    lines = Lines(PROGRESS, KeyboardInterrupt())

    status, said, _ = simulated(tmp_path, lines)

    assert (status, said) == (130, "Stopped. A simulation writes nothing, so nothing has changed.\n")
    assert lines.closed, "the connection is closed, by which the service knows"


def test_what_is_wrong_with_the_policy_is_told_and_not_sent(tmp_path: Path) -> None:
    status, said, sent = simulated(tmp_path, Lines(), "{}")

    assert (status, sent) == (1, [])
    assert "FILE:1: /version: Is required." in said


def test_what_the_service_finds_is_printed_with_its_place_in_the_file(tmp_path: Path) -> None:
    errors = [{"pointer": "/policy/rules/0", "detail": "No."}, {"pointer": "/to", "detail": "Must not be earlier than from."}]

    status, said, _ = simulated(tmp_path, httpx.Response(422, json={"code": "validation-failed", "errors": errors}))

    assert (status, said) == (1, "FILE:7: /rules/0: No.\n/to: Must not be earlier than from.\n")


@pytest.mark.parametrize("body", [{"title": "Too many requests", "detail": "Another simulation is running."}, None])
def test_any_other_answer_ends_the_command(tmp_path: Path, body: Json | None) -> None:
    answer = httpx.Response(429, text="busy") if body is None else httpx.Response(429, json=body)

    status, said, _ = simulated(tmp_path, answer)

    assert status == 1
    assert said.startswith("The service refused: 429")
    assert ("Another simulation is running." in said) is (body is not None)
