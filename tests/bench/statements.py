"""The two statements of a request, taken from the product while it serves one, as a script for pgbench."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from service.app import create_app
from service.up.data_directory import settings_for
from tests.bench.numbered import Numbered, named_ids
from workflows.domain import ids

_RECORDED = ("fetchrow", "fetchval", "fetch", "execute")
_NUMBERING = (
    "\\set round :round + 1",
    # No two transactions meet the same payment, and neighbours in time are none in the index.
    "\\set number :first + permute(:round * :callers + :client_id, :span)",
)


@dataclass(frozen=True, slots=True)
class Sent:
    """`types` are those of the parameters, as PostgreSQL tells them."""

    text: str
    arguments: tuple[Any, ...]
    types: tuple[str, ...]


@dataclass(slots=True)
class _Recorder:
    """A pool that passes statements on and remembers them."""

    pool: Any
    sent: list[Sent] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        passed_on = getattr(self.pool, name)
        if name not in _RECORDED:
            return passed_on

        async def record(statement: str, *arguments: Any, **more: Any) -> Any:
            async with self.pool.acquire() as connection:
                prepared = await connection.prepare(statement)
                self.sent.append(Sent(statement, arguments, tuple(one.name for one in prepared.get_parameters())))
            return await passed_on(statement, *arguments, **more)

        return record


@dataclass(frozen=True, slots=True)
class Script:
    """`constants` are given on the command line, and so are parameters like the ids."""

    text: str
    constants: dict[str, str]


async def record_request(directory: Path, token: str, before: UUID, payment: UUID) -> Script:
    """Let the application itself answer a request, and make a script of what it sent to the database.

    It answers one on another payment before: what a process asks for only once is no part of a request.
    """
    app = create_app(settings_for(data_dir=directory))
    async with app.router.lifespan_context(app):
        store = app.state.services.store
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench") as client:
            await _request(client, token, before)
            recorder = _Recorder(store.pool)
            store.pool = recorder
            await _request(client, token, payment)
    if not recorder.sent:
        raise RuntimeError("The application no longer sends its statements through the pool of its store: teach tests/bench/statements.py.")
    return make_script(recorder.sent, payment)


async def _request(client: httpx.AsyncClient, token: str, payment: UUID) -> None:
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "bench"}
    path = f"/v1/payments/{ids.public('pay', payment)}/cancellations"
    answer = await client.post(path, json={"reason": "changed_mind"}, headers=headers)
    assert answer.status_code == 201, answer.text


def make_script(sent: Sequence[Sent], payment: UUID) -> Script:
    """Ids become the transaction's own wherever they stand, in a text or in JSON too; all else stays a parameter."""
    numbered = Numbered(":number")
    numbered.add([payment])
    for argument in (argument for one in sent for argument in one.arguments):
        numbered.add([argument] if isinstance(argument, UUID) else [] if argument is None else named_ids(_as_text(argument)))
    constants: dict[str, str] = {}
    statements = []
    for one in sent:
        shown = [_shown(argument, type_, numbered, constants) for argument, type_ in zip(one.arguments, one.types, strict=True)]
        text = _literals_without_variables(one.text.strip())
        statements.append(re.sub(r"\$(\d+)", lambda found, shown=shown: shown[int(found[1]) - 1], text))  # type: ignore[misc]  # a lambda with a default
    return Script("\n".join((*_NUMBERING, *(f"{statement};" for statement in statements))) + "\n", constants)


def _shown(argument: Any, type_: str, numbered: Numbered, constants: dict[str, str]) -> str:
    """In place of a parameter, and of its type."""
    if argument is None:
        return f"nullif(:nothing, 'nothing')::{type_}"  # pgbench has no parameter that is null, nor one that is empty
    if argument == "":
        return f"''::{type_}"
    if isinstance(argument, UUID) and (expression := numbered.id_sql(argument)) is not None:
        return f"({expression})::{type_}"
    text, places = (_as_text(argument), []) if isinstance(argument, bytes) else numbered.format_of(_as_text(argument))
    name = f"v{len(constants)}"
    constants[name] = text
    return f"format(:{name}, {', '.join(places)})::{type_}" if places else f":{name}::{type_}"


def _literals_without_variables(statement: str) -> str:
    """pgbench takes `:name` for a variable inside a literal too: there, the colon is written as an escape."""

    def escaped(found: re.Match[str]) -> str:
        literal = found[0]
        return "E" + re.sub(r":(?=\w)", r"\\x3a", literal.replace("\\", "\\\\")) if re.search(r":\w", literal) else literal

    return re.sub(r"'(?:[^']|'')*'", escaped, statement)


def _as_text(argument: Any) -> str:
    match argument:
        case bytes():
            return "\\x" + argument.hex()
        case bool():
            return "true" if argument else "false"
        case datetime():
            return argument.isoformat()
        case list() | tuple():
            return "{" + ",".join("NULL" if one is None else _quoted(_as_text(one)) for one in argument) + "}"
        case _:
            return str(argument)


def _quoted(element: str) -> str:
    return '"' + element.replace("\\", "\\\\").replace('"', '\\"') + '"'
