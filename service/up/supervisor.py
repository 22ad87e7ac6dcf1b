"""Runs the whole service on one machine: database, migrations, API, workers and the sandbox rail."""

import asyncio
import errno
import fcntl
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console

from service.auth.key_sources import require_usable
from service.auth.keys import LocalKeys, load_or_create_keys
from service.disk_space import free_megabytes
from service.private_files import FileUnusable, open_private, read_port, read_word, write_private
from service.settings import Settings, configured, environment_for_child, origin_of_each, without_password
from service.terminal.failure import UserError
from service.up import embedded, serving
from service.up.children import ChildProcess, ChildProcesses
from service.up.layout import prepare
from service.up.panel import print_ready
from service.up_addresses import address_file, write_addresses
from workflows.clock_and_ids import utc_now
from workflows.domain.enums import Role

# A person waits for answers here: shorter times than in production, unless they are configured.
_DEVELOPMENT_SETTINGS: Mapping[str, object] = {
    "rail_timeout_seconds": 2,
    "enquiry_seconds": (1, 2, 5, 10),
    "lease_seconds": 10,
    "breaker_failures": 20,  # the sandbox rail fails for single payments, as they ask it to
    "breaker_pause_seconds": 1,
    "breaker_pause_seconds_max": 2,
    "worker_metrics_port": 0,
}
_READY_SECONDS_MAX = 60
_DATABASE_POLL_SECONDS = 2
_READY_POLL_SECONDS = 0.1
_TOKEN_SECONDS = 12 * 3600
_HANDOVER_SECONDS_MAX = 8  # the children of a killed `up` let go of its ports in this time
_MERCHANT = "demo-merchant"


def _upgrade(owner_url: str, app_url: str | None) -> None:
    from service import migrations  # noqa: PLC0415 -- alembic takes half a second to import; the database starts meanwhile

    migrations.upgrade(owner_url, app_url)


@dataclass(frozen=True, slots=True)
class StartPlan:
    """What to run. `settings` hold what was configured; the database's address is empty where the embedded one is wanted."""

    settings: Settings
    api: int
    workers: int
    program: tuple[str, ...] = (sys.executable, "-P", "-m", "service")
    migrate: Callable[[str, str | None], None] = _upgrade

    @property
    def directory(self) -> Path:
        return self.settings.data_dir.resolve()


@dataclass(frozen=True, slots=True)
class _Database:
    app_url: str
    owner_url: str


@dataclass(frozen=True, slots=True)
class _Sockets:
    api: socket.socket
    sandbox: socket.socket


def up(plan: StartPlan, console: Console) -> None:
    """Run until SIGTERM or Ctrl-C. Raises UserError where it cannot start."""
    asyncio.run(_up(plan, console))


async def _up(plan: StartPlan, console: Console) -> None:
    stop = asyncio.Event()
    serving.stop_on_signals(stop)
    prepare(plan.directory)
    os.umask(0o077)  # for the logs, and for all that the children write
    with _exclusive(plan.directory):
        keys = await _check_before(plan, console)
        async with _sockets(plan) as sockets, _database(plan, console) as database:
            await _migrate(plan.migrate, database)
            async with ChildProcesses(
                plan.directory / "logs", lambda text: console.print(text, style="yellow", markup=False, emoji=False)
            ) as children:
                _start_all(plan, children, sockets, environments(_decided(plan, database, keys, sockets)))
                if await _wait_until_ready(sockets, children, stop):
                    _print_addresses(plan, sockets, database, keys, console)
                    await stop.wait()
                if console.is_terminal:
                    console.print("Stopping.", style="dim")
                children.stop_restarting()
                await children.stop(*(child for child in _names(plan) if child != "sandbox"))  # the rail last: others call it
        address_file(plan.directory).unlink(missing_ok=True)


async def _check_before(plan: StartPlan, console: Console) -> LocalKeys:
    """What would fail later, or only in a child, is told before anything is started. The local keys."""
    if found := configured():
        console.print(f"Configured by: {found}.", style="dim", markup=False, emoji=False, highlight=False, soft_wrap=True)
    free, wanted = free_megabytes(plan.directory), plan.settings.disk_free_megabytes_min
    if free < wanted:
        raise UserError(
            f"Only {free:.0f} MB are free for {plan.directory}, and {wanted} are wanted. Free some space, "
            "name another directory (--data DIR), or set REFUNDRY_DISK_FREE_MEGABYTES_MIN lower."
        )
    keys = load_or_create_keys(plan.directory, issuer=plan.settings.issuer, audience=plan.settings.audience)
    await require_usable(plan.settings.jwks_url, plan.settings.jwks_file)
    return keys


