"""The terminal: one program, a command for everything that is done from outside HTTP.

Exit status 0: done. 1: the answer is no. 2: wrong use.
"""
# ruff: noqa: PLC0415 -- each command imports what it alone needs: `refundry token` should not wait for a web framework

import re
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal

import asyncpg
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from service import logs, settings
from service.auth.keys import KeysUnusable, load_or_create_keys
from service.cli_options import Bearer, Data, Url, exit_with, instant, local_keys, sign
from service.cli_policies import policy
from service.database_start import SchemaUnusable, require_reachable
from service.private_files import FileUnusable, unusable
from service.settings import PREFIX, Settings
from service.terminal.failure import UserError
from service.up.data_directory import origins, settings_for
from service.up.embedded import EmbeddedError
from service.up_addresses import service_url, with_sandbox_url
from workflows.clock_and_ids import utc_now
from workflows.domain.enums import Reason, Role

_HELP = "Refundry: what may still be cancelled, who decides, and where the money is."
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SANDBOX_STOP_SECONDS = 2  # a fault that hangs must not keep the process

application = typer.Typer(name="refundry", help=_HELP, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
application.add_typer(policy, name="policy")

# Where a host has no address, too; an HTTP client's faults are its own.
_NOT_REACHED = (
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.CannotConnectNowError,
)

Descriptor = Annotated[int | None, typer.Option(hidden=True)]


def main() -> None:
    """Run the command line; what the user can mend is told in a sentence."""
    try:
        application(prog_name="refundry")
    except (UserError, EmbeddedError, KeysUnusable, FileUnusable, SchemaUnusable) as error:
        _fail(str(error))
    except ValidationError as error:
        _fail("\n".join(_setting_fault(fault["loc"], fault["msg"]) for fault in error.errors()))
    except _NOT_REACHED as error:
        why = str(error) or "it did not answer in time"  # a time-out has no text
        _fail(f"The database cannot be reached: {why}. Is it running? `refundry up` starts one; `refundry settings` shows its address.")
    except OSError as error:
        _fail(str(unusable(Path(error.filename), error)) if isinstance(error.filename, str) else str(error))
    except asyncpg.PostgresError as error:
        _fail(str(error))


@application.callback()
def _common(context: typer.Context, parent_pipe: Annotated[int | None, typer.Option(hidden=True)] = None) -> None:
    context.obj = parent_pipe is None  # whether Ctrl-C is ours to handle
    if parent_pipe is not None:
        from service.up.die_with_parent import die_with_parent

        die_with_parent(parent_pipe)


@application.command()
def up(
    *,
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 unless told.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API; 8000 unless told, 0 takes a free one.")] = None,
    api: Annotated[int, typer.Option(min=1, max=64, help="API processes; they share the port.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    database_url: Annotated[str | None, typer.Option(metavar="URL", help="A database of your own instead of the embedded one.")] = None,
) -> None:
    """Everything in one go: database, migrations, API, workers and the sandbox rail."""
    from service.up.supervisor import StartPlan
    from service.up.supervisor import up as run

    # An address given here is both roles': the owner's that may stand in the environment belongs to another database.
    read = settings.load(data_dir=data, host=host, port=port, database_url=database_url, database_owner_url=database_url)
    run(StartPlan(read, api=api, workers=workers), Console())


@application.command()
def serve(
    context: typer.Context,
    *,
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; REFUNDRY_HOST unless told.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; REFUNDRY_PORT unless told.")] = None,
    descriptor: Descriptor = None,
) -> None:
    """One API process."""
    import asyncio

    from service.auth.key_sources import require_usable
    from service.shared_metrics import share_metrics

    load_or_create_keys(settings.load(data_dir=data).data_dir)  # first: the local keys are among what is then found
    read = _with_database(settings_for(data_dir=data, host=host, port=port))
    asyncio.run(require_usable(read.jwks_url, read.jwks_file))
    logs.configure(read.log_level, read.log_file)
    if read.metrics_dir is not None:
        share_metrics(read.metrics_dir)
    from service.app import create_app  # afterwards: they make the metrics
    from service.up import serving

    listening = _listening(read.host, read.port, descriptor)
    asyncio.run(require_reachable(read.database_url, read.replica_url))
    serving.serve(create_app(read), listening, limits=serving.limits_from(read), interruptible=context.obj)


@application.command()
def worker(context: typer.Context, *, data: Data = None) -> None:
    """One worker: carries voids and refunds to their end."""
    from service.up.serving import run_until_signalled
    from service.wiring import run_worker

    read = _with_database(settings_for(data_dir=data))
    logs.configure(read.log_level, read.log_file)
    run_until_signalled(lambda stop: run_worker(read, stop), interruptible=context.obj)


@application.command()
def sandbox(  # noqa: PLR0913 -- each argument is an option of the terminal
    context: typer.Context,
    *,
    ledger: Annotated[Path | None, typer.Option(metavar="FILE", help="The rail's durable ledger; DIR/sandbox.sqlite unless told.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8001,
    notify_url: Annotated[str | None, typer.Option(metavar="URL", help="Where it sends its notifications; none: it sends none.")] = None,
    data: Data = None,
    descriptor: Descriptor = None,
) -> None:
    """The sandbox rail: a provider of its own, with faults on demand."""
    from service.sandbox.ledger_file import check_ledger
    from service.sandbox.server import create_app
    from service.up import serving

    read = settings.load(data_dir=data)
    logs.configure(read.log_level, read.log_file)
    secret = read.sandbox_secret.get_secret_value()
    if notify_url is not None and not secret:
        raise UserError("Notifications are signed: set REFUNDRY_SANDBOX_SECRET to the secret that the API knows too.")
    path = ledger or read.data_dir / "sandbox.sqlite"
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    check_ledger(path)
    listening = _listening(host, port, descriptor)
    rail = create_app(path, notify_url=notify_url, secret=secret)
    serving.serve(rail, listening, limits=serving.limits_for_few(read), interruptible=context.obj, stop_seconds=_SANDBOX_STOP_SECONDS)


@application.command()
def migrate(*, data: Data = None) -> None:
    """Bring the database's schema to the newest version."""
    from service.migrations import upgrade

    read = _with_database(settings_for(data_dir=data))
    upgrade(read.owner_url, read.database_url)


@application.command()
def token(
    *,
    role: Annotated[Role, typer.Option(help="What its bearer may do.")],
    sub: Annotated[str, typer.Option(metavar="NAME", help="Who its bearer is; a pseudonym.")],
    merchant_id: Annotated[str | None, typer.Option(metavar="ID", help="Whose payments a merchant may see.")] = None,
    ttl: Annotated[str, typer.Option(help="How long it is good for: 90s, 30m, 12h, 7d.")] = "12h",
    data: Data = None,
) -> None:
    """Print a token signed with the local key, and nothing else."""
    seconds = _seconds(ttl)
    if role is Role.merchant and merchant_id is None:
        raise typer.BadParameter("a merchant's token names the merchant", param_hint="--merchant-id")
    try:
        signed = sign(settings.load(data_dir=data), role, sub=sub, merchant_id=merchant_id, ttl_seconds=seconds)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(signed)


@application.command("import")
def import_(
    *,
    file: Annotated[str, typer.Argument(help="`.ndjson`, `.ndjson.gz`, or - for the standard input.")],
    url: Url = None,
    bearer: Bearer = None,
    data: Data = None,
) -> None:
    """Register payments from a file."""
    from service.terminal.replay import run_import

    read = settings.load(data_dir=data)
    exit_with(run_import(url or service_url(read), bearer or sign(read, Role.operator, sub="terminal"), file, console=Console()))


@application.command()
def replay(  # noqa: PLR0913 -- each argument is an option of the terminal
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="With payments.ndjson.gz and cancellations.ndjson.gz in it.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N payments.")] = None,
    run: Annotated[str | None, typer.Option(metavar="NAME", help="Go on with an earlier replay; nothing happens twice.")] = None,
    policies: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="NAME", help="Decide offline under this policy, by its name or file; may stand several times."),
    ] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="With --policy: draw the result.")] = None,
    delivered_after: Annotated[int, typer.Option(min=0, metavar="DAYS", help="With --policy: when goods arrive, as nobody wrote it.")] = 3,
    reason: Annotated[Reason, typer.Option(help="With --policy: why they were cancelled, as nobody wrote it.")] = Reason.changed_mind,
    url: Url = None,
    data: Data = None,
) -> None:
    """Replay a folder of payments and cancellations through the API, or offline under policies, and say what came of it."""
    if policies:
        from service.terminal.replay_compare import run_compare
        from service.terminal.replay_offline import Assumptions, UnknownPolicy

        if run or url:
            raise typer.BadParameter("is offline: neither --run nor --url goes with it", param_hint="--policy")
        assumptions = Assumptions(delivered_after_days=delivered_after, reason=reason)
        console = Console(width=None if sys.stdout.isatty() else 200)
        try:
            exit_with(run_compare(folder, policies, assumptions=assumptions, now=utc_now(), console=console, limit=limit, svg=svg))
        except UnknownPolicy as error:
            raise typer.BadParameter(str(error), param_hint="--policy") from error
    if svg is not None:
        raise typer.BadParameter("belongs to --policy only", param_hint="--svg")
    from service.terminal.replay import run_replay

    read = settings.load(data_dir=data)
    exit_with(run_replay(url or service_url(read), local_keys(read), folder, limit=limit, run=run, console=Console()))


