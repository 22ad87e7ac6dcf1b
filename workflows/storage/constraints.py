"""How the tables say what their columns may hold."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint


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
