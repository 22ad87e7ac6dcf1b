"""A PostgreSQL for the length of a test run, with a fresh copy of the migrated database for every test that asks."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg

from service import migrations
from service.up import embedded
from tests import ROOT

_TEMPLATE = "template_migrated"
# Tests kill programs, never the machine: what the kernel has is safe, and a copy takes a third of the time. In memory it takes a tenth.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "512MB"}
_MEMORY = Path("/dev/shm")  # noqa: S108 -- what is made there has a random name and is closed to others
_MEMORY_BYTES_PER_WORKER = 2 << 30
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """One database of the test server, as its two users reach it."""

    name: str
    owner_url: str
    app_url: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """The test server. Databases are made by copying, which takes some 50 ms."""

    server: embedded.Server

    @asynccontextmanager
    async def clone(self, template: str = _TEMPLATE) -> AsyncIterator[Database]:
        """A database of its own, migrated to head, gone afterwards together with whoever is still connected."""
        name = f"test_{next(_numbers)}"
        # Copying files beats copying through the log as soon as nothing is synced.
        await self._execute(f"create database {name} template {template} strategy file_copy")
        try:
            yield Database(name, self.server.owner_url(name), self.server.app_url(name))
        finally:
            await self._execute(f"drop database {name} with (force)")

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[Database]:
        """A database in which nothing has been migrated or granted."""
        async with self.clone("template0") as database:
            yield database

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.owner_url("postgres"), ssl=False)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a server, migrate the template; stop the server and remove its files, even where this process is killed."""
    home = Path(tempfile.mkdtemp(prefix="refundry-tests-", dir=_memory()))
    home.chmod(0o711)  # where the server has to run as `nobody`, it must get through
    with subprocess.Popen([sys.executable, "-m", "tests.database", str(home)], stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True):
        server = embedded.start(home, _SETTINGS)
        server.ensure_database(_TEMPLATE)
        in_thread(lambda: migrations.upgrade(server.owner_url(_TEMPLATE), server.app_url(_TEMPLATE)))
        yield Cluster(server)


def _memory() -> Path | None:
    """A file system in memory with room for all workers' servers, where there is one and the machine has that memory."""
    needed = _MEMORY_BYTES_PER_WORKER * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if not os.access(_MEMORY, os.W_OK | os.X_OK) or min(shutil.disk_usage(_MEMORY).free, _available_bytes()) < needed:
        return None
    return _MEMORY


def _available_bytes() -> int:
    """What Linux has free; of a container's limit (control groups, version 2) half."""
    available = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    limit = Path("/sys/fs/cgroup/memory.max")
    limited = limit.read_text().strip() if limit.exists() else "max"
    found = int(available[1]) * 1024 if available else 0
    return found if limited == "max" else min(found, int(limited) // 2)


def in_thread(work: Callable[[], None]) -> None:
    """Run what has an event loop of its own, such as alembic's environment, from wherever there may be one already."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result()


_TABLES = "select oid from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and relname <> 'alembic_version'"
_SHAPE = f"""
select format('column %s %s %s %s', attrelid::regclass, row_number() over (partition by attrelid order by attnum), attname,
  format_type(atttypid, atttypmod))
  || case when attnotnull then ' not null' else '' end || coalesce(' default ' || pg_get_expr(adbin, adrelid), '')
  from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
  where attrelid in ({_TABLES}) and attnum > 0 and not attisdropped
union all
select format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid, true))
  from pg_constraint where conrelid in ({_TABLES})
union all
select pg_get_indexdef(indexrelid) from pg_index where indrelid in ({_TABLES})
union all
select format('options %s %s %s', relname, relpersistence, reloptions) from pg_class where oid in ({_TABLES})
union all
select format('words %s %s', enumtypid::regtype, string_agg(enumlabel, ' ' order by enumsortorder)) from pg_enum group by enumtypid
union all
select format('domain %s %s %s %s', t.oid::regtype, format_type(t.typbasetype, t.typtypmod), c.conname, pg_get_constraintdef(c.oid, true))
  from pg_type t left join pg_constraint c on c.contypid = t.oid where t.typtype = 'd' and t.typnamespace = 'public'::regnamespace
union all
select pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace and prorettype <> 'trigger'::regtype
"""  # noqa: S608 -- our own text
_GUARDS = f"""
select pg_get_triggerdef(oid) || tgenabled::text from pg_trigger where tgrelid in ({_TABLES}) and not tgisinternal
union all
select pg_get_functiondef(oid) || coalesce(proacl::text, '') from pg_proc where pronamespace = 'public'::regnamespace
union all
select format('rights %s %s', relname, relacl) from pg_class where oid in ({_TABLES})
union all
select format('rights %s.%s %s', attrelid::regclass, attname, attacl) from pg_attribute where attrelid in ({_TABLES}) and attacl is not null
union all
select format('rights schema %s', nspacl) from pg_namespace where nspname = 'public'
"""  # noqa: S608 -- our own text


async def shape(url: str) -> list[str]:
    """What PostgreSQL itself says about every table: columns, constraints, indexes and options, a line each, in order."""
    return await _lines(url, _SHAPE)


async def catalog(url: str) -> list[str]:
    """`shape`, and the triggers, functions and rights beside it."""
    return await _lines(url, f"{_SHAPE} union all {_GUARDS}")


async def _lines(url: str, query: str) -> list[str]:
    connection = await asyncpg.connect(url, ssl=False)
    try:
        return sorted(row[0] for row in await connection.fetch(query))
    finally:
        await connection.close()


def _clear_up_after(home: Path) -> None:
    """Wait for the end of the process that holds the other end of standard input, however it came, and clear up."""
    sys.stdin.read()
    if (server := embedded.find(home)) is not None:
        server.stop()
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    _clear_up_after(Path(sys.argv[1]))
