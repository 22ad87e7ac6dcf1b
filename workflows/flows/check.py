"""Check the invariants over the whole database: in constant memory, from one unchanging view of it, with no right but to read."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from workflows.domain.canonical import DECODER, canonical_unchecked
from workflows.domain.records import GENESIS, LEAF, chain_id
from workflows.domain.replay.comparison import REPLAYED
from workflows.domain.times import rfc3339
from workflows.flows.replay import Replay
from workflows.storage.catalog import catalog_differences, read_catalog, wanted_catalog
from workflows.storage.invariants import IN_SQL, Invariant
from workflows.storage.notices import NOTICES
from workflows.storage.views import Source, unchanging

EXAMPLES_MAX = 20
EXAMPLE_LENGTH_MAX = 300
FETCH_ROWS = 1000

Watch = Callable[[str, int, int], None]  # what is looked at, how much of it is done, of how much

# What only every record's own bytes can show.
UNBROKEN = "records_unbroken"
SEALED = "records_sealed"
LINKED = "records_linked"
COLUMNS = "records_match_columns"
STORY = "records_tell_one_story"
SCHEMA = "schema_is_as_migrated"
IN_CHAINS = (UNBROKEN, SEALED, LINKED, COLUMNS, STORY)
_RECORDS = """
select chain_id, sequence, id, chain, payment_id, type, occurred_at, actor_role, actor_id, body, hash
  from record order by chain_id, sequence
"""


@dataclass(slots=True, kw_only=True)
class InvariantResult:
    """What became of one invariant; `examples` are the first EXAMPLES_MAX of `violations`, each an id and name=value pairs."""

    name: str
    looked_at: int
    violations: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        return self.violations > 0

    def violated(self, example: str) -> None:
        self.violations += 1
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(example[:EXAMPLE_LENGTH_MAX])


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """What waits for a person, and is no violation; `oldest_at` is None where there is none."""

    name: str
    count: int
    oldest_at: datetime | None


def _nobody_watches(_: str, __: int, ___: int) -> None:
    """Where no progress is shown."""


async def run_checks(source: Source, *, watch: Watch = _nobody_watches) -> list[InvariantResult]:
    """Every invariant's result. `source` may belong to the application's role, which may read everything."""
    async with unchanging(source) as connection:
        counts: dict[str, int] = {}
        results = []
        for done, invariant in enumerate(IN_SQL):
            watch(invariant.name, done, len(IN_SQL))
            results.append(await _check(connection, invariant, await _count(connection, invariant.looks_at, counts)))
        results += await _check_chains(connection, await _count(connection, "record", counts), watch)
    return [*results, await _check_schema(source)]


async def notice(source: Source) -> list[Noticed]:
    """Every count of what waits for a person, those of nothing too."""
    async with unchanging(source) as connection:
        rows = [(each.name, await connection.fetchrow(each.sql)) for each in NOTICES]
    return [Noticed(name=name, count=count, oldest_at=oldest_at) for name, (count, oldest_at) in rows]


async def _check(connection: asyncpg.Connection, invariant: Invariant, looked_at: int) -> InvariantResult:
    result = InvariantResult(name=invariant.name, looked_at=looked_at)
    try:
        async with connection.transaction():  # a savepoint: rows that nobody can read must not end the other checks
            cursor = await connection.cursor(invariant.sql)
            while rows := await cursor.fetch(FETCH_ROWS):
                for (example,) in rows:
                    result.violated(example or "id=none")
    except asyncpg.DataError as error:
        result.violated(f"unreadable={error}")
    return result


async def _check_chains(connection: asyncpg.Connection, total: int, watch: Watch) -> list[InvariantResult]:
    """The chains, and in the same pass what they tell of each payment."""
    chains, told = Chains(), {name: InvariantResult(name=name, looked_at=0) for name in REPLAYED}
    replay = Replay(lambda name, what: told[name].violated(what))
    cursor = await connection.cursor(_RECORDS)
    watch("records", 0, total)
    while rows := await cursor.fetch(FETCH_ROWS):
        for values in rows:
            row = _Row(*values)
            replay.see(row.payment_id, row.sequence, chains.see(row))
        await replay.judge(connection)
        watch("records", chains.seen, total)
    await replay.judge(connection, last=True)
    for name, seen in replay.seen.items():
        told[name].looked_at = seen
    return [*chains.results(), *told.values()]


async def _check_schema(source: Source) -> InvariantResult:
    """In a transaction of its own, since it reads with another search path."""
    async with unchanging(source) as connection:
        found = await read_catalog(connection)
    wanted = wanted_catalog()
    result = InvariantResult(name=SCHEMA, looked_at=len(found.objects))
    for difference in catalog_differences(found, wanted):
        result.violated(difference)
    return result


async def _count(connection: asyncpg.Connection, table: str, counts: dict[str, int]) -> int:
    if table not in counts:
        counts[table] = await connection.fetchval(f"select count(*) from {table}")
    return counts[table]


class _Row(NamedTuple):
    chain_id: UUID
    sequence: int
    id: UUID
    chain: str
    payment_id: UUID | None
    type: str
    occurred_at: datetime
    actor_role: str
    actor_id: str
    body: str
    hash: bytes


class _Before(NamedTuple):
    """What the next record of a chain has to follow."""

    row: _Row
    from_state: Any  # Any: whatever the body holds
    to_state: Any


class Chains:
    """The records of all chains, shown one by one in the order of chain and sequence; it remembers no more than the last."""

    def __init__(self) -> None:
        self.seen = 0
        self._results = {name: InvariantResult(name=name, looked_at=0) for name in IN_CHAINS}
        self._before: _Before | None = None

    def see(self, row: _Row) -> dict[str, Any]:
        """What the record's body says."""
        self.seen += 1
        before = self._before
        if before is not None and before.row.chain_id != row.chain_id:
            before = None
        body = _read(row)
        if body is None:
            self._violated(SEALED, row, "body=changed")
            body = _object(row.body)
        expected = 1 if before is None else before.row.sequence + 1
        if row.sequence != expected:
            self._violated(UNBROKEN, row, f"expected_sequence={expected}")
        elif body.get("previous_hash") != (GENESIS if before is None else before.row.hash.hex()):
            self._violated(LINKED, row, "previous_hash=differs")
        if (differing := _differing(row, body, before)) is not None:
            self._violated(COLUMNS, row, f"{differing}=differs")
        from_state, to_state = body.get("from_state"), body.get("to_state")
        if row.payment_id is not None and row.sequence == expected and not _follows(row, before, from_state, to_state):
            self._violated(STORY, row, f"from_state={from_state} to_state={to_state} occurred_at={row.occurred_at:%Y-%m-%dT%H:%M:%S.%fZ}")
        self._before = _Before(row, from_state, to_state)
        return body

    def results(self) -> list[InvariantResult]:
        for result in self._results.values():
            result.looked_at = self.seen
        return list(self._results.values())

    def _violated(self, name: str, row: _Row, why: str) -> None:
        self._results[name].violated(f"{row.chain} sequence={row.sequence} {why}")


