"""The role that the service and the workers run as. No table is known here: whoever only starts a server need not wait for them."""

APP_ROLE = "refundry_app"

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
