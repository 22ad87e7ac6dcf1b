"""How the tables say what their columns may hold."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Index, text


def one_of(column: str, words: Iterable[StrEnum], *, null: bool = False) -> CheckConstraint:
    """A CHECK instead of a database enum: a new word is then a plain migration."""
    words_listed = ", ".join(f"'{word.value}'" for word in words)
    condition = f"{column} in ({words_listed})"
    return CheckConstraint(f"{column} is null or {condition}" if null else condition, name=f"{column}_is_a_word")


def listed(states: Iterable[StrEnum]) -> str:
    return ", ".join(f"'{state.value}'" for state in sorted(states))


def checked(table: str, *constraints: Any) -> tuple[Any, ...]:
    """Prefix each CHECK with its table's name: constraint names are looked up when the database refuses."""
    for constraint in constraints:
        if isinstance(constraint, CheckConstraint) and not str(constraint.name).startswith(table):
            constraint.name = f"{table}_{constraint.name}"
    return constraints


def newest_first(name: str, *columns: str) -> Index:
    """The index of a list that nothing but time narrows.

    `nulls first` (read backwards: last), though there are none, so that its order is not that of the lists by something, which have
    indexes of their own: else PostgreSQL takes this one for a value that it believes to be frequent, and reads everything where that
    lies far down. Ascending, since new rows then go to its last page.
    """
    return Index(name, *(text(f"{column} nulls first") for column in columns))
