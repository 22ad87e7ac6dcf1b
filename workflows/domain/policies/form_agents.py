"""The part of a policy's written form that binds agents: whom they verify and how, how soon they answer, when they work."""

import re
from collections.abc import Callable, Mapping
from datetime import time

from workflows.domain.enums import Channel, Route
from workflows.domain.faults import FaultCode
from workflows.domain.forms import FormReader
from workflows.domain.model import DataValue
from workflows.domain.policies.conditions import When
from workflows.domain.policies.policy import ResponseTier, Verification, VerificationMethod
from workflows.domain.windows import Length, Unit
from workflows.domain.working_time import WorkingHours

TIERS_MAX = 20
_TIER = frozenset({"name", "when", "routes", "first_response", "resolution", "investigation"})
_AGENTS_CHANNELS = frozenset(Channel) - {Channel.app, Channel.merchant, Channel.system}
TIER_NAME = re.compile(r"[a-z][a-z_]{0,39}")
_WALL_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


def read_tiers(form: FormReader, read_when: Callable[[FormReader], When]) -> tuple[ResponseTier, ...]:
    """`read_when` reads a rule's `when`."""
    tiers: list[ResponseTier] = []
    for entry in form.items(TIERS_MAX):
        tier = _tier(entry, read_when)
        if tier.name and tier.name in {known.name for known in tiers}:
            entry.at("name", tier.name).wrong(FaultCode.duplicate_tier_name)
        tiers.append(tier)
    return tuple(tiers)


def read_working_hours(form: FormReader) -> WorkingHours:
    both = frozenset({"opens", "closes"})
    has = form.members(both, required=both)
    opens, closes = (_wall_time(has[name]) if name in has else None for name in ("opens", "closes"))
    if opens is not None and closes is not None and opens >= closes:
        form.wrong(FaultCode.working_hours_reversed)
    return WorkingHours(opens=opens or time(), closes=closes or time())


def read_verification(form: FormReader) -> Verification:
    """True for every channel on which somebody else asks, a list of channels, or both channels and methods by name."""
    if isinstance(form.value, bool):
        return Verification(channels=_AGENTS_CHANNELS if form.value else frozenset())
    if not isinstance(form.value, Mapping):
        return Verification(channels=_channels(form))
    has = form.members(frozenset({"channels", "methods"}))
    return Verification(
        channels=_channels(has["channels"]) if "channels" in has else _AGENTS_CHANNELS,
        methods=frozenset(entry.word(VerificationMethod) for entry in has["methods"].items(len(VerificationMethod)))
        if "methods" in has
        else frozenset(),
    )


def verification_data(verification: Verification) -> DataValue:
    channels = sorted(str(channel) for channel in verification.channels)
    if not verification.methods:
        return channels
    return {"channels": channels, "methods": sorted(str(method) for method in verification.methods)}


def tiers_data(tiers: tuple[ResponseTier, ...], when_data: Callable[[When], dict[str, DataValue]]) -> list[dict[str, DataValue]]:
    return [_tier_data(tier, when_data) for tier in tiers]


def working_hours_data(hours: WorkingHours) -> dict[str, DataValue]:
    return {"opens": f"{hours.opens:%H:%M}", "closes": f"{hours.closes:%H:%M}"}


def _channels(form: FormReader) -> frozenset[Channel]:
    return frozenset(entry.word(Channel, _AGENTS_CHANNELS) for entry in form.items(len(_AGENTS_CHANNELS)))


def _tier(form: FormReader, read_when: Callable[[FormReader], When]) -> ResponseTier:
    has = form.members(_TIER, required=frozenset({"name", "first_response"}))
    return ResponseTier(
        name=has["name"].text(TIER_NAME, FaultCode.invalid_tier_name) if "name" in has else "",
        when=read_when(has["when"]) if "when" in has else When(),
        routes=frozenset(entry.word(Route) for entry in has["routes"].items(len(Route))) if "routes" in has else frozenset(),
        first_response=has["first_response"].length() if "first_response" in has else Length(1, Unit.days),
        resolution=has["resolution"].length() if "resolution" in has else None,
        investigation=has["investigation"].flag() if "investigation" in has else False,
    )


def _tier_data(tier: ResponseTier, when_data: Callable[[When], dict[str, DataValue]]) -> dict[str, DataValue]:
    data: dict[str, DataValue] = {"name": tier.name, "when": when_data(tier.when), "first_response": str(tier.first_response)}
    if tier.routes:
        data["routes"] = sorted(str(route) for route in tier.routes)
    if tier.resolution is not None:
        data["resolution"] = str(tier.resolution)
    if tier.investigation:
        data["investigation"] = True
    return data


def _wall_time(form: FormReader) -> time | None:
    text = form.text(_WALL_TIME, FaultCode.invalid_wall_time)
    return time.fromisoformat(text) if text else None
