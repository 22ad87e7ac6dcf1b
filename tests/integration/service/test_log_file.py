"""A process's log file: changed while it is written, and no line is lost between two files."""

from pathlib import Path

import pytest

from tests.integration.service.scripts import run

pytestmark = pytest.mark.slow


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
