"""`refundry up`: everything in one go, gone on with after any death, and ended without a trace."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.settings import DATABASES, Settings, environment_for_child
from service.up import embedded
from service.up.supervisor import environments

pytestmark = pytest.mark.slow

STANDIN = str(Path(__file__).with_name("standin.py"))
PATIENCE_SECONDS = 240  # only bounds a hang: a busy machine starts slowly


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


class Up:
    """One `up` in a process group of its own, as a shell would start it."""

    def __init__(self, directory: Path, *, port: int = 0, apis: int = 1, ignore_interrupts: bool = False) -> None:
        self.directory = directory
        self.output = directory.with_suffix(f".{time.monotonic_ns()}.txt")
        command = [sys.executable, STANDIN, "up", str(directory), str(port), str(apis)]
        if ignore_interrupts:  # what a shell does to its background jobs
            command = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
        with self.output.open("wb") as output:
            environment = environment_for_child({})
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, process_group=0)

    def said(self) -> str:
        return self.output.read_text()

    def ready(self) -> "Up":
        until(lambda: "token operator" in self.said() or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.said()
        return self

    def addresses(self) -> dict[str, str]:
        written: dict[str, str] = json.loads((self.directory / "up.json").read_text())
        return written

    def api(self) -> str:
        return self.addresses()["api"]

    def ended(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def group(self) -> set[int]:
        """The live processes of its group."""
        found = set()
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit():
                    state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                    if int(group) == self.process.pid and state not in "ZX":
                        found.add(int(entry.name))
            except OSError:
                continue
        return found


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    chosen = tmp_path / "data"
    yield chosen
    if (server := embedded.find(chosen)) is not None:
        server.stop()


@pytest.fixture
def start(directory: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def begin(**options: object) -> Up:
        started.append(Up(directory, **options))  # type: ignore[arg-type]  # the keywords are Up's own
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for the tests that only look."""
    running = Up(tmp_path_factory.mktemp("shared") / "data", apis=2)
    yield running.ready()
    running.process.terminate()
    assert running.ended() == 0, running.said()


def who_answers(url: str) -> int:
    return int(httpx.get(url, trust_env=False, timeout=PATIENCE_SECONDS).text)


def database_runs(directory: Path) -> bool:
    server = embedded.find(directory)
    return server is not None and server.running()


def test_it_prints_addresses_and_a_token_for_each_role(shared: Up) -> None:
    said = shared.said()

    for role in ("wallet", "agent", "supervisor", "merchant", "auditor", "operator"):
        assert f"\ntoken {role} " in said
    assert "\napi       http://127.0.0.1:" in said
    assert "\nsandbox   http://127.0.0.1:" in said
    assert "***@" in said, "the database's password stays out"


