"""Stands in for the pool where a test wants the plans of a statement, and judges how much they read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Connection = Any  # asyncpg ships no types


Plan = dict[str, Any]


ROWS_MAX = 2_000  # that any node of a plan may look at, for a page of fifty


SMALL = 10_000  # rows of a table that may be read whole


@dataclass
class Explained:
    """Stands in for the pool: runs a statement, and keeps its plans, the one for its values and the one for any."""

    connection: Connection
    plans: dict[str, Plan] = field(default_factory=dict)

    async def fetchrow(self, statement: str, *arguments: Any) -> Any:
        return (await self.fetch(statement, *arguments))[0]

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        await self.connection.execute(f"prepare listed as {statement}")
        for mode in ("force_custom_plan", "force_generic_plan"):
            await self.connection.execute(f"set plan_cache_mode = {mode}")
            given = f"({', '.join(map(_literal, arguments))})" if arguments else ""
            text = await self.connection.fetchval(f"explain (analyze, timing off, format json) execute listed{given}")
            self.plans[mode] = json.loads(text)[0]["Plan"]
        await self.connection.execute("deallocate listed")
        return list(await self.connection.fetch(statement, *arguments))


async def must_be_short(explained: Explained, name: str, *, rows_max: int = ROWS_MAX) -> None:
    for mode, plan in explained.plans.items():
        for node in _nodes(plan):
            what = f"{name}, {mode}: {json.dumps(node, indent=1)}"
            if node["Node Type"] == "Seq Scan":
                size = await explained.connection.fetchval("select reltuples from pg_class where relname = $1", node["Relation Name"])
                assert size <= SMALL, what
            if "Relation Name" in node or "Index Name" in node:
                assert _examined(node) <= rows_max, what


def _examined(node: Plan) -> float:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield {name: value for name, value in plan.items() if name != "Plans"}
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _literal(value: object) -> str:
    match value:
        case bool() | int():
            return str(value)
        case list():
            return f"'{{{','.join(map(str, value))}}}'"
        case datetime():
            return f"'{value.isoformat()}'"
        case _:
            return f"'{value}'"
