"""What several commands of the terminal share: options, the token that they call with, times, exit statuses."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from service.auth.keys import LocalKeys, load_or_create_keys
from service.settings import Settings
from service.terminal.failure import UserError
from workflows.clock_and_ids import utc_now
from workflows.domain.enums import Role

HOUR_SECONDS = 3600

Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Where `up` keeps its database and keys (REFUNDRY_DATA_DIR).")]
Bearer = Annotated[
    str | None,
    typer.Option(
        "--token", envvar="REFUNDRY_TOKEN", show_envvar=False, help="A token (REFUNDRY_TOKEN); else one is signed with the local key."
    ),
]
Url = Annotated[str | None, typer.Option("--url", help="Address of the running service; the one that `up` started, unless told.")]


def local_keys(read: Settings) -> LocalKeys:
    """The keys that `up` made. Where there are none, a token would be one that nobody accepts."""
    if not (read.data_dir / "keys").exists():
        raise UserError(f"No keys in {read.data_dir}: `refundry up` makes them at its first start. Name its directory with --data.")
    return load_or_create_keys(read.data_dir, issuer=read.issuer, audience=read.audience)


def sign(read: Settings, role: Role, *, sub: str, merchant_id: str | None = None, ttl_seconds: int = HOUR_SECONDS) -> str:
    """A token of the local key. Raises ValueError where such a token may not be."""
    return local_keys(read).sign_token(sub=sub, role=role, merchant_id=merchant_id, ttl_seconds=ttl_seconds, now=utc_now())


def instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"not a time: {text}") from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def exit_with(status: int) -> None:
    raise typer.Exit(status)
