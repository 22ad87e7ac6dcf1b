"""The two statements of a request, taken from the product while it serves one, as a script for pgbench."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from service.app import create_app
from service.up.data_directory import settings_for
from workflows.domain import ids
from workflows.storage.snapshot import SnapshotQuery

# pgbench's variables are numbers: an id is the transaction's number, filled up to 32 digits; a digit for each kind of row.
_FILLERS = "0123456789abcdef"


@dataclass(slots=True)
class _Recorder:
    """A pool that passes statements on and remembers them."""

    pool: Any
    sent: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    async def fetchrow(self, statement: str, *arguments: Any) -> Any:
        self.sent.append((statement, arguments))
        return await self.pool.fetchrow(statement, *arguments)


@dataclass(frozen=True, slots=True)
class Script:
    """`constants` are given on the command line, and so are parameters like the ids."""

    text: str
    constants: dict[str, str]


async def record_request(directory: Path, token: str, payment: UUID) -> Script:
    """Let the application itself answer one request, and make a script of what it sent to the database."""
    app = create_app(settings_for(data_dir=directory))
    async with app.router.lifespan_context(app):
        store = app.state.services.store
        snapshot = await store.load(SnapshotQuery(payment_id=payment))
        assert await app.state.services.runner.runtime.terms(snapshot.payment), "the terms are read once a process, not once a request"
        recorder = _Recorder(store.pool)
        store.pool = recorder
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench") as client:
            headers = {"authorization": f"Bearer {token}", "idempotency-key": "bench"}
            path = f"/v1/payments/{ids.public('pay', payment)}/cancellations"
            answer = await client.post(path, json={"reason": "changed_mind"}, headers=headers)
        assert answer.status_code == 201, answer.text
    return _script(recorder.sent, payment)


def number_as_id(number: str) -> str:
    """How the script names the payment of that number."""
    return f"lpad({number}, 32, '{_FILLERS[0]}')::uuid"


def _script(sent: list[tuple[str, tuple[Any, ...]]], payment: UUID) -> Script:
    fresh = {payment: _FILLERS[0]}  # ids by their filler
    constants: dict[str, str] = {}
    statements = []
    for text, arguments in sent:
        shown = [_shown(argument, fresh, constants) for argument in arguments]
        statements.append(re.sub(r"\$(\d+)", lambda found, shown=shown: shown[int(found[1]) - 1], text))  # type: ignore[misc]  # a lambda with a default
    numbering = (
        "\\set round :round + 1",
        # No two transactions meet the same payment, and neighbours in time are none in the index.
        "\\set number :first + permute(:round * :callers + :client_id, :span)",
    )
    return Script("\n".join((*numbering, *(f"{statement.strip()};" for statement in statements))) + "\n", constants)


def _shown(argument: Any, fresh: dict[UUID, str], constants: dict[str, str]) -> str:
    if argument is None:
        return "nullif(:nothing, 'nothing')"  # pgbench has no parameter that is null, nor one that is empty
    if argument == "":
        return "''"
    if isinstance(argument, UUID):
        return _id(argument, fresh) + "::uuid"
    if isinstance(argument, str) and (parts := ids.from_rail_key(argument)) and all(part in fresh for part in parts):
        return f"({_id(parts[0], fresh)} || {_id(parts[1], fresh)})"
    name = f"v{len(constants)}"
    constants[name] = _as_text(argument)
    return f":{name}"


def _id(value: UUID, fresh: dict[UUID, str]) -> str:
    if value.int == 0:
        return f"'{value}'"
    return f"lpad(:number, 32, '{fresh.setdefault(value, _FILLERS[len(fresh)])}')"


def _as_text(argument: Any) -> str:
    match argument:
        case bytes():
            return "\\x" + argument.hex()
        case datetime():
            return argument.isoformat()
        case list() | tuple():
            return "{" + ",".join(map(str, argument)) + "}"
        case _:
            return str(argument)
