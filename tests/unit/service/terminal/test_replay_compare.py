"""The command that takes a history under policies: what it prints and draws, and its exit statuses."""

import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from typer.testing import CliRunner

from service.cli import application
from service.terminal.replay_compare import run_compare
from service.terminal.replay_offline import Assumptions, UnknownPolicy, read_policies
from tests.unit.service.terminal.comparing import NOW, SVG


def test_the_command_draws_and_prints(folder: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "it.svg"

    done = CliRunner().invoke(application, ["replay", str(folder), "--policy", "cn-wallet", "--policy", "default", "--svg", str(drawn)])

    assert done.exit_code == 0, done.output
    assert "Each column adds up to 9 cancellations" in done.output
    assert "goods arrive 3 days after the payment" in done.output
    assert ET.parse(drawn).getroot().tag == f"{SVG}svg"  # noqa: S314 -- our own


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


def test_the_exit_status_says_whether_it_adds_up(folder: Path) -> None:
    console = Console(file=io.StringIO(), width=120)

    assert run_compare(folder, ["default"], assumptions=replace(Assumptions()), now=NOW, console=console) == 0
