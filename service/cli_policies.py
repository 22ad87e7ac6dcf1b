"""The commands under `refundry policy`."""
# ruff: noqa: PLC0415 -- each command imports what it alone needs

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service import settings
from service.cli_options import Bearer, Data, Url, exit_with, instant, sign
from service.up_addresses import service_url
from workflows.clock_and_ids import utc_now
from workflows.domain.enums import Role

policy = typer.Typer(help="Policies: check a file, compare it, try it, publish it.", no_args_is_help=True)

PolicyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The policy, as YAML or JSON.")]


@policy.command()
def lint(*, file: PolicyFile) -> None:
    """Check a policy: its form, rules that never decide, requests that no rule covers."""
    from service.terminal.policies import run_lint

    exit_with(run_lint(file, console=Console()))


@policy.command()
def publish(
    *,
    file: PolicyFile,
    force: Annotated[bool, typer.Option("--force", help="Also where lint finds errors in the rules.")] = False,
    url: Url = None,
    bearer: Bearer = None,
    data: Data = None,
) -> None:
    """Publish a policy at the running service. A published version never changes."""
    from service.terminal.policies import run_publish

    read = settings.load(data_dir=data)
    exit_with(
        run_publish(url or service_url(read), bearer or sign(read, Role.operator, sub="terminal"), file, console=Console(), force=force)
    )


@policy.command()
def diff(
    *,
    old: Annotated[str, typer.Argument(metavar="OLD", help="A file, or else a published version.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="A file, or else a published version.")],
    url: Url = None,
    bearer: Bearer = None,
    data: Data = None,
) -> None:
    """Print what changed between two policies. 0: nothing. 1: something. 2: one cannot be read."""
    from service.terminal.policy_diff import run_diff

    read = settings.load(data_dir=data)
    token = lambda: bearer or sign(read, Role.operator, sub="terminal")  # noqa: E731 -- signed only where it is needed
    exit_with(run_diff(old, new, url=url or service_url(read), token=token, console=Console(), errors=Console(stderr=True)))


@policy.command()
def schema() -> None:
    """Print the JSON schema of a policy, for editors."""
    from service.terminal.policies import schema_text

    typer.echo(schema_text(), nl=False)


@policy.command()
def simulate(  # noqa: PLR0913 -- each argument is an option of the terminal
    *,
    file: PolicyFile,
    from_: Annotated[str, typer.Option("--from", metavar="TIME", help="Decisions from then on: 2026-11-01 or 2026-11-01T00:00:00Z.")],
    to: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this moment, itself not included; now, unless told.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the service's answer as JSON.")] = False,
    url: Url = None,
    bearer: Bearer = None,
    data: Data = None,
) -> None:
    """Show what a policy would have changed among the decisions of a span. Nothing is written; Ctrl-C stops it."""
    from service.terminal.simulation import SimulationCall, run_simulate

    read, now = settings.load(data_dir=data), utc_now()
    address, token = url or service_url(read), bearer or sign(read, Role.operator, sub="terminal")
    call = SimulationCall(url=address, token=token, file=file, start=instant(from_) or now, end=instant(to) or now)
    exit_with(run_simulate(call, console=Console(), as_json=as_json))
