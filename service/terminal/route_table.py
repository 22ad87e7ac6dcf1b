"""The operations of the interface as a table, read off the routes."""

from collections.abc import Iterable
from typing import Protocol

from rich.table import Table


class _Operation(Protocol):
    """An operation as a route declares it; the terminal knows the interface by its form only."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def roles(self) -> Iterable[str] | None: ...
    @property
    def actions(self) -> Iterable[str]: ...
    @property
    def own_problems(self) -> Iterable[str]: ...


def route_table(operations: Iterable[_Operation]) -> Table:
    """A problem that every operation of the same method and kind may answer with stands in the caption, once."""
    table = Table("Method", "Path", "What it does", "Roles", "Actions", "Problems of its own")
    table.columns[1].overflow = "fold"
    table.caption = _COMMON
    for one in operations:
        roles = "no token" if one.roles is None else " ".join(sorted(one.roles))
        table.add_row(one.method, one.path, one.summary, roles, " ".join(one.actions), " ".join(one.own_problems))
    return table


_COMMON = (
    "Every operation: validation-failed rate-limited unavailable. With a token: unauthenticated forbidden. With an id in its path: "
    "not-found. POST: malformed-request body-too-large unsupported-media-type. With an Idempotency-Key: idempotency-key-missing "
    "idempotency-key-reused idempotency-in-flight version-mismatch."
)
