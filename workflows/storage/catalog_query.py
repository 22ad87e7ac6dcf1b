"""The SQL by which PostgreSQL describes the schema: a name and a definition for each object, with nothing that differs by installation.

Whoever owns the tables is `owner` here. It is read with an empty search path, so that every name is written whole.
"""

from workflows.storage.app_role import APP_ROLE


def _own(catalog: str, oid: str) -> str:
    """Whether the object is no extension's."""
    return f"not exists (select from pg_depend d where d.classid = '{catalog}'::regclass and d.objid = {oid} and d.deptype = 'e')"


_IN_PUBLIC = "= 'public'::regnamespace"
_TABLES = f"(select oid from pg_class t where relnamespace {_IN_PUBLIC} and relkind in ('r', 'p') and {_own('pg_class', 't.oid')})"
_FUNCTIONS = f"(select * from pg_proc f where pronamespace {_IN_PUBLIC} and prokind in ('f', 'p') and {_own('pg_proc', 'f.oid')})"

_APPLICATION = f"(select r.oid from pg_roles r where r.rolname = '{APP_ROLE}')"


def _who(role: str) -> str:
    return f"case when {role} = 0 then 'public' when {role} = o.owner then 'owner' else quote_ident(pg_get_userbyid({role})) end"


def _rights(on: str, of: str, acl: str, but: str = "o.owner") -> str:
    """What everybody but the owner may do with objects of one kind."""
    return f"""
select format('rights of %s on %s', {_who("a.grantee")}, {on}),
       string_agg(a.privilege_type || case when a.is_grantable then ' with grant option' else '' end, ', ' order by a.privilege_type)
  from o cross join {of} cross join lateral aclexplode({acl}) a
 where a.grantee not in (o.owner, {but}) group by 1"""


_KINDS = (
    f"""
select 'table ' || relname, concat_ws(' ', 'owner=' || {_who("relowner")}, 'persistence=' || relpersistence::text, reloptions::text,
       case when relrowsecurity then 'row security' end, case when relforcerowsecurity then 'forced row security' end)
  from pg_class cross join o where oid in {_TABLES}""",
    f"""
select format('column %s.%s', c.relname, attname),
       concat_ws(' ', format_type(atttypid, atttypmod), case when attnotnull then 'not null' end, 'default ' || pg_get_expr(adbin, adrelid),
                 'identity ' || nullif(attidentity::text, ''), 'generated ' || nullif(attgenerated::text, ''))
  from pg_attribute join pg_class c on c.oid = attrelid left join pg_attrdef on adrelid = attrelid and adnum = attnum
 where attrelid in {_TABLES} and attnum > 0 and not attisdropped""",
    # That a column is not null stands with the column.
    f"""
select format('constraint %s.%s', c.relname, conname), pg_get_constraintdef(r.oid)
  from pg_constraint r join pg_class c on c.oid = conrelid where conrelid in {_TABLES} and contype <> 'n'""",
    f"""
select 'index ' || c.relname, pg_get_indexdef(indexrelid) || case when indisvalid and indisready and indislive then '' else ' invalid' end
  from pg_index join pg_class c on c.oid = indexrelid where indrelid in {_TABLES}""",
    f"""
select format('trigger %s.%s', c.relname, tgname), format('%s enabled=%s', pg_get_triggerdef(t.oid), tgenabled)
  from pg_trigger t join pg_class c on c.oid = tgrelid where tgrelid in {_TABLES} and not tgisinternal""",
    f"""
select 'foreign keys of ' || c.relname, string_agg(distinct 'enabled=' || tgenabled::text, ' ')
  from pg_trigger t join pg_class c on c.oid = tgrelid where tgrelid in {_TABLES} and tgisinternal group by 1""",
    "select format('rule %s.%s', tablename, rulename), definition from pg_rules where schemaname = 'public'",
    """
select format('policy %s.%s', tablename, policyname), concat_ws(' ', cmd, qual, with_check)
  from pg_policies where schemaname = 'public'""",
    f"""
select 'event trigger ' || evtname, format('%s enabled=%s', evtevent, evtenabled)
  from pg_event_trigger e where {_own("pg_event_trigger", "e.oid")}""",
    f"""
select 'function ' || p.oid::regprocedure::text, format('owner=%s %s', {_who("proowner")}, pg_get_functiondef(p.oid))
  from {_FUNCTIONS} p cross join o""",
    f"""
select 'words ' || enumtypid::regtype::text, string_agg(enumlabel, ' ' order by enumsortorder)
  from pg_enum join pg_type t on t.oid = enumtypid where t.typnamespace {_IN_PUBLIC} and {_own("pg_type", "t.oid")} group by 1""",
    f"""
select 'range ' || t.oid::regtype::text,
       concat_ws(' ', format_type(t.typbasetype, t.typtypmod), string_agg(pg_get_constraintdef(c.oid), ' ' order by conname))
  from pg_type t left join pg_constraint c on c.contypid = t.oid
 where t.typtype = 'd' and t.typnamespace {_IN_PUBLIC} and {_own("pg_type", "t.oid")} group by t.oid""",
    _rights("c.relname", f"(select * from pg_class where oid in {_TABLES}) c", "c.relacl"),
    _rights(
        "format('%s.%s', c.relname, t.attname)",
        f"(pg_attribute t join pg_class c on c.oid = t.attrelid and c.oid in {_TABLES} and not t.attisdropped)",
        "t.attacl",
    ),
    _rights("p.oid::regprocedure::text", f"{_FUNCTIONS} p", "p.proacl"),
    # What PostgreSQL itself gives the database's owner there is no right that anybody gave.
    _rights("'schema public'", "(select * from pg_namespace where nspname = 'public') n", "n.nspacl", "n.nspowner"),
    f"""
select 'role ' || rolname, concat_ws(' ', 'role', case when rolsuper then 'superuser' end, case when rolbypassrls then 'bypassrls' end,
       case when rolcreaterole then 'createrole' end, case when rolcreatedb then 'createdb' end,
       case when rolreplication then 'replication' end)
  from pg_roles cross join o
 where rolname = '{APP_ROLE}'
    or (pg_roles.oid <> o.owner and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)
        and pg_roles.oid in (select member from pg_auth_members where roleid = {_APPLICATION}))""",
    f"""
select format('membership of {APP_ROLE} in %s', {_who("m.roleid")}), 'member'
  from pg_auth_members m cross join o where m.member = {_APPLICATION}""",
    """
select format('setting %s of %s', split_part(c, '=', 1), case when setrole = 0 then 'everybody' else pg_get_userbyid(setrole) end), c
  from pg_db_role_setting cross join lateral unnest(setconfig) c
 where setdatabase in (0, (select oid from pg_database where datname = current_database()))
   and split_part(c, '=', 1) in ('session_replication_role', 'search_path', 'row_security')""",
)
OBJECTS = f"""
with o as materialized (
    select relowner as owner from pg_class where relnamespace = 'public'::regnamespace and relname = 'alembic_version'
)
select name, definition from ({" union all ".join(_KINDS)}) as objects(name, definition) order by name"""
