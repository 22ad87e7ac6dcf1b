"""The service itself: what it is, whether it is well, and how it says no."""

from typing import Literal

from pydantic import ConfigDict, Field

from service.api.models.base import Out, Time
from workflows.domain.rail_states import BreakerState


class MetaOut(Out):
    """What this service is."""

    name: str = Field(description="Always `refundry`.", examples=["refundry"])
    version: str = Field(description="Of the program.", examples=["0.1.0"])
    providers: list[str] = Field(description="The rails that it can reach.", examples=[["sandbox"]])
    default_provider: str = Field(description="The rail of payments that name no funding.", examples=["sandbox"])
    sandbox_url: str | None = Field(description="The sandbox rail's own address, where there is one.", examples=["http://127.0.0.1:8090"])


class HealthOut(Out):
    """The process is alive."""

    status: Literal["ok"] = Field(description="Always `ok`.")


class RailStateOut(Out):
    """How a rail's circuit breaker stands."""

    name: str = Field(description="The rail.", examples=["sandbox"])
    state: BreakerState = Field(
        description="`closed`: it answers. `open`: it failed again and again, and its jobs wait."
        " `half_open`: a question is asked whether it is back."
    )
    since: Time = Field(description="When that began.")


class ReadyOut(Out):
    """Whether the process can serve, and what it looked at."""

    status: Literal["ok", "unavailable"] = Field(description="`ok` when every check is.")
    checks: dict[str, Literal["ok", "failed"]] = Field(
        description="By name: the database, its migrations, a worker's sign of life, room to write, keys to check tokens with."
        " More may be added.",
        examples=[{"database": "ok", "migrations": "ok", "worker": "ok", "disk": "ok", "keys": "ok"}],
    )
    rails: list[RailStateOut] = Field(
        description="The rails that the workers call, each with the worst state that a living worker tells of."
        " A rail that is away makes nothing unready."
    )


class NotificationOut(Out):
    """The notification is stored; it is acted on afterwards."""


class FieldError(Out):
    """One thing to fix in a request."""

    pointer: str = Field(description="RFC 6901; `/query/<name>` for a parameter, `/headers/<name>` for a header.", examples=["/amount"])
    code: str = Field(description="What is wrong, as a word. New ones may be added.", examples=["below_minimum"])
    detail: str = Field(description="What is expected.", examples=["Must be at least 1."])


class Problem(Out):
    """An RFC 9457 problem, with the members that its type names."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A page that explains it.", examples=["/problems/validation-failed"])
    title: str = Field(description="What it is, in a few words.")
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What to do next.")
    instance: str = Field(description="The path that was called.", examples=["/v1/payments"])
    code: str = Field(description="The slug in `type`.", examples=["validation-failed"])
    trace_id: str = Field(description="Names this answer in our logs and records.", examples=["0af7651916cd43dd8448eb211c80319c"])
    errors: list[FieldError] | None = Field(None, description="What to fix, where a form was at fault.")
