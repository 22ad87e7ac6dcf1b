"""Creates the role that the service runs as, which may use the owner's tables but neither change their shape nor lift their rules."""

from typing import Any

from workflows.storage.app_role import APP_ROLE, CREATE_APP_ROLE

Connection = Any  # an asyncpg connection; asyncpg ships no types

# What it may do to the tables, the migrations say, table by table, to the one application role; another name is a member of it.
# Nothing of its own, temporary objects included: those stand before everything else where a name is looked up.
_GRANTS = (
    "grant connect on database {database} to {role}",
    "revoke temporary on database {database} from public",
    "revoke temporary on database {database} from {role}",
)
_CREATE_LOCK = 0x7265_6675_6E64  # "refund": roles belong to the whole cluster, and two databases may be prepared at once


async def prepare_role(connection: Connection, role: str, password: str, *, renew_password: bool = False) -> None:
    """Create `role` if it is missing, as the application's role or a member of it."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _CREATE_LOCK)
        exists = await connection.fetchval("select true from pg_roles where rolname = $1", role)
        if not exists:
            await _execute_quoted(connection, "create role %I login password %L", role, password)
        elif renew_password:
            await _execute_quoted(connection, "alter role %I login password %L", role, password)
        names = await connection.fetchrow("select quote_ident($1) as role, quote_ident(current_database()) as database", role)
        for grant in _GRANTS:
            await connection.execute(grant.format(role=names["role"], database=names["database"]))
        if role != APP_ROLE:
            await connection.execute(CREATE_APP_ROLE)
            await connection.execute(f"grant {APP_ROLE} to {names['role']}")


async def _execute_quoted(connection: Connection, template: str, *values: str) -> None:
    """Utility statements take no parameters: PostgreSQL itself quotes the values into the text."""
    places = ", ".join(f"${i}::text" for i in range(2, len(values) + 2))
    await connection.execute(await connection.fetchval(f"select format($1::text, {places})", template, *values))
