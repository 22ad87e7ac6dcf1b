"""API processes that share a directory show one sum, over deaths and restarts."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.settings import environment_for_child

pytestmark = pytest.mark.slow

_PROCESS = """
import pathlib, sys
from service.shared_metrics import share_metrics, counted_metrics
print(share_metrics(pathlib.Path(sys.argv[1])), flush=True)
from service.metrics import REQUESTS, SECONDS, WAITING
for line in sys.stdin:
    if line == "count\\n":
        REQUESTS.labels("healthz", "200").inc()
        SECONDS.labels("healthz").observe(0.3)
        WAITING.inc()
        print("counted", flush=True)
    else:
        print(counted_metrics().decode().replace("\\n", "|"), flush=True)
"""


class Process:
    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-c", _PROCESS, str(directory)]
        self.process = subprocess.Popen(
            command, env=environment_for_child({}), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._read() == "True"

    def count(self, times: int) -> None:
        for _ in range(times):
            assert self._ask("count") == "counted"

    def shown(self) -> dict[str, float]:
        page = self._ask("show").replace("|", "\n")
        return {sample.name: sample.value for family in text_string_to_metric_families(page) for sample in family.samples}

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)

    def _ask(self, what: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for one in processes:
        one.kill()


def test_any_of_them_shows_the_sum_and_a_death_takes_nothing_from_it(tmp_path: Path, started: list[Process]) -> None:
    directory = tmp_path / "metrics"
    started += [Process(directory), Process(directory)]
    first, second = started
    first.count(3)
    second.count(4)

    for one in started:
        shown = one.shown()
        assert (shown["refundry_calls_total"], shown["refundry_call_seconds_count"], shown["refundry_requests_waiting"]) == (7, 7, 7)

    first.kill()
    shown = second.shown()
    assert (shown["refundry_calls_total"], shown["refundry_requests_waiting"]) == (7, 4), "what is counted stays, what waited is gone"

    files = sorted(directory.iterdir())
    for _ in range(3):
        started.append(Process(directory))
        started[-1].count(1)
        started[-1].kill()
    started.append(Process(directory))
    assert started[-1].shown()["refundry_calls_total"] == 10
    assert {one.name for one in directory.iterdir()} - {one.name for one in files} <= {"gauge_livesum_1.db"}, "restarts leave no files"


def test_where_nobody_lives_it_begins_anew(tmp_path: Path, started: list[Process]) -> None:
    started.append(Process(tmp_path))
    started[0].count(5)
    started[0].kill()
    (tmp_path / "counter_7.db").write_bytes(b"torn by a power cut")

    started.append(Process(tmp_path))

    assert "refundry_calls_total" not in started[1].shown()
    assert not (tmp_path / "counter_7.db").exists()


def test_a_file_has_its_room_before_anything_is_counted(tmp_path: Path, started: list[Process]) -> None:
    """A page of a mapped file that the disk has no room for would end the process."""
    started.append(Process(tmp_path))

    for one in tmp_path.glob("*.db"):
        assert one.stat().st_blocks * 512 >= one.stat().st_size > 0
