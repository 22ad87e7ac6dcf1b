"""Who may do what to which table: collected from the tables as data, and the SQL of the triggers and grants.

`RIGHTS` and `TRIGGERS` say how it is now; a migration spells out its own part and calls `grant` and `refuse`. A test compares
what a migrated database really allows with them. What a row may become is told by `row_rules.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Table

from workflows.storage import tables
from workflows.storage.app_role import APP_ROLE
from workflows.storage.tables.form import Verb, guard_of


@dataclass(frozen=True, slots=True)
class Rights:
    """What `APP_ROLE` may do to one table. `update` names columns; all of them where it is every column."""

    verbs: frozenset[Verb]
    update: frozenset[str] = frozenset()


def _rights(table: Table) -> Rights:
    guard = guard_of(table)
    return Rights(guard.may, frozenset(table.columns.keys()) - guard.once if "update" in guard.may else frozenset())


_GUARDS = {name: guard_of(table) for name, table in tables.metadata.tables.items()}
# Columns that the application writes once: a statement that sets them again is refused by the database.
IMMUTABLE: dict[str, frozenset[str]] = {name: guard.once for name, guard in _GUARDS.items() if guard.once}
RIGHTS: dict[str, Rights] = {
    **{name: _rights(table) for name, table in tables.metadata.tables.items()},
    "alembic_version": Rights(frozenset({"select"})),  # /readyz asks whether the schema is the one that the code wants
}
TRIGGERS: dict[str, frozenset[Verb]] = {name: guard.refused for name, guard in _GUARDS.items() if guard.refused}

# An integrity error that names the trigger, so that it is told apart like a constraint, and tells a person what to do instead.
CREATE_REFUSAL = """
create function refuse_change() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception using
    errcode = 'restrict_violation',
    message = format('%s on "%s" is refused: its rows are history', tg_op, tg_table_name),
    hint = case tg_op
      when 'UPDATE' then 'Insert a new row that says what changed.'
      when 'TRUNCATE' then 'Where single rows may go at all, DELETE those.'
      else 'Nothing is removed from this table. Personal data are erased from personal_text.'
    end,
    schema = tg_table_schema,
    table = tg_table_name,
    constraint = tg_name;
end
$$
"""


def refuse(table: str, verbs: Iterable[Verb]) -> Iterator[str]:
    """The statements that let nobody, the table's owner included, do any of `verbs` to it.

    One trigger per statement, not per row: it costs nothing per row, refuses the statement that happens to touch no row today as
    well as `on conflict do update` without a conflict, and covers TRUNCATE too. It does not reach a partition that is written to
    directly: whoever partitions a table gives each partition the same trigger. ALWAYS: also under `session_replication_role`.
    """
    yield f"create trigger {table}_guard before {' or '.join(sorted(verbs))} on {table} for each statement execute function refuse_change()"
    yield f"alter table {table} enable always trigger {table}_guard"


def refuse_second_value(table: str, name: str, columns: Sequence[str]) -> Iterator[str]:
    """The statements that let nobody change these columns once the first of them has a value.

    For columns that are filled in later, which a right to set them could not tell from a change. Nothing but an update that changes them
    pays for more than the comparison.
    """
    old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("old", "new"))
    yield (
        f"create trigger {name} before update of {', '.join(columns)} on {table} for each row"
        f" when (old.{columns[0]} is not null and ({new}) is distinct from ({old})) execute function refuse_change()"
    )
    yield f"alter table {table} enable always trigger {name}"


def grant(table: str, verbs: Iterable[Verb], *, update: Iterable[str] = ()) -> Iterator[str]:
    """The statements that let `APP_ROLE` do `verbs` to the table, and set only the columns in `update` where there are any.

    What default privileges may have given it on creation is taken away first.
    """
    columns = [f'"{column}"' for column in sorted(update)]  # quoted: `window` is a word of SQL
    listed = [f"update ({', '.join(columns)})" if verb == "update" and columns else verb for verb in sorted(verbs)]
    yield f"revoke all on {table} from {APP_ROLE}"
    yield f"grant {', '.join(listed)} on {table} to {APP_ROLE}"


def grant_update(table: str, columns: Iterable[str]) -> str:
    """The statement that lets `APP_ROLE` set these columns too, where it may set only some."""
    listed = ", ".join(f'"{column}"' for column in sorted(columns))
    return f"grant update ({listed}) on {table} to {APP_ROLE}"
