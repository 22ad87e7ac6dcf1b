"""The schema as it must be, kept in `catalog.json`, and what of a database is otherwise: an object that is missing, changed or too many.

The file is taken from a database that was just migrated (`make catalog`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
from msgspec import Struct

from workflows.storage.app_role import APP_ROLE
from workflows.storage.catalog_query import OBJECTS

Objects: TypeAlias = dict[str, str]  # by an object's name, its definition

FILE = Path(__file__).with_name("catalog.json")
_SHOWN_MAX = 110


class Catalog(Struct, frozen=True, kw_only=True):
    revision: str | None  # of the migrations; None: no table says so
    objects: Objects


async def read_catalog(connection: asyncpg.Connection) -> Catalog:
    """What the database holds; no right is needed. To be called in a transaction that ends afterwards: the search path stays empty."""
    await connection.execute("select set_config('search_path', '', true)")
    known = await connection.fetchval("select to_regclass('public.alembic_version')::text")
    revision = None if known is None else await connection.fetchval("select version_num from public.alembic_version")
    return Catalog(revision=revision, objects={row["name"]: row["definition"] for row in await connection.fetch(OBJECTS)})


def wanted_catalog() -> Catalog:
    kept: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return Catalog(revision=kept["revision"], objects=kept["objects"])


def catalog_text(catalog: Catalog) -> str:
    """The file's form: a line for each object."""
    return json.dumps({"revision": catalog.revision, "objects": catalog.objects}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def catalog_differences(found: Catalog, wanted: Catalog) -> Iterator[str]:
    """A line for each object that is otherwise, with what to do. Of a database with another revision only that."""
    if found.revision != wanted.revision:
        yield f"revision={found.revision or 'none'} must_be={wanted.revision} do=run `refundry migrate` with the version that you want"
        return
    for name in sorted(found.objects.keys() | wanted.objects.keys()):
        now, must = found.objects.get(name), wanted.objects.get(name)
        if now != must and not (must is None and _is_plain_index(name, now)):
            yield f"{name} do={_remedy(name, now, must)} is={_shown(now, must)} must_be={_shown(must, now)}"


def _is_plain_index(name: str, definition: str | None) -> bool:
    """One that only makes reads faster: an operator may have his own. A unique one would refuse rows."""
    return name.startswith("index ") and (definition or "").startswith("CREATE INDEX ")


def _remedy(name: str, now: str | None, must: str | None) -> str:
    kind, _, rest = name.partition(" ")
    if kind == "rights":
        return _remedy_of_rights(rest, now, must)
    if kind == "role":
        return f"alter role {rest} nosuperuser nobypassrls nocreaterole nocreatedb noreplication"
    if kind == "membership":
        return f"revoke {rest.partition(' in ')[2]} from {APP_ROLE}"
    if kind == "setting":
        return f"reset {rest}"
    table, _, part = rest.rpartition(".")
    if must is None:
        return f"drop {kind} {f'{part} on {table}' if kind in {'trigger', 'rule', 'policy'} else rest}, which this version does not know"
    if kind == "trigger":
        return f"drop trigger if exists {part} on public.{table}, create it again as it must be, and enable it always"
    return f"make {kind} {rest} again as it must be" if now is None else f"alter {kind} {rest} back to what it must be"


def _remedy_of_rights(rest: str, now: str | None, must: str | None) -> str:
    """`rest`: of ROLE on OBJECT."""
    role, _, on = rest.removeprefix("of ").partition(" on ")
    has, needs = (set((each or "").split(", ")) - {""} for each in (now, must))
    table, _, column = on.partition(".")
    place = f" ({column}) on public.{table}" if column and "(" not in on else f" on {on}"
    orders = [f"revoke {', '.join(sorted(has - needs)).lower()}{place} from {role}"] if has - needs else []
    orders += [f"grant {', '.join(sorted(needs - has)).lower()}{place} to {role}"] if needs - has else []
    return "; ".join(orders)


def _shown(text: str | None, other: str | None) -> str:
    """From where the two differ, and not too much of it."""
    if text is None:
        return "none"
    start = 0
    if other is not None and len(text) > _SHOWN_MAX:
        start = next((at for at, (one, two) in enumerate(zip(text, other, strict=False)) if one != two), 0)
        start = max(0, start - 20)
    return " ".join(text[start : start + _SHOWN_MAX].split())
