"""A history under policies, offline: what each cancellation comes to, that all are counted, and that the picture says the same."""

import io
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from typer.testing import CliRunner

from service.cli import application
from service.terminal.failure import UserError
from service.terminal.replay_compare import run_compare
from service.terminal.replay_offline import Assumptions, Comparison, Ending, UnknownPolicy, compare, read_policies
from service.terminal.replay_offline_table import print_comparison
from service.terminal.replay_svg import picture
from tests import ROOT
from tests.unit.service.terminal.test_replay import write
from workflows.domain.enums import Reason

NOW = datetime(2026, 11, 22, 14, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
POLICIES = ROOT / "service" / "policies"
TWO = ["cn-wallet", "us-wallet"]


def payment(reference: str, **more: Any) -> dict[str, Any]:
    paid = {"completed_at": "2010-12-01T02:00:00Z"}  # ten in the morning in Shanghai, the evening before in New York
    items = [{"reference": "A", "name": "a", "quantity": 3, "amount": 100}, {"reference": "B", "name": "b", "quantity": 1, "amount": 50}]
    whose = {"reference": reference, "wallet_id": "w", "merchant_id": "m"}
    return {**whose, "amount": 150, "currency": "GBP", "items": items, **paid, **more}


def cancellation(reference: str, invoice: str, at: str, pieces: dict[str, int] | None = None, *, whole: bool = False) -> dict[str, Any]:
    items = [{"reference": line, "quantity": quantity} for line, quantity in (pieces or {"A": 1}).items()]
    asked = {"invoice": invoice, "payment_reference": reference, "requested_at": at, "lag_seconds": 1}
    return {**asked, "items": items, "whole": whole}


PAYMENTS = [payment(f"p-{number}") for number in range(6)]
CANCELLATIONS = [
    cancellation("p-0", "C1", "2010-12-01T16:14:59Z"),  # 00:14:59 in Shanghai
    cancellation("p-0", "C2", "2010-12-01T16:15:00Z", {"A": 2}),  # a second later: the merchant's, but less than a minute after
    cancellation("p-1", "C3", "2010-12-02T02:00:00Z"),  # being prepared
    cancellation("p-1", "C4", "2010-12-11T15:59:59Z"),  # the seventh day after the fourth, in Shanghai
    cancellation("p-5", "C5", "2010-12-11T16:00:00Z"),
    cancellation("p-2", "C6", "2010-12-01T03:00:00Z", {"A": 3, "B": 1}, whole=True),
    cancellation("p-2", "C7", "2010-12-01T04:00:00Z"),
    cancellation("p-3", "C8", "2010-12-01T03:00:00Z", {"A": 4}),
    cancellation("p-4", "C9", "2011-12-01T03:00:00Z"),
    cancellation("nobody's", "C10", "2010-12-01T03:00:00Z"),
]
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, PAYMENTS, CANCELLATIONS)


def compared(folder: Path, names: list[str], *, limit: int | None = None, **assumed: Any) -> Comparison:
    return compare(folder, read_policies(names), Assumptions(**assumed), now=NOW, limit=limit, advance=lambda _: None)


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


def test_the_limit_takes_the_first_payments_and_says_what_is_left(folder: Path) -> None:
    console = Console(file=io.StringIO(), width=120)

    found = compared(folder, ["cn-wallet"], limit=2)
    print_comparison(console, found)

    assert found.taken == 4
    assert "Each column adds up to 4 cancellations of the folder. 6 more belong to payments" in console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def test_a_column_that_does_not_add_up_is_told(folder: Path) -> None:
    console = Console(file=io.StringIO(), width=120)
    found = compared(folder, TWO)
    found.columns[0].add(Ending("agent", "invented"), 1, "GBP")

    print_comparison(console, found)

    assert not found.adds_up
    assert "The columns do not add up to 9: cn-wallet has 10." in console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def test_the_picture_is_xml_and_has_the_tables_numbers(folder: Path) -> None:
    found = compared(folder, TWO)
    console = Console(file=io.StringIO(), width=120)

    print_comparison(console, found)
    root = ET.fromstring(picture(found))  # noqa: S314 -- our own

    table = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    rows = {line[:30].strip(): line.split()[-2:] for line in table.splitlines() if re.search(r"\d$", line.rstrip()) and line[:1] == " "}
    drawn: dict[tuple[str, str], int] = {}
    ends: dict[str, float] = {}
    for rect in root.iter(f"{SVG}rect"):
        if (title := rect.find(f"{SVG}title")) is not None:
            name, group, number = re.fullmatch(r"([\w-]+), (.*): (\d+) of 9", title.text or "").groups()  # type: ignore[union-attr]  # the form is asserted so
            drawn[name, group] = int(number)
            left, width = float(rect.get("x", "0")), float(rect.get("width", "0"))
            assert left == pytest.approx(ends.get(name, 120), abs=0.2)  # where the one before it ended
            assert width == pytest.approx(616 * int(number) / 9, abs=0.1)
            ends[name] = left + width
    assert len(drawn) >= 10
    for (name, group), number in drawn.items():
        assert rows[group][TWO.index(name)] == str(number)
    assert [sum(number for (name, _), number in drawn.items() if name == one) for one in TWO] == [9, 9]
    assert ends == pytest.approx(dict.fromkeys(TWO, 736), abs=0.2)
    assert rows["all"] == ["9", "9"]


