"""However much goes wrong, the log stays small, and says what it left out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.line_limit import KINDS_MAX, LINES_AT_ONCE, OTHERS, LineLimit
from service.settings import environment_for_child

pytestmark = pytest.mark.slow

MALFORMED = 100_000


def run(script: str, *arguments: str) -> None:
    command = [sys.executable, "-c", script, *arguments]
    subprocess.run(command, env=environment_for_child({}), check=True, timeout=120)


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.long
def test_a_hundred_thousand_malformed_requests_leave_a_small_log_that_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "api-1.log"

    run(
        "import logging, sys, pathlib, structlog\n"
        "from service import logs\n"
        "logs.configure('info', pathlib.Path(sys.argv[1]))\n"
        f"for number in range({MALFORMED}):\n"
        "    logging.getLogger('uvicorn.error').warning('Invalid HTTP request received.')\n"
        "    structlog.get_logger('api').warning('database_unreachable', path=f'/v1/{number}')\n"
        "structlog.get_logger('api').info('still_heard')\n",
        str(path),
    )

    lines = lines_of(path)
    assert path.stat().st_size < MALFORMED
    assert [line for line in lines if line["event"] == "still_heard"]
    for kind, event in (
        ("uvicorn.error: Invalid HTTP request received.", "Invalid HTTP request received."),
        ("database_unreachable",) * 2,
    ):
        written = sum(line["event"] == event for line in lines)
        left_out = sum(int(str(line["lines"])) for line in lines if line.get("of") == kind)
        assert written >= LINES_AT_ONCE
        assert written + left_out == MALFORMED, "nothing is lost silently"


def test_the_file_is_changed_while_the_process_runs_and_five_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.log"

    run(
        "import os, sys, pathlib\n"
        "from service.log_file import LogFile\n"
        "file = LogFile(pathlib.Path(sys.argv[1]), bytes_max=1000)\n"
        "for number in range(1000):\n"
        "    line = f'line {number}\\n'\n"
        "    file.make_room(len(line))\n"
        "    print(line, end='', file=sys.stderr)\n"
        "os.write(2, b'last words\\n')\n"
        "print('said too')\n",
        str(path),
    )

    kept = [path, *(path.with_name(f"worker-1.log.{number}") for number in range(1, 5))]
    assert {one.name for one in tmp_path.iterdir()} == {one.name for one in kept}
    assert all(one.stat().st_size <= 1000 + len("last words\nsaid too\n") for one in kept)
    told = "".join(one.read_text() for one in reversed(kept)).splitlines()
    assert told[-2:] == ["last words", "said too"]
    first = int(told[0].removeprefix("line "))
    assert told[:-2] == [f"line {number}" for number in range(first, 1000)], "no line is lost between two files"


def test_a_file_that_cannot_be_changed_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "api-1.log"
    for number in (3, 4):  # a directory with something in it is not overwritten
        (tmp_path / f"api-1.log.{number}" / "kept").mkdir(parents=True)

    run(
        "import sys, pathlib\n"
        "from service.log_file import LogFile\n"
        "file = LogFile(pathlib.Path(sys.argv[1]), bytes_max=10)\n"
        "for number in range(5):\n"
        "    file.make_room(20)\n"
        "    print(f'line {number}', file=sys.stderr)\n",
        str(path),
    )

    assert path.read_text().split("\n")[:-1] == [f"line {number}" for number in range(5)]


def test_one_line_a_second_after_the_first_ones() -> None:
    now = [0.0]
    limit = LineLimit(lambda: now[0])

    assert [limit.admits("a") for _ in range(LINES_AT_ONCE + 3)] == [True] * LINES_AT_ONCE + [False] * 3
    assert limit.admits("b"), "another kind has its own"
    now[0] = 1.0
    assert [limit.admits("a"), limit.admits("a")] == [True, False]
    assert limit.take_left_out() == {"a": 4}
    assert limit.take_left_out() == {}


def test_so_many_kinds_are_told_apart_and_all_others_share_one_limit() -> None:
    limit = LineLimit(lambda: 0.0)

    admitted = sum(limit.admits(f"kind {number}") for number in range(10 * KINDS_MAX))

    assert admitted == KINDS_MAX + LINES_AT_ONCE
    assert limit.take_left_out() == {OTHERS: 9 * KINDS_MAX - LINES_AT_ONCE}


def test_a_childs_environment_names_its_file() -> None:
    from service.settings import environment_of

    assert environment_of({"log_file": Path("/x/api-1.log"), "port": None}) == {"REFUNDRY_LOG_FILE": "/x/api-1.log"}
    assert os.environ.get("REFUNDRY_LOG_FILE") is None