def _read(row: _Row) -> dict[str, Any] | None:
    """The body's members, or None where it is not canonical or its hash is another."""
    try:
        raw = row.body.encode()
        if sha256(LEAF + raw).digest() != row.hash:
            return None
        value, _ = DECODER.raw_decode(row.body)
        return value if isinstance(value, dict) and canonical_unchecked(value) == raw else None
    except (ValueError, RecursionError):
        return None


def _object(body: str) -> dict[str, Any]:
    """What can still be read of a body that is not what was hashed."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


_BESIDE = ("id", "chain", "payment_id", "sequence", "type", "occurred_at", "actor_role", "actor_id")


def _differing(row: _Row, body: dict[str, Any], before: _Before | None) -> str | None:
    """The first column that does not say what the body says."""
    payment = None if row.payment_id is None else f"pay_{row.payment_id.hex}"
    beside = (f"rec_{row.id.hex}", row.chain, payment, row.sequence, row.type, rfc3339(row.occurred_at), row.actor_role, row.actor_id)
    get, actor = body.get, body.get("actor")
    role, actor_id = (actor.get("role"), actor.get("id")) if isinstance(actor, dict) else (None, None)
    inside = (get("id"), get("chain"), get("payment_id"), get("sequence"), get("type"), get("occurred_at"), role, actor_id)
    if beside != inside:
        return next(name for name, column, member in zip(_BESIDE, beside, inside, strict=True) if column != member)
    # A chain's name is read once a chain: its other records only have to bear the same.
    same = chain_id(row.chain) == row.chain_id if before is None else row.chain == before.row.chain
    return None if same else "chain_id"


def _follows(row: _Row, before: _Before | None, from_state: Any, to_state: Any) -> bool:
    """Records of one change name the same two states; those of the next begin where it ended."""
    if before is None:
        return from_state is None
    if row.occurred_at < before.row.occurred_at:
        return False
    return from_state == before.to_state or (from_state, to_state) == (before.from_state, before.to_state)
