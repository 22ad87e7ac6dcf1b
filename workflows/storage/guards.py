"""Who may do what to which table: the triggers and grants that stand beside the schema of tables.py, as data and as SQL.

`RIGHTS` and `TRIGGERS` say how it is now; a migration spells out its own part and calls `grant` and `refuse`. A test compares
what a migrated database really allows with this file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from workflows.storage import tables

Verb = Literal["select", "insert", "update", "delete", "truncate"]

APP_ROLE = "refundry_app"  # what the service and the workers run as

# Columns that the application writes once. An upsert leaves them out of its SET list, or the database refuses it.
IMMUTABLE: dict[str, frozenset[str]] = {
    "payment": frozenset(
        [
            "id",
            "reference",
            "uetr",
            "wallet_id",
            "merchant_id",
            "order_reference",
            "category",
            "currency",
            "earned",
            "policy_version",
            "merchant_rules_version",
            "authorised_at",
            "created_at",
            "registered",
        ]
    ),
    "cancellation": frozenset(
        [
            "payment_id",
            "id",
            "reason",
            "currency",
            "channel",
            "requester_role",
            "requester_id",
            "client_reference",
            "fingerprint",
            "created_at",
            "merchant_id",
        ]
    ),
    "refund": frozenset(["payment_id", "id", "cancellation_id", "amount", "currency", "created_at", "merchant_id"]),
    "leg": frozenset(
        [
            "payment_id",
            "id",
            "cancellation_id",
            "refund_id",
            "kind",
            "source",
            "position",
            "provider",
            "provider_reference",
            "amount",
            "currency",
            "rail_key",
            "replaces",
            "created_at",
        ]
    ),
    "notification": frozenset(["payment_id", "id", "provider", "rail_id", "body", "received_at"]),
}


@dataclass(frozen=True, slots=True)
class Rights:
    """What `APP_ROLE` may do to one table. `update` names columns; all of them where it is every column."""

    verbs: frozenset[Verb]
    update: frozenset[str] = frozenset()


def _columns(table: str) -> frozenset[str]:
    return frozenset(tables.metadata.tables[table].columns.keys())


def _rights(table: str, *verbs: Verb) -> Rights:
    return Rights(frozenset(verbs), frozenset() if "update" not in verbs else _columns(table) - IMMUTABLE.get(table, frozenset()))


RIGHTS: dict[str, Rights] = {
    "payment": _rights("payment", "select", "insert", "update"),
    "cancellation": _rights("cancellation", "select", "insert", "update"),
    "refund": _rights("refund", "select", "insert", "update"),
    "leg": _rights("leg", "select", "insert", "update"),
    "record": _rights("record", "select", "insert"),
    "personal_text": _rights("personal_text", "select", "insert", "delete"),  # erasure deletes
    "kept_reply": _rights("kept_reply", "select", "insert", "delete"),  # so does the end of thirty days
    "job": _rights("job", "select", "insert", "update", "delete"),
    "notification": _rights("notification", "select", "insert", "update"),
    "anomaly": _rights("anomaly", "select", "insert"),
    "policy": _rights("policy", "select", "insert"),
    "worker": _rights("worker", "select", "insert", "update", "delete"),
    "alembic_version": Rights(frozenset({"select"})),  # /readyz asks whether the schema is the one that the code wants
}

# No table is ever emptied at a stroke whose rows somebody relies on, whether or not single rows may go.
_REFUSING: dict[Verb, tuple[str, ...]] = {
    "update": tables.APPEND_ONLY,
    "delete": tables.NEVER_DELETED,
    "truncate": tables.APPEND_ONLY + tables.NEVER_DELETED,
}
TRIGGERS: dict[str, frozenset[Verb]] = {
    table: frozenset(verb for verb, refusing in _REFUSING.items() if table in refusing)
    for table in (*tables.APPEND_ONLY, *tables.NEVER_DELETED)
}

# The role belongs to the whole cluster: another database, or another migrator, may have made it, or make it at this moment.
CREATE_APP_ROLE = f"""
do $$
begin
  if not exists (select from pg_roles where rolname = '{APP_ROLE}') then
    create role {APP_ROLE} nologin;
  end if;
exception
  when duplicate_object or unique_violation then null;
end
$$
"""

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
