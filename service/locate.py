"""Fills in what `refundry up` made in a data directory, wherever nothing else was configured."""

import json
from collections.abc import Mapping
from typing import Any

from service import embedded, settings
from service.settings import Origin, Settings

_FOUND: Origin = "data directory"


def settings_for(**given: Any) -> Settings:  # values of every field's type, as the terminal took them
    """The settings, and the embedded database and the local keys of the data directory where none were given."""
    read = settings.load(**given)
    return read.model_copy(update=found(read))


def origins(**given: Any) -> Mapping[str, Origin]:  # as above
    """Where those values came from that `settings.load` alone would not have found."""
    told: dict[str, Origin] = {name: "command line" for name, value in given.items() if value is not None}
    return {**dict.fromkeys(found(settings.load(**given)), _FOUND), **told}


def found(read: Settings) -> dict[str, object]:
    update: dict[str, object] = {}
    server = None if read.database_url else embedded.find(read.data_dir)
    if server is not None:
        update |= {"database_url": server.app_url(), "database_owner_url": server.owner_url()}
    public_keys = read.data_dir / "keys" / "jwks.json"
    if read.jwks_file is None and read.jwks_url is None and public_keys.exists():
        update["jwks_file"] = public_keys
    return update


def service_url(read: Settings) -> str:
    """Where the running service is: what `up` wrote down, else the address that is configured."""
    return _written(read, "api") or f"http://{read.host}:{read.port}"


def with_sandbox(read: Settings) -> Settings:
    """The settings, with the sandbox rail of a running `up` where no other was given."""
    return read if read.sandbox_url else read.model_copy(update={"sandbox_url": _written(read, "sandbox")})


def _written(read: Settings, name: str) -> str | None:
    """An address that `up` wrote down, as long as it runs and after it was killed."""
    try:
        return str(json.loads((read.data_dir / "up.json").read_text())[name])
    except (OSError, ValueError, KeyError):
        return None