def _start_all(plan: StartPlan, children: ChildProcesses, sockets: _Sockets, environment: Mapping[str, Mapping[str, str]]) -> None:
    ledger, notify = plan.directory / "sandbox.sqlite", serving.url_of(sockets.api) + "/v1/providers/sandbox/notifications"
    commands = {
        "sandbox": ("sandbox", "--ledger", str(ledger), "--notify-url", notify, "--descriptor", str(sockets.sandbox.fileno())),
        "api": ("serve", "--descriptor", str(sockets.api.fileno())),
        "worker": ("worker",),
    }
    for name in _names(plan):
        kind = name.partition("-")[0]
        listening = {"sandbox": (sockets.sandbox.fileno(),), "api": (sockets.api.fileno(),)}.get(kind, ())
        children.start(
            ChildProcess(
                name=name,
                command=(*plan.program, "--parent-pipe", str(children.parent_pipe), *commands[kind]),
                environment=environment[kind],
                descriptors=listening,
            )
        )


def _names(plan: StartPlan) -> list[str]:
    apis = [f"api-{number}" for number in range(1, plan.api + 1)]
    return ["sandbox", *apis, *(f"worker-{number}" for number in range(1, plan.workers + 1))]


def environments(decided: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """By kind of child what it is configured by: our own environment, and of what this run decided what it needs.

    The rail is a stranger, and knows no database. A worker reads no replica, and hears nobody: it checks no tokens and no signatures.
    """
    owner, replica = {"database_owner_url": ""}, {"replica_url": ""}  # migrations are over: no child needs an owner's rights
    not_heard = {"sandbox_secret": ""}
    return {
        "sandbox": environment_for_child(decided, database=False),
        "api": environment_for_child({**decided, **owner}),
        "worker": environment_for_child({**decided, **owner, **replica, **not_heard}),
    }


def _decided(plan: StartPlan, database: _Database, keys: LocalKeys, sockets: _Sockets) -> dict[str, object]:
    """The settings that this run decides, with quick times where none were given."""
    settings, origin = plan.settings, origin_of_each()
    configured_keys = settings.jwks_file is not None or settings.jwks_url is not None
    decided: dict[str, object] = {
        "data_dir": plan.directory,
        "database_url": database.app_url,
        "host": settings.host,
        "port": sockets.api.getsockname()[1],
        "jwks_file": None if configured_keys else keys.jwks_path,
        "sandbox_url": serving.url_of(sockets.sandbox),
        "sandbox_secret": _sandbox_secret(plan),
        "metrics_dir": plan.directory / "metrics",
    }
    development = {name: value for name, value in _DEVELOPMENT_SETTINGS.items() if origin[name] == "default"}
    return decided | development


def _sandbox_secret(plan: StartPlan) -> str:
    given = plan.settings.sandbox_secret.get_secret_value()
    path = plan.directory / "sandbox.secret"
    if not given and read_word(path) is None:  # also where it is damaged: only this run's own parts have to know it
        write_private(path, secrets.token_hex(32))
    return given or read_word(path) or ""


async def _migrate(migrate: Callable[[str, str | None], None], database: _Database) -> None:
    try:
        await asyncio.to_thread(migrate, database.owner_url, database.app_url)
    except OSError as error:
        raise UserError(
            f"The database at {without_password(database.owner_url)} cannot be reached: {error}. "
            "Mend REFUNDRY_DATABASE_URL, or leave it empty: then one is started here."
        ) from error


@asynccontextmanager
async def _database(plan: StartPlan, console: Console) -> AsyncIterator[_Database]:
    """The database that was given, or the embedded one, which is started again if it dies, and stopped at the end."""
    if plan.settings.database_url:
        yield _Database(plan.settings.database_url, plan.settings.owner_url)
        return
    server = await asyncio.to_thread(embedded.start, plan.directory)
    watching = asyncio.create_task(_restart_when_down(server, plan.directory, console))
    try:
        await asyncio.to_thread(server.ensure_database)
        yield _Database(server.app_url(), server.owner_url())
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await asyncio.to_thread(server.stop)


async def _restart_when_down(server: embedded.Server, directory: Path, console: Console) -> None:
    """PostgreSQL outlives us, so it is no child that we would hear of: ask now and then, and start it again at its port."""
    while True:
        await asyncio.sleep(_DATABASE_POLL_SECONDS)
        if await asyncio.to_thread(server.running):
            continue
        console.print("PostgreSQL has ended; starting it again.", style="yellow")
        try:
            await asyncio.to_thread(embedded.start, directory)
        except (embedded.EmbeddedError, FileUnusable, OSError) as why:
            console.print(f"{why} Trying again.", style="yellow", markup=False, emoji=False)


@asynccontextmanager
async def _sockets(plan: StartPlan) -> AsyncIterator[_Sockets]:
    """Both listening sockets, bound here and inherited by the children, so that a child that dies costs no connection."""
    # A killed `up` leaves its address file behind, and children that are still letting go.
    patience = _HANDOVER_SECONDS_MAX if address_file(plan.directory).exists() else 0
    host, port = plan.settings.host, plan.settings.port
    with await _listen(host, port, patience) as api:
        remembered = plan.directory / "sandbox.port"
        # The rail's address stands in the ledger's references, so it stays what it was.
        wanted = read_port(remembered) or 0
        try:
            sandbox = await _listen(host, wanted, patience)
        except UserError:
            sandbox = await _listen(host, 0, 0)
        with sandbox:
            write_private(remembered, str(sandbox.getsockname()[1]))
            yield _Sockets(api, sandbox)


async def _listen(host: str, port: int, patience_seconds: float) -> socket.socket:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    while True:
        try:
            return serving.listen(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise UserError(f"Cannot listen on {host} port {port}: {error.strerror}.") from error
            if loop.time() >= deadline:
                raise UserError(f"Port {port} on {host} is in use. Stop what listens there, or choose another: --port N.") from error
        await asyncio.sleep(_READY_POLL_SECONDS)


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """One `up` at a time on a directory. The lock goes when its holder dies, by whatever."""
    with os.fdopen(open_private(directory / "up.lock"), "r+", errors="replace") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = lock.read(20).strip() or "unknown"
            raise UserError(
                f"Another `refundry up` (process {holder}) already runs on {directory}. "
                "Stop it, or give this one a directory of its own: --data DIR."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


async def _wait_until_ready(sockets: _Sockets, children: ChildProcesses, stop: asyncio.Event) -> bool:
    """Wait until /readyz answers 200. False: stopped before that. Raises UserError when it takes too long."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _READY_SECONDS_MAX
    answered = "no answer"
    async with httpx.AsyncClient(base_url=serving.url_of(sockets.api), trust_env=False, timeout=5) as client:
        while not stop.is_set():
            try:
                answer = await client.get("/readyz")
            except httpx.HTTPError as error:
                answered = f"no answer ({type(error).__name__})"
            else:
                if answer.status_code == 200:
                    return True
                answered = f"{answer.status_code} {answer.text[:300]}"
            if loop.time() > deadline:
                log_tail = children.log_tail("api-1")
                raise UserError(f"Not ready after {_READY_SECONDS_MAX} s; /readyz: {answered}\nThe end of the API's log:\n{log_tail}")
            await asyncio.sleep(_READY_POLL_SECONDS)
    return False


def _print_addresses(plan: StartPlan, sockets: _Sockets, database: _Database, keys: LocalKeys, console: Console) -> None:
    api, sandbox = serving.url_of(sockets.api), serving.url_of(sockets.sandbox)
    write_addresses(plan.directory, api=api, sandbox=sandbox)
    addresses = [
        ("api", f"{api}/v1"),
        ("docs", f"{api}/docs"),
        ("sandbox", sandbox),
        ("database", without_password(database.owner_url)),
        ("data", str(plan.directory)),
        ("logs", str(plan.directory / "logs")),
    ]
    configured_keys = plan.settings.jwks_file is not None or plan.settings.jwks_url is not None  # by which ours would be refused
    print_ready(console, addresses=addresses, tokens={} if configured_keys else {role.value: _token(keys, role) for role in Role})


def _token(keys: LocalKeys, role: Role) -> str:
    merchant = _MERCHANT if role is Role.merchant else None
    return keys.sign_token(sub=f"demo-{role.value}", role=role, merchant_id=merchant, ttl_seconds=_TOKEN_SECONDS, now=utc_now())