@application.command()
def export(  # noqa: PLR0913 -- each argument is an option of the terminal
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the records go.")],
    format_: Annotated[Literal["ndjson", "csv"], typer.Option("--format", help="Only ndjson can be verified.")] = "ndjson",
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="From this moment on: 2026-11-01 or 2026-11-01T00:00:00Z.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this moment, itself not included.")] = None,
    bom: Annotated[bool, typer.Option("--bom", help="CSV only: begin with a byte order mark, by which Excel knows UTF-8.")] = False,
    url: Url = None,
    bearer: Bearer = None,
    data: Data = None,
) -> None:
    """Write the audit records to a file."""
    from service.terminal.records import run_export

    if bom and format_ != "csv":
        raise typer.BadParameter("belongs to --format csv only", param_hint="--bom")
    read = settings.load(data_dir=data)
    exit_with(
        run_export(
            url or service_url(read),
            bearer or sign(read, Role.auditor, sub="terminal"),
            format=format_,
            start=instant(from_),
            end=instant(to),
            output=output,
            console=Console(),
            bom=bom,
        )
    )


@application.command()
def verify(
    *,
    files: Annotated[list[Path], typer.Argument(help="Exports as NDJSON, gzipped or not.")],
    key: Annotated[str | None, typer.Option(help="The signer's key or a file with it; else the local one, where there is one.")] = None,
    data: Data = None,
) -> None:
    """Verify evidence, offline. 0: verified. 1: tampered with. 2: unreadable."""
    from service.terminal.records import run_verify

    exit_with(run_verify(files, key=key, data_dir=settings.load(data_dir=data).data_dir))


