"""What can be configured: the only reader of the environment.

Every setting is an environment variable with the prefix REFUNDRY_, or a line of `.env`. Lists are written with commas.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.private_files import FileUnusable

PREFIX = "REFUNDRY_"
DATABASES = ("database_url", "database_owner_url", "replica_url")  # settings that hold the address of one, with its password
Origin = Literal["environment", ".env", "default", "data directory", "command line"]


def _postgresql(url: str) -> str:
    if url and urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise ValueError("must begin with postgresql://")
    return url


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


DatabaseUrl = Annotated[str, AfterValidator(_postgresql), Field(repr=False)]
Seconds = Annotated[int, Field(ge=1, le=30 * 24 * 3600)]


class Settings(BaseSettings):
    """Read once, validated, frozen; its repr hides what is secret. The defaults are production's."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", frozen=True, extra="ignore", hide_input_in_errors=True)

    data_dir: Path = Field(
        Path(".refundry"), description="Where `up` keeps its database, keys and the rail's ledger, and where the other commands find them"
    )

    database_url: DatabaseUrl = Field(
        "", description="PostgreSQL for the API and the workers: postgresql://user:password@host:port/database"
    )
    database_owner_url: DatabaseUrl = Field(
        "", description="The same database as the owner of its tables, for migrations; database_url unless told"
    )
    replica_url: DatabaseUrl = Field("", description="A replica for reads that may lag: search, export, reports; database_url unless told")
    database_pool_size: int = Field(
        10,
        ge=1,
        le=200,
        description="Connections of each API process for what is asked of payments; it works on twice as many requests at once",
    )
    reads_pool_size: int = Field(5, ge=1, le=200, description="Its connections for lists and searches")
    exports_max: int = Field(4, ge=1, le=100, description="Exports that it streams at once, each over a connection of its own")
    stream_stall_seconds: float = Field(
        30, gt=0, le=3600, description="How long the reader of a streamed answer may take for 64 KiB of it before it is cut off"
    )
    requests_waiting_max: int = Field(
        200, ge=0, le=10_000, description="Requests that wait for a place in an API process; it refuses further ones at once"
    )
    worker_pool_size: int = Field(10, ge=1, le=200, description="Connections of each worker for its jobs")

    disk_free_megabytes_min: int = Field(
        200, ge=0, le=1_000_000, description="Free space under which `up` does not start, and /readyz fails its check `disk`; 0: no bound"
    )

    host: str = Field("127.0.0.1", description="Address that the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="Port that the API listens on; 0 takes a free one")
    head_seconds: float = Field(10, gt=0, le=300, description="How long a caller may take to send a request's line and headers")
    keep_alive_seconds: float = Field(75, gt=0, le=3600, description="How long a connection without a request is kept open")
    connections_max: int = Field(1000, ge=1, le=100_000, description="Open connections of each API process")
    connections_per_address_max: int = Field(250, ge=1, le=100_000, description="The same from one address, or one /64 of IPv6")
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_commas)] = Field(
        (ip_network("127.0.0.0/8"), ip_network("::1/128")),
        description="Addresses or networks of the proxies in front, whose connections are not counted by address",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged")
    log_file: Path | None = Field(
        None, description="File for the log instead of standard error; it and the four before it have at most 10 MB each"
    )
    metrics_dir: Path | None = Field(
        None, description="Directory in which the API processes of one machine add up their metrics; none: each shows its own"
    )
    worker_metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port at which a worker shows its metrics; 0 takes a free one and logs it; none: it shows none"
    )
    worker_metrics_host: str = Field("127.0.0.1", description="Address for that port")

    jwks_file: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="Public keys of those who sign the callers' tokens, as a JWKS file"
    )
    jwks_url: Annotated[str | None, BeforeValidator(_none_if_empty)] = Field(None, description="The same, fetched from an address")
    issuer: str = Field("refundry-local", min_length=1, description="`iss` that a caller's token must name")
    audience: str = Field("refundry", min_length=1, description="`aud` that a caller's token must name")

    sandbox_url: Annotated[str | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="Address of the sandbox rail; none: the provider `sandbox` is not offered"
    )
    sandbox_secret: SecretStr = Field(
        SecretStr(""), description="Secret shared with the sandbox rail, which signs its notifications with it"
    )

    rail_timeout_seconds: float = Field(
        10, gt=0, le=120, description="How long a call to a rail may take before its outcome counts as unknown"
    )
    enquiry_seconds: Annotated[tuple[Seconds, ...], NoDecode, BeforeValidator(_commas)] = Field(
        (30, 60, 300, 900, 3600, 14400, 86400),
        min_length=1,
        description="Waits before the sandbox rail is asked again for an outcome that it owes; the last one repeats",
    )
    unknown_seconds_max: Seconds = Field(
        3600, description="How long after it was first sent to the sandbox rail an outcome may be unknown before a person is called"
    )
    processing_seconds_max: Seconds = Field(3 * 86400, description="The same for what the sandbox rail has accepted, and has not paid")
    recheck_seconds: Annotated[tuple[Seconds, ...], NoDecode, BeforeValidator(_commas)] = Field(
        tuple(days * 86400 for days in (1, 2, 4, 8, 16, 28)),
        description="When after its confirmation the sandbox rail is asked whether a refund came back; as long as its banks may return it",
    )
    breaker_failures: int = Field(5, ge=1, le=1000, description="Failed calls, one after the other, after which a worker pauses a rail")
    breaker_pause_seconds: float = Field(10, gt=0, le=300, description="How long; doubled while the rail then answers no order")
    breaker_pause_seconds_max: float = Field(300, gt=0, le=3600, description="And how long at most")
    lease_seconds: int = Field(
        60, ge=1, le=86_400, description="How long a worker owns a job; after a crash another one takes it over then"
    )
    worker_concurrency: int = Field(16, ge=1, le=500, description="Movements that one worker carries at the same time, for each rail")
    worker_notifications: int = Field(8, ge=1, le=500, description="Words of rails that one worker acts on at the same time")
    worker_deadlines: int = Field(8, ge=1, le=500, description="Deadlines that one worker strikes at the same time, beside its other jobs")
    worker_poll_seconds: float = Field(0.2, gt=0, le=60, description="How often an idle worker looks for due jobs")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.lease_seconds <= 4 * self.rail_timeout_seconds:
            raise ValueError("lease_seconds must be more than four times rail_timeout_seconds: a job asks and sends before it ends")
        if self.jwks_file is not None and self.jwks_url is not None:
            raise ValueError("give jwks_file or jwks_url, not both")
        return self

    @property
    def owner_url(self) -> str:
        """The database's address for migrations."""
        return self.database_owner_url or self.database_url


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of `refundry settings`; `value` is fit for other eyes."""

    name: str
    meaning: str
    value: str
    origin: Origin


def load(**given: Any) -> Settings:  # values of every field's type, as the terminal took them
    """Read the environment once; `given` comes before it, where it is not None."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except UnicodeDecodeError as error:
        raise FileUnusable(".env in this directory is not text in UTF-8. Mend it or move it away.") from error


