"""The commands under `refundry policy`: their exit statuses, and that a token is made only where it is needed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli_policies import policy
from service.terminal.failure import UserError
from tests.unit.service.terminal.linting import GOOD


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(policy, arguments)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return file


def test_lint_is_0_for_what_is_right_and_1_for_what_is_not(good: Path) -> None:
    right = invoke("lint", str(good))
    good.write_text(GOOD.replace("agent", "nowhere"))
    wrong = invoke("lint", str(good))

    assert (right.exit_code, wrong.exit_code) == (0, 1)
    assert "/rules/0/route" in wrong.output


def test_two_files_are_compared_without_keys_and_a_version_needs_them(good: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(GOOD.replace("route: agent", "route: merchant"))
    nowhere = ["--data", str(tmp_path / "nowhere")]

    same, changed = invoke("diff", str(good), str(good), *nowhere), invoke("diff", str(good), str(other), *nowhere)
    published = invoke("diff", str(good), "v-9", *nowhere)

    assert (same.exit_code, changed.exit_code, published.exit_code) == (0, 1, 2)
    assert "merchant" in changed.output
    assert not (tmp_path / "nowhere").exists()


def test_publishing_without_keys_is_refused_before_anything_is_called(good: Path, tmp_path: Path) -> None:
    done = invoke("publish", str(good), "--data", str(tmp_path / "nowhere"))

    assert isinstance(done.exception, UserError)
    assert "No keys in" in str(done.exception)


def test_a_span_that_is_no_time_is_wrong_use(good: Path) -> None:
    assert invoke("simulate", str(good), "--from", "yesterday", "--token", "t").exit_code == 2


def test_the_schema_is_json_alone() -> None:
    done = invoke("schema")

    assert done.exit_code == 0
    assert "$schema" in json.loads(done.output)
