"""The `curl` command that makes a call of the interface's description, ready to be pasted into a shell."""

import json
import shlex
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

Json = dict[str, Any]  # an OpenAPI document, or a part of one

# What the commands expect in the shell; the page shows it once.
SETUP: Final = "BASE=http://127.0.0.1:8000\nTOKEN=$(refundry token --role wallet --sub wallet-backend)"
_ONE_LINE_MAX: Final = 90
_FILES: Final = {"application/x-ndjson": "payments.ndjson"}


def curl(method: str, path: str, operation: Json, parameters: Iterable[Json]) -> str:
    """The command. `parameters` are the operation's, resolved; only those that the call cannot do without are filled in."""
    needed = [one for one in parameters if one["required"]]
    for one in needed:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", quote(_value(one), safe=""))
    command = "curl" if method == "get" else f"curl -X {method.upper()}"
    parts = [f'{command} "$BASE{path}"']
    if operation.get("security"):
        parts.append('-H "Authorization: Bearer $TOKEN"')
    for one in needed:
        if one["in"] == "header":
            parts.append("-H " + shlex.quote(f"{one['name']}: {_header(one, operation)}"))
    for media_type, media in operation.get("requestBody", {}).get("content", {}).items():
        parts += [f"-H 'Content-Type: {media_type}'", _data(media_type, media)]
    return " \\\n  ".join(parts)


def _value(parameter: Json) -> str:
    schema = parameter["schema"]
    return str(schema.get("example") or schema.get("enum", [parameter["name"]])[0])


def _header(parameter: Json, operation: Json) -> str:
    """A key that names its intent: sent again by the same caller, it shows the first answer again instead of acting twice."""
    return f"{operation['operationId']}-1" if parameter["name"] == "Idempotency-Key" else _value(parameter)


def _data(media_type: str, media: Json) -> str:
    if media_type in _FILES:
        return f"--data-binary @{_FILES[media_type]}"
    body = media.get("example", {})
    short = json.dumps(body, ensure_ascii=False)
    return "-d " + shlex.quote(short if len(short) <= _ONE_LINE_MAX else json.dumps(body, ensure_ascii=False, indent=2))