@application.command()
def check(*, data: Data = None) -> None:
    """Check the invariants over the whole database, and our books against the sandbox rail's.

    What waits for a person, such as open anomalies, is told too, and is no violation.
    """
    from service.terminal.check import run_check

    exit_with(run_check(with_sandbox_url(_with_database(settings_for(data_dir=data)))))


@application.command("database-url")
def database_url(*, data: Data = None) -> None:
    """Print the database's address with its password, for psql, pgbench and backups."""
    typer.echo(_with_database(settings_for(data_dir=data)).owner_url)


@application.command()
def diagram() -> None:
    """Print the three state machines as Mermaid."""
    from workflows.domain.machines import mermaid

    typer.echo(mermaid())


@application.command()
def routes() -> None:
    """Print every operation with its roles, its actions and the problems of its own, as the routes declare them."""
    from service.app import declared_operations
    from service.terminal.route_table import route_table

    Console().print(route_table(declared_operations()))


@application.command("settings")
def show_settings(*, data: Data = None) -> None:
    """Print every setting: its meaning, its value, and where that comes from. Secrets are hidden."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("setting", "value", "from", "meaning"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "setting")
    for line in settings.show(settings_for(data_dir=data), origins(data_dir=data)):
        table.add_row(line.name, line.value, line.origin, line.meaning)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _with_database(read: Settings) -> Settings:
    if not read.database_url:
        raise UserError(
            f"No database is configured, and there is none in {read.data_dir}. Set {PREFIX}DATABASE_URL, "
            "or name the directory of `refundry up`: --data DIR."
        )
    return read


def _listening(host: str, port: int, descriptor: int | None) -> socket.socket:
    from service.up import serving

    if descriptor is not None:
        return serving.inherited_socket(descriptor)
    try:
        return serving.listen(host, port)
    except OSError as error:
        raise UserError(
            f"Cannot listen on {host} port {port}: {error.strerror}. Stop what listens there, or choose another: --port N."
        ) from error


def _seconds(text: str) -> int:
    read = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if read is None:
        raise typer.BadParameter("a number and s, m, h or d: 12h", param_hint="--ttl")
    return int(read[1]) * _UNITS[read[2]]


def _setting_fault(place: tuple[int | str, ...], sentence: str) -> str:
    return f"{PREFIX}{str(place[0]).upper()}: {sentence}" if place else sentence.removeprefix("Value error, ")


def _fail(sentence: str) -> None:
    Console(stderr=True).print(sentence, style="red", markup=False, emoji=False, highlight=False, soft_wrap=True)
    sys.exit(1)
