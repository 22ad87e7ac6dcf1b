"""The guided tour: against a service of its own, twice; and how it finds the policy that it needs."""

import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from service.auth.keys import load_or_create_keys
from service.settings import environment_for_child
from service.terminal.demo.silence import RULE, policy_with_rule
from service.terminal.demo.tour import Tour
from service.terminal.failure import UserError
from service.up import embedded

Json = dict[str, Any]

PATIENCE_SECONDS = 240  # only bounds a hang: a busy machine starts slowly
WIDE = {"COLUMNS": "200"}


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a service that runs."""
    chosen = tmp_path / "data"
    command = [sys.executable, "-m", "service", "up", "--data", str(chosen), "--port", "0"]
    with (tmp_path / "up.txt").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment_for_child({}), process_group=0)
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while not (chosen / "up.json").exists():
            assert process.poll() is None, (tmp_path / "up.txt").read_text()
            assert time.monotonic() < end, "never ready"
            time.sleep(0.1)
        yield chosen
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)
        if (server := embedded.find(chosen)) is not None:
            server.stop()


def tour(directory: Path) -> str:
    command = [sys.executable, "-P", "-m", "service.terminal.demo", "--data", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment_for_child({}) | WIDE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_the_tour_shows_each_way_to_a_decision_and_can_be_taken_again(directory: Path) -> None:
    first, second = tour(directory), tour(directory)

    for shown in (first, second):
        assert re.findall(r"^(\d+)\. ", shown, re.MULTILINE) == [str(number) for number in range(1, 12)]
        told = ["1 movement", "declined", "awaiting_agent", "offered", "\u60a8\u7533\u8bf7\u9000\u6b3e", "withdrawn"]
        told += ["Of the payment CNY 30.00 is refunded, and CNY 12.00 refundable again.", "cancellation.timed_out   accept"]
        told += ["awaiting_return", "awaiting_second_approval", "Tier complex: the first answer is due by"]
        told += [
            "1/2 of the time is over",
            "Please contact Sunny Shop, who may still be able to help you: help@sunny.example",
            "The time to cancel this payment ended",
            "payment.refunded",
        ]
        assert [text for text in told if text not in shown] == []
        assert shown.index("cancellation.reminded") < shown.index("cancellation.timed_out") < shown.index("payment.refunded")
    assert "The operator publishes the policy 2026-11-a.demo" in first
    assert "The policy 2026-11-a.demo is there from an earlier tour." in second


class Policies:
    """A service that knows policies only."""

    def __init__(self, *documents: Json) -> None:
        self.documents = {document["version"]: document for document in documents}
        self.published: list[Json] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.published.append(json.loads(request.content))
            return httpx.Response(201, json={})
        version = request.url.path.removeprefix("/v1/policies").strip("/")
        if version:
            return httpx.Response(200, json={"policy": self.documents[version]})
        entries = [{name: one[name] for name in ("version", "effective_from")} for one in reversed(self.documents.values())]
        return httpx.Response(200, json={"data": entries})


def policy(version: str, effective_from: str, *rules: Json) -> Json:
    return {"version": version, "effective_from": f"{effective_from}T00:00:00.000000Z", "rules": list(rules), "timezone": "UTC"}


def touring(service: Policies, tmp_path: Path) -> Tour:
    client = httpx.Client(transport=httpx.MockTransport(service.answer), base_url="http://service.test")
    return Tour(client, load_or_create_keys(tmp_path), Console(file=io.StringIO()))


OTHER: Json = {"name": "other", "route": "agent"}


def test_the_rule_goes_on_top_of_the_policy_in_force(tmp_path: Path) -> None:
    service = Policies(policy("a", "2020-01-01", OTHER), policy("b", "2021-01-01", OTHER), policy("ahead", "2999-01-01", OTHER))

    assert policy_with_rule(touring(service, tmp_path)) == "b.demo"

    [published] = service.published
    assert published["rules"] == [RULE, OTHER]
    assert published["timezone"] == "UTC"
    assert "2021" < published["effective_from"] < "2999"


def test_a_policy_that_has_the_rule_is_found(tmp_path: Path) -> None:
    service = Policies(policy("a", "2020-01-01", OTHER), policy("a.demo", "2021-01-01", RULE, OTHER))

    assert policy_with_rule(touring(service, tmp_path)) == "a.demo"
    assert service.published == []


def test_a_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    long = "x" * 64
    for base, taken, expected in (("a", "a.demo", "a.demo-2"), (long, "y", f"{'x' * 59}.demo")):
        service = Policies(policy(taken, "2020-01-01", RULE), policy(base, "2021-01-01", OTHER))
        assert policy_with_rule(touring(service, tmp_path)) == expected


def test_a_problem_ends_the_tour_with_what_the_service_said(tmp_path: Path) -> None:
    client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(409, json={"code": "invalid-state", "detail": "Not now."})),
        base_url="http://service.test",
    )

    with pytest.raises(UserError, match=r"409 to GET /v1/policies: Not now\."):
        policy_with_rule(Tour(client, load_or_create_keys(tmp_path), Console(file=io.StringIO())))
