"""The addresses of a running `refundry up`, as it writes them into its data directory for the other commands."""

import json
import os
from pathlib import Path

from service.private_files import write_private
from service.settings import Settings


def address_file(directory: Path) -> Path:
    """There as long as `up` runs, and after it was killed."""
    return directory / "up.json"


def write_addresses(directory: Path, *, api: str, sandbox: str) -> None:
    write_private(address_file(directory), json.dumps({"pid": os.getpid(), "api": api, "sandbox": sandbox}))


def service_url(settings: Settings) -> str:
    """Where the running service is: what `up` wrote down, else the address that is configured."""
    return _written(settings, "api") or f"http://{settings.host}:{settings.port}"


def with_sandbox_url(settings: Settings) -> Settings:
    """The settings, with the sandbox rail of a running `up` where no other was given."""
    return settings if settings.sandbox_url else settings.model_copy(update={"sandbox_url": _written(settings, "sandbox")})


def _written(settings: Settings, name: str) -> str | None:
    try:
        written = json.loads(address_file(settings.data_dir).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    found = written.get(name) if isinstance(written, dict) else None
    return found if isinstance(found, str) else None
