"""The settings, completed by what `refundry up` made in its data directory."""

from collections.abc import Mapping
from typing import Any

from service import settings
from service.settings import Origin, Settings
from service.up import embedded

_DATA_DIRECTORY: Origin = "data directory"


def settings_for(**given: Any) -> Settings:  # values of every field's type, as the terminal took them
    """The settings, and the embedded database and the local keys of the data directory where none were given."""
    read = settings.load(**given)
    return read.model_copy(update=_from_directory(read))


def origins(**given: Any) -> Mapping[str, Origin]:  # as above
    """Where those values came from that `settings.load` alone would not have found."""
    given_origins: dict[str, Origin] = {name: "command line" for name, value in given.items() if value is not None}
    return {**dict.fromkeys(_from_directory(settings.load(**given)), _DATA_DIRECTORY), **given_origins}


def _from_directory(read: Settings) -> dict[str, object]:
    update: dict[str, object] = {}
    server = None if read.database_url else embedded.find(read.data_dir)
    if server is not None:
        update |= {"database_url": server.app_url(), "database_owner_url": server.owner_url()}
    public_keys = read.data_dir / "keys" / "jwks.json"
    if read.jwks_file is None and read.jwks_url is None and public_keys.exists():
        update["jwks_file"] = public_keys
    return update
