"""A history under policies, offline: what each cancellation comes to, that all are counted, and that the picture says the same."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from service.terminal.failure import UserError
from service.terminal.replay_offline import Ending, read_policies
from tests import ROOT
from tests.unit.service.terminal.comparing import TWO, cancellation, compared, payment
from tests.unit.service.terminal.history import write
from workflows.domain.enums import Reason

POLICIES = ROOT / "service" / "policies"

EXPECTED_CN = Counter(
    {
        Ending("automatic", "same-day-cancel"): 2,  # C1 C6
        Ending("limit-reached", "ask-the-merchant"): 1,  # C2
        Ending("merchant", "ask-the-merchant"): 1,  # C3
        Ending("return", "seven-day-return"): 1,  # C4
        Ending("agent", "last-day-was-a-holiday"): 1,  # C5
        Ending("payment already over", None): 1,  # C7
        Ending("more than was left", None): 1,  # C8
        Ending("window-closed", "last-day-was-a-holiday"): 1,  # C9
    }
)


def test_every_cancellation_is_counted_once_under_the_rule_that_decides_it(folder: Path) -> None:
    found = compared(folder, TWO)

    chinese, american = found.columns
    assert chinese.counts == EXPECTED_CN
    assert (found.cancellations, found.taken, found.adds_up) == (10, 9, True)
    assert american.counts[Ending("merchant", "ask-the-merchant")] == 4  # C1 C2 C3 C6
    assert american.counts[Ending("merchant", "merchants-return-terms")] == 2  # C4 C5
    assert american.count() == 9


def test_amounts_are_what_the_pieces_are_worth_then(folder: Path) -> None:
    chinese, american = compared(folder, TWO).columns

    # A is three pieces for 100: 33, then 34, then 33; all of the payment is 150.
    assert chinese.amount("automatic") == {"GBP": 33 + 150}
    assert chinese.amount("limit-reached") == {"GBP": 67}
    assert chinese.amount("return") == {"GBP": 34}
    assert chinese.amount("agent") == {"GBP": 33}
    assert chinese.amount() == american.amount()


def test_what_was_granted_before_is_no_longer_left(tmp_path: Path) -> None:
    asked = [cancellation("p", "C", "2010-12-01T03:00:00Z"), cancellation("p", "D", "2010-12-01T04:00:00Z", {"A": 4})]
    write(tmp_path, [payment("p")], asked)

    assert compared(tmp_path, ["default"]).columns[0].amount("more than was left") == {"GBP": 100 - 33}


def test_the_requests_of_a_day_count(tmp_path: Path) -> None:
    text = (POLICIES / "default.yaml").read_text(encoding="utf-8")
    (tmp_path / "one.yaml").write_text(text.replace("requests_per_day: 100", "requests_per_day: 1"), encoding="utf-8")
    moments = ["2010-12-01T02:01:00Z", "2010-12-01T02:02:00Z", "2010-12-02T02:02:00Z"]  # the last a day after the second
    write(tmp_path, [payment("p")], [cancellation("p", f"C{number}", at) for number, at in enumerate(moments)])

    column = compared(tmp_path, [str(tmp_path / "one.yaml")]).columns[0]

    assert (column.count("automatic"), column.count("limit-reached"), column.count("merchant")) == (1, 1, 1)


@pytest.mark.parametrize(
    ("assumed", "ending"),
    [
        ({"delivered_after_days": 5000}, Ending("merchant", "ask-the-merchant")),
        ({"delivered_after_days": 3, "reason": Reason.damaged}, Ending("return", "defective")),
        ({"reason": Reason.unauthorised}, Ending("agent", "not-my-payment")),
    ],
)
def test_what_is_assumed_decides(tmp_path: Path, assumed: dict[str, Any], ending: Ending) -> None:
    write(tmp_path, [payment("p")], [cancellation("p", "C", "2010-12-05T02:00:00Z")])

    assert compared(tmp_path, ["cn-wallet"], **assumed).columns[0].counts == {ending: 1}


@pytest.mark.parametrize(
    ("told", "ending"),
    [
        ({"shipped_at": "2010-12-02T02:00:00Z"}, Ending("merchant", "ask-the-merchant")),
        ({"delivered_at": "2010-12-06T02:00:00Z"}, Ending("merchant", "ask-the-merchant")),  # only tomorrow
        ({"delivered_at": "2010-12-05T01:00:00Z", "category": "digital"}, Ending("category-excluded", "seven-day-return")),
        ({"fulfilment": "returned"}, Ending("category-excluded", "sent-to-somebody")),
        ({"completed_at": None, "authorised_at": "2010-12-01T02:00:00Z"}, Ending("agent", "still-pending")),
    ],
)
def test_what_the_files_say_goes_before_what_is_assumed(tmp_path: Path, told: dict[str, Any], ending: Ending) -> None:
    body = {name: value for name, value in payment("p", **told).items() if value is not None}
    write(tmp_path, [body], [cancellation("p", "C", "2010-12-05T02:00:00Z", {"A": 3, "B": 1}, whole=True)])

    assert compared(tmp_path, ["cn-wallet"]).columns[0].counts == {ending: 1}


def test_a_policy_can_be_a_file(folder: Path, tmp_path: Path) -> None:
    text = (POLICIES / "eu-card.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(text.replace("eu-card-2026-11", "mine-1"), encoding="utf-8")

    mine, shipped = compared(folder, [str(tmp_path / "mine.yaml"), "eu-card"]).columns

    assert (mine.name, mine.counts) == ("mine-1", shipped.counts)


def test_a_file_that_is_no_policy_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rules: []", encoding="utf-8")
    (tmp_path / "worse.yaml").write_text("{", encoding="utf-8")
    twice = (POLICIES / "default.yaml").read_text(encoding="utf-8") + "limits: {partial_refunds_max: 1}\n"
    (tmp_path / "twice.yaml").write_text(twice, encoding="utf-8")

    with pytest.raises(UserError, match="policy lint"):
        read_policies([str(tmp_path / "bad.yaml")])
    with pytest.raises(UserError, match="cannot be read as a policy"):
        read_policies([str(tmp_path)])
    for name, said in (("worse", "neither YAML nor JSON"), ("twice", "limits stands twice")):
        with pytest.raises(UserError, match=said):
            read_policies([str(tmp_path / f"{name}.yaml")])


def test_a_payment_that_the_service_would_not_take_is_told(tmp_path: Path) -> None:
    write(tmp_path, [payment("p", amount=151)], [cancellation("p", "C", "2010-12-05T02:00:00Z")])

    with pytest.raises(UserError, match="The payment p would not be registered"):
        compared(tmp_path, ["default"])
