"""How the tables say what their columns may hold, and who may do what to them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, get_args

from sqlalchemy import CheckConstraint, Index, Table, TextClause, text
from sqlalchemy.dialects.postgresql import ENUM

Verb = Literal["select", "insert", "update", "delete", "truncate"]


def listed(words: Iterable[StrEnum], of: ENUM) -> str:
    """Words as one array of their type: a CHECK with a list of them takes longer to read."""
    return f"'{{{','.join(sorted(words))}}}'::{of.name}[]"


def checked(table: str, *constraints: Any) -> tuple[Any, ...]:
    """Prefix each CHECK with its table's name: constraint names are looked up when the database refuses."""
    for constraint in constraints:
        if isinstance(constraint, CheckConstraint) and not str(constraint.name).startswith(table):
            constraint.name = f"{table}_{constraint.name}"
    return constraints


def newest_first(name: str, *columns: str, where: TextClause | None = None) -> Index:
    """The index of a list that nothing but time narrows.

    `nulls first` (read backwards: last), though there are none, so that its order is not that of the lists by something, which have
    indexes of their own: else PostgreSQL takes this one for a value that it believes to be frequent, and reads everything where that
    lies far down. Ascending, since new rows then go to its last page.
    """
    return Index(name, *(text(f"{column} nulls first") for column in columns), postgresql_where=where)


@dataclass(frozen=True, slots=True)
class Guard:
    """Who may do what to a table."""

    may: frozenset[Verb]  # the application
    refused: frozenset[Verb] = frozenset()  # to everybody, the owner included, by a trigger
    once: frozenset[str] = frozenset()  # columns that the application writes once; it may set all others again


def guarded(may: str, *, refused: str = "", once: str = "") -> dict[str, Any]:
    """The guard as a table's option; each argument lists its words with spaces between."""
    return {"info": {"guard": Guard(_verbs(may), _verbs(refused), frozenset(once.split()))}}


def guard_of(table: Table) -> Guard:
    guard = table.info["guard"]
    assert isinstance(guard, Guard)  # noqa: S101 -- `guarded` put it there
    return guard


def _verbs(listed: str) -> frozenset[Verb]:
    return frozenset(verb for verb in get_args(Verb) if verb in listed.split())