@pytest.mark.parametrize("order", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_it_stops_all_of_it_cleanly(start: Callable[..., Up], directory: Path, order: signal.Signals) -> None:
    running = start().ready()

    running.process.send_signal(order)

    assert running.ended() == 0, running.said()
    assert running.group() == set()
    assert not database_runs(directory)
    assert not (directory / "up.json").exists()
    assert "started again" not in running.said()


@pytest.mark.long
def test_ctrl_c_reaches_the_whole_group_and_stops_it_cleanly(start: Callable[..., Up], directory: Path) -> None:
    running = start().ready()

    os.killpg(running.process.pid, signal.SIGINT)

    assert running.ended() == 0, running.said()
    assert running.group() == set()
    assert not database_runs(directory)


@pytest.mark.long
def test_an_inherited_ignored_interrupt_still_stops_it(start: Callable[..., Up], directory: Path) -> None:
    running = start(ignore_interrupts=True).ready()

    running.process.send_signal(signal.SIGINT)

    assert running.ended() == 0, running.said()
    assert not database_runs(directory)


@pytest.mark.long
def test_all_but_postgresql_stay_in_its_group_and_end_with_it(start: Callable[..., Up], directory: Path) -> None:
    running = start(apis=2).ready()
    group = running.group()

    running.process.kill()
    running.ended()

    assert len(group) == 1 + 1 + 2 + 1, "up, sandbox, two APIs, a worker"
    until(lambda: not running.group(), "the children end")
    assert database_runs(directory), "PostgreSQL is left, to be adopted"


@pytest.mark.long
def test_it_goes_on_where_it_was_after_kill_9(start: Callable[..., Up], directory: Path) -> None:
    killed = start().ready()
    port, sandbox = int(killed.api().rpartition(":")[2]), killed.addresses()["sandbox"]
    postmaster = (directory / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0]
    killed.process.kill()
    killed.ended()

    again = start(port=port).ready()  # at once: while the killed one's children still let go of the port

    assert again.api() == f"http://127.0.0.1:{port}"
    assert again.addresses()["sandbox"] == sandbox
    assert (directory / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0] == postmaster, "adopted"
    assert who_answers(again.api()) in again.group()


@pytest.mark.long
def test_it_goes_on_after_kill_9_of_everything(start: Callable[..., Up], directory: Path) -> None:
    killed = start().ready()
    postmaster = int((directory / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
    os.killpg(killed.process.pid, signal.SIGKILL)
    os.kill(postmaster, signal.SIGKILL)
    killed.ended()

    again = start().ready()

    assert who_answers(again.api()) in again.group()
    again.process.terminate()
    assert again.ended() == 0


@pytest.mark.long
def test_a_database_that_dies_is_started_again_at_its_port(start: Callable[..., Up], directory: Path) -> None:
    start().ready()
    server = embedded.find(directory)
    assert server is not None

    os.kill(int((directory / "postgres" / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    until(lambda: not server.running(), "dead")
    until(server.running, "alive again, at the same port")


@pytest.mark.long
def test_a_child_that_dies_is_started_again_and_the_port_stays_open(start: Callable[..., Up]) -> None:
    running = start().ready()
    first = who_answers(running.api())

    with pytest.raises(httpx.HTTPError):
        httpx.get(running.api() + "/die", trust_env=False, timeout=PATIENCE_SECONDS)
    second = who_answers(running.api())  # waits in the socket that the parent holds

    assert second != first
    assert second in running.group()
    assert "api-1 ended (exit status 7) and is started again" in running.said()


def test_two_api_processes_share_the_port(shared: Up) -> None:
    answered: set[int] = set()

    def another() -> bool:
        answered.add(who_answers(shared.api()))
        return len(answered) == 2

    until(another, "both answer")


def test_a_second_up_on_the_same_directory_says_so(shared: Up) -> None:
    second = Up(shared.directory)

    assert second.ended() == 1
    assert f"process {shared.process.pid}) already runs on" in second.said()
    assert "--data" in second.said()
    assert who_answers(shared.api()) in shared.group(), "the first is not disturbed"


@pytest.mark.long
def test_a_port_in_use_says_so(start: Callable[..., Up], directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]

        refused = start(port=port)

        assert refused.ended() == 1
    assert f"Port {port} on 127.0.0.1 is in use" in refused.said()
    assert "Traceback" not in refused.said()
    assert not (directory / "postgres").exists(), "it is seen before anything is started"


@pytest.mark.long
def test_told_to_stop_while_it_starts_it_leaves_nothing_behind(start: Callable[..., Up], directory: Path) -> None:
    starting = start()
    until((directory / "postgres" / "lock").exists, "the database is being made")

    starting.process.terminate()

    assert starting.ended() == 0, starting.said()
    assert starting.group() == set()
    assert not database_runs(directory)


def test_secrets_are_closed_to_others_and_not_in_the_arguments(shared: Up) -> None:
    directory = shared.directory
    secrets = [(directory / "sandbox.secret").read_text(), (directory / "postgres" / "app.password").read_text()]

    commands = [Path(f"/proc/{process}/cmdline").read_bytes().decode() for process in shared.group()]

    assert len(commands) == 5
    assert not any(secret in command for secret in secrets for command in commands)
    assert (directory / "sandbox.secret").stat().st_mode & 0o077 == 0


def environment_of(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_each_child_is_given_the_secrets_that_it_needs(shared: Up) -> None:
    password = (shared.directory / "postgres" / "app.password").read_text()
    signed_with = (shared.directory / "sandbox.secret").read_text()
    children = {process: Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0") for process in shared.group()}

    def holds(kind: str, secret: str) -> set[bool]:
        found = [environment_of(process) for process, command in children.items() if kind in command]
        assert found
        return {any(secret in value for value in environment.values()) for environment in found}

    assert {kind: holds(kind, password) for kind in ("sandbox", "serve", "worker")} == {
        "sandbox": {False},
        "serve": {True},
        "worker": {True},
    }
    assert {kind: holds(kind, signed_with) for kind in ("sandbox", "serve", "worker")} == {
        "sandbox": {True},
        "serve": {True},
        "worker": {False},
    }


def test_no_address_of_a_database_reaches_the_rail(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*(f"REFUNDRY_{name.upper()}" for name in DATABASES), "PGPASSWORD", "refundry_database_owner_url"):
        monkeypatch.setenv(name, "postgresql://u:hidden@127.0.0.1/x")

    given = environments({"database_url": "postgresql://u:hidden@127.0.0.1/x", "sandbox_secret": "s", "port": 8000})

    assert "hidden" not in " ".join(given["sandbox"].values())
    assert given["sandbox"]["REFUNDRY_DATABASE_URL"] == "", "and none is read from .env"
    assert given["sandbox"]["REFUNDRY_SANDBOX_SECRET"] == "s"
    assert "PATH" in given["sandbox"]
    for kind in ("api", "worker"):
        assert given[kind]["REFUNDRY_DATABASE_URL"].startswith("postgresql://")
        assert [value for name, value in given[kind].items() if name.upper() == "REFUNDRY_DATABASE_OWNER_URL"] == [""]
        assert given[kind]["REFUNDRY_PORT"] == "8000"
    assert given["worker"]["REFUNDRY_REPLICA_URL"] == ""
    assert given["worker"]["REFUNDRY_SANDBOX_SECRET"] == ""


def test_every_address_of_a_database_is_known_as_one() -> None:
    hidden = {name for name, field in Settings.model_fields.items() if not field.repr}

    assert set(DATABASES) == hidden