def show(settings: Settings, origins: Mapping[str, Origin] | None = None) -> list[SettingRow]:
    """Every setting with its meaning, value and origin. `origins` names those that came from elsewhere than `load`."""
    known: dict[str, Origin] = {**origin_of_each(), **(origins or {})}
    return [
        SettingRow(PREFIX + name.upper(), field.description or "", _shown_value(getattr(settings, name), field), known[name])
        for name, field in Settings.model_fields.items()
    ]


def origin_of_each() -> dict[str, Origin]:
    """Where `load` finds the value of each setting."""
    environment = {name.upper() for name in os.environ}  # noqa: TID251 -- this module is the one reader
    lines = {name.upper() for name in dotenv_values(".env")}
    origins: dict[str, Origin] = {}
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        origins[name] = "environment" if variable in environment else ".env" if variable in lines else "default"
    return origins


def configured() -> str:
    """The settings that were found in `.env` and in the environment: their names, and never a value. Empty where there are none."""
    named = {
        origin: [PREFIX + name.upper() for name, found in origin_of_each().items() if found == origin] for origin in (".env", "environment")
    }
    return "; ".join(f"{', '.join(names)} ({origin})" for origin, names in named.items() if names)


def environment_for_child(settings: Mapping[str, object], *, database: bool = True) -> dict[str, str]:
    """This process's environment with these settings put into it, for a process of ours; None leaves one as it is.

    Without `database` no address or password of one is in it, nor is one read from `.env`: the empty variable comes before it.
    """
    own = environment_of(settings)
    # Children find our modules where we are, whatever directory they are started in.
    modules = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]))  # noqa: TID251 -- as above
    if not database:
        own |= {PREFIX + name.upper(): "" for name in DATABASES}
    inherited = {name: value for name, value in os.environ.items() if name.upper() not in own}  # noqa: TID251 -- as above
    if not database:
        inherited = {name: value for name, value in inherited.items() if not name.startswith("PG")}  # libpq's, PGPASSWORD among them
    return {**inherited, "PYTHONPATH": modules, **own}


def environment_of(settings: Mapping[str, object]) -> dict[str, str]:
    """The variables that say these settings; None says nothing."""
    return {PREFIX + name.upper(): _as_text(value) for name, value in settings.items() if value is not None}


def without_password(url: str) -> str:
    """The address of a database as it may be logged."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user, _, places = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{places}"))


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _shown_value(value: object, field: FieldInfo) -> str:
    if isinstance(value, SecretStr):
        return "***" if value.get_secret_value() else "-"
    if value is None or value == "":
        return "-"
    return _as_text(value) if field.repr else without_password(str(value))
