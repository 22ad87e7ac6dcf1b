"""What changed between two policies, in files or published at the running service."""

import asyncio
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import httpx
from rich.console import Console

from service.api.i18n import Language, fault_message
from service.terminal.api_client import ApiClient
from service.terminal.failure import UserError
from service.terminal.plain import say
from service.terminal.policy_files import PolicyText, print_faults
from workflows.domain.model import DataValue
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.form import PolicyInvalid, parse_policy

Document = dict[str, DataValue]

_NAMED = {"rules": "rule", "response_tiers": "response tier"}  # arrays whose entries have a name, and what one is called
_NOTHING = "nothing"


def run_diff(old: str, new: str, *, url: str, token: Callable[[], str], console: Console, errors: Console) -> int:
    """Print what changed from one policy to the other. 0: nothing. 1: something. 2: one cannot be read, and why is printed to `errors`.

    Each is a file, or else the version of a published policy; only for one of these is a token asked for.
    """
    try:
        first, second = (_document(name, url, token, errors) for name in (old, new))
    except (UserError, OSError) as error:
        say(errors, str(error), style="red")
        return 2
    lines = list(differences(first, second))
    for line in lines:
        say(console, line, style=_STYLES[line[0]])
    return 1 if lines else 0


def differences(old: Mapping[str, DataValue], new: Mapping[str, DataValue]) -> Iterator[str]:
    """A line for each change between two documents as `policy_data` makes them: `+` added, `-` removed, `~` changed, `>` moved."""
    for member in [*old, *(one for one in new if one not in old)]:
        if member == "calendar" and _is_dated(old.get(member), new.get(member)):
            continue  # published, and not yet
        if member in _NAMED:
            yield from _named_differences(_NAMED[member], old.get(member, []), new.get(member, []))
        else:
            yield from _value_differences(member, old.get(member), new.get(member))


def _is_dated(one: DataValue, other: DataValue) -> bool:
    """Whether both name the same calendar, and one of them has its days, which publication writes down."""
    names = [value["name"] if isinstance(value, Mapping) else value for value in (one, other)]
    return names[0] == names[1] and isinstance(one, Mapping) is not isinstance(other, Mapping)


_STYLES = {"+": "green", "-": "red", "~": "yellow", ">": "cyan"}


def _document(name: str, url: str, token: Callable[[], str], errors: Console) -> Document:
    if Path(name).is_file():
        text = PolicyText(Path(name))
        try:
            return policy_data(parse_policy(text.document))
        except PolicyInvalid as invalid:
            print_faults(errors, text, [(fault.pointer, fault_message(fault, Language.en)) for fault in invalid.faults])
            raise UserError(f"{name} is no policy.") from None
    try:
        bearer = token()
    except UserError as error:
        raise UserError(f"{name} is no file, and a published version needs a token. {error}") from error

    async def read() -> Document:
        async with ApiClient(url, bearer) as client:
            return await published_document(client, name)

    return asyncio.run(read())


async def published_document(client: ApiClient, version: str) -> Document:
    """A published version's document. Raises UserError where there is none."""
    reply = await client.get(f"/v1/policies/{quote(version, safe='')}")
    if reply.status == httpx.codes.NOT_FOUND:
        raise UserError(f"{version} is no file, and no version that is published at {client.url}.")
    if reply.status != httpx.codes.OK:
        raise UserError(f"The service answered {reply.told()}")
    return policy_data(parse_policy(reply.body["policy"]))


def _named_differences(noun: str, old: Sequence[Document], new: Sequence[Document]) -> Iterator[str]:
    """Entries by name, in the new order; those that are gone come first. Moved is what left the longest order that stayed."""
    before, after = {one["name"]: one for one in old}, {one["name"]: one for one in new}
    places = {name: place for place, name in enumerate(before, 1)}
    stayed = _in_order([name for name in before if name in after], [name for name in after if name in before])
    for name in before:
        if name not in after:
            yield f"- {noun} {name}, was number {places[name]}"
    for place, (name, entry) in enumerate(after.items(), 1):
        if name not in before:
            yield f"+ {noun} {name}, as number {place}: {_told({key: value for key, value in entry.items() if key != 'name'})}"
            continue
        if name not in stayed:
            yield f"> {noun} {name}: from number {places[name]} to {place}"
        for member in [*before[name], *(one for one in entry if one not in before[name])]:
            yield from _value_differences(f"{noun} {name}: {member}", before[name].get(member), entry.get(member))


def _in_order(old: list[str], new: list[str]) -> set[str]:
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return {name for block in matcher.get_matching_blocks() for name in old[block.a : block.a + block.size]}


def _value_differences(path: str, old: DataValue, new: DataValue) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for member in [*old, *(one for one in new if one not in old)]:
            yield from _value_differences(f"{path}.{member}", old.get(member), new.get(member))
    elif old is None:
        yield f"+ {path}: {_told(new)}"
    elif new is None:
        yield f"- {path}, was {_told(old)}"
    else:
        yield f"~ {path}: {_told(old)} → {_told(new)}"


def _told(value: DataValue) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_nested(part)}" for name, part in value.items()) or _NOTHING
    if isinstance(value, list):
        return ", ".join(_told(part) for part in value) or _NOTHING
    return str(value).lower() if isinstance(value, bool) else str(value)


def _nested(value: DataValue) -> str:
    return f"({_told(value)})" if isinstance(value, dict | list) else _told(value)