def test_a_name_in_a_picture_is_text(folder: Path) -> None:
    found = compared(folder, ["cn-wallet"])
    found.columns[0].name = "<b>&"

    assert ET.fromstring(picture(found)).find(f"{SVG}text") is not None  # noqa: S314 -- our own


def test_the_command_draws_and_prints(folder: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "it.svg"

    done = CliRunner().invoke(application, ["replay", str(folder), "--policy", "cn-wallet", "--policy", "default", "--svg", str(drawn)])

    assert done.exit_code == 0, done.output
    assert "Each column adds up to 9 cancellations" in done.output
    assert "goods arrive 3 days after the payment" in done.output
    assert ET.parse(drawn).getroot().tag == f"{SVG}svg"  # noqa: S314 -- our own


def test_a_policy_can_be_a_file(folder: Path, tmp_path: Path) -> None:
    text = (POLICIES / "eu-card.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(text.replace("eu-card-2026-11", "mine-1"), encoding="utf-8")

    mine, shipped = compared(folder, [str(tmp_path / "mine.yaml"), "eu-card"]).columns

    assert (mine.name, mine.counts) == ("mine-1", shipped.counts)


def test_a_name_that_no_policy_has_is_wrong_use(folder: Path) -> None:
    wrong = CliRunner().invoke(application, ["replay", str(folder), "--policy", "eu-cart"])

    assert wrong.exit_code == 2
    told = " ".join(re.sub(r"[│╭╮╰╯─]", " ", wrong.output).split())
    assert "there is no policy eu-cart: take one of default, cn-wallet, eu-card, us-wallet, or a file" in told
    with pytest.raises(UnknownPolicy):
        read_policies(["default", "eu-cart"])


@pytest.mark.parametrize(
    "arguments", [["--svg", "x.svg"], ["--policy", "default", "--run", "261122140000"], ["--policy", "default", "--url", "http://x"]]
)
def test_options_that_do_not_go_together_are_wrong_use(folder: Path, arguments: list[str]) -> None:
    assert CliRunner().invoke(application, ["replay", str(folder), *arguments]).exit_code == 2
    assert not Path("x.svg").exists()


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


def test_the_exit_status_says_whether_it_adds_up(folder: Path) -> None:
    console = Console(file=io.StringIO(), width=120)

    assert run_compare(folder, ["default"], assumptions=replace(Assumptions()), now=NOW, console=console) == 0


def test_the_readmes_table_and_the_picture_beside_it_have_the_same_numbers() -> None:
    root = ROOT
    drawing = ET.parse(root / ".github" / "policies.svg").getroot()  # noqa: S314 -- our own
    said = drawing.findtext(f"{SVG}desc") or ""
    lines = [line.strip("| ").split(" | ") for line in (root / "README.md").read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    heading = next(cells for cells in lines if cells[-1] == "`us-wallet`")
    rows = {cells[0]: [int(cell.replace(",", "")) for cell in cells[1:]] for cells in lines if cells[0] in {"all", *_groups(said)}}

    drawn = {name: _parts(parts) for name, parts in (column.split(": ", 1) for column in said.split("; "))}

    assert len(drawn) == 4
    for place, name in enumerate(heading[-4:]):
        assert {group: rows[group][place] for group in rows if group != "all" and rows[group][place]} == drawn[name.strip("`")]
        assert rows["all"][place] == sum(drawn[name.strip("`")].values())
    rules = {cell for cells in lines for cell in cells if re.fullmatch(r"[a-z-]+ [0-9,]+", cell)}
    pictured = {part for text in drawing.iter(f"{SVG}text") for part in (text.text or "").split(" · ")}
    assert rules == {part for part in pictured if re.fullmatch(r"[a-z-]+ [0-9,]+", part)} != set()


def _parts(text: str) -> dict[str, int]:
    return {part.rpartition(" ")[0]: int(part.rpartition(" ")[2]) for part in text.split(", ")}


def _groups(said: str) -> set[str]:
    return {group for column in said.split("; ") for group in _parts(column.split(": ", 1)[1])}
